package wire

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/telemetry"
)

// Network is the part of an address that its client can't choose, the address itself or in IPv6 its /64, and "" for none.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	bits := 32
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// MaxSighted bounds the clients of a report, and the paths of each.
const (
	MaxSighted      = 512
	MaxSightedPaths = 64
)

// Sighting is what one client of the gateway did, since the report before, that may be part of an attack.
type Sighting struct {
	Client     netip.Prefix `json:"client"`               // an address, or in IPv6 its /64
	Undeclared []uint32     `json:"undeclared,omitempty"` // hashes of paths that no route declares, each once
	Malformed  int          `json:"malformed,omitempty"`  // requests and handshakes that can't be read
	Slow       int          `json:"slow,omitempty"`       // connections that keep the gateway waiting: for a request, its body, or room for an answer
	Payloads   int          `json:"payloads,omitempty"`   // requests that look like an attempt to inject something
	Class      string       `json:"class,omitempty"`      // what the first of them would inject
	Injection  string       `json:"injection,omitempty"`  // method and target of that one
	Honey      string       `json:"honey,omitempty"`      // a path that only who looks for holes asks for
	CrossSite  int          `json:"cross_site,omitempty"` // requests of any of these kinds that a page may have made a browser send; they count nowhere else
	Tool       string       `json:"tool,omitempty"`       // what the client calls itself, if that is a known scanner
	Example    string       `json:"example,omitempty"`    // method and target of one that is undeclared, or that a page made
	// Traces that show the injection, the honey path, and the example; zero for none.
	InjectionTrace telemetry.TraceID `json:"injection_trace,omitzero"`
	HoneyTrace     telemetry.TraceID `json:"honey_trace,omitzero"`
	ExampleTrace   telemetry.TraceID `json:"example_trace,omitzero"`
}

// Sightings are those of all clients.
type Sightings []Sighting

// Check bounds what a gateway may tell.
func (s Sightings) Check() error {
	if len(s) > MaxSighted {
		return fault.New(fault.Invalid, "too many clients in one report")
	}
	for i := range s {
		x := &s[i]
		if !x.Client.IsValid() || x.Client != x.Client.Masked() || len(x.Undeclared) > MaxSightedPaths || x.Malformed < 0 || x.Slow < 0 || x.Payloads < 0 || x.CrossSite < 0 {
			return fault.New(fault.Invalid, "a sighting that can't be one")
		}
		x.Class, x.Injection, x.Honey, x.Tool, x.Example = Clip(x.Class), Clip(x.Injection), Clip(x.Honey), Clip(x.Tool), Clip(x.Example)
	}
	return nil
}

// ReportSightings tells control of clients (the gateway only).
func (c *Client) ReportSightings(ctx context.Context, s Sightings) error {
	return c.Call(ctx, http.MethodPost, "/v1/sightings", s, nil)
}

// Restriction is what an answer does to a client or a service, until it ends. One of Client and Service is set.
type Restriction struct {
	ID      string       `json:"id"`
	Client  netip.Prefix `json:"client,omitzero"`
	Slow    bool         `json:"slow,omitempty"` // of a client: one request a second, rather than none
	Service string       `json:"service,omitempty"`
	Until   time.Time    `json:"until"`
	Reason  string       `json:"reason"`
	Finding int64        `json:"finding,omitempty"` // that it answers; 0 for one that somebody asked for
	By      string       `json:"by,omitempty"`      // who asked for it
	Sure    bool         `json:"sure,omitempty"`    // who asks knows that it may close out administrators, or all of a private network
}

// Restrictions are all that are in force.
type Restrictions struct {
	Sequence uint64        `json:"sequence"`
	All      []Restriction `json:"all,omitempty"`
}

// Restrictions returns what is in force; have is as in SecretVersions (agents and the gateway).
func (c *Client) Restrictions(ctx context.Context, have string) (Restrictions, error) {
	var out Restrictions
	return out, c.Call(ctx, http.MethodGet, "/v1/restrictions?have="+url.QueryEscape(have), nil, &out)
}

// FindingAct is what somebody does with a finding or a silence.
type FindingAct struct {
	ID   int64  `json:"id"`
	By   string `json:"by,omitempty"`
	Note string `json:"note,omitempty"`
}

// AnswerAct is what somebody does with an answer.
type AnswerAct struct {
	ID string `json:"id"`
	By string `json:"by"`
}
