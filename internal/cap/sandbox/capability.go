package sandbox

import "github.com/wardhq/ward/internal/capability"

// Capability is what the sandbox promises, and how that is attacked.
func Capability() capability.Capability {
	return capability.Capability{
		Name: "sandbox", Stops: "a service that was taken over, at the host, its neighbours and the way out",
		Probes: []capability.Probe{
			{From: capability.Inside, Kind: "address", Tries: "addresses that Ward's listeners aren't at: neighbours, the host, metadata services, the Internet"},
			{From: capability.Inside, Kind: "escape", Tries: "a hundred ways out through files, processes, sockets and the kernel's calls"},
		},
	}
}
