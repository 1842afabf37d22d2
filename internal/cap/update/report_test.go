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
