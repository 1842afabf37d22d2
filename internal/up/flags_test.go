package up

import (
	"fmt"
	"testing"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// TestANoisyServiceHidesNoSign: neither another service's, nor of another kind, nor its trap's.
func TestANoisyServiceHidesNoSign(t *testing.T) {
	seen := map[flagged]int{}
	events := 0
	f := newFlags(func(e wire.Event) {
		events++
		seen[flagged{e.Subject, e.Kind, e.Detail["what"]}]++
	})
	for i := range 5000 {
		for _, kind := range []string{"dns", "exec", "bind"} {
			f.Note(flagged{"noisy", kind, fmt.Sprint(i)})
		}
	}
	if most := 3 * (maxSigns + 1); events > most {
		t.Errorf("one service made %d records at once, more than %d", events, most)
	}
	trap := plan.CanaryPrefix + "noisy" + plan.CanarySuffix
	for _, x := range []flagged{{"noisy", "dns", trap}, {"quiet", "syscall", "ptrace: another process"}, {"quiet", "dns", "evil.example"}} {
		f.Note(x)
		if seen[flagged{x.service, "flag." + x.kind, x.what}] != 1 {
			t.Errorf("%+v isn't told", x)
		}
	}
	if seen[flagged{"noisy", "flag.dns", "*"}] != 1 {
		t.Error("what was too much isn't told as such")
	}
	f.Note(flagged{"quiet", "dns", "evil.example"})
	f.Flush()
	if seen[flagged{"quiet", "flag.dns", "evil.example"}] != 2 {
		t.Error("what repeats isn't counted")
	}
}
