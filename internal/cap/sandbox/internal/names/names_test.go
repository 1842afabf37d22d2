package names

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wardhq/ward/internal/plan"
)

// TestOtherNamesDontHideTheTrap: who floods the responder with names first is still told of with the trap's.
func TestOtherNamesDontHideTheTrap(t *testing.T) {
	var told []string
	r := newResponder(nil, func(_, name string) { told = append(told, name) })
	ask := func(name string) {
		t.Helper()
		m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}}}
		q, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if r.Answer(q) == nil {
			t.Errorf("%s has no answer", name)
		}
	}
	for i := range 1000 {
		ask(fmt.Sprintf("n%d.example.", i))
	}
	trap := plan.CanaryPrefix + "abc" + plan.CanarySuffix
	ask("Backup-DB-aBc.internal.")
	ask(trap + ".")
	if len(told) != maxFlagged+1 || !slices.Contains(told, trap) {
		t.Errorf("%d names were told of, the last is %q", len(told), told[len(told)-1])
	}
	for i := range 1000 {
		ask(fmt.Sprintf("%s%d%s.", plan.CanaryPrefix, i, plan.CanarySuffix))
	}
	if len(told) != maxFlagged+maxTraps {
		t.Errorf("%d names were told of", len(told))
	}
}
