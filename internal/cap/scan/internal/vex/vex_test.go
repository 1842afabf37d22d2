package vex

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/finding"
)

const (
	lodash = "pkg:npm/lodash@4.17.20"
	shop   = "pkg:oci/shop@sha256%3Aabc"
)

// statement is an OpenVEX document of one statement about CVE-2024-1.
func statement(products, rest string) string {
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/1","author":"Wolfi","timestamp":"2026-01-02T00:00:00Z","version":1,
		"statements":[{"vulnerability":{"@id":"https://nvd.nist.gov/vuln/detail/CVE-2024-1","name":"CVE-2024-1","aliases":["GHSA-1"]},"products":` + products + `,` + rest + `}]}`
}

const notPresent = `"status":"not_affected","justification":"component_not_present"`

func read(t *testing.T, text string) Document {
	t.Helper()
	d, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func weak() []finding.Finding {
	return []finding.Finding{{ID: "GO-1", Aliases: []string{"cve-2024-1"}, Package: &finding.Package{Ecosystem: "npm", Name: "lodash", Version: "4.17.20", PURL: lodash}}}
}

func TestStatementsAboutAPart(t *testing.T) {
	never := `[{"@id":"` + lodash + `"}]`
	for name, c := range map[string]struct {
		docs     []string
		products []string
		want     *finding.Suppression
	}{
		"the part itself": {[]string{statement(never, notPresent)}, nil, &finding.Suppression{By: "vex", Reason: "Wolfi: component not present", VEX: "component_not_present"}},
		"any version of it, by purl as an identifier": {
			[]string{statement(`[{"@id":"x","identifiers":{"purl":"pkg:npm/lodash"}}]`, `"status":"not_affected","impact_statement":"only in tests"`)},
			nil,
			&finding.Suppression{By: "vex", Reason: "Wolfi: only in tests"},
		},
		"another version":              {[]string{statement(`[{"@id":"pkg:npm/lodash@4.17.21"}]`, notPresent)}, nil, nil},
		"another qualifier":            {[]string{statement(`[{"@id":"pkg:npm/lodash@4.17.20?arch=x"}]`, notPresent)}, nil, nil},
		"another ecosystem":            {[]string{statement(`[{"@id":"pkg:pypi/lodash@4.17.20"}]`, notPresent)}, nil, nil},
		"fixed":                        {[]string{statement(never, `"status":"fixed"`)}, nil, &finding.Suppression{By: "vex", Reason: "Wolfi: fixed", VEX: "fixed"}},
		"affected":                     {[]string{statement(never, `"status":"affected","action_statement":"update"`)}, nil, nil},
		"under investigation":          {[]string{statement(never, `"status":"under_investigation"`)}, nil, nil},
		"a part of the product":        {[]string{statement(`[{"@id":"`+shop+`","subcomponents":[{"@id":"pkg:npm/lodash"}]}]`, notPresent)}, []string{shop}, &finding.Suppression{By: "vex", Reason: "Wolfi: component not present", VEX: "component_not_present"}},
		"all of the product":           {[]string{statement(`[{"@id":"`+shop+`"}]`, notPresent)}, []string{shop}, &finding.Suppression{By: "vex", Reason: "Wolfi: component not present", VEX: "component_not_present"}},
		"a part of somebody's product": {[]string{statement(`[{"@id":"pkg:oci/other","subcomponents":[{"@id":"`+lodash+`"}]}]`, notPresent)}, []string{shop}, nil},
		"another part of the product":  {[]string{statement(`[{"@id":"`+shop+`","subcomponents":[{"@id":"pkg:npm/other"}]}]`, notPresent)}, []string{shop}, nil},
		"the part's own parts":         {[]string{statement(`[{"@id":"`+lodash+`","subcomponents":[{"@id":"pkg:npm/other"}]}]`, notPresent)}, nil, nil},
		"the later one wins, whatever the order of files": {
			[]string{statement(never, `"status":"affected","timestamp":"2026-01-03T00:00:00Z"`), statement(never, notPresent)}, nil, nil,
		},
		"the later one wins": {
			[]string{statement(never, `"status":"affected","timestamp":"2026-01-01T00:00:00Z"`), statement(never, notPresent)},
			nil,
			&finding.Suppression{By: "vex", Reason: "Wolfi: component not present", VEX: "component_not_present"},
		},
		"at the same time the careful one wins": {[]string{statement(never, `"status":"under_investigation"`), statement(never, notPresent)}, nil, nil},
		"another vulnerability":                 {[]string{strings.NewReplacer("CVE-2024-1", "CVE-2024-12").Replace(statement(never, notPresent))}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var docs []Document
			for _, text := range c.docs {
				docs = append(docs, read(t, text))
			}
			findings := weak()
			Apply(docs, c.products, noon(), findings)
			if d := cmp.Diff(c.want, findings[0].Suppressed); d != "" || len(findings) != 1 {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestOthersSuppressionsStay(t *testing.T) {
	findings := append(weak(), finding.Finding{ID: "CVE-2024-1"})
	findings[0].Suppressed = &finding.Suppression{By: "ward.yaml", Reason: "known"}
	Apply([]Document{read(t, statement(`[{"@id":"`+lodash+`"}]`, notPresent))}, nil, noon(), findings)
	if findings[0].Suppressed.By != "ward.yaml" || findings[1].Suppressed != nil {
		t.Errorf("became %+v and %+v", findings[0].Suppressed, findings[1].Suppressed)
	}
}

func TestDocumentsThatBreakTheRulesAreRefused(t *testing.T) {
	good := statement(`[{"@id":"`+lodash+`"}]`, notPresent)
	for name, c := range map[string]struct{ text, want string }{
		"not_affected without a reason":         {statement(`[{"@id":"x"}]`, `"status":"not_affected"`), "needs a justification"},
		"not_affected with blanks for a reason": {statement(`[{"@id":"x"}]`, `"status":"not_affected","impact_statement":"  "`), "needs a justification"},
		"a justification of their own":          {statement(`[{"@id":"x"}]`, `"status":"not_affected","justification":"trust_me"`), "isn't a justification"},
		"a justification with affected":         {statement(`[{"@id":"x"}]`, `"status":"affected","justification":"component_not_present"`), "belongs to not_affected"},
		"an unknown status":                     {statement(`[{"@id":"x"}]`, `"status":"fine"`), "isn't a status"},
		"no product":                            {statement(`[]`, notPresent), "names no product"},
		"a product without a name":              {statement(`[{}]`, notPresent), "without a name"},
		"no vulnerability":                      {strings.Replace(good, `"name":"CVE-2024-1",`, "", 1), "names no vulnerability"},
		"another version of OpenVEX":            {strings.Replace(good, "v0.2.0", "v9", 1), "@context"},
		"no author":                             {strings.Replace(good, `"author":"Wolfi",`, "", 1), "an author"},
		"no time":                               {strings.Replace(good, `"timestamp":"2026-01-02T00:00:00Z",`, "", 1), "timestamp"},
		"no version":                            {strings.Replace(good, `"version":1,`, "", 1), "version"},
		"cut off":                               {good[:100], "unexpected end"},
		"nothing":                               {"", "unexpected end"},
	} {
		if _, err := Read(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestWhatIsKnownIsWritten(t *testing.T) {
	part := func(purl string) *finding.Package { return &finding.Package{PURL: purl} }
	now := time.Date(2026, 5, 4, 12, 0, 0, 9, time.UTC)
	findings := []finding.Finding{
		{ID: "C-1", Aliases: []string{"CVE-1"}, Package: part("pkg:npm/a@1"), Called: finding.NotCalled},
		{ID: "B-1", Package: part("pkg:npm/b@1"), Suppressed: &finding.Suppression{By: "vex", Reason: "W: no", VEX: "component_not_present"}},
		{ID: "A-1", Package: part("pkg:npm/c@1"), Suppressed: &finding.Suppression{By: "ward.yaml", Reason: "small", Until: now}},
		{ID: "D-1", Package: part("pkg:npm/d@1"), Suppressed: &finding.Suppression{By: "vex", Reason: "W: fixed", VEX: "fixed"}},
		{ID: "E-1", Package: part("pkg:npm/e@1"), Called: finding.Called},
		{ID: "E-2", Package: part("pkg:npm/e@1")},
		{ID: "secret"},
		{ID: "C-1", Aliases: []string{"CVE-1"}, Package: part("pkg:npm/a@1"), Called: finding.NotCalled},
	}
	d := From(findings, shop, "the shop's team", now)
	want := []Statement{
		{Vulnerability: Vulnerability{Name: "A-1"}, Status: Affected, ActionStatement: "accepted (ward.yaml): small, until 2026-05-04"},
		{Vulnerability: Vulnerability{Name: "B-1"}, Status: NotAffected, Justification: "component_not_present", ImpactStatement: "W: no"},
		{
			Vulnerability: Vulnerability{Name: "C-1", Aliases: []string{"CVE-1"}}, Status: NotAffected, Justification: NotInExecutePath,
			ImpactStatement: "no call leads from the program to the affected functions",
		},
		{Vulnerability: Vulnerability{Name: "D-1"}, Status: Fixed, StatusNotes: "W: fixed"},
	}
	for i, p := range []string{"c", "b", "a", "d"} {
		want[i].Products = []Product{{Component{ID: shop}, []Component{{ID: "pkg:npm/" + p + "@1"}}}}
	}
	if diff := cmp.Diff(want, d.Statements); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	back := read(t, b.String())
	if diff := cmp.Diff(d, back); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	if again := From(findings, shop, "the shop's team", now); again.ID != d.ID || !strings.HasPrefix(d.ID, "urn:uuid:") || len(d.ID) != len("urn:uuid:")+36 {
		t.Errorf("the identifiers of the same document are %s and %s", d.ID, again.ID)
	}
	// What was written suppresses the same findings elsewhere, and not those of another product.
	for product, count := range map[string]int{shop: 4, "pkg:oci/other": 0} {
		fresh := []finding.Finding{findings[0], {ID: "B-1", Package: part("pkg:npm/b@1")}, {ID: "A-1", Package: part("pkg:npm/c@1")}, {ID: "D-1", Package: part("pkg:npm/d@1")}, findings[4], findings[7]}
		Apply([]Document{back}, []string{product}, noon(), fresh)
		n := 0
		for _, f := range fresh {
			if f.Suppressed != nil {
				n++
			}
		}
		if n != count {
			t.Errorf("of %s it suppresses %d findings, want %d", product, n, count)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(statement(`[{"@id":"pkg:npm/lodash","subcomponents":[{"@id":"x"}]}]`, notPresent)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		findings := weak()
		Apply([]Document{d}, []string{shop}, noon(), findings)
		if err := Write(&bytes.Buffer{}, d); err != nil {
			t.Fatal(err)
		}
	})
}

// noon is later than all statements of these tests.
func noon() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func TestAStatementOfTheFutureDoesNotCount(t *testing.T) {
	d := read(t, statement(`[{"@id":"`+lodash+`"}]`, notPresent))
	later := read(t, statement(`[{"@id":"`+lodash+`"}]`, notPresent+`,"timestamp":"2026-06-01T12:06:00Z"`))
	ahead := read(t, statement(`[{"@id":"`+lodash+`"}]`, notPresent+`,"timestamp":"2026-06-01T12:04:00Z"`))
	affected := read(t, statement(`[{"@id":"`+lodash+`"}]`, `"status":"affected","action_statement":"update","timestamp":"2026-05-01T00:00:00Z"`))
	for name, c := range map[string]struct {
		docs       []Document
		early      []int
		suppressed bool
	}{
		"of the past": {[]Document{d}, []int{0}, true}, "of the future": {[]Document{later}, []int{1}, false}, "of a clock that is ahead": {[]Document{ahead}, []int{0}, true},
		"of the future, against one that holds": {[]Document{affected, later}, []int{0, 1}, false},
	} {
		f := weak()
		if early := Apply(c.docs, nil, noon(), f); !cmp.Equal(early, c.early) || (f[0].Suppressed != nil) != c.suppressed {
			t.Errorf("%s: %v, %+v", name, early, f[0].Suppressed)
		}
	}
}
