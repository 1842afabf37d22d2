package prove

import "testing"

func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`"reached"`))
	f.Add([]byte(`7`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Outcome
		if o.UnmarshalJSON(b) != nil {
			return
		}
		out, err := o.MarshalJSON()
		var again Outcome
		if err != nil || again.UnmarshalJSON(out) != nil || again != o {
			t.Errorf("%q reads as %v, then as %v", b, o, again)
		}
	})
}
