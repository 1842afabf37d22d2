package escape

import "testing"

func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`"blocked"`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Verdict
		if v.UnmarshalJSON(b) != nil {
			return
		}
		out, err := v.MarshalJSON()
		var again Verdict
		if err != nil || again.UnmarshalJSON(out) != nil || again != v {
			t.Errorf("%q reads as %v, then as %v", b, v, again)
		}
	})
}
