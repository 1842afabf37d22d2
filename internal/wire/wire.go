// Package wire is what Ward's processes say to each other: the messages from the
// supervisor to the roles (with descriptors, over package scm), and the control plane's HTTP API
// (JSON over Unix sockets, or over mTLS between hosts).
//
// Guarantee: who calls is known from the socket that the call came in on, never from what
// it says. Bodies and messages are bounded.
package wire

import (
	"encoding/json"
	"time"

	"github.com/wardhq/ward/internal/plan"
)

// ToRole is what the supervisor says to a role, over its standard input. Exactly one
// field is set. A role ends when the channel does.
type ToRole struct {
	// Listen hands a listening socket over; one file.
	Listen *Listen `json:"listen,omitempty"`
	// Attach gives the agent a running service: its upstream listeners, in the order of the plan's
	// upstreams and then the localhost ones; as many messages as the files need.
	Attach *Attach `json:"attach,omitempty"`
	// Detach tells that a service instance has ended.
	Detach *Instance `json:"detach,omitempty"`
	// Drain asks the role to finish what it has begun and to end.
	Drain bool `json:"drain,omitempty"`
	// Config is the first message of every role.
	Config *RoleConfig `json:"config,omitempty"`
}

// RoleConfig is what a role needs to know at start.
type RoleConfig struct {
	TrustDomain string `json:"trust_domain"`
	// Key unseals control's state; only control gets it. It comes in a file beside the message, so that no buffer of JSON ever holds it.
	Key []byte `json:"-"`
	// SVIDSeconds is the life of SVIDs; 0 for the default.
	SVIDSeconds int `json:"svid_seconds,omitempty"`
	// Agent names the agent of this host.
	Agent string `json:"agent,omitempty"`
	// LearnUntil: until then the agent lets calls between services pass that no rule allows, and records
	// them. Zero: never.
	LearnUntil time.Time `json:"learn_until,omitzero"`
}

// Listen names a socket's purpose.
type Listen struct {
	Purpose string `json:"purpose"`
}

// Purposes of listening sockets.
const (
	ListenHTTPS      = "https"       // gateway: the public one
	ListenHTTP       = "http"        // gateway: redirects to HTTPS
	ListenIngress    = "ingress"     // agent: mTLS from the gateway and other agents
	ListenForAgent   = "for_agent"   // control: the agent's API
	ListenForGateway = "for_gateway" // control: the gateway's API
	ListenPages      = "pages"       // control: sign-in pages and OpenID provider, for what the gateway passes on
	ListenEgress     = "egress"      // agent: the way out for control, to what users: names
	ListenForAdmin   = "for_admin"   // control: the supervisor's and the command line's API
)

// Instance is one run of one replica of a service.
type Instance struct {
	Service string `json:"service"`
	Replica int    `json:"replica"`
	Run     uint64 `json:"run"` // grows with every start, over all services
}

// Attach describes the files that come along.
type Attach struct {
	Instance
	// Kind of the files in this message: one Inbound channel, one Workload listener, or listeners.
	Inbound  bool `json:"inbound,omitempty"`
	Workload bool `json:"workload,omitempty"`
	// First is the index of the message's first listener.
	First int  `json:"first,omitempty"`
	Last  bool `json:"last,omitempty"` // nothing more follows for this instance
	// Upstreams say, in the last message, what each listener is for, in order.
	Upstreams []plan.Upstream `json:"upstreams,omitempty"`
}

// FromRole is what a role says to the supervisor. Exactly one field is set.
type FromRole struct {
	Ready bool   `json:"ready,omitempty"` // it serves
	Fatal string `json:"fatal,omitempty"` // it can't go on; it ends
}

// PlanState is the plan in force.
type PlanState struct {
	Revision string     `json:"revision"`
	Plan     *plan.Plan `json:"plan"`
	Today    string     `json:"today"` // control's date, for observe rules
	// Files are what users: names, by the path that it says; only from the supervisor to control, which seals them.
	Files map[string][]byte `json:"files,omitempty"`
}

// SignRequest asks for an X.509-SVID for a public key.
type SignRequest struct {
	ID  string `json:"id"`  // SPIFFE ID
	CSR []byte `json:"csr"` // DER, signed by the key (RFC 2986)
	// Link asks for a certificate of Ward's own connections.
	Link bool `json:"link,omitempty"`
}

// SignReply is a certificate chain, leaf first, DER.
type SignReply struct {
	Chain [][]byte `json:"chain"`
}

// JWTRequest asks for a JWT-SVID.
type JWTRequest struct {
	ID       string   `json:"id"`
	Audience []string `json:"audience"`
}

// JWTReply is a JWT-SVID.
type JWTReply struct {
	Token string `json:"token"`
}

// Bundle is the trust bundle of the trust domain.
type Bundle struct {
	Sequence uint64          `json:"sequence"`
	X509     [][]byte        `json:"x509"` // DER roots
	JWKS     json.RawMessage `json:"jwks"` // RFC 7517, the JWT authorities
}

// Event is one thing that happened, on its way to the ledger.
type Event struct {
	// Source and Seq identify the event, so that one that was sent twice is kept once.
	Source string    `json:"source"`
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	// Kind is "<thing>.<what>", as "service.start", "request.denied".
	Kind    string            `json:"kind"`
	Subject string            `json:"subject,omitempty"` // who did it
	Object  string            `json:"object,omitempty"`  // to whom
	Detail  map[string]string `json:"detail,omitempty"`
	Count   int64             `json:"count,omitempty"` // how many alike, if not 1
}

// Where the roles find their sockets and files inside their sandboxes.
const (
	ControlDir    = "/run/control"
	ControlSocket = "control.sock"
	PagesSocket   = "pages.sock"
	EgressDir     = "/run/egress"
	MailDir       = "/mail"
	EgressSocket  = "egress.sock"
	IngressDir    = "/run/ingress"
	IngressSocket = "ingress.sock"
	StateDir      = "/state"
	SpoolDir      = "/spool"
)

// Where control finds the large files that users: names.
const (
	GeoIPFile    = "/etc/ward/geoip.mmdb"
	BreachedFile = "/etc/ward/breached"
)

// GatewayTLS is where the gateway finds the certificate and the key that the model names.
var GatewayTLS = [2]string{"/etc/ward/tls.crt", "/etc/ward/tls.key"}

// Usage is how often grants were used since the last report, by GrantKey.
type Usage struct {
	Hits map[string]int64 `json:"hits"`
}

// UsageReport is when each grant was last used.
type UsageReport struct {
	Since  time.Time           `json:"since"` // when counting began
	Grants map[string]GrantUse `json:"grants"`
}

// GrantUse is the use of one grant.
type GrantUse struct {
	Since time.Time `json:"since"` // when it came into the plan, or counting began
	Count int64     `json:"count"`
	Last  time.Time `json:"last,omitzero"`  // zero: never
	Gone  bool      `json:"gone,omitempty"` // no plan in force has it
}

// GrantKey names a grant by what it says, so that it stays the same when lines move.
func GrantKey(r *plan.Rule) string {
	return r.Caller + " " + r.Target + " " + r.Grant.String()
}
