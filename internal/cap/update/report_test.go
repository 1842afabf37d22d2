package update

import (
	"testing"

	"github.com/wardhq/ward/internal/finding"
)

func TestAFindingThatTwoProposalsClearCountsOnce(t *testing.T) {
	hole := func(id string) finding.Finding {
		return finding.Finding{ID: id, Kind: finding.Dependency, Tool: "ward"}
	}
	answered := hole("C")
	answered.Suppressed = &finding.Suppression{By: "ward.yaml"}
	all := []Proposal{{Cleared: []finding.Finding{hole("A"), hole("B")}}, {Cleared: []finding.Finding{hole("A"), answered}, New: []finding.Finding{hole("D")}}}
	if got := net(all); got != -1 {
		t.Errorf("net %d", got)
	}
	u := &run{}
	u.keep(Held{Name: "x", Reason: "y"}, Held{Name: "x", Reason: "y"}, Held{Name: "x", Reason: "z"})
	if len(u.report.Held) != 2 {
		t.Errorf("%+v", u.report.Held)
	}
}

func TestOthersTextIsPlain(t *testing.T) {
	for text, want := range map[string]string{
		"a\r\n# b":                         "a＃ b",
		"Fixes #12":                        "Fixes ＃12",
		"\x1b]0;x\a\u009b31m\u200b\u202ey": "0;x31my",
		"[x](http://y) <b>`c`":             "x(http://y) bc",
		"a\u2028b":                         "ab",
		"see @team":                        "see ＠team",
		"@scope/name":                      "@scope/name",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
