// Package plan derives from a model what each service may do: a pure function.
//
// It guarantees that equal models give equal plans, byte for byte, and that a
// plan holds every right that any layer will grant: what is not in Rules is
// closed. It imports no net, os, time or rand; dates come in as strings.
package plan

import "github.com/wardhq/ward/internal/model"

// Further is what a sign of a sandbox is about where there are more than are told apart.
const Further = "*"

// Outside is the caller of everything that comes in through the gateway. It
// can't be a service's name (an upper-case letter is no DNS label here).
const Outside = "GATEWAY"

// SignedIn is the word for whoever signed in, in Need.Who; AsUser is Rule.To of a call that needs a user.
const (
	SignedIn = "signed-in"
	AsUser   = "as user"
)

// Mode says what a matching rule does.
type Mode uint8

// The zero Mode is unset and grants nothing.
const (
	ModeUnset Mode = iota
	Enforce        // allows
	Observe        // allows until the end date, and records each use
)

// Rule is one right: Caller may do Grant at Target's Port. Its index in
// Plan.Rules is its identity within the plan.
type Rule struct {
	Caller   string      `json:"caller"` // a service, or Outside
	Target   string      `json:"target"` // a service or an external
	External bool        `json:"external,omitempty"`
	Ports    []int       `json:"ports"` // the target's ports that it opens, ascending; never empty
	Grant    model.Grant `json:"grant"`
	Mode     Mode        `json:"mode"`
	Until    string      `json:"until,omitempty"`   // YYYY-MM-DD, inclusive; Observe only
	To       string      `json:"to,omitempty"`      // whom it is for, in words; "" for calls without a user
	Need     model.Need  `json:"need,omitzero"`     // the same, to decide with
	Forward  []string    `json:"forward,omitempty"` // expose only; see model.Expose
	Pos      model.Pos   `json:"pos"`               // the line that makes it
}

// Upstream is an address that a service may dial, inside its own namespace.
type Upstream struct {
	Target   string   `json:"target"`
	External bool     `json:"external,omitempty"`
	Hosts    []string `json:"hosts"` // names for /etc/hosts: the service name, or the external's host
	IP       string   `json:"ip"`    // 127.x.y.z, one per target, never 127.0.0.1
	Port     int      `json:"port"`  // the port that the service dials
	// TargetPort is the port behind it: the target's listen port, or the external's.
	TargetPort int            `json:"target_port"`
	Protocol   model.Protocol `json:"protocol"`
	// Localhost: the same port is also open on 127.0.0.1, because neither the
	// service itself nor another upstream uses it there.
	Localhost bool `json:"localhost,omitempty"`
}

// Service is a service with everything that follows from the model.
type Service struct {
	model.Service
	ID        string     `json:"id"` // spiffe://<trust domain>/svc/<name>
	Upstreams []Upstream `json:"upstreams"`
	// StartAfter names the services that must be ready first: its callees, less
	// those that a cycle makes impossible.
	StartAfter []string `json:"start_after"`
}

// The trap that every service finds in its environment, unless watch: canaries: is off: the URL of a database that there is none of. Whoever
// looks its host up, signs in with its user, or shows its password has taken it from there. The host is CanaryPrefix, what only control can
// make, and CanarySuffix: a service that looks up what strangers name must not be cut off by one who has read this.
const (
	CanaryEnv    = "BACKUP_DATABASE_URL"
	CanaryPrefix = "backup-db-"
	CanarySuffix = ".internal"
	CanaryUser   = "backup_admin"
)

// CanaryName is what the password of a service's trap is called where it is found.
func CanaryName(service string) string { return "the canary of " + service }

// Plan is everything that control hands to gateway and agents.
type Plan struct {
	App         string           `json:"app"`
	TrustDomain string           `json:"trust_domain"`
	Gateway     model.Gateway    `json:"gateway"`
	Services    []Service        `json:"services"`
	Externals   []model.External `json:"externals"`
	Rules       []Rule           `json:"rules"`
	Users       model.Users      `json:"users,omitzero"`
	Watch       model.Watch      `json:"watch,omitzero"`
	// CAs are the PEM certificates of externals' and databases' own authorities, by name. Build leaves it
	// empty: whoever may read files fills it.
	CAs       map[string]string `json:"cas,omitempty"`
	Secrets   []model.Secret    `json:"secrets,omitempty"`
	Keys      []Key             `json:"keys,omitempty"`
	Databases []model.Database  `json:"databases,omitempty"`
}
