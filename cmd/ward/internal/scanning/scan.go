// Package scanning holds the verbs that look for weaknesses and mend them: scan and update.
package scanning

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/up"
)

// options are the flags of `ward scan`.
type options struct {
	file, format, output, since, db      string
	archive, keyring                     string
	only, sarif, vex, sbom, images, with []string
	all, noCalls, noHistory              bool
	maxAge                               int
}

// Scan is `ward scan`.
func Scan(e cli.Env) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "scan [DIR]", Short: "Find what is weak in code, dependencies, configuration and ward.yaml, most dangerous first",
		Long: `Find what is weak in a folder (the current one if none is named), most dangerous first for the application that its ward.yaml describes:
vulnerable and malicious dependencies, weak configuration, and what ward.yaml itself allows too broadly. It needs no network: advisories come from
'ward scan db update'. Exit code 1 if something is as bad as ward.yaml's scan: fail says (high if it says nothing), or couldn't be looked at.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			} else if len(o.images) > 0 && len(o.only) == 0 {
				o.only = []string{"images"}
			}
			return o.run(cli.Background(c), e, dir)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "the model (default DIR/ward.yaml, if there is one)")
	f.StringVar(&o.format, "format", "table", "one of "+strings.Join(scan.Formats(), ", "))
	f.StringVarP(&o.output, "output", "o", "", "write to this file instead of the terminal")
	f.StringVar(&o.since, "since", "", "don't count what was there already: an earlier report in JSON, or a commit")
	f.StringVar(&o.db, "db", "", "the index of advisories (default in the user's cache)")
	f.IntVar(&o.maxAge, "max-age", 0, "how many days old the advisories may be (default as ward.yaml says, or 7)")
	f.StringSliceVar(&o.only, "only", nil, "scan only these: "+strings.Join(scan.Parts(), ", "))
	f.StringArrayVar(&o.sarif, "sarif", nil, "take in what another analyser found")
	f.StringArrayVar(&o.vex, "vex", nil, "an OpenVEX document whose statements count")
	f.StringArrayVar(&o.images, "image", nil, "look into a container image: an archive, a folder with an OCI layout, or a name in a registry; without DIR into nothing else")
	f.StringVar(&o.archive, "archive", "", "with --image: the base URL of the distribution's signed security archive, to ask about its packages")
	f.StringVar(&o.keyring, "keyring", "", "the keys that sign the archive (default Debian's own, as installed on this machine)")
	f.StringArrayVar(&o.sbom, "sbom", nil, "a bill of materials (CycloneDX or SPDX, JSON) whose parts count, too")
	f.StringSliceVar(&o.with, "with", nil, "run these analysers too, which must be installed and aren't sandboxed: "+strings.Join(scan.Analysers(), ", "))
	f.BoolVar(&o.noHistory, "no-history", false, "don't look for credentials in git's history")
	f.BoolVar(&o.noCalls, "no-calls", false, "don't ask which weak functions Go code calls; it takes seconds a module")
	f.BoolVar(&o.all, "all", false, "show suppressed findings in the table, too")
	c.AddCommand(newDB(e), newRules(e), newReady(e))
	return c
}

func (o *options) run(ctx context.Context, e cli.Env, dir string) error {
	r, err := o.request(e, dir)
	if err != nil {
		return err
	}
	if o.since != "" {
		if err := baseline(ctx, &r, o.since); err != nil {
			return err
		}
	}
	box := newJobs(r.Dir)
	defer box.launcher.Close()
	r.Sandbox = loading{box}
	report, err := scan.Run(ctx, r)
	if err != nil {
		return err
	}
	if err := o.write(e, report); err != nil {
		return err
	}
	if report.Fails {
		return cli.ErrFindings
	}
	return nil
}

// loading runs what loads a tree's Go code in Ward's own sandbox.
type loading struct{ *jobs }

// Run implements scan.Sandbox.
func (l loading) Run(ctx context.Context, j scan.Job) (int, error) {
	exit, err := l.launcher.RunJobApart(ctx, sandbox.Job{
		Name: j.Name, Argv: j.Argv, Dir: j.Dir, Env: j.Env, Read: j.Read, Write: j.Write, Programs: j.Programs, PIDs: 4096, Output: j.Out,
	}, l.host, j.Errs)
	return exit.Code, err
}

// request is what to scan: the folder, with the model if there is one.
func (o *options) request(e cli.Env, dir string) (scan.Request, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return scan.Request{}, fault.Wrap(fault.Invalid, "scan "+dir, err)
	}
	if st, err := os.Stat(abs); err != nil || !st.IsDir() {
		return scan.Request{}, fault.New(fault.Usage, dir+" is no folder")
	}
	r := scan.Request{Dir: abs, Name: dir, Now: time.Now(), Parts: o.only, SARIF: o.sarif, VEX: o.vex, SBOM: o.sbom, Images: o.images, With: o.with, NoHistory: o.noHistory, DB: o.db, MaxAge: time.Duration(o.maxAge) * 24 * time.Hour}
	if r.DB == "" {
		if r.DB, err = defaultDB(); err != nil {
			return scan.Request{}, err
		}
	}
	if cache, err := os.UserCacheDir(); err == nil {
		r.Cache = filepath.Join(cache, "ward", "scan-build")
	}
	if !o.noCalls {
		self, err := os.Executable()
		if err != nil {
			return scan.Request{}, fault.Wrap(fault.Internal, "find this program", err)
		}
		r.Analyser = []string{self, analyseVerb}
	}
	if o.archive != "" {
		r.Archive = scan.Archive{
			Mirror: o.archive, Keyring: o.keyring, Components: []string{"main"}, Arch: "amd64", Changelogs: true, Cache: filepath.Join(filepath.Dir(r.DB), "archives"),
		}
	}
	if cli.IsTerminal(e.Err) {
		r.Progress = func(what string) { fmt.Fprintf(e.Err, "looking at %s …\n", what) }
	}
	return r, o.model(e, &r)
}

// model reads ward.yaml. It must lie in the tree: its paths, and those of findings, are seen from there.
func (o *options) model(e cli.Env, r *scan.Request) error {
	file := o.file
	if file == "" {
		file = filepath.Join(r.Dir, cli.DefaultFile)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return fault.Wrap(fault.Invalid, "read "+file, err)
	}
	rel, err := filepath.Rel(r.Dir, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return fault.New(fault.Usage, fmt.Sprintf("%s doesn't lie in %s: scan the folder that holds both", file, r.Name))
	}
	m, said, err := cli.ReadModel(file)
	if err != nil {
		return err
	}
	if said.HasErrors() {
		io.WriteString(e.Err, said.Only(model.Error).String())
		return cli.ErrFindings
	}
	r.Model, r.Said, r.File = m, said, filepath.ToSlash(rel)
	r.Known, err = known(file)
	return err
}

// known are the fingerprints of the secrets of the application that runs from a file, nil if none does.
func known(file string) (*leak.Fingerprints, error) {
	p, err := up.FindPaths(file)
	if err != nil || p.Runs() == nil {
		return nil, nil //nolint:nilerr // nothing runs here
	}
	told, err := p.Admin().Fingerprints(context.Background(), "")
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "ask the application that runs for its secrets' fingerprints", err)
	}
	return leak.Unmarshal(told.Prints)
}

func (o *options) write(e cli.Env, r *scan.Report) error {
	show := scan.Show{All: o.all, Release: release()}
	if o.output == "" {
		show.Color = o.format == "table" && cli.IsTerminal(e.Out)
		return scan.Write(e.Out, r, o.format, show)
	}
	f, err := os.Create(o.output)
	if err != nil {
		return fault.Wrap(fault.Invalid, "write "+o.output, err)
	}
	if err := scan.Write(f, r, o.format, show); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fault.Wrap(fault.Unavailable, "write "+o.output, err)
	}
	fmt.Fprintf(e.Err, "written to %s\n", o.output)
	return nil
}

// defaultDB is where the user's index lies.
func defaultDB() (string, error) {
	if file := os.Getenv(dbVariable); file != "" {
		return file, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fault.New(fault.Usage, "there is no folder for caches ($HOME is not set); say where the advisories lie with --db or $WARD_ADVISORIES")
	}
	return filepath.Join(dir, "ward", "advisories.db"), nil
}

// analyseVerb is the hidden verb of the process that analyses calls.
const analyseVerb = "analyse-calls"
