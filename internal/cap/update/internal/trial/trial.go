// Package trial shows whether a project still works with other versions of its parts: fetched, built, tested and scanned in a folder that
// is thrown away, beside a baseline of the same commit.
//
// Guarantee: the user's tree and its .git are only read; code of the project and of its parts runs only inside the Sandbox, without
// network, home, environment or the files to carry back, which were taken before any of it ran; install scripts don't run unless asked for; only
// fetching reaches the registry, and runs nobody's code. A test that failed or flapped in the baseline doesn't count; one that counts and
// is gone has failed. Not guaranteed: that a hostile part which is tried doesn't fake its own verdict; that tests are any good.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/finding"
)

// Job is one command for the sandbox. Its fields are those of the sandbox's own Job, in their order, so that one converts to the other.
type Job struct {
	Name        string
	Argv        []string
	Dir         string
	Env         []string
	Read, Write map[string]string // paths inside → folders of the host
	Programs    []string
	Reach       []string // "host:port"; empty for no network at all
	MemoryBytes int64
	PIDs        int
	Output      io.Writer
}

// Sandbox runs a job with nothing but what it says, and returns its exit code: -1 if it was killed.
type Sandbox interface {
	Run(ctx context.Context, j Job) (exit int, err error)
}

// Scanner finds what is weak in a tree. Only manifests and lock files differ from the commit's; nobody's code has run in it.
type Scanner interface {
	Scan(ctx context.Context, dir string) ([]finding.Finding, error)
}

// Config is one project at one commit.
type Config struct {
	Repo   string // a Git repository
	Commit string // its full name
	Dir    string // of the project in the tree, "." for its root
	// Ecosystem is choose.Go, choose.NPM, choose.Crates, choose.PyPI or choose.Packagist.
	Ecosystem string
	Lock      string // npm: the base name of the lock file, which says the tool; "" for package-lock.json. PyPI: of the requirements file, from Dir
	Go        registry.GoEnv
	NPM       registry.NPMEnv
	Cargo     registry.CargoEnv
	PyPI      registry.PyPIEnv
	Composer  registry.ComposerEnv
	CA        string // npm: a file with further certificates to trust; "" for the system's
	// Wait keeps npm and pnpm from taking other parts that are younger at Now, but for changes that skip the waiting time; 0 for no limit.
	Wait    time.Duration
	Now     time.Time
	Scratch string // a folder of ours, in which the trial makes its own; its way must be open to the sandbox's user
	// BuildCache is a folder that warms Go's builds, and is only ever written by baselines; "" for none.
	BuildCache  string
	Sandbox     Sandbox
	Scanner     Scanner       // nil: nothing is scanned
	Tests       []string      // Go: the packages that are tested; empty for all
	Scripts     bool          // npm: run install scripts, in the sandbox, without network
	Step        time.Duration // the most that one step may take; 0 for 15 minutes
	MemoryBytes int64         // 0 for 4 GB
	Progress    func(string)  // may be nil
}

// Held is a change that didn't stand its trial.
type Held struct {
	Change choose.Change `json:"change"`
	Reason string        `json:"reason"`
	Output string        `json:"output,omitempty"` // the end of what was printed, without control characters
}

// Outcome is what a trial of changes came to.
type Outcome struct {
	Passed []choose.Change   `json:"passed"`
	Held   []Held            `json:"held,omitempty"`
	Files  map[string][]byte `json:"-"`      // manifests and lock files that differ, by path in the tree; only with Passed
	Tests  int               `json:"tests"`  // how many count, all of which passed
	Unsure int               `json:"unsure"` // how many failed or flapped in the baseline, and don't count
	Cleared,
	New []finding.Finding // by fingerprint, against the baseline; empty without a Scanner
	Attempts int `json:"attempts"`
}

// Limits of one trial.
const (
	maxAttempts   = 40
	defaultStep   = 15 * time.Minute
	defaultMemory = 4 << 30
	maxPIDs       = 2048
	maxManifest   = 64 << 20
)

// manifests are what may be carried back.
var manifests = []string{"go.mod", "go.sum", "package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "Cargo.toml", "Cargo.lock", "composer.json", "composer.lock"}

// Trial is a project with its baseline.
type Trial struct {
	config   Config
	kit      kit
	home     string // the trial's folder
	baseline results
	known    map[string]finding.Finding // by fingerprint
	attempts int
	before   map[string][]byte // manifests of the commit
}

// kit is an ecosystem's own tools.
type kit interface {
	// update makes changes in a tree and fetches what is needed, with the registry in reach. It runs nobody's code.
	update(ctx context.Context, a *attempt, changes []choose.Change) error
	// build and test run the project's code, without network.
	build(ctx context.Context, a *attempt) error
	test(ctx context.Context, a *attempt) (results, error)
}

// attempt is one tree with one set of changes.
type attempt struct {
	*Trial
	dir   string        // of the host
	net   bool          // the registry is in reach, and caches may be written
	first bool          // the baseline
	wait  time.Duration // parts that nobody chose are no younger; 0 for no limit
}

// Begin checks the commit out and makes its baseline. The caller closes the trial.
func Begin(ctx context.Context, c Config) (*Trial, error) {
	if c.Step == 0 {
		c.Step = defaultStep
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = defaultMemory
	}
	if c.Dir = path.Clean(c.Dir); !filepath.IsLocal(c.Dir) {
		return nil, fault.New(fault.Invalid, "the project's folder isn't in its repository")
	}
	t := &Trial{config: c}
	var err error
	switch c.Ecosystem {
	case choose.Go:
		t.kit, err = newGoKit(c)
	case choose.NPM:
		t.kit, err = newJSKit(c)
	case choose.Crates:
		t.kit, err = newCargoKit(c)
	case choose.PyPI:
		t.kit, err = newPipKit(c)
	case choose.Packagist:
		t.kit, err = newComposerKit(c)
	default:
		err = fault.New(fault.Unsupported, "updates of "+c.Ecosystem+" can't be tried yet")
	}
	if err != nil {
		return nil, err
	}
	if t.home, err = os.MkdirTemp(c.Scratch, "trial-"); err != nil {
		return nil, fmt.Errorf("begin trial: %w", err)
	}
	if err := t.makeBaseline(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("the project as it is: %w", err), t.Close())
	}
	return t, nil
}

// Close throws everything away.
func (t *Trial) Close() error {
	// What a job wrote may be closed even to us, if we are an ordinary user.
	_ = filepath.WalkDir(t.home, func(p string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // the removal below tells
		}
		return nil
	})
	if err := os.RemoveAll(t.home); err != nil {
		return fmt.Errorf("end trial: %w", err)
	}
	return nil
}

// caches are the folders that all attempts share.
func (t *Trial) caches() []string { return []string{"mod", "npm", "build"} }

func (t *Trial) makeBaseline(ctx context.Context) error {
	if err := os.Chmod(t.home, 0o755); err != nil {
		return err
	}
	for _, d := range t.caches() {
		if err := os.Mkdir(filepath.Join(t.home, d), 0o755); err != nil {
			return err
		}
	}
	if t.config.BuildCache != "" {
		if err := copyTree(filepath.Join(t.home, "build"), t.config.BuildCache); err != nil {
			return err
		}
	}
	a, err := t.checkout(ctx)
	if err != nil {
		return err
	}
	a.first = true
	if t.before, err = a.carry(); err != nil {
		return err
	}
	if err := t.kit.update(ctx, a, nil); err != nil {
		return err
	}
	now, err := a.carry()
	if err != nil {
		return err
	}
	if t.known, err = a.scan(ctx); err != nil {
		return err
	}
	a.net = false
	if err := t.kit.build(ctx, a); err != nil {
		return err
	}
	for i := range 2 {
		r, err := a.tests(ctx, now)
		if err != nil {
			return err
		}
		if i == 0 {
			t.baseline = r
		} else {
			t.baseline.flap(r)
		}
	}
	if t.config.BuildCache != "" {
		return replaceTree(t.config.BuildCache, filepath.Join(t.home, "build"))
	}
	return nil
}

// checkout makes a tree of the commit for an attempt.
func (t *Trial) checkout(ctx context.Context) (*attempt, error) {
	dir, err := os.MkdirTemp(t.home, "tree-")
	if err != nil {
		return nil, fmt.Errorf("check out: %w", err)
	}
	for _, d := range []string{"", "tree", "tmp", "home", "build"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("check out: %w", err)
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("check out: %w", err)
		}
	}
	if err := checkout(ctx, t.config.Repo, t.config.Commit, filepath.Join(dir, "tree")); err != nil {
		return nil, err
	}
	return &attempt{Trial: t, dir: dir, net: true}, nil
}

// Where things are inside.
const (
	inTree  = "/trial/tree"
	inTmp   = "/trial/tmp"
	inHome  = "/trial/home"
	inMod   = "/trial/mod"
	inNPM   = "/trial/npm"
	inBuild = "/trial/build"
	inWarm  = "/trial/warm"
)

// run runs one command inside, and returns the end of what it printed. A command that fails is a failure.
func (a *attempt) run(ctx context.Context, env []string, out io.Writer, argv ...string) error {
	if a.config.Progress != nil {
		a.config.Progress(strings.Join(argv, " "))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.config.Step, fmt.Errorf("it took longer than %s", a.config.Step))
	defer cancel()
	end := &tail{}
	j := Job{
		Name: filepath.Base(a.home), Argv: argv, Dir: path.Join(inTree, a.config.Dir), Env: env, Read: map[string]string{},
		Write:       map[string]string{inTree: filepath.Join(a.dir, "tree"), inTmp: filepath.Join(a.dir, "tmp"), inHome: filepath.Join(a.dir, "home")},
		MemoryBytes: a.config.MemoryBytes, PIDs: maxPIDs, Output: end,
	}
	if out != nil {
		j.Output = io.MultiWriter(end, out)
	}
	// What a job without network wrote would be believed by the next attempt.
	shared := j.Read
	if a.net {
		shared = j.Write
	}
	shared[inMod], shared[inNPM] = filepath.Join(a.home, "mod"), filepath.Join(a.home, "npm")
	j.Write[inBuild] = filepath.Join(a.dir, "build")
	if a.first {
		j.Write[inBuild] = filepath.Join(a.home, "build")
	}
	var err error
	if j, err = a.equip(j); err != nil {
		return err
	}
	code, err := a.config.Sandbox.Run(ctx, j)
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return &failure{strings.Join(argv, " ") + ": " + context.Cause(ctx).Error(), end.String()}
	case err != nil:
		return fmt.Errorf("run %s: %w", argv[0], err)
	case code != 0:
		return &failure{fmt.Sprintf("%s ends with %d", clip(strings.Join(argv, " ")), code), end.String()}
	}
	return nil
}

// equip gives a job the toolchain, and the registry where it may be reached.
func (a *attempt) equip(j Job) (Job, error) {
	var hosts []string
	var err error
	switch a.config.Ecosystem {
	case choose.Crates:
		if root := a.config.Cargo.Root; root != "" {
			j.Programs = []string{root}
		}
		hosts, err = a.config.Cargo.Hosts()
	case choose.PyPI:
		if root := a.config.PyPI.Root; root != "" {
			j.Programs = []string{root}
		}
		hosts, err = a.config.PyPI.Hosts()
	case choose.Packagist:
		hosts, err = a.config.Composer.Hosts()
	case choose.Go:
		j.Programs = []string{a.config.Go.Root}
		hosts, err = a.config.Go.Hosts()
		warm := filepath.Join(a.config.Go.ModCache, "cache", "download")
		if st, e := os.Stat(warm); a.net && e == nil && st.IsDir() {
			j.Read[inWarm] = warm
		}
	default:
		hosts, err = a.config.NPM.Hosts()
		if k, ok := a.kit.(interface{ program() string }); ok {
			j.Programs = []string{k.program()}
		}
	}
	if a.net {
		j.Reach = hosts
	}
	return j, err
}

// failure is a step that didn't succeed: it speaks against the changes, not against the machine.
type failure struct{ reason, output string }

func (f *failure) Error() string { return f.reason + ":\n" + lastLines(f.output) }

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// lastLines is the end of an output, for an error.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// scan looks at a tree in which nobody's code has run yet.
func (a *attempt) scan(ctx context.Context) (map[string]finding.Finding, error) {
	out := map[string]finding.Finding{}
	if a.config.Scanner == nil {
		return out, nil
	}
	all, err := a.config.Scanner.Scan(ctx, filepath.Join(a.dir, "tree"))
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	for _, f := range all {
		out[f.Fingerprint()] = f
	}
	return out, nil
}

// carry reads the manifests, following no link.
func (a *attempt) carry() (map[string][]byte, error) {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return nil, fmt.Errorf("carry back: %w", err)
	}
	defer root.Close()
	out := map[string][]byte{}
	names := manifests
	if a.config.Ecosystem == choose.PyPI {
		names = []string{a.config.Lock}
	}
	for _, name := range names {
		p := path.Join(a.config.Dir, name)
		st, err := root.Lstat(p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("carry back: %w", err)
		}
		if !st.Mode().IsRegular() || st.Size() > maxManifest {
			return nil, fault.New(fault.Refused, p+" isn't an ordinary file of bearable size")
		}
		if out[p], err = root.ReadFile(p); err != nil {
			return nil, fmt.Errorf("carry back: %w", err)
		}
	}
	return out, nil
}

// tests runs them with the manifests as they were: tests may write anything, and the next run would see it.
func (a *attempt) tests(ctx context.Context, files map[string][]byte) (results, error) {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return results{}, fmt.Errorf("put manifests back: %w", err)
	}
	defer root.Close()
	for p, b := range files {
		if err := root.RemoveAll(p); err != nil {
			return results{}, fmt.Errorf("put manifests back: %w", err)
		}
		if err := root.WriteFile(p, b, 0o644); err != nil {
			return results{}, fmt.Errorf("put manifests back: %w", err)
		}
	}
	return a.kit.test(ctx, a)
}

// differing are the manifests that aren't as in the commit.
func (t *Trial) differing(now map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for p, b := range now {
		if string(b) != string(t.before[p]) || t.before[p] == nil {
			out[p] = b
		}
	}
	return out
}

// minus are the findings of one scan that another one doesn't have, in the order of their fingerprints.
func minus(a, b map[string]finding.Finding) []finding.Finding {
	var out []finding.Finding
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[k]; !ok {
			out = append(out, a[k])
		}
	}
	return out
}
