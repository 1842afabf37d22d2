package identity

import "github.com/wardhq/ward/internal/capability"

// Capability is what identity promises, and how that is attacked.
func Capability() capability.Capability {
	return capability.Capability{
		Name: "identity", Stops: "whoever pretends to be somebody",
		Probes: []capability.Probe{
			{From: capability.Outside, Kind: "pretend", Tries: "forged fields, cookies and tokens on routes that ask for a person"},
		},
	}
}
