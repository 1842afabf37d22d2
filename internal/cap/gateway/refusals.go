package gateway

import (
	"strconv"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// maxKinds bounds the refusals that are told apart between two flushes: a scanner finds
// ever new paths.
const maxKinds = 2048

// refusal is one kind of refused request from outside.
type refusal struct {
	method, path, host string
	status             int
}

func newRefusals(record func(wire.Event)) *wire.Tally[refusal] {
	return &wire.Tally[refusal]{
		Prefix: "g-", Most: maxKinds, Record: record,
		Rest: func(r refusal) refusal {
			r.method, r.path, r.host = "*", "*", "*"
			return r
		},
		Event: func(r refusal, id string, count int64) wire.Event {
			return wire.Event{Kind: "request.denied", Subject: plan.Outside, Count: count, Detail: map[string]string{
				"id": id, "method": r.method, "path": r.path, "host": r.host, "status": strconv.Itoa(r.status), "end": "gateway",
			}}
		},
	}
}
