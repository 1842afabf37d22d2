package stage

import (
	"strconv"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

func TestASignIsToldOnceInAWhile(t *testing.T) {
	p := &initProcess{flagged: map[spec.Flag]time.Time{}, told: map[string]int{}}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	sign := spec.Flag{Kind: "syscall", Detail: "ptrace: another process"}
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {flagAgain - 1, false}, {flagAgain, true}, {flagAgain + time.Minute, false}, {2 * flagAgain, true}} {
		if got := p.news(sign, now.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	told := 0
	for i := range 10 * maxFlags {
		if p.news(spec.Flag{Kind: "bind", Detail: strconv.Itoa(i)}, now) {
			told++
		}
	}
	if told != maxFlags {
		t.Errorf("%d signs of one kind were told", told)
	}
	if !p.news(spec.Flag{Kind: "exec", Detail: "/bin/sh"}, now) {
		t.Error("they hide one of another kind")
	}
}
