package callgraph

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/finding"
)

const maxBlob = 256 << 20 // bytes of the symbols of one program

// Binary analyses Go programs by the symbols that the linker left in them: files, slash-separated, relative to dir. A weak function that is in the program counts
// as called, as for govulncheck; without a symbol table everything stays unknown. The error is about the advisories or the context, never about one program.
func (a Analyser) Binary(ctx context.Context, dir string, db GoDB, programs []string) (Calls, error) {
	out := Calls{places: map[string]*place{}}
	where, remove, err := writeDB(ctx, db)
	if err != nil {
		return Calls{}, err
	}
	defer remove()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Calls{}, fmt.Errorf("analyse programs: %w", err)
	}
	defer root.Close()
	for _, name := range programs {
		p, err := a.program(ctx, root, name, where)
		if ctx.Err() != nil {
			return Calls{}, fmt.Errorf("analyse programs: %w", ctx.Err())
		}
		if err != nil {
			out.Problems = append(out.Problems, finding.Problem{Path: name, Reason: "which functions are in the program can't be told: " + err.Error()})
			continue
		}
		out.places[name] = p
	}
	return out, nil
}

func (a Analyser) program(ctx context.Context, root *os.Root, name, db string) (*place, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// What isn't a Go program could be a govulncheck blob, whose word is nothing worth.
	if _, err := buildinfo.Read(f); err != nil {
		return nil, fmt.Errorf("read the build information: %w", err)
	}
	env := environment()
	var blob []byte
	extract := func(r io.Reader) (err error) {
		blob, err = io.ReadAll(io.LimitReader(r, maxBlob+1))
		if len(blob) > maxBlob {
			return fmt.Errorf("more than %d bytes of symbols", maxBlob)
		}
		return err
	}
	// The open file, not its name: a link in the tree leads nowhere else.
	if err := a.run(ctx, process{dir: db, env: env, file: f}, extract, "-mode", "extract", "/proc/self/fd/3"); err != nil {
		return nil, err
	}
	if !hasSymbols(blob) {
		return &place{}, nil
	}
	file := filepath.Join(db, "program.json")
	if err := os.WriteFile(file, blob, 0o600); err != nil {
		return nil, fmt.Errorf("keep the symbols: %w", err)
	}
	p := newPlace()
	if err := a.run(ctx, process{dir: db, env: env}, p.read, "-mode", "binary", "-format", "json", "-db", "file://"+db, file); err != nil {
		return nil, err
	}
	p.whole = true
	return p, nil
}

// hasSymbols tells whether a program was extracted with its symbols (a header, then an object); a stripped one has none.
func hasSymbols(blob []byte) bool {
	d := json.NewDecoder(bytes.NewReader(blob))
	var header struct{ Name, Version string }
	var body struct {
		Symbols []json.RawMessage `json:"pkgSymbols"`
	}
	return d.Decode(&header) == nil && d.Decode(&body) == nil && len(body.Symbols) > 0
}
