// Command judge compares what the scan calls "called" with govulncheck's own words, on the same modules and the same advisories:
//
//	go build -modfile=tools/go.mod -o GOVULNCHECK golang.org/x/vuln/cmd/govulncheck
//	go run ./internal/cap/scan/internal/callgraph/judge -govulncheck GOVULNCHECK -advisories VULNDB/data/osv MODULE...
//
// MODULE are folders with a go.mod whose dependencies are in the module cache, or programs. It ends with 1 if a set differs.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory"
	"github.com/wardhq/ward/internal/cap/scan/internal/callgraph"
	"github.com/wardhq/ward/internal/finding"
)

const verb = "analyse"

func main() {
	if len(os.Args) > 1 && os.Args[1] == verb {
		if err := callgraph.Main(context.Background(), os.Args[2:], os.Stdout, os.Stderr); err != nil {
			fail(err)
		}
		return
	}
	other := flag.String("govulncheck", "govulncheck", "govulncheck")
	entries := flag.String("advisories", "", "folder of golang/vulndb's data/osv")
	flag.Parse()
	if err := run(context.Background(), *other, *entries, flag.Args()); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func run(ctx context.Context, other, entries string, targets []string) error {
	temp, err := os.MkdirTemp("", "ward-judge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	index := filepath.Join(temp, "index")
	if _, err := advisory.Build(ctx, index, []advisory.Source{{Location: entries}}, advisory.Options{}); err != nil {
		return err
	}
	db, err := advisory.Open(index)
	if err != nil {
		return err
	}
	defer db.Close()
	layout := filepath.Join(temp, "db")
	if err := db.WriteGoVulnDB(ctx, layout); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	j := judge{other: other, layout: layout, db: db, ours: callgraph.Analyser{Argv: []string{self, verb}}}
	fmt.Println("| | advisories of its modules | called: both | govulncheck alone | Ward alone | Ward: not called | Ward: unknown | govulncheck | Ward |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	same := true
	for _, t := range targets {
		ok, err := j.compare(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		same = same && ok
	}
	if !same {
		return errors.New("the sets differ")
	}
	return nil
}

type judge struct {
	other, layout string
	db            *advisory.DB
	ours          callgraph.Analyser
}

// theirs is one finding of govulncheck.
type theirs struct {
	OSV   string
	Trace []struct{ Module, Version, Function string }
}

func (j *judge) compare(ctx context.Context, target string) (bool, error) {
	target, err := filepath.Abs(target)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return false, err
	}
	began := time.Now()
	all, err := j.govulncheck(ctx, target, info.IsDir())
	if err != nil {
		return false, err
	}
	theirTime := time.Since(began)

	began = time.Now()
	var calls callgraph.Calls
	file := "go.mod"
	if info.IsDir() {
		calls, err = j.ours.Go(ctx, target, j.db, []string{"."})
	} else {
		file = filepath.Base(target)
		calls, err = j.ours.Binary(ctx, filepath.Dir(target), j.db, []string{file})
	}
	if err != nil {
		return false, err
	}
	ourTime := time.Since(began)
	for _, p := range calls.Problems {
		fmt.Fprintf(os.Stderr, "%s: %s\n", p.Path, p.Reason)
	}

	o := weigh(all, calls, file)
	fmt.Printf("| %s | %d | %d | %d | %d | %d | %d | %.1f s | %.1f s |\n", filepath.Base(target), o.all, o.both, len(o.alone), len(o.more), o.not, o.unknown,
		theirTime.Seconds(), ourTime.Seconds())
	if len(o.alone)+len(o.more) > 0 {
		fmt.Fprintf(os.Stderr, "%s: govulncheck alone: %s; Ward alone: %s\n", target, strings.Join(o.alone, " "), strings.Join(o.more, " "))
	}
	return len(o.alone)+len(o.more) == 0, nil
}

// outcome counts advisories.
type outcome struct {
	all, both, not, unknown int
	alone, more             []string
}

// weigh puts govulncheck's findings before Ward, and compares.
func weigh(all []theirs, calls callgraph.Calls, file string) outcome {
	called, found := map[string]bool{}, map[string]finding.Finding{}
	for _, t := range all {
		called[t.OSV] = called[t.OSV] || t.Trace[0].Function != ""
		found[t.OSV+" "+t.Trace[0].Module] = finding.Finding{
			ID: t.OSV, Kind: finding.Dependency, Location: finding.Location{Path: file},
			Package: &finding.Package{Ecosystem: "Go", Name: t.Trace[0].Module, Version: t.Trace[0].Version},
		}
	}
	list := make([]finding.Finding, 0, len(found))
	for _, f := range found {
		list = append(list, f)
	}
	calls.Mark(list)
	ours := map[string]finding.Reach{}
	for _, f := range list {
		ours[f.ID] = max(ours[f.ID], f.Called)
		if f.Called == finding.ReachUnknown && ours[f.ID] == finding.NotCalled {
			ours[f.ID] = finding.ReachUnknown
		}
	}
	o := outcome{all: len(called)}
	for id, theirs := range called {
		switch {
		case theirs && ours[id] == finding.Called:
			o.both++
		case theirs:
			o.alone = append(o.alone, id)
		case ours[id] == finding.Called:
			o.more = append(o.more, id)
		case ours[id] == finding.NotCalled:
			o.not++
		default:
			o.unknown++
		}
	}
	slices.Sort(o.alone)
	slices.Sort(o.more)
	return o
}

// govulncheck runs it as its users do: with C, and all settings of this machine but the toolchain.
func (j *judge) govulncheck(ctx context.Context, target string, source bool) ([]theirs, error) {
	args := []string{"-format", "json", "-db", "file://" + j.layout}
	c := exec.CommandContext(ctx, j.other, append(args, "./...")...)
	if source {
		c.Dir = target
	} else {
		c = exec.CommandContext(ctx, j.other, append(args, "-mode", "binary", target)...)
	}
	c.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	var errs bytes.Buffer
	c.Stderr = &errs
	b, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("govulncheck: %w: %s", err, errs.String())
	}
	var out []theirs
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		var m struct{ Finding *theirs }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if m.Finding != nil {
			out = append(out, *m.Finding)
		}
	}
}
