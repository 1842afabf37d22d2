package secrets

import "github.com/wardhq/ward/internal/capability"

// Capability is what keys and secrets promise, and how that is attacked.
func Capability() capability.Capability {
	return capability.Capability{
		Name: "secrets", Stops: "whoever reads a disk, a backup, an environment, or takes a service over, at keys and secrets that aren't theirs",
		Probes: []capability.Probe{
			{From: capability.Inside, Kind: "key", Tries: "every use of every managed key, other services' names, and the administrators' API"},
			{From: capability.Inside, Kind: "secret", Tries: "other services' secrets; links, races and remounts in its own folder; changing what was delivered"},
		},
	}
}
