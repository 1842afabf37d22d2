package update

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/cap/update/internal/branch"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/pins"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/seen"
)

// pinPatience bounds how long all questions about pins take together.
const pinPatience = 5 * time.Minute

// question is what a tag stands for; answer what was said, and since when Ward has seen that.
type (
	question struct {
		kind      pins.Kind
		name, tag string
	}
	answer struct {
		digest string
		since  time.Time
		err    error
	}
)

func questionOf(p *pins.Pin) question { return question{p.Kind, p.Name, p.Tag} }

// part is what the log of first-seen releases, reports and `ignore` call it.
func (q question) part() (ecosystem, name string) {
	switch {
	case q.kind == pins.Action:
		return "GitHub Actions", strings.TrimSuffix(q.name+"@"+q.tag, "@")
	default:
		return "OCI", strings.TrimSuffix(q.name+":"+q.tag, ":")
	}
}

// pinAll proposes the pins of the commit that are missing, or whose tag has moved on: one proposal for each kind.
func (u *run) pinAll(ctx context.Context) error {
	u.say("looking at pins, and asking what their tags stand for")
	dir, remove, err := u.overlay(ctx, nil)
	if err != nil {
		return err
	}
	defer remove()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("look for pins: %w", err)
	}
	defer root.Close()
	found, problems, err := pins.Find(ctx, root.FS(), u.Skip)
	if err != nil {
		return err
	}
	for _, p := range problems {
		u.keep(Held{Name: "pins", Path: p.Path, Reason: strings.TrimPrefix(fmt.Sprintf("line %d: %s", p.Line, p.Reason), "line 0: ")})
	}
	if len(u.Only) > 0 {
		found = slices.DeleteFunc(found, func(p pins.Pin) bool { return !slices.Contains(u.Only, p.Name) })
	}
	ignored, err := u.ignored()
	if err != nil {
		return err
	}
	answers, err := u.ask(ctx, found)
	if err != nil {
		return err
	}
	due := map[pins.Kind][]pins.Change{}
	for i := range found {
		p := &found[i]
		switch reason := u.waits(p, answers[questionOf(p)], ignored); {
		case reason != "":
			u.hold([]Change{u.pinChange(p, answers[questionOf(p)])}, reason)
		case answers[questionOf(p)].digest != p.Digest:
			due[p.Kind] = append(due[p.Kind], pins.Change{Pin: *p, Digest: answers[questionOf(p)].digest})
		}
	}
	for _, kind := range []pins.Kind{pins.Image, pins.Action} {
		if len(due[kind]) == 0 {
			continue
		}
		if err := u.pinKind(ctx, root, due[kind], answers); err != nil {
			return err
		}
	}
	return nil
}

// ask asks about each tag once, and notes what it stands for.
func (u *run) ask(ctx context.Context, found []pins.Pin) (map[question]answer, error) {
	pinners := u.sources.pinners
	if pinners == nil {
		pinners = map[pins.Kind]registry.Pinner{pins.Image: registry.NewOCI(nil, "https"), pins.Action: registry.NewGitHub("", nil)}
	}
	log := seen.Open(u.SeenLog, u.Clock)
	limited, cancel := context.WithTimeout(ctx, pinPatience)
	defer cancel()
	var mu sync.Mutex // guards out
	out := map[question]answer{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	asked := map[question]bool{}
	for i := range found {
		q := questionOf(&found[i])
		if q.tag == "" || asked[q] {
			continue
		}
		asked[q] = true
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var a answer
			if a.digest, a.err = pinners[q.kind].Pin(limited, q.name, q.tag); a.err == nil {
				ecosystem, name := q.part()
				var since map[string]seen.Since
				since, a.err = log.Note(ecosystem, name, []registry.Release{{Version: a.digest}})
				a.since = since[a.digest].Time
			}
			mu.Lock()
			out[q] = a
			mu.Unlock()
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

// waits says why a pin stays as it is; "" if nothing is against what its tag stands for now.
func (u *run) waits(p *pins.Pin, a answer, ignored []choose.Ignore) string {
	_, name := questionOf(p).part()
	for _, i := range ignored {
		if (i.Name == p.Name || i.Name == name) && u.Clock.Now().Before(i.Until) {
			return "ignored until " + i.Until.AddDate(0, 0, -1).Format(time.DateOnly) + ": " + i.Reason
		}
	}
	wait := cmp.Or(time.Duration(u.Policy.WaitDays)*24*time.Hour, choose.Wait)
	switch {
	case p.Tag == "":
		return "it is pinned, but nothing says to which tag, so nobody can tell whether that has moved on"
	case a.err != nil:
		return "what its tag stands for can't be told: " + a.err.Error()
	case a.digest != p.Digest && !(seen.Since{Time: a.since}).Old(u.Clock.Now(), wait):
		return fmt.Sprintf("its tag was first seen to stand for this on %s; it is taken from %s on", a.since.Format(time.DateOnly), a.since.Add(wait).Format(time.DateTime))
	}
	return ""
}

func (u *run) pinChange(p *pins.Pin, a answer) Change {
	ecosystem, name := questionOf(p).part()
	return Change{Ecosystem: ecosystem, Name: name, From: cmp.Or(p.Digest, p.Tag), To: a.digest, Path: p.Path, Direct: true, How: choose.Pin, Since: a.since}
}

// pinKind proposes the pins of one kind.
func (u *run) pinKind(ctx context.Context, root *os.Root, due []pins.Change, answers map[question]answer) error {
	kind := string(due[0].Pin.Kind) + "s"
	p := &Proposal{
		Branch: branch.Prefix + "pins-" + kind, Title: fmt.Sprintf("pin %d references to %s", len(due), kind), Risk: "not tried", Untried: true, files: map[string][]byte{},
	}
	byPath := map[string][]pins.Change{}
	for i := range due {
		pin := &due[i].Pin
		p.Changes = append(p.Changes, u.pinChange(pin, answers[questionOf(pin)]))
		byPath[pin.Path] = append(byPath[pin.Path], due[i])
	}
	p.Body = pinsBody(due, answers)
	if u.Plan {
		u.report.Planned = append(u.report.Planned, Planned{p.Risk, p.Changes})
		return nil
	}
	if full, err := u.full(ctx, p.Branch); err != nil {
		return err
	} else if full {
		u.hold(p.Changes, "as many proposals as are allowed are open already")
		return nil
	}
	for name, changes := range byPath {
		b, err := root.ReadFile(name)
		if err != nil {
			return fmt.Errorf("pin: %w", err)
		}
		if p.files[name], err = pins.Apply(b, changes); err != nil {
			return fmt.Errorf("pin: %w", err)
		}
	}
	if err := u.propose(ctx, p); err != nil {
		return err
	}
	u.report.Proposals = append(u.report.Proposals, *p)
	return nil
}

// full tells whether a branch may not be proposed beside those that are open; one that is open already is refreshed.
func (u *run) full(ctx context.Context, name string) (bool, error) {
	if u.Forge == nil {
		return false, nil
	}
	open, err := u.Forge.List(ctx, branch.Prefix)
	if err != nil {
		return false, err
	}
	for i := range open {
		if open[i].Branch == name {
			return false, nil
		}
	}
	return len(open) >= cmp.Or(u.Policy.Limit, defaultLimit), nil
}

// pinsBody says what changes and where, and that nobody tried it.
func pinsBody(due []pins.Change, answers map[question]answer) string {
	var b strings.Builder
	b.WriteString("Nothing was built: what a pin leads to can't be tried in the sandbox. Merge this when your own checks have passed with it.\n\n" +
		"Names and tags stay. Beside each tag is now what it stands for, so that a tag that somebody moves changes nothing here:\n\n")
	places := map[string][]string{}
	for i := range due {
		p := &due[i].Pin
		line := fmt.Sprintf("- `%s`, `%s`: %s → %s; first seen %s", plain(p.Name), plain(p.Tag), cmp.Or(p.Digest, "not pinned"), due[i].Digest, answers[questionOf(p)].since.UTC().Format(time.DateOnly))
		places[line] = append(places[line], fmt.Sprintf("%s:%d", plain(p.Path), p.Line))
	}
	var lines []string
	for line, where := range places {
		lines = append(lines, line+"; in "+strings.Join(where, ", ")+"\n")
	}
	slices.Sort(lines)
	return b.String() + strings.Join(lines, "")
}
