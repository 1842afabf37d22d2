package mesh

import "github.com/wardhq/ward/internal/capability"

// Capability is what the mesh promises, and how that is attacked.
func Capability() capability.Capability {
	from := func(kind, tries string) capability.Probe {
		return capability.Probe{From: capability.Inside, Kind: kind, Tries: tries}
	}
	return capability.Capability{
		Name: "mesh", Stops: "a service that was taken over, at whatever it wasn't granted",
		Probes: []capability.Probe{
			from("route", "every route of every other service"),
			from("closed", "ports and services without a grant"),
			from("sibling", "paths beside, above and below granted ones"),
			from("unnamed", "paths that programs often leave open"),
			from("trick", "closed paths in spellings that some programs read as open ones"),
			from("claim", "fields that claim to be another caller, or to act for a user"),
			from("host", "other services' names through a granted connection"),
			from("ambiguous", "requests with more than one reading"),
			from("protocol", "other protocols than a port speaks"),
			from("by-address", "granted services by address, where they are granted by name"),
			from("server-name", "other servers behind the address of an external"),
		},
	}
}
