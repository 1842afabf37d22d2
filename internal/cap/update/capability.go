// Package update proposes newer parts, and shows that they don't break the application.
//
// Guarantee: nothing is proposed that wasn't tried in the sandbox beside a baseline, but for pins, which say so and are never merged by themselves; the
// work tree, the index and others' branches aren't touched; a proposal is merged by itself only if the policy says so, at the commit that was tried, and
// when the forge's checks have passed. Not guaranteed: that a project's tests show all that a change breaks.
package update

import "github.com/wardhq/ward/internal/capability"

// Capability is what updating promises, and how that is attacked.
func Capability() capability.Capability {
	const inner = "internal/cap/update/internal/"
	return capability.Capability{
		Name: "update", Stops: "whoever uses a hole that has long been mended, or makes an update the way in",
		Probes: []capability.Probe{
			{From: capability.Supply, Kind: "trial", Tries: "from a part's install script, build and tests: other hosts, the host's loopback, files, secrets, processes, the user's repository", Test: inner + "trial.TestWhatRunsInATrialReachesNothing"},
			{From: capability.Supply, Kind: "release", Tries: "releases that are young, retracted, older than the one in use, or can do more, as security fixes", Test: inner + "choose.TestSecurityFixSkipsTheWaitOnlyUnderBothConditions"},
			{From: capability.Supply, Kind: "break", Tries: "a fix that breaks the application", Test: "cmd/ward.TestUpdateProposesWhatStandsItsTrial"},
			{From: capability.Supply, Kind: "repository", Tries: "hooks, filters and links of the repository that is updated, and somebody's commit on Ward's branch", Test: inner + "branch.TestABranchIsMadeBesideEverythingElse"},
			{From: capability.Supply, Kind: "push", Tries: "a commit that was pushed to a proposal after it was tried, and a fork's branch of the same name", Test: inner + "forge.TestOnlyWhatWasTriedAndCheckedIsMerged"},
			{From: capability.Supply, Kind: "redirect", Tries: "a forge's answer that leads the token elsewhere", Test: inner + "forge.TestTheTokenStaysWhereItBelongs"},
		},
	}
}
