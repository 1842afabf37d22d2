package scan

import (
	"context"
	"errors"
	"testing"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// slowSandbox is one that doesn't start in time, noSandbox one that can't.
type (
	slowSandbox struct{}
	noSandbox   struct{}
)

func (slowSandbox) Run(context.Context, gobox.Job) (int, error) {
	return -1, context.DeadlineExceeded
}

func (noSandbox) Run(context.Context, gobox.Job) (int, error) {
	return -1, errors.New("this kernel gives no namespaces")
}

func TestASlowSandboxIsNoReasonToDoWithoutOne(t *testing.T) {
	need.Program(t, "go")
	slow := &scanner{Request: Request{Sandbox: slowSandbox{}, Cache: t.TempDir()}}
	if box, err := slow.goBox(t.Context()); err == nil {
		t.Errorf("Go code is loaded in %v", box)
	}
	none := &scanner{Request: Request{Sandbox: noSandbox{}, Cache: t.TempDir()}}
	if box, err := none.goBox(t.Context()); err != nil || box != nil || len(none.out.Notes) != 1 {
		t.Errorf("%v %v %v", box, err, none.out.Notes)
	}
}
