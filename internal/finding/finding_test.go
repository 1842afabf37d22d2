package finding

import "testing"

func TestSeverities(t *testing.T) {
	for name, want := range map[string]Severity{"MODERATE": Medium, "Critical": Critical, "none": SeverityNone, "": SeverityUnknown, "bad": SeverityUnknown} {
		if got := SeverityOf(name); got != want {
			t.Errorf("SeverityOf(%q) = %v, want %v", name, got, want)
		}
	}
	for score, want := range map[float64]Severity{0: SeverityNone, 0.1: Low, 3.9: Low, 4: Medium, 7: High, 8.9: High, 9: Critical, 10: Critical} {
		if got := SeverityOfScore(score); got != want {
			t.Errorf("SeverityOfScore(%v) = %v, want %v", score, got, want)
		}
	}
}

func TestFingerprintFollowsWhatIsWeakNotItsLine(t *testing.T) {
	a := Finding{Kind: Dependency, Tool: "ward", ID: "GO-1", Location: Location{Path: "go.mod", Line: 3}, Package: &Package{Ecosystem: "Go", Name: "x", Version: "1"}}
	b := a
	b.Location.Line, b.Priority = 9, 80
	if a.Fingerprint() != b.Fingerprint() {
		t.Error("the line or the priority changes the fingerprint")
	}
	c := a
	c.Package = &Package{Ecosystem: "Go", Name: "x", Version: "2"}
	if a.Fingerprint() == c.Fingerprint() {
		t.Error("another version has the same fingerprint")
	}
	d := Finding{Kind: Secret, Title: "key", Mark: "00ff"}
	e, f := d, d
	e.Title, f.Mark = "key (no. 2 here)", "01ff"
	if d.Fingerprint() != e.Fingerprint() || d.Fingerprint() == f.Fingerprint() {
		t.Error("a credential's number counts, or its mark doesn't")
	}
}

func FuzzSeverityUnmarshalText(f *testing.F) {
	f.Add("high")
	f.Fuzz(func(t *testing.T, s string) {
		var v Severity
		if err := v.UnmarshalText([]byte(s)); err != nil || v > Critical {
			t.Errorf("%q: %v %v", s, v, err)
		}
	})
}

func FuzzReachUnmarshalText(f *testing.F) {
	f.Add("not called")
	f.Fuzz(func(t *testing.T, s string) {
		var v Reach
		if err := v.UnmarshalText([]byte(s)); err != nil || v > Called {
			t.Errorf("%q: %v %v", s, v, err)
		}
	})
}
