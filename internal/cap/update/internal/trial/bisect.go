package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

// Try tries changes together, and where that fails the halves of them: what passes is passed together in the end.
func (t *Trial) Try(ctx context.Context, changes []choose.Change) (*Outcome, error) {
	t.attempts = 0
	out := &Outcome{Tests: len(t.baseline.passed), Unsure: len(t.baseline.failed)}
	changes = slices.DeleteFunc(slices.Clone(changes), func(ch choose.Change) bool {
		bad := !speakable(ch.Name) || !speakable(ch.From) || !speakable(ch.To)
		if bad {
			out.Held = append(out.Held, Held{Change: ch, Reason: "its name or version could be taken for something else by the programs that are told of it"})
		}
		return bad
	})
	if err := t.solve(ctx, units(changes), out); err != nil {
		return nil, err
	}
	out.Attempts = t.attempts
	return out, nil
}

// speakable tells whether a name or version can be told to a program: it's no option, and holds nothing that ends it.
func speakable(s string) bool {
	return s != "" && s[0] != '-' && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("=[]\"'`$\\;|&<>(){}*?,:", r) })
}

// units are the changes that stand or fall together: a part and the parents that are raised for it.
func units(changes []choose.Change) [][]choose.Change {
	at := map[string]int{}
	var out [][]choose.Change
	for _, ch := range changes {
		name := cmp.Or(ch.For, ch.Name)
		i, ok := at[name]
		if !ok {
			i, at[name] = len(out), len(out)
			out = append(out, nil)
		}
		out[i] = append(out[i], ch)
	}
	return out
}

func flat(all [][]choose.Change) []choose.Change {
	var out []choose.Change
	for _, u := range all {
		out = append(out, u...)
	}
	return out
}

// solve fills out with the largest set that it finds to pass.
func (t *Trial) solve(ctx context.Context, all [][]choose.Change, out *Outcome) error {
	if len(all) == 0 {
		return nil
	}
	failed, err := t.attempt(ctx, flat(all), out)
	if err != nil || failed == nil {
		return err
	}
	if len(all) == 1 {
		hold(out, all, failed)
		return nil
	}
	half := len(all) / 2
	left, right := &Outcome{}, &Outcome{}
	if err := t.solve(ctx, all[:half], left); err != nil {
		return err
	}
	if err := t.solve(ctx, all[half:], right); err != nil {
		return err
	}
	out.Held = append(append(out.Held, left.Held...), right.Held...)
	if len(left.Passed) == 0 || len(right.Passed) == 0 {
		take(out, left)
		take(out, right)
		return nil
	}
	failed, err = t.attempt(ctx, append(append([]choose.Change(nil), left.Passed...), right.Passed...), out)
	if err != nil || failed == nil {
		return err
	}
	take(out, left)
	failed.reason = "it fails together with the others: " + failed.reason
	hold(out, [][]choose.Change{right.Passed}, failed)
	return nil
}

// take makes a part's success that of the whole.
func take(out, part *Outcome) {
	if len(part.Passed) > 0 {
		out.Passed, out.Files, out.Cleared, out.New = part.Passed, part.Files, part.Cleared, part.New
	}
}

func hold(out *Outcome, all [][]choose.Change, why *failure) {
	for _, ch := range flat(all) {
		out.Held = append(out.Held, Held{Change: ch, Reason: why.reason, Output: why.output})
	}
}

// attempt tries one set of changes; nil if it passes, and then out is of it.
func (t *Trial) attempt(ctx context.Context, changes []choose.Change, out *Outcome) (*failure, error) {
	if t.attempts++; t.attempts > maxAttempts {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("no set of changes that passes was found in %d attempts", maxAttempts))
	}
	a, err := t.checkout(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(a.dir)
	if err := copyTree(filepath.Join(a.dir, "build"), filepath.Join(t.home, "build")); err != nil {
		return nil, err
	}
	err = t.prove(ctx, a, changes, out)
	var failed *failure
	if errors.As(err, &failed) && ctx.Err() == nil {
		return failed, nil
	}
	return nil, err
}

func (t *Trial) prove(ctx context.Context, a *attempt, changes []choose.Change, out *Outcome) error {
	if !slices.ContainsFunc(changes, func(ch choose.Change) bool { return ch.Waived }) {
		a.wait = t.config.Wait
	}
	if err := t.kit.update(ctx, a, changes); err != nil {
		return err
	}
	// Before anybody's code runs, which could change them.
	now, err := a.carry()
	if err != nil {
		return err
	}
	findings, err := a.scan(ctx)
	if err != nil {
		return err
	}
	a.net = false
	if err := t.kit.build(ctx, a); err != nil {
		return err
	}
	for again := range 2 {
		r, err := a.tests(ctx, now)
		if err != nil {
			return err
		}
		broken := t.baseline.broken(r)
		if len(broken) == 0 {
			break
		}
		if again == 1 {
			return &failure{fmt.Sprintf("%d of %d tests that passed before fail: %s", len(broken), len(t.baseline.passed), clip(list(broken))), r.output}
		}
	}
	out.Passed, out.Files = changes, t.differing(now)
	out.Cleared, out.New = minus(t.known, findings), minus(findings, t.known)
	return nil
}
