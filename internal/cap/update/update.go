package update

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/branch"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/forge"
	"github.com/wardhq/ward/internal/cap/update/internal/trial"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
)

// Scanner tells which parts a folder has, and what is weak in them.
type Scanner interface {
	Look(ctx context.Context, dir string) (parts []finding.Package, found []finding.Finding, err error)
}

type (
	// Sandbox runs one command with nothing but what it says.
	Sandbox = trial.Sandbox
	// Job is such a command.
	Job = trial.Job
	// Change is one part's new version, Held one that isn't taken, with the reason.
	Change = choose.Change
	Held   = choose.Held
)

// Request says what to bring up to date.
type Request struct {
	Dir     string // in a git repository, absolute
	Policy  model.Update
	Scanner Scanner
	Sandbox Sandbox
	SeenLog string // the file of first-seen releases
	Scratch string // a folder for trials, of ours; its way must be open to the sandbox's user
	Cache   string // a folder that keeps Go's builds warm from one trial to the next, of each repository its own; "" for none
	Forge   forge.Forge
	Remote  string   // where branches are pushed, for Forge
	All     bool     // bring up to date what has no finding, too
	Major   bool     // leap to other major versions where nothing needs it
	Plan    bool     // only say what would be tried
	Only    []string // only these parts; empty for all
	// Affected: of Go projects only the packages whose tests use a changed module are tested. What else may break isn't seen.
	Affected bool
	Pins     bool // pin images and actions, too
	// Skip tells which files and folders, from the root of the repository, have no pins; it may be nil.
	Skip  func(string) bool
	Clock clock.Clock
	// Progress is told what is done now; it may be nil.
	Progress func(string)
	sources  sources // for tests; zero for the real registries
}

// Proposal is a set of changes that stood its trial.
type Proposal struct {
	Branch  string            `json:"branch,omitempty"`
	Commit  string            `json:"commit,omitempty"`
	URL     string            `json:"url,omitempty"` // on the forge
	Title   string            `json:"title"`
	Body    string            `json:"body"`
	Risk    string            `json:"risk"`
	Changes []Change          `json:"changes"`
	Tests   int               `json:"tests"`  // that count, and passed
	Unsure  int               `json:"unsure"` // that failed or flapped before the change, too
	Cleared []finding.Finding `json:"cleared,omitempty"`
	New     []finding.Finding `json:"new,omitempty"`
	Notices []string          `json:"notices,omitempty"` // what else changes: new parts, licences, install scripts, the language's version
	Breaks  int               `json:"breaks,omitempty"`  // what is used of the parts' APIs and is gone or changed, or couldn't be compared
	Merged  bool              `json:"merged,omitempty"`
	Untried bool              `json:"untried,omitempty"` // pins: nothing was built or tested
	Note    string            `json:"note,omitempty"`    // why it wasn't merged, or not proposed
	files   map[string][]byte
}

// Report is what came of it.
type Report struct {
	Base      string     `json:"base"` // the commit
	Planned   []Planned  `json:"planned,omitempty"`
	Proposals []Proposal `json:"proposals"`
	Held      []Held     `json:"held"`
	// Before and After count the findings that aren't suppressed: in the commit, and if all proposals were merged.
	Before int `json:"before"`
	After  int `json:"after"`
}

// Planned is a group that would be tried.
type Planned struct {
	Risk    string   `json:"risk"`
	Changes []Change `json:"changes"`
}

// run is one update under way.
type run struct {
	Request
	repo   branch.Repo
	root   string
	base   string
	onto   string // the branch that is checked out
	parts  []finding.Package
	tested map[project]int // packages whose tests run; 0 for all
	report Report

	envLock sync.Mutex // guards envs
	envs    map[project]sources
}

// maxRounds bounds how often the result of changes is looked at again for what they brought in.
const maxRounds = 4

// Run looks, chooses, tries, and puts what passed on branches: each group of changes by itself.
func Run(ctx context.Context, r Request) (*Report, error) {
	u := &run{Request: r, repo: branch.Repo{Dir: r.Dir}, tested: map[project]int{}}
	u.report.Proposals, u.report.Held = []Proposal{}, []Held{}
	var err error
	if u.base, u.onto, err = u.repo.Head(ctx); err != nil {
		return nil, err
	}
	if u.root, err = u.repo.Root(ctx); err != nil {
		return nil, err
	}
	u.report.Base = u.base
	u.say("looking at the parts and their releases")
	parts, found, err := u.Scanner.Look(ctx, u.root)
	if err != nil {
		return nil, err
	}
	u.report.Before = counted(found)
	u.report.After, u.parts = u.report.Before, parts
	if err := u.clean(ctx, parts); err != nil {
		return nil, err
	}
	choice, err := u.choose(ctx, u.root, parts, found)
	if err != nil {
		return nil, err
	}
	u.keep(choice.Held...)
	if r.Plan {
		for _, g := range choice.Groups {
			u.report.Planned = append(u.report.Planned, Planned{g.Risk.String(), g.Changes})
		}
	} else if err := u.try(ctx, choice.Groups); err != nil {
		return &u.report, err
	}
	if r.Pins {
		return &u.report, u.pinAll(ctx)
	}
	return &u.report, nil
}

// wait is how long a release must have been there.
func (u *run) wait() time.Duration {
	if u.Policy.WaitDays > 0 {
		return time.Duration(u.Policy.WaitDays) * 24 * time.Hour
	}
	return choose.Wait
}

func (u *run) say(what string) {
	if u.Progress != nil {
		u.Progress(what)
	}
}

// counted is how many findings count.
func counted(found []finding.Finding) int {
	n := 0
	for i := range found {
		if found[i].Suppressed == nil {
			n++
		}
	}
	return n
}

// clean makes sure that the manifests are those of the commit: what isn't committed would be lost on the branch.
func (u *run) clean(ctx context.Context, parts []finding.Package) error {
	seen := map[string]bool{}
	for i := range parts {
		p := parts[i].Location.Path
		if seen[p] {
			continue
		}
		seen[p] = true
		if changed, err := u.repo.Changed(ctx, u.base, p); err != nil {
			return err
		} else if changed {
			return fault.New(fault.Refused, p+" has changes that aren't committed: commit them first, or undo them")
		}
	}
	return nil
}

// choose asks the registries about the parts that matter, and makes the choice.
func (u *run) choose(ctx context.Context, dir string, parts []finding.Package, found []finding.Finding) (choose.Choice, error) {
	asked, err := u.gather(ctx, dir, parts, found)
	if err != nil {
		return choose.Choice{}, err
	}
	if len(u.Only) > 0 {
		asked = slices.DeleteFunc(asked, func(p choose.Part) bool { return !slices.Contains(u.Only, p.Name) })
	}
	p := choose.Policy{
		Now: u.Clock.Now(), Wait: u.wait(), All: u.All, Major: u.Major, Grown: u.grown(ctx),
	}
	if p.Ignore, err = u.ignored(); err != nil {
		return choose.Choice{}, err
	}
	if u.Forge != nil {
		open, err := u.Forge.List(ctx, branch.Prefix)
		if err != nil {
			return choose.Choice{}, err
		}
		// Our own open ones are refreshed, not added to; what is over the limit waits.
		p.Limit = max(cmp.Or(u.Policy.Limit, defaultLimit), len(open))
	}
	return choose.Choose(asked, p), nil
}

const defaultLimit = 5

// ignored are the parts that the model leaves alone.
func (u *run) ignored() (out []choose.Ignore, err error) {
	for _, i := range u.Policy.Ignore {
		until, err := time.Parse(time.DateOnly, i.Until)
		if err != nil {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("update: ignore of %s: %q is no day", i.Package, i.Until))
		}
		out = append(out, choose.Ignore{Name: i.Package, Reason: i.Reason, Until: until.AddDate(0, 0, 1)})
	}
	return out, nil
}

// project is one folder of one ecosystem, with the name of its lock file.
type project struct{ ecosystem, dir, lock string }

func projectAt(ecosystem, file string) project {
	if dir, in := path.Split(path.Dir(file)); ecosystem == choose.PyPI && in == "requirements" { // the project is where its code is
		return project{ecosystem, path.Clean(dir), path.Join(in, path.Base(file))}
	}
	return project{ecosystem, path.Dir(file), path.Base(file)}
}
func projectOf(ch *Change) project { return projectAt(ch.Ecosystem, ch.Path) }

// try tries each group in its project's sandbox, and proposes what passes.
func (u *run) try(ctx context.Context, groups []choose.Group) error {
	trials := map[project]*trial.Trial{}
	defer func() {
		for _, t := range trials {
			_ = t.Close() // what is left lies in our scratch folder
		}
	}()
	for _, g := range groups {
		where := projectOf(&g.Changes[0])
		t := trials[where]
		if t == nil {
			u.say("the project as it is: " + path.Join(where.dir, "…"))
			var err error
			if t, err = u.begin(ctx, where, groups); err != nil {
				u.hold(g.Changes, err.Error())
				if ctx.Err() != nil {
					return err
				}
				continue
			}
			trials[where] = t
		}
		p, err := u.group(ctx, t, g)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		if err := u.propose(ctx, p); err != nil {
			return err
		}
		u.report.Proposals = append(u.report.Proposals, *p)
		u.report.After = u.report.Before + net(u.report.Proposals)
	}
	return nil
}

// net is how many findings all proposals together bring in, less those that they clear: one that two of them clear counts once.
func net(all []Proposal) int {
	cleared, fresh := map[string]bool{}, map[string]bool{}
	for _, p := range all {
		note(cleared, p.Cleared)
		note(fresh, p.New)
	}
	return len(fresh) - len(cleared)
}

func note(set map[string]bool, found []finding.Finding) {
	for i := range found {
		if found[i].Suppressed == nil {
			set[found[i].Fingerprint()] = true
		}
	}
}

func (u *run) hold(changes []Change, reason string) {
	for _, ch := range changes {
		u.keep(Held{Ecosystem: ch.Ecosystem, Name: ch.Name, Version: ch.From, To: ch.To, Path: ch.Path, Findings: ch.Mends, Reason: reason})
	}
}

// keep adds what is held, each once: a group may be tried several times.
func (u *run) keep(held ...Held) {
	for _, h := range held {
		if !slices.ContainsFunc(u.report.Held, func(o Held) bool {
			return o.Ecosystem == h.Ecosystem && o.Name == h.Name && o.Version == h.Version && o.To == h.To && o.Path == h.Path && o.Reason == h.Reason
		}) {
			u.report.Held = append(u.report.Held, h)
		}
	}
}

func (u *run) begin(ctx context.Context, p project, groups []choose.Group) (*trial.Trial, error) {
	s, err := u.env(ctx, p)
	if err != nil {
		return nil, err
	}
	tests, err := u.affected(ctx, p, groups)
	if err != nil {
		return nil, err
	}
	u.tested[p] = len(tests)
	if u.Cache != "" {
		if err := os.MkdirAll(u.Cache, 0o700); err != nil {
			return nil, fmt.Errorf("make a folder for what is built: %w", err)
		}
	}
	return trial.Begin(ctx, trial.Config{
		Repo: u.root, Commit: u.base, Dir: p.dir, Ecosystem: p.ecosystem, Lock: p.lock, Go: s.goEnv, NPM: s.npmEnv, Cargo: s.cargo, PyPI: s.pypi, Composer: s.composer, CA: s.ca, Scratch: u.Scratch, BuildCache: u.buildCache(p),
		Sandbox: u.Sandbox, Scanner: lookOnly{u.Scanner}, Progress: u.Progress, Tests: tests,
		Now: u.Clock.Now(), Wait: u.wait(),
	})
}

// buildCache is where a project's builds are kept warm: one for each repository, since what a project's own code writes there would be believed by others.
func (u *run) buildCache(p project) string {
	if u.Cache == "" || p.ecosystem != choose.Go {
		return ""
	}
	sum := sha256.Sum256([]byte(u.root))
	return filepath.Join(u.Cache, hex.EncodeToString(sum[:8]))
}

// lookOnly is the trial's view of a scanner.
type lookOnly struct{ Scanner }

func (l lookOnly) Scan(ctx context.Context, dir string) ([]finding.Finding, error) {
	_, found, err := l.Look(ctx, dir)
	return found, err
}

// trier is a trial.
type trier interface {
	Try(ctx context.Context, changes []Change) (*trial.Outcome, error)
}

// group tries one group until nothing is left to mend of what it brings in itself, and says what passed; nil if nothing did.
func (u *run) group(ctx context.Context, t trier, g choose.Group) (*Proposal, error) {
	var last *Proposal
	changes := g.Changes
	for range maxRounds {
		u.say("trying " + titleOf(changes))
		out, err := t.Try(ctx, changes)
		if err != nil {
			return nil, err
		}
		for _, h := range out.Held {
			u.hold([]Change{h.Change}, h.Reason)
		}
		if len(out.Passed) == 0 || len(out.Files) == 0 {
			return last, nil
		}
		last = &Proposal{
			Risk: g.Risk.String(), Changes: out.Passed, Tests: out.Tests, Unsure: out.Unsure, Cleared: out.Cleared, New: out.New, files: out.Files,
		}
		more, err := u.brought(ctx, last, g.Risk)
		if young, ok := errors.AsType[youngError](err); ok {
			return u.older(ctx, t, choose.Group{Risk: g.Risk, Security: g.Security, Changes: out.Passed}, young)
		}
		if err != nil || len(more) == 0 {
			return last, err
		}
		changes = append(slices.Clone(out.Passed), more...)
	}
	return last, nil
}

// brought looks at what a proposal brings in beside its changes, notes it, and returns the changes that mend it: transitive parts may be weak
// in their turn.
func (u *run) brought(ctx context.Context, p *Proposal, risk choose.Risk) ([]Change, error) {
	dir, remove, err := u.overlay(ctx, p.files)
	if err != nil {
		return nil, err
	}
	defer remove()
	parts, found, err := u.Scanner.Look(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := u.young(ctx, p.Changes, parts); err != nil {
		return nil, err
	}
	if p.Notices, err = u.notices(ctx, p, parts); err != nil {
		return nil, err
	}
	if err := u.surface(ctx, dir, p); err != nil || counted(p.New) == 0 {
		return nil, err
	}
	fresh := map[string]bool{}
	for i := range p.New {
		fresh[p.New[i].Fingerprint()] = true
	}
	found = slices.DeleteFunc(found, func(f finding.Finding) bool { return !fresh[f.Fingerprint()] })
	choice, err := u.choose(ctx, dir, parts, found)
	if err != nil {
		return nil, err
	}
	u.keep(choice.Held...)
	var more []Change
	for _, g := range choice.Groups {
		if !g.Security || g.Risk > max(risk, choose.Minor) {
			continue
		}
		for _, ch := range g.Changes {
			if !slices.ContainsFunc(p.Changes, func(o Change) bool { return o.Name == ch.Name && o.To == ch.To }) {
				more = append(more, ch)
			}
		}
	}
	return more, nil
}

// propose puts a proposal on its branch, and on the forge if there is one.
func (u *run) propose(ctx context.Context, p *Proposal) error {
	if !p.Untried {
		p.Title, p.Body, p.Branch = titleOf(p.Changes), bodyOf(p), branchOf(p)
	}
	var err error
	p.Commit, err = u.repo.Put(ctx, branch.Commit{Branch: p.Branch, Base: u.base, Message: p.Title + "\n\n" + p.Body, Files: p.files, Now: u.Clock.Now()})
	if fault.KindOf(err) == fault.Conflict {
		p.Note, p.Branch = err.Error(), ""
		return nil
	}
	if err != nil || u.Forge == nil {
		return err
	}
	if u.onto == "" {
		return fault.New(fault.Usage, "no branch is checked out, so nobody knows into what to propose")
	}
	if err := u.repo.Push(ctx, u.Remote, p.Branch); fault.KindOf(err) == fault.Conflict {
		p.Note = err.Error()
		return nil
	} else if err != nil {
		return err
	}
	made, err := u.Forge.Propose(ctx, forge.Proposal{Branch: p.Branch, Base: u.onto, Title: p.Title, Body: p.Body})
	if err != nil {
		return err
	}
	p.URL = made.URL
	if !u.mayMerge(p) {
		return nil
	}
	if err := u.Forge.Merge(ctx, made, p.Commit); err != nil {
		p.Note = err.Error() // it stays open for people
		return nil
	}
	p.Merged = true
	return nil
}

// mayMerge tells whether the policy lets a proposal be merged without a person: by its risk, and only if it brought in nothing new and took away nothing that
// is used.
func (u *run) mayMerge(p *Proposal) bool {
	highest := choose.RiskUnknown
	for i := range p.Changes {
		highest = max(highest, p.Changes[i].Risk)
		if p.Changes[i].Waived || p.Changes[i].Risk == choose.RiskUnknown {
			return false
		}
	}
	allowed := map[string]choose.Risk{"patch": choose.Patch, "minor": choose.Minor}[u.Policy.Merge]
	return !p.Untried && allowed != choose.RiskUnknown && highest <= allowed && counted(p.New) == 0 && p.Breaks == 0 && p.Tests > 0
}

// Proposals go on one branch for each set of parts, whatever their versions: a newer version refreshes the proposal.
func branchOf(p *Proposal) string {
	ch := p.Changes[0]
	name := refWord(ch.Name)
	if len(p.Changes) > 1 {
		name = strings.ReplaceAll(p.Risk, " ", "-")
	}
	if file := path.Base(ch.Path); ch.Ecosystem == choose.PyPI && file != "requirements.txt" { // a folder often has several
		name = refWord(strings.TrimSuffix(file, ".txt")) + "-" + name
	}
	if dir := path.Dir(ch.Path); dir != "." {
		name = strings.ReplaceAll(strings.Trim(filepath.ToSlash(dir), "./"), "/", "-") + "-" + name
	}
	return branch.Prefix + strings.ToLower(ch.Ecosystem) + "-" + strings.Trim(name, "-")
}

// refWord is a name as it may stand in a branch's.
func refWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
}
