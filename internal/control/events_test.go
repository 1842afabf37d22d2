package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

// TestEventsThatWaitAreKeptTogether: one by one, an import of 10,000 people lost half of its events.
func TestEventsThatWaitAreKeptTogether(t *testing.T) {
	k := testControl(t)
	before, _ := k.ledger.Size()
	for i := range maxBatch + 10 {
		k.note(wire.Event{Kind: "user.created", Object: fmt.Sprint(i)})
	}
	k.keep(<-k.events)
	if n, _ := k.ledger.Size(); n-before != maxBatch || len(k.events) != 10 {
		t.Errorf("%d are kept, %d wait", n-before, len(k.events))
	}
}

// TestAnEventThatCantBeKeptTakesNoOther with it.
func TestAnEventThatCantBeKeptTakesNoOther(t *testing.T) {
	k := testControl(t)
	before, _ := k.ledger.Size()
	k.note(wire.Event{Kind: "user.created", Object: strings.Repeat("x", ledger.MaxRecord)})
	k.note(wire.Event{Kind: "user.created", Object: "ada"})
	k.keep(<-k.events)
	if n, _ := k.ledger.Size(); n-before != 1 {
		t.Errorf("%d are kept", n-before)
	}
}
