package exact

import "testing"

func TestMembersGoByTheirExactNames(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"x"}`:            "x",
		`{"A":"x"}`:            "was",
		`{"a":"x","A":"y"}`:    "x",
		`{"A":"y","a":"x"}`:    "x",
		`{"a":"x","a":"y"}`:    "y",
		`{"a":null}`:           "was",
		`{"ſ":"x","s":"none"}`: "was",
	} {
		a := "was"
		if err := Object([]byte(in), map[string]any{"a": &a}); err != nil || a != want {
			t.Errorf("%s: %q, not %q: %v", in, a, want, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{"a":1}`, `{"a":"x"}{}`} {
		a := ""
		if err := Object([]byte(bad), map[string]any{"a": &a}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
