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

// ForgeConfig says which forge.
type ForgeConfig struct {
	Remote string // of git, whose URL names the project
	Kind   string // "github" or "gitlab"
	API    string // base URL; "" for the public one, or for a GitLab of one's own at the remote's host
	Token  secret.Bytes
}

// OpenForge is the forge of a repository's remote.
func OpenForge(ctx context.Context, dir string, c ForgeConfig) (Forge, error) {
	u := branch.Repo{Dir: dir}.Remote(ctx, c.Remote)
	if u == "" {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("the repository has no remote %q, so nobody knows where to propose", c.Remote))
	}
	host, project, err := forge.ProjectOf(u)
	if err != nil {
		return nil, err
	}
	f := forge.Config{API: c.API, Project: project, Token: c.Token}
	switch {
	case c.Kind == "github" && c.API == "" && host != "github.com":
		return nil, fault.New(fault.Usage, host+" isn't github.com; say where the API of your GitHub is with --api")
	case c.Kind == "gitlab" && c.API == "" && host != "gitlab.com":
		f.API = "https://" + host + "/api/v4"
	}
	if c.Kind == "gitlab" {
		return forge.NewGitLab(f)
	}
	return forge.NewGitHub(f)
}
