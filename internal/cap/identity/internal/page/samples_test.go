package page_test

import (
	_ "embed"
	"reflect"
	"regexp"
	"testing"

	"github.com/wardhq/ward/internal/cap/identity/internal/page/preview"
)

//go:embed view.go
var viewSource []byte

// TestEveryViewHasASample: a new view without a sample is one that no browser opens.
func TestEveryViewHasASample(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range preview.Samples() {
		if seen["sample "+s.Name] {
			t.Errorf("two samples %s", s.Name)
		}
		seen["sample "+s.Name] = true
		seen[reflect.TypeOf(s.View).Name()] = true
	}
	views := regexp.MustCompile(`func \((\w+)\) name\(\)`).FindAllSubmatch(viewSource, -1)
	if len(views) < 30 {
		t.Fatalf("found %d views only", len(views))
	}
	for _, m := range views {
		if !seen[string(m[1])] {
			t.Errorf("view %s has no sample", m[1])
		}
	}
}
