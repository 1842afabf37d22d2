package scanning

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/cap/update"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
)

// updateOptions are the flags of `ward update`.
type updateOptions struct {
	options
	remote, api, tokenFile            string
	names                             []string
	everything, major, plan, affected bool
	propose, asJSON, pins             bool
	watch                             time.Duration
}

// Update is `ward update`.
func Update(e cli.Env) *cobra.Command {
	var o updateOptions
	c := &cobra.Command{
		Use: "update [DIR]", Short: "Mend what is weak in dependencies: the smallest change that stands its trial, on a branch",
		Long: `Find the smallest set of newer parts (Go modules, packages of npm, yarn, pnpm and Composer, crates, Python's pinned requirements) that clears what 'ward scan' finds, try it in a sandbox that reaches nothing but the registry
(build, the project's own tests beside a baseline, scan again), and put what passed on a branch of its own: ward/update/…. The work tree isn't touched. With --propose
branches are pushed, and proposed on the forge that ward.yaml names (update: forge); the token is in $GITHUB_TOKEN or $GITLAB_TOKEN, or a file.
--pins pins base images and GitHub's actions, too. --plan only says what would be tried. A release must have been seen for as long as ward.yaml says (update: wait; three days).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			ctx, stop := signal.NotifyContext(cli.Background(c), os.Interrupt, syscall.SIGTERM) // so that trials are thrown away
			defer stop()
			return o.repeat(ctx, e, dir)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "the model (default DIR/ward.yaml, if there is one)")
	f.StringVar(&o.db, "db", "", "the index of advisories (default in the user's cache)")
	f.IntVar(&o.maxAge, "max-age", 0, "how many days old the advisories may be (default as ward.yaml says, or 7)")
	f.BoolVar(&o.plan, "plan", false, "only say what would be tried")
	f.BoolVar(&o.everything, "all", false, "bring everything that the project asks for up to date, not just what has findings")
	f.BoolVar(&o.major, "major", false, "leap to another major version where nothing needs it, too")
	f.StringSliceVar(&o.names, "only", nil, "only these parts, by name")
	f.BoolVar(&o.affected, "affected", false, "of Go projects test only the packages that use what changes: for large ones")
	f.BoolVar(&o.pins, "pins", false, "pin base images and GitHub's actions to what their tags stand for, too; asks their registries and GitHub")
	f.BoolVar(&o.propose, "propose", false, "push the branches, and propose them on the forge")
	f.StringVar(&o.remote, "remote", "origin", "where branches are pushed")
	f.StringVar(&o.api, "api", "", "the base URL of the forge's API, where it isn't the public one")
	f.StringVar(&o.tokenFile, "token-file", "", "the file that holds the forge's token")
	f.DurationVar(&o.watch, "watch", 0, "go on, and do it again at this interval, such as 24h")
	f.BoolVar(&o.asJSON, "json", false, "print the answer as JSON")
	return c
}

// repeat updates once, or at an interval until it is stopped. What fails is said, and tried again the next time.
func (o *updateOptions) repeat(ctx context.Context, e cli.Env, dir string) error {
	if o.watch == 0 {
		return o.run(ctx, e, dir)
	}
	if o.watch < 10*time.Minute {
		return fault.New(fault.Usage, "--watch: ten minutes at least: registries are others' machines")
	}
	t := time.NewTicker(o.watch)
	defer t.Stop()
	for {
		if err := o.run(ctx, e, dir); err != nil && ctx.Err() == nil {
			fmt.Fprintln(e.Err, "ward:", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *updateOptions) run(ctx context.Context, e cli.Env, dir string) error {
	s, err := o.request(e, dir)
	if err != nil {
		return err
	}
	s.Parts, s.Known, s.Analyser = []string{"dependencies"}, nil, nil
	policy := model.Update{}
	if s.Model != nil {
		policy = s.Model.Update
	}
	r := update.Request{
		Dir: s.Dir, Policy: policy, Scanner: looker{s}, All: o.everything, Major: o.major, Plan: o.plan, Only: o.names, Affected: o.affected, Remote: o.remote, Clock: clock.System{},
		Pins: o.pins, Skip: skipped(s),
		// It takes minutes, and is mostly read in a pipeline's log: said to whomever.
		Progress: func(what string) { fmt.Fprintf(e.Err, "%s …\n", what) },
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fault.New(fault.Usage, "there is no folder for caches: $HOME is not set")
	}
	r.SeenLog, r.Cache = filepath.Join(cache, "ward", "seen.jsonl"), filepath.Join(cache, "ward", "update-build")
	if err := os.MkdirAll(filepath.Dir(r.SeenLog), 0o700); err != nil {
		return fault.Wrap(fault.Invalid, "make "+filepath.Dir(r.SeenLog), err)
	}
	if o.propose {
		if r.Forge, err = o.forge(ctx, s.Dir, policy.Forge); err != nil {
			return err
		}
	}
	if r.Scratch, err = os.MkdirTemp("", "ward-update-"); err != nil {
		return fmt.Errorf("make a folder for trials: %w", err)
	}
	defer os.RemoveAll(r.Scratch)
	if err := os.Chmod(r.Scratch, 0o755); err != nil { // the sandbox's user passes through
		return fmt.Errorf("make a folder for trials: %w", err)
	}
	box := newJobs(r.Scratch)
	defer box.launcher.Close()
	r.Sandbox = box
	report, err := update.Run(ctx, r)
	if err != nil {
		return err
	}
	if o.asJSON {
		return cli.WriteJSON(e.Out, report)
	}
	return sayUpdate(e, report)
}

// skipped are the places that ward.yaml leaves out.
func skipped(s scan.Request) func(string) bool {
	return func(name string) bool {
		return s.Model != nil && slices.ContainsFunc(s.Model.Scan.Skip, func(p string) bool { return name == path.Join(path.Dir(s.File), p) })
	}
}

func (o *updateOptions) forge(ctx context.Context, dir, kind string) (update.Forge, error) {
	variable := map[string]string{"github": "GITHUB_TOKEN", "gitlab": "GITLAB_TOKEN"}[kind]
	if variable == "" {
		return nil, fault.New(fault.Usage, "ward.yaml names no forge to propose on; say update: {forge: github} or gitlab")
	}
	token := []byte(os.Getenv(variable))
	if o.tokenFile != "" {
		b, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "read "+o.tokenFile, err)
		}
		token = b
	}
	if token = []byte(strings.TrimSpace(string(token))); len(token) == 0 {
		return nil, fault.New(fault.Usage, "there is no token for the forge: set $"+variable+", or name a file with --token-file")
	}
	return update.OpenForge(ctx, dir, update.ForgeConfig{Remote: o.remote, Kind: kind, API: o.api, Token: secret.New(token)})
}

// looker scans folders as `ward scan` would, for their dependencies alone.
type looker struct{ scan.Request }

// Look implements update.Scanner.
func (l looker) Look(ctx context.Context, dir string) ([]finding.Package, []finding.Finding, error) {
	r := l.Request
	r.Dir, r.Name, r.Progress, r.Now = dir, dir, nil, time.Now()
	out, err := scan.Run(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if out.Blind != "" {
		return nil, nil, fault.New(fault.Refused, out.Blind)
	}
	if len(out.Problems) > 0 {
		return nil, nil, fault.New(fault.Refused, fmt.Sprintf("%s can't be looked at: %s", out.Problems[0].Path, out.Problems[0].Reason))
	}
	return out.Packages, out.Findings, nil
}

// jobs runs the trials' commands in Ward's own sandbox.
type jobs struct {
	launcher *sandbox.Launcher
	host     sandbox.Host
}

func newJobs(base string) *jobs { return &jobs{sandbox.NewLauncher(), sandbox.JobHost(base)} }

// Run implements update.Sandbox.
func (j *jobs) Run(ctx context.Context, job update.Job) (int, error) {
	exit, err := j.launcher.RunJob(ctx, sandbox.Job(job), j.host)
	return exit.Code, err
}

func sayUpdate(e cli.Env, r *update.Report) error {
	say := func(ch *update.Change) {
		fmt.Fprintf(e.Out, "    %s %s → %s (%s)", ch.Name, ch.From, ch.To, ch.Risk)
		if len(ch.Mends) > 0 {
			fmt.Fprintf(e.Out, ", mends %s", strings.Join(ch.Mends, ", "))
		}
		fmt.Fprintln(e.Out)
	}
	for i := range r.Planned {
		fmt.Fprintf(e.Out, "would try together (%s):\n", r.Planned[i].Risk)
		for j := range r.Planned[i].Changes {
			say(&r.Planned[i].Changes[j])
		}
	}
	for i := range r.Proposals {
		p := &r.Proposals[i]
		fmt.Fprintf(e.Out, "%s\n    branch %s, commit %.12s\n", p.Title, p.Branch, p.Commit)
		for j := range p.Changes {
			say(&p.Changes[j])
		}
		if p.Untried {
			fmt.Fprintln(e.Out, "    nothing was built: what a pin leads to can't be tried")
		} else {
			fmt.Fprintf(e.Out, "    it builds; %d tests passed as before, %d say nothing; %d findings cleared, %d new\n", p.Tests, p.Unsure, len(p.Cleared), len(p.New))
		}
		for _, n := range p.Notices {
			fmt.Fprintf(e.Out, "    %s\n", n)
		}
		if p.URL != "" {
			fmt.Fprintf(e.Out, "    %s\n", p.URL)
		}
		if p.Merged {
			fmt.Fprintln(e.Out, "    merged")
		}
		if p.Note != "" {
			fmt.Fprintf(e.Out, "    %s\n", p.Note)
		}
	}
	for _, h := range r.Held {
		to := ""
		if h.To != "" {
			to = " → " + h.To
		}
		fmt.Fprintf(e.Out, "held: %s %s%s in %s: %s\n", h.Name, h.Version, to, h.Path, h.Reason)
	}
	if len(r.Planned)+len(r.Proposals)+len(r.Held) == 0 {
		fmt.Fprintln(e.Out, "everything is as it should be: nothing to update")
	}
	fmt.Fprintf(e.Out, "findings in dependencies: %d now, %d with all proposals merged\n", r.Before, r.After)
	return nil
}
