package stage

import (
	"strconv"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/plan"
)

func TestASignIsToldOnceInAWhile(t *testing.T) {
	var s signs
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	sign := spec.Flag{Kind: "syscall", Detail: "ptrace: another process"}
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {signAgain - 1, false}, {signAgain, true}, {signAgain + time.Second, false}, {2 * signAgain, true}} {
		if _, got := s.news(sign, now.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestATrapIsToldEachTime(t *testing.T) {
	var s signs
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	further := 0
	flood := func(prefix string, at time.Time) (told int) {
		for i := range 10 * maxSigns {
			switch f, news := s.news(spec.Flag{Kind: "dns", Detail: prefix + strconv.Itoa(i)}, at); {
			case news && f.Detail == plan.Further:
				further++
			case news:
				told++
			}
		}
		return told
	}
	trap := spec.Flag{Kind: "dns", Detail: plan.CanaryPrefix + "abc" + plan.CanarySuffix}
	if told := flood("n", now); told != maxSigns || further != 1 {
		t.Errorf("%d names were told, and %d times that there are more", told, further)
	}
	for i := range 3 {
		if f, news := s.news(trap, now.Add(time.Duration(i)*trapAgain)); !news || f != trap {
			t.Errorf("use %d of the trap isn't told", i)
		}
	}
	if _, news := s.news(spec.Flag{Kind: "exec", Detail: "/bin/sh"}, now); !news {
		t.Error("signs of one kind hide another's")
	}
	if told := flood(plan.CanaryPrefix, now); told != maxTraps-1 {
		t.Errorf("%d false traps were told", told)
	}
	if told := flood("m", now.Add(signForgotten-1)); told != 0 {
		t.Errorf("%d further names were told at once", told)
	}
	if told := flood("m", now.Add(signForgotten)); told < maxSigns-1 {
		t.Errorf("%d were told after the first ones were quiet", told)
	}
}
