// Package update proposes newer parts, and shows that they don't break the application.
//
// Guarantee: a proposal is merged by itself only at the commit that was tried, and only when the forge's checks have passed. Not
// guaranteed: that a forge's own rules allow it.
package update

import "github.com/wardhq/ward/internal/capability"

// Capability is what updating promises, and how that is attacked.
func Capability() capability.Capability {
	const inner = "internal/cap/update/internal/"
	return capability.Capability{
		Name: "update", Stops: "whoever uses a hole that has long been mended, or makes an update the way in",
		Probes: []capability.Probe{
			{From: capability.Supply, Kind: "push", Tries: "a commit that was pushed to a proposal after it was tried, and a fork's branch of the same name", Test: inner + "forge.TestOnlyWhatWasTriedAndCheckedIsMerged"},
			{From: capability.Supply, Kind: "redirect", Tries: "a forge's answer that leads the token elsewhere", Test: inner + "forge.TestTheTokenStaysWhereItBelongs"},
		},
	}
}
