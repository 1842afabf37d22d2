package osv

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"GO-1","affected":[{"package":{"ecosystem":"Go","name":"x"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"x","symbols":["F"]}]}}]}`))
	f.Add([]byte(`{"id":"MAL-1","database_specific":{"severity":["high"],"categories":"none"},"modified":"2026-01-01T00:00:00Z"}`))
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err == nil && e.ID == "" {
			t.Error("an entry without id")
		}
		same(t, b)
		if err := new(Database).UnmarshalJSON(b); err != nil {
			t.Error(err)
		}
		if err := new(Imports).UnmarshalJSON(b); err != nil {
			t.Error(err)
		}
	})
}

// same shows that what quick takes, it takes as encoding/json does.
func same(t *testing.T, b []byte) (quickly bool) {
	t.Helper()
	var fast, slow Entry
	if !quick(b, &fast) {
		return false
	}
	if err := json.Unmarshal(b, &slow); err != nil {
		t.Fatalf("%q was taken, which is no advisory: %v", b, err)
	}
	if !slow.wordless() {
		slow.Details = ""
	}
	if diff := cmp.Diff(slow, fast, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%q (-encoding/json +quick):\n%s", b, diff)
	}
	return true
}

var texts = []string{
	0: `{"id":"A-1"}`,
	1: ` { "schema_version" : "1.7.0", "id" : "GHSA-1", "modified" : "2026-01-01T00:00:00.5+02:00", "withdrawn":"2026-01-02T00:00:00Z", "aliases":["CVE-1", "CVE-2"], "upstream":[],
		"summary":"a \"b\" \u00e4 ä", "details":"long\n\ttext \ud83d\ude00", "references":[{"type":"WEB","url":"https://x"},[],{},-1.5e+3,0,true,false,null],
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:N/A:L"}], "database_specific":{"severity":"HIGH","cwe_ids":["CWE-1"]},
		"affected":[{"package":{"ecosystem":"npm","name":"a","purl":"pkg:npm/a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0"},{"last_affected":"2"},{"limit":"*"}],"database_specific":{}}],
		"versions":["1","2"],"severity":[],"database_specific":{"categories":["malicious"]},"ecosystem_specific":{"imports":[{"path":"p","symbols":["F","G.H"]}]}}] } `,
	2: `{"id":"A-1","summary":" \n## ","details":"the details \"speak\""}`,
	3: `{"id":"A-1","details":"first","summary":""}`,
}

func TestQuickReadsWhatAdvisoriesUsuallyAre(t *testing.T) {
	for _, s := range texts {
		if !same(t, []byte(s)) {
			t.Errorf("left to encoding/json: %s", s)
		}
	}
}

func TestQuickLeavesTheUnusualAlone(t *testing.T) {
	for _, s := range []string{
		``, `{`, `{}x`, `[]`, `null`, `{"id":"A-1",}`, `{"id":"A-1"} {}`, `{"id":"A-1","id":"A-2"}`, `{"ID":"A-1"}`, `{"Id":"A-2","id":"A-1"}`, `{"\u0069d":"A-1"}`, `{"id":null}`, `{"id":7}`,
		`{"id":"A-1","aliases":null}`, `{"id":"A-1","aliases":"x"}`, `{"id":"A-1","aliases":["x",]}`, `{"id":"A-1","modified":"yesterday"}`, `{"id":"A-1","modified":7}`, `{"id":"A` + "\n" + `"}`,
		`{"id":"\x"}`, `{"id":"\u12"}`, `{"id":"A-1","x":01}`, `{"id":"A-1","x":1.}`, `{"id":"A-1","x":-}`, `{"id":"A-1","x":tru}`, `{"id":"A-1","x":[1 2]}`, `{"id":"A-1" "x":1}`, `{"id":"A-1","x"}`, `{"id":"A-1`,
	} {
		if same(t, []byte(s)) {
			t.Errorf("taken: %s", s)
		}
	}
}
