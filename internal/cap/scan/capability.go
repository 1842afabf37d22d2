package scan

import "github.com/wardhq/ward/internal/capability"

// Capability is what scanning promises, and how that is attacked.
func Capability() capability.Capability {
	const inner = "internal/cap/scan/internal/"
	return capability.Capability{
		Name: "scan", Stops: "whoever comes in through a known hole, a malicious part, a leaked credential or a careless setting",
		Probes: []capability.Probe{
			{From: capability.Supply, Kind: "text", Tries: "findings whose text moves a terminal's cursor, or runs in the page that shows it", Test: inner + "report.TestEveryFormHoldsEverythingAndHarmsNobody"},
			{From: capability.Supply, Kind: "ignore", Tries: "a suppression that outlives its day, or reaches another part", Test: "internal/cap/scan.TestAnIgnoredFindingStaysAndItsDayEnds"},
			{From: capability.Supply, Kind: "exploited", Tries: "the start of a service with a part whose hole is exploited elsewhere", Test: "cmd/ward.TestAServiceWithAnExploitedHoleIsNotStarted"},
			{From: capability.Supply, Kind: "no-data", Tries: "an ecosystem without advisories that passes as clean", Test: "internal/cap/scan.TestNoAdvisoriesAreAnErrorAndNeverClean"},
		},
	}
}
