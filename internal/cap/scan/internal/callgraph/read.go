package callgraph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const maxOutput = 1 << 30 // bytes of one analysis

// The messages of govulncheck's JSON stream that matter here (golang.org/x/vuln/internal/govulncheck, protocol v1.0.0).
type message struct {
	SBOM *struct {
		Modules []struct{ Path, Version string }
	} `json:"SBOM"`
	OSV *struct {
		ID       string
		Affected []struct {
			Specific struct {
				Imports []struct {
					Path    string
					Symbols []string
				}
			} `json:"ecosystem_specific"`
		}
	} `json:"osv"`
	Finding *said `json:"finding"`
}

type said struct {
	OSV   string
	Trace []frame
}

type frame struct {
	Module, Version, Package, Function, Receiver string
	Position                                     struct {
		Filename string
		Line     int
	}
}

func newPlace() *place {
	return &place{modules: map[string]string{}, said: map[string]map[string]verdict{}}
}

// read reads the stream to its end.
func (p *place) read(r io.Reader) error {
	named := map[string]bool{} // advisories with packages whose functions they name
	in := &io.LimitedReader{R: r, N: maxOutput}
	d := json.NewDecoder(in)
	for {
		var m message
		err := d.Decode(&m)
		switch {
		case in.N <= 0:
			return fmt.Errorf("more than %d bytes", maxOutput)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if m.SBOM != nil {
			for _, mod := range m.SBOM.Modules {
				p.modules[mod.Path] = mod.Version
			}
		}
		if m.OSV != nil {
			for _, a := range m.OSV.Affected {
				for _, i := range a.Specific.Imports {
					if len(i.Symbols) > 0 {
						named[m.OSV.ID+" "+i.Path] = true
					}
				}
			}
		}
		if m.Finding != nil {
			p.take(m.Finding, named)
		}
	}
}
