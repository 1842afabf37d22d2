package callgraph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
)

// maxListing bounds what `go list` may say, in bytes; a module of that many packages counts as one that uses C.
const maxListing = 1 << 20

// inside analyses a module in the sandbox: c has its folder, and where its advisories are.
func (a Analyser) inside(ctx context.Context, c gobox.Command) (*place, error) {
	limit, cancel := context.WithTimeout(ctx, a.timeout())
	defer cancel()
	list := c
	list.Argv, list.Env = append([]string{"go"}, listC()...), append(list.Env[:len(list.Env):len(list.Env)], "CGO_ENABLED=1")
	out, errs := limited{left: maxListing}, limited{left: maxSaid}
	exit, err := a.Box.Run(limit, list, &out, &errs)
	if err = ended(limit, a.timeout(), exit, err, &errs); err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	c.Argv = append(append([]string{}, a.Argv...), "-format", "json", "-db", "file://"+gobox.Data, "./...")
	r, w := io.Pipe()
	said := limited{left: maxSaid}
	done := make(chan error, 1)
	go func() {
		exit, err := a.Box.Run(limit, c, w, &said)
		w.Close() //nolint:errcheck // a pipe's never fails
		done <- ended(limit, a.timeout(), exit, err, &said)
	}()
	p := newPlace()
	readErr := p.read(r)
	if readErr != nil {
		cancel()
		r.CloseWithError(readErr) //nolint:errcheck // likewise
	}
	err = <-done
	if readErr != nil && ctx.Err() == nil && !errors.Is(readErr, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("read the analysis: %w", readErr)
	} else if err == nil {
		err = readErr
	}
	return p.after(out.left == 0 || strings.Contains(out.String(), "C"), err)
}

// ended is how a run went.
func ended(ctx context.Context, limit time.Duration, exit int, err error, said *limited) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the analysis took longer than %v", limit)
	case err != nil:
		return err
	case exit != 0:
		return fmt.Errorf("exit status %d: %s", exit, oneLine(said.String()))
	}
	return nil
}

// inTree is where a go.work is inside; "off" stays.
func inTree(dir, work string) string {
	if rel, err := filepath.Rel(dir, work); err == nil && filepath.IsAbs(work) && filepath.IsLocal(rel) {
		return path.Join(gobox.Tree, filepath.ToSlash(rel))
	}
	return "off"
}
