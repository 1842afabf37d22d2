package watch

import "github.com/wardhq/ward/internal/capability"

// Capability is what watching promises, and how that is attacked.
func Capability() capability.Capability {
	return capability.Capability{
		Name: "watch", Stops: "what goes on unseen: calls, refusals, errors and slowness that nobody counts",
		Probes: []capability.Probe{
			{From: capability.Outside, Kind: "cardinality", Tries: "paths that are invented to make new series, or to show up in them", Test: "cmd/ward.TestEveryRequestIsCounted"},
			{From: capability.Inside, Kind: "report", Tries: "a gateway or an agent that was taken over, and reports series that the plan hasn't, or too many", Test: "internal/cap/watch.TestAReportCannotInventSeries"},
			{From: capability.Inside, Kind: "metric-lines", Tries: "names that begin lines of their own in the metrics", Test: "internal/cap/watch/internal/exposition.TestBothForms"},
			{From: capability.Outside, Kind: "metrics-listener", Tries: "metrics served to other machines", Test: "cmd/ward.TestMetricsAreServedToThisMachineAlone"},
			{From: capability.Outside, Kind: "rebinding", Tries: "a page in a browser on this machine that has a name of its own lead to the metrics", Test: "cmd/ward.TestMetricsAreServedToThisMachineAlone"},
			{From: capability.Outside, Kind: "flood", Tries: "refused requests that fill the disk with their traces", Test: "internal/cap/watch/internal/spans.TestAFloodWithinAnHourStaysWithinTheBudget"},
			{From: capability.Inside, Kind: "otlp-name", Tries: "a service that sends spans under another's name, or into a trace that it has no part in", Test: "cmd/ward.TestAnApplicationsSpansAreInItsTrace"},
			{From: capability.Inside, Kind: "otlp-flood", Tries: "a service whose spans take the others' room", Test: "internal/cap/watch.TestAServiceThatFloodsLosesItsOwn"},
			{From: capability.Inside, Kind: "otlp-bomb", Tries: "spans that unpack to more than the agent has, in gzip, depth or number", Test: "internal/cap/watch/internal/otlp.TestWhatWouldTakeMuchMemoryIsRefusedBefore"},
			{From: capability.Inside, Kind: "otlp-agent", Tries: "an agent that was taken over and tells of spans that can't be, or that print what they like", Test: "internal/cap/watch.TestWhatAnAgentSaysOfApplicationsIsChecked"},
			{From: capability.Outside, Kind: "otlp-collector", Tries: "a collector that leads the keys of its headers elsewhere, or answers without end", Test: "internal/cap/watch/internal/otlp.TestWhatIsRefusedForGoodIsNotSentAgain"},
			{From: capability.Inside, Kind: "log-flood", Tries: "a hundred thousand lines a second, to push out what other services printed", Test: "internal/cap/watch/internal/logs.TestANoisyServiceTakesFromNobody"},
			{From: capability.Inside, Kind: "log-backlog", Tries: "lines while control is away, to fill memory and take the others' place", Test: "internal/wire.TestLogsWaitForControlWithinBounds"},
			{From: capability.Inside, Kind: "log-lines", Tries: "lines that steer the reader's terminal, pass for another service's, or carry a credential across the cut of a long line", Test: "cmd/ward.TestLogsAreSearched"},
			{From: capability.Outside, Kind: "search", Tries: "a regular expression that keeps control busy", Test: "internal/cap/watch/internal/logs.TestASearchEndsWithItsContext"},
			{From: capability.Outside, Kind: "search-for-holes", Tries: "routes that are guessed, files that give secrets away, injections in a first line", Test: "cmd/ward.TestWhoSearchesForHolesIsBlocked"},
			{From: capability.Outside, Kind: "close-out", Tries: "an attack that has others closed out: from private networks, or from those of administrators", Test: "cmd/ward.TestNobodyIsBlockedWhereNoneMayBe"},
			{From: capability.Inside, Kind: "trap", Tries: "the database that a service's environment names, and that there is none of", Test: "cmd/ward.TestTheTrapIsFound"},
			{From: capability.Inside, Kind: "quarantine", Tries: "calls, keys and certificates for a service that is cut off", Test: "cmd/ward.TestAServiceInQuarantineReachesNobody"},
			{From: capability.Outside, Kind: "alert-text", Tries: "paths that name people, make links or markup in what is told", Test: "internal/cap/watch/internal/notify.TestSlackGetsBlocksThatNameNobody"},
			{From: capability.Outside, Kind: "alert-flood", Tries: "finding after finding, so that nobody reads what is told", Test: "internal/cap/watch/internal/notify.TestANoisyDayIsAFewMessages"},
			{From: capability.Outside, Kind: "alert-drown", Tries: "noise, behind which what is critical waits", Test: "internal/cap/watch/internal/notify.TestACriticalOneWaitsForNoNoise"},
			{From: capability.Outside, Kind: "alert-channel", Tries: "a channel that leads keys elsewhere, answers without end, or shows them in an error", Test: "internal/cap/watch/internal/notify.TestFailuresHelpAndShowNothing"},
			{From: capability.Inside, Kind: "circle", Tries: "spans that hide another service's in a circle", Test: "cmd/ward.TestACircleOfSpansHidesNothing"},
			{From: capability.Inside, Kind: "trace", Tries: "a user's trace, sent on in a call that isn't for that user", Test: "internal/cap/mesh.TestWhoIsInNoUsersRequestCannotJoinItsTrace"},
			{From: capability.Outside, Kind: "trace", Tries: "a stranger's choice of the trace by which a user is found", Test: "internal/cap/gateway.TestServicesGetTheUserAndNoSecret"},
		},
	}
}
