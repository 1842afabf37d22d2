package update

import (
	"testing"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

func TestNoProjectSeesWhatAnotherHasBuilt(t *testing.T) {
	one, two := &run{root: "/src/one", Request: Request{Cache: "/cache"}}, &run{root: "/src/two", Request: Request{Cache: "/cache"}}
	goProject := project{ecosystem: choose.Go, dir: "."}
	if a, b := one.buildCache(goProject), two.buildCache(goProject); a == b || a == "/cache" || a != one.buildCache(goProject) {
		t.Errorf("%s and %s", a, b)
	}
	if got := one.buildCache(project{ecosystem: choose.NPM, dir: "."}); got != "" {
		t.Errorf("what npm runs may write into %s", got)
	}
}
