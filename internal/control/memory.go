package control

import (
	"runtime/debug"
	"runtime/metrics"
)

// idleMemory is how much unused memory control keeps for itself, in bytes: a sign-in needs tens of megabytes for a moment (argon2), and none after.
const idleMemory = 8 << 20

// keepSmall has memory collected when half as much again as lives has come, rather than as much: nothing that passes waits for control.
func keepSmall() { debug.SetGCPercent(50) }

// returnMemory gives unused memory back to the system. It costs a collection, and so is for quiet moments.
func returnMemory() {
	read := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(read)
	free, dead := read[0].Value.Uint64()+read[1].Value.Uint64(), read[3].Value.Uint64()-min(read[2].Value.Uint64(), read[3].Value.Uint64())
	if free+dead > idleMemory {
		debug.FreeOSMemory()
	}
}
