package words_test

import (
	"testing"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

func TestSmallWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{words.Bytes(128 << 20), "128MiB"},
		{words.Bytes(1e9), "1GB"},
		{words.Bytes(1001), "1001 bytes"},
		{words.Count(1, "service"), "1 service"},
		{words.Count(0, "service"), "0 services"},
		{words.Ports([]int{80, 81}), ":80,81"},
		{words.Name(plan.Outside), "outside"},
		{words.Columns("  ", [][]string{{"a", "é", "x"}, {"long", "b"}}), "  a     é  x\n  long  b\n"},
		{words.Columns("", nil), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
