package sarif_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wardhq/ward/internal/cap/scan/internal/sarif"
	"github.com/wardhq/ward/internal/finding"
)

func examples() []finding.Finding {
	return []finding.Finding{
		{
			ID: "GO-2024-1", Kind: finding.Dependency, Tool: "ward", Title: "a hole", Detail: "much", URL: "https://example.com/x", Severity: finding.Critical, Score: 9.8, Called: finding.Called,
			Package: &finding.Package{Ecosystem: "Go", Name: "x", Version: "1", PURL: "pkg:golang/x@1"}, Location: finding.Location{Path: "a b/go.mod", Line: 3, Column: 2}, Priority: 97, Why: "Because.", Fix: "Update.", Service: "web",
		},
		{ID: "secret", Kind: finding.Secret, Tool: "ward", Title: "a key", Location: finding.Location{Path: "x.env"}, Suppressed: &finding.Suppression{By: "ward.yaml", Reason: "an example", VEX: "component_not_present"}},
		{ID: "G101", Kind: finding.Code, Tool: "gosec", Title: "", Severity: finding.Low},
	}
}

func TestWhatIsWrittenIsValid(t *testing.T) {
	schema := standard(t)
	for name, findings := range map[string][]finding.Finding{"three": examples(), "none": nil} {
		var b bytes.Buffer
		if err := sarif.Write(&b, findings, "1.0"); err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// standard is the standard's own schema.
func standard(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("testdata/sarif-schema-2.1.0.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(z)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	var b bytes.Buffer
	if err := sarif.Write(&b, examples(), "1.0"); err != nil {
		t.Fatal(err)
	}
	got, err := sarif.Read(&b, "/src")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d findings", len(got))
	}
	f := got[0]
	if f.ID != "GO-2024-1" || f.Severity != finding.Critical || f.Location != (finding.Location{Path: "a b/go.mod", Line: 3, Column: 2}) || f.Title != "a hole" || f.URL == "" {
		t.Errorf("%+v", f)
	}
	if s := got[1].Suppressed; s == nil || !strings.Contains(s.Reason, "an example") {
		t.Errorf("%+v", s)
	}
	if got[2].Tool != "gosec" || got[2].Severity != finding.Low {
		t.Errorf("%+v", got[2])
	}
}

func TestOthersLogsAreUnderstood(t *testing.T) {
	const head = `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x","rules":[{"id":"r1","shortDescription":{"text":"short"},"defaultConfiguration":{"level":"error"}},{"id":"r2","properties":{"security-severity":"9.1"}}]},"extensions":[{"name":"pack","rules":[{"id":"e1","defaultConfiguration":{"level":"note"}}]}]},"originalUriBaseIds":{"SRC":{"uri":"file:///src/"},"SUB":{"uri":"sub/","uriBaseId":"SRC"},"LOOP":{"uriBaseId":"LOOP"}},"artifacts":[{"location":{"uri":"by/index.c"}}],"results":[`
	at := func(a string) string {
		return `{"ruleId":"r1","message":{"text":"m"},"locations":[{"physicalLocation":{"artifactLocation":` + a + `,"region":{"startLine":7}}}]}`
	}
	for name, c := range map[string]struct {
		result string
		want   finding.Finding
		none   bool
	}{
		"rule's level":        {`{"ruleId":"r1","message":{"text":"m"}}`, finding.Finding{ID: "r1", Title: "m", Severity: finding.High}, false},
		"by index":            {`{"ruleIndex":0,"message":{"id":"default"}}`, finding.Finding{ID: "r1", Title: "short", Severity: finding.High}, false},
		"score of the rule":   {`{"ruleId":"r2","level":"warning","message":{"text":"m"}}`, finding.Finding{ID: "r2", Title: "m", Severity: finding.Critical}, false},
		"rule of a pack":      {`{"rule":{"id":"e1","index":0,"toolComponent":{"index":0}},"message":{"text":"m"}}`, finding.Finding{ID: "e1", Title: "m", Severity: finding.Low}, false},
		"sub-rule":            {`{"ruleId":"r1/x","message":{"text":"m"}}`, finding.Finding{ID: "r1/x", Title: "m", Severity: finding.High}, false},
		"unknown rule":        {`{"ruleId":"z","message":{"text":"m"}}`, finding.Finding{ID: "z", Title: "m", Severity: finding.Medium}, false},
		"bad index":           {`{"ruleIndex":-5,"message":{"text":"m"}}`, finding.Finding{ID: "unnamed", Title: "m", Severity: finding.Medium}, false},
		"pass":                {`{"ruleId":"r1","kind":"pass","message":{"text":"m"}}`, finding.Finding{}, true},
		"gone":                {`{"ruleId":"r1","baselineState":"absent","message":{"text":"m"}}`, finding.Finding{}, true},
		"undecided":           {`{"ruleId":"r1","kind":"review","message":{"text":"m"}}`, finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Unsure: "x couldn't decide it"}, false},
		"rejected suppress":   {`{"ruleId":"r1","message":{"text":"m"},"suppressions":[{"kind":"inSource","status":"rejected"}]}`, finding.Finding{ID: "r1", Title: "m", Severity: finding.High}, false},
		"accepted suppress":   {`{"ruleId":"r1","message":{"text":"m"},"suppressions":[{"kind":"inSource"}]}`, finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Suppressed: &finding.Suppression{By: "x", Reason: "no reason given"}}, false},
		"relative":            {at(`{"uri":"a%20b.c"}`), finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Location: finding.Location{Path: "a b.c", Line: 7}}, false},
		"absolute":            {at(`{"uri":"file:///src/a.c"}`), finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Location: finding.Location{Path: "a.c", Line: 7}}, false},
		"elsewhere":           {at(`{"uri":"file:///srcother/a.c"}`), finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Location: finding.Location{Path: "/srcother/a.c", Line: 7}}, false},
		"base of a base":      {at(`{"uri":"a.c","uriBaseId":"SUB"}`), finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Location: finding.Location{Path: "sub/a.c", Line: 7}}, false},
		"base that is itself": {at(`{"uri":"a.c","uriBaseId":"LOOP"}`), finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Location: finding.Location{Path: "a.c", Line: 7}}, false},
		"artifact by index":   {at(`{"index":0}`), finding.Finding{ID: "r1", Title: "m", Severity: finding.High, Location: finding.Location{Path: "by/index.c", Line: 7}}, false},
	} {
		got, err := sarif.Read(strings.NewReader(head+c.result+`]}]}`), "/src")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.none {
			if len(got) != 0 {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		c.want.Kind, c.want.Tool = finding.Code, "x"
		if d := cmp.Diff([]finding.Finding{c.want}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWhatIsNoLogIsRefused(t *testing.T) {
	for _, bad := range []string{"", "{}", `{"version":"2.0.0","runs":[]}`, `[]`, `{"version":"2.1.0","runs":5}`} {
		if _, err := sarif.Read(strings.NewReader(bad), "/"); err == nil {
			t.Errorf("%q: taken", bad)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := sarif.Write(&b, examples(), "1"); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"version":"2.1.0","runs":[{"results":[{"ruleIndex":9,"locations":[{}]}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := sarif.Read(bytes.NewReader(b), "/src")
		if err != nil {
			return
		}
		for i := range got {
			if got[i].ID == "" || got[i].Tool == "" {
				t.Errorf("nameless: %+v", got[i])
			}
		}
		if err := sarif.Write(&bytes.Buffer{}, got, "1"); err != nil {
			t.Error(err)
		}
	})
}
