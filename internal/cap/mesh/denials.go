package mesh

import (
	"strconv"

	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// maxGroups bounds the kinds of denials that are told apart between two flushes; what is
// beyond counts under its caller and target alone.
const maxGroups = 4096

// denied is one kind of denial. Equal ones are one group: the first is in the
// ledger before its answer leaves, the rest as counts.
type denied struct {
	caller, target string
	port           int
	method, path   string
	host           string // where the host was the reason
	malformed      string // where the request had no one reading
	token          string // where a transaction token didn't count
	failed         string // not a denial: why an external could not be reached
	reason         policy.Reason
	end            string // "outbound", "inbound" or "parse"
	observed       bool   // not a denial: an observe rule let it pass
}

// note counts a denial and returns its ID. It returns after the first of its
// kind has been kept for the ledger.
func (m *Mesh) note(d denied) string { return m.noteIn(d, telemetry.TraceID{}) }

// noteIn is note of what belongs to a trace; zero for none.
func (m *Mesh) noteIn(d denied, in telemetry.TraceID) string {
	d.method, d.path, d.host = wire.Clip(d.method), wire.Clip(d.path), wire.Clip(d.host)
	trace := ""
	if in != (telemetry.TraceID{}) {
		trace = in.String()
	}
	return m.denials.NoteIn(d, trace)
}

func newDenials(record func(wire.Event)) *wire.Tally[denied] {
	return &wire.Tally[denied]{
		Prefix: "d-", Most: maxGroups, Record: record,
		Rest: func(d denied) denied {
			d.method, d.path, d.host, d.malformed, d.failed, d.token = "*", "", "", "", "", ""
			return d
		},
		Event: func(d denied, id string, count int64) wire.Event { return d.event(id, count) },
	}
}

func (d *denied) kind() string {
	switch {
	case d.observed:
		return "request.observed"
	case d.malformed != "":
		return "request.malformed"
	case d.token != "":
		return "token.misused"
	case d.failed != "":
		return "request.failed"
	}
	return "request.denied"
}

// event describes a denial for the ledger.
func (d *denied) event(id string, count int64) wire.Event {
	detail := map[string]string{"id": id, "method": d.method, "port": strconv.Itoa(d.port)}
	for k, v := range map[string]string{"path": d.path, "end": d.end, "host": d.host, "malformed": d.malformed, "failed": d.failed, "token": d.token} {
		if v != "" {
			detail[k] = v
		}
	}
	switch {
	case d.host != "":
		detail["reason"] = "wrong_host"
	case !d.observed && d.malformed == "" && d.failed == "" && d.token == "":
		detail["reason"] = d.reason.String()
	}
	return wire.Event{Kind: d.kind(), Subject: d.caller, Object: d.target, Detail: detail, Count: count}
}
