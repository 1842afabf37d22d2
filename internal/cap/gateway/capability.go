package gateway

import "github.com/wardhq/ward/internal/capability"

// Capability is what the gateway promises, and how that is attacked.
func Capability() capability.Capability {
	from := func(kind, tries string) capability.Probe {
		return capability.Probe{From: capability.Outside, Kind: kind, Tries: tries}
	}
	return capability.Capability{
		Name: "gateway", Stops: "whoever comes from outside to anything but the routes that are exposed",
		Probes: []capability.Probe{
			from("route", "every route of every service, exposed or not"),
			from("sibling", "paths beside, above and below exposed ones"),
			from("unnamed", "paths that programs often leave open"),
			from("trick", "closed paths in spellings that some programs read as open ones"),
			from("claim", "fields that claim to come from elsewhere"),
			from("host", "names that aren't the application's"),
			from("ambiguous", "requests with more than one reading"),
			from("protocol", "other protocols than a port speaks"),
			from("plain", "the same without TLS"),
		},
	}
}
