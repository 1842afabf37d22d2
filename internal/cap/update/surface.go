package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/api"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

// APIVerb is the hidden verb of the process that compares two versions' APIs. It reads others' source, so it runs in the sandbox of the trials,
// with nothing but that source.
const APIVerb = "analyse-api"

const (
	apiIn     = "/api/in"
	apiOut    = "/api/out"
	apiTime   = 2 * time.Minute
	apiMemory = 2 << 30
	maxAnswer = 4 << 20
)

// apiQuestion is what that process is asked, beside the two zips.
type apiQuestion struct {
	Module string
	Uses   *api.Uses
}

// AnalyseAPI is that process: "analyse-api IN OUT".
func AnalyseAPI(args []string) error {
	if len(args) != 2 {
		return fault.New(fault.Usage, APIVerb+" is for Ward itself")
	}
	var q apiQuestion
	var files [3][]byte
	for i, name := range []string{"ask.json", "before.zip", "after.zip"} {
		var err error
		if files[i], err = os.ReadFile(filepath.Join(args[0], name)); err != nil {
			return fmt.Errorf("compare versions: %w", err)
		}
	}
	if err := json.Unmarshal(files[0], &q); err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	d, err := api.Compare(q.Module, files[1], files[2], q.Uses)
	if err != nil {
		return err
	}
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	return os.WriteFile(filepath.Join(args[1], "answer.json"), b, 0o644)
}

// surface says of each Go module that changes what its newer version takes away that the project uses; dir is a tree of the project.
func (u *run) surface(ctx context.Context, dir string, p *Proposal) error {
	where := projectOf(&p.Changes[0])
	if where.ecosystem != choose.Go {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("look for uses: %w", err)
	}
	defer root.Close()
	uses, err := api.UsesOf(root.FS(), where.dir)
	if err != nil {
		return err
	}
	for _, ch := range p.Changes {
		d, err := u.compare(ctx, ch, uses)
		if ctx.Err() != nil {
			return err
		}
		name := plain(ch.Name) + " " + plain(ch.To)
		switch {
		case err != nil:
			p.Notices = append(p.Notices, fmt.Sprintf("What %s takes away isn't known: %s.", name, plain(err.Error())))
			p.Breaks++
			continue
		case d.All > 0 && len(d.Used) == 0:
			p.Notices = append(p.Notices, fmt.Sprintf("%s takes away or changes %d things of its API, none of which is used here.", name, d.All))
		}
		p.Notices = append(p.Notices, listed("What "+name+" takes away or changes of what is used here", plainAll(d.Used))...)
		p.Notices = append(p.Notices, listed("Packages of "+name+" that couldn't be compared", plainAll(d.Unsure))...)
		p.Breaks += len(d.Used) + len(d.Unsure)
	}
	return nil
}

func plainAll(all []string) []string {
	out := make([]string, 0, len(all))
	for _, s := range all {
		out = append(out, plain(s))
	}
	return out
}

// compare asks for one change.
func (u *run) compare(ctx context.Context, ch Change, uses *api.Uses) (*api.Difference, error) {
	reg, err := u.registry(ctx, projectOf(&ch))
	if err != nil {
		return nil, err
	}
	ask, err := json.Marshal(apiQuestion{ch.Name, uses})
	if err != nil {
		return nil, fmt.Errorf("ask for the difference: %w", err)
	}
	files := map[string][]byte{"ask.json": ask}
	for name, version := range map[string]string{"before.zip": ch.From, "after.zip": ch.To} {
		if files[name], err = reg.Archive(ctx, ch.Name, version); err != nil {
			return nil, err
		}
	}
	home, err := os.MkdirTemp(u.Scratch, "api-")
	if err != nil {
		return nil, fmt.Errorf("ask for the difference: %w", err)
	}
	defer os.RemoveAll(home)
	tool, in, out := filepath.Join(home, "tool"), filepath.Join(home, "in"), filepath.Join(home, "out")
	for _, d := range []string{home, tool, in, out} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			return nil, fmt.Errorf("ask for the difference: %w", err)
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(in, name), b, 0o644); err != nil {
			return nil, fmt.Errorf("ask for the difference: %w", err)
		}
	}
	if err := copySelf(filepath.Join(tool, "ward")); err != nil {
		return nil, err
	}
	return u.askInside(ctx, tool, in, out)
}

// askInside runs the process in the sandbox and reads its answer.
func (u *run) askInside(ctx context.Context, tool, in, out string) (*api.Difference, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, apiTime, fmt.Errorf("it took longer than %s", apiTime))
	defer cancel()
	exit, err := u.Sandbox.Run(ctx, Job{
		Name: filepath.Base(filepath.Dir(in)), Argv: []string{"ward", APIVerb, apiIn, apiOut}, Dir: apiOut, Env: []string{"PATH=" + tool, "LANG=C.UTF-8", "GOMEMLIMIT=1500MiB"},
		Read: map[string]string{apiIn: in}, Write: map[string]string{apiOut: out}, Programs: []string{tool}, MemoryBytes: apiMemory, PIDs: 256, Output: io.Discard,
	})
	if context.Cause(ctx) != nil {
		return nil, fmt.Errorf("compare versions: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("compare versions: %w", err)
	}
	if exit != 0 {
		return nil, fmt.Errorf("compare versions: the comparison ended with %d", exit)
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return nil, fmt.Errorf("compare versions: %w", err)
	}
	defer root.Close()
	if st, err := root.Lstat("answer.json"); err == nil && !st.Mode().IsRegular() { // opening a pipe would never end
		return nil, errors.New("compare versions: the answer isn't an ordinary file")
	}
	f, err := root.Open("answer.json")
	if err != nil {
		return nil, fmt.Errorf("compare versions: %w", err)
	}
	defer f.Close()
	var d api.Difference
	if err := json.NewDecoder(io.LimitReader(f, maxAnswer)).Decode(&d); err != nil {
		return nil, fmt.Errorf("compare versions: %w", err)
	}
	return &d, nil
}

// copySelf puts this program where a sandbox may see it, and nothing beside it.
func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	from, err := os.Open(self)
	if err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return fmt.Errorf("compare versions: %w", err)
	}
	return f.Close()
}
