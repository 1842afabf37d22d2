package policy_test

import (
	"testing"

	"github.com/wardhq/ward/internal/plan/policy"
)

func FuzzReasonUnmarshalText(f *testing.F) {
	f.Add("no-route")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		var r policy.Reason
		if err := r.UnmarshalText([]byte(s)); err != nil {
			if r != policy.ReasonNone {
				t.Errorf("%q is an error, and became %v", s, r)
			}
			return
		}
		if b, err := r.MarshalText(); err != nil || string(b) != s {
			t.Errorf("%q became %q", s, b)
		}
	})
}
