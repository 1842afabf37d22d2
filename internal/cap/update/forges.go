package update

import (
	"context"
	"fmt"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/update/internal/branch"
	"github.com/wardhq/ward/internal/cap/update/internal/forge"
)

// Forge is where proposals are opened.
type Forge = forge.Forge

// OpenForge is the forge of a repository's remote: kind is "github" or "gitlab", api its base URL ("" for the public one, or a GitLab of one's own by
// the remote's host).
func OpenForge(ctx context.Context, dir, remote, kind, api string, token secret.Bytes) (Forge, error) {
	u := branch.Repo{Dir: dir}.Remote(ctx, remote)
	if u == "" {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("the repository has no remote %q, so nobody knows where to propose", remote))
	}
	host, project, err := forge.ProjectOf(u)
	if err != nil {
		return nil, err
	}
	c := forge.Config{API: api, Project: project, Token: token}
	switch {
	case kind == "github" && api == "" && host != "github.com":
		return nil, fault.New(fault.Usage, host+" isn't github.com; say where the API of your GitHub is with --api")
	case kind == "gitlab" && api == "" && host != "gitlab.com":
		c.API = "https://" + host + "/api/v4"
	}
	if kind == "gitlab" {
		return forge.NewGitLab(c)
	}
	return forge.NewGitHub(c)
}
