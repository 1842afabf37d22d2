package up

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// maxControlFile bounds a file of secrets or keys that ward.yaml names, in bytes.
const maxControlFile = 128 << 10

// planState is a plan with what control needs of the files that it names.
func (s *Supervisor) planState(p *plan.Plan) (wire.PlanState, error) {
	state := wire.PlanState{Revision: p.Revision(), Plan: p}
	for _, f := range controlFiles(p) {
		b, err := readBounded(s.inBase(f))
		if err != nil {
			return state, fault.Wrap(fault.Invalid, fmt.Sprintf("%s, which ward.yaml names, can't be read", f), err)
		}
		if state.Files == nil {
			state.Files = map[string][]byte{}
		}
		state.Files[f] = b
	}
	return state, nil
}

// controlFiles are the small files that users:, secrets: and watch: name.
func controlFiles(p *plan.Plan) []string {
	u := &p.Users
	all := []string{u.Mail.PasswordFile, u.SMS.SecretFile}
	for i := range u.Providers {
		all = append(all, u.Providers[i].SecretFile)
	}
	for i := range u.Clients {
		all = append(all, u.Clients[i].JWKSFile)
	}
	for i := range p.Secrets {
		all = append(all, p.Secrets[i].SealedFile)
	}
	for i := range p.Watch.OTLP {
		all = append(all, p.Watch.OTLP[i].HeadersFile)
	}
	for i := range p.Watch.Notify {
		all = append(all, p.Watch.Notify[i].URLFile, p.Watch.Notify[i].KeyFile)
	}
	var out []string
	for _, f := range all {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxControlFile+1))
	if err == nil && len(b) > maxControlFile {
		err = fmt.Errorf("more than %d bytes", maxControlFile)
	}
	return b, err
}

// inBase is a path of ward.yaml on this host.
func (s *Supervisor) inBase(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.paths.Base, path)
}

// addUsersFolders shows control the large files that users: names.
func (s *Supervisor) addUsersFolders() error {
	for inside, f := range map[string]string{wire.GeoIPFile: s.plan.Users.GeoIP, wire.BreachedFile: s.plan.Users.Breached} {
		if f == "" {
			continue
		}
		path := s.inBase(f)
		if _, err := os.Stat(path); err != nil {
			return fault.Wrap(fault.Invalid, fmt.Sprintf("users: %s can't be read", f), err)
		}
		s.control.folders = append(s.control.folders, sandbox.Folder{Host: path, Inside: inside})
	}
	return nil
}

// offerFirstAdmin prints the one-time link to make the first administrator, as long as there is none.
func (s *Supervisor) offerFirstAdmin(ctx context.Context) {
	p := s.currentPlan()
	if !p.Users.On() {
		return
	}
	var first wire.FirstAdmin
	if err := s.admin.Call(ctx, http.MethodGet, "/v1/first-admin", nil, &first); err != nil {
		s.printer.Say("there may be no administrator yet, and no link for the first one: %v", err)
		return
	}
	if first.Link != "" {
		s.printer.Say("nobody administers people yet; this link makes the first administrator, once: %s", first.Link)
	}
}
