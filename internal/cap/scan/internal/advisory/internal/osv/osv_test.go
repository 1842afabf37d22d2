package osv

import "testing"

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"GO-1","affected":[{"package":{"ecosystem":"Go","name":"x"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"x","symbols":["F"]}]}}]}`))
	f.Add([]byte(`{"id":"MAL-1","database_specific":{"severity":["high"],"categories":"none"},"modified":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := Parse(b); err == nil && e.ID == "" {
			t.Error("an entry without id")
		}
		if err := new(Database).UnmarshalJSON(b); err != nil {
			t.Error(err)
		}
		if err := new(Imports).UnmarshalJSON(b); err != nil {
			t.Error(err)
		}
	})
}
