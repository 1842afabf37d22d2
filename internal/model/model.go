// Package model is one application as ward.yaml, version 1, says it: the nouns that every layer is derived from.
//
// A Model is data. That it is complete and consistent is what package wardfile guarantees, which reads it;
// here only grants, patterns and listeners are read, one by one. No file system, network, clock or environment.
package model

// Pos is a place in ward.yaml; both count from 1. The zero Pos is "nowhere"
// (a default that no line says).
type Pos struct {
	Line int `json:"line"`
	Col  int `json:"col"`
}

// ServiceName names a service; ExternalName a destination outside. Both are DNS
// labels (RFC 1123: a-z, 0-9, hyphen, at most 63 bytes), and share one name space.
type (
	ServiceName  string
	ExternalName string
)

// Model is one application.
type Model struct {
	App         string // DNS label
	TrustDomain string // SPIFFE trust domain; default "<app>.internal"
	Gateway     Gateway
	Services    []Service  // in the order of the file
	Externals   []External // in the order of the file
	Observe     []Observe
	Users       Users
	Secrets     []Secret   // in the order of the file
	Keys        []Key      // those that the file names; data classes have keys without
	Databases   []Database // in the order of the file
	Scan        Scan
	Update      Update
	Watch       Watch
	Files       []File // those that must be there to start
}

// File is one that ward.yaml names and that is read when Ward starts.
type File struct {
	Pos  Pos
	Key  string // the key that names it
	Path string // relative to the folder of ward.yaml, or absolute
}

// Gateway is the one way in.
type Gateway struct {
	Pos    Pos
	Listen string // host:port for HTTPS; default "127.0.0.1:8443"
	HTTP   string // host:port of the listener that only redirects to HTTPS; "" for none
	Host   string // the public host name; default "localhost"
	// TLS: "internal" (default: a certificate of the application's own CA), or
	// "files" with CertFile and KeyFile.
	TLS      string
	CertFile string
	KeyFile  string
}

// Protocol is how a listener or an external is spoken to.
type Protocol uint8

// The protocols of listeners and externals.
const (
	ProtocolUnknown Protocol = iota
	HTTP                     // HTTP/1.1
	H2C                      // HTTP/2 without TLS (prior knowledge), and HTTP/1.1
	GRPC                     // gRPC over HTTP/2 without TLS
	TCP                      // bytes
)

// Listen is one port that a service listens on, inside its own network namespace.
type Listen struct {
	Pos      Pos
	Protocol Protocol
	Port     int
}

// Service is one guarded program.
type Service struct {
	Pos         Pos
	Name        ServiceName
	Run         []string // argv; Run[0] is a path or found in PATH
	Workdir     string   // relative to the folder of ward.yaml; default "."
	Source      string   `json:",omitempty"` // the folder of its source code; "" is Workdir
	Env         []EnvVar // in the order of the file
	Listen      []Listen
	Expose      []Expose
	Calls       []Call
	Runtime     Runtime
	Files       Files
	Limits      Limits
	Sensitivity Sensitivity
	Data        []string    // data classes, lower-case words: "pii", "cards"
	Keys        []KeyUse    `json:",omitempty"`
	Secrets     []SecretUse `json:",omitempty"`
	Replicas    int         // default 1
	Ready       Ready
	Restart     Restart
}

// EnvVar is one environment variable of a service.
type EnvVar struct {
	Pos         Pos
	Name, Value string
}

// Expose opens routes of a service to the outside, through the gateway.
type Expose struct {
	Pos    Pos
	Routes []Grant
	To     string // who, in words: "anyone", "signed-in", "group:staff or role:admin"
	Need   Need   `json:",omitzero"` // the same for the policy, with mfa: and when:
	// Forward names what passes the gateway although it stops there by default: "cookies", "authorization".
	Forward []string `json:",omitempty"`
}

// Call grants calls to a service or an external.
type Call struct {
	Pos    Pos
	Target string // a ServiceName or an ExternalName
	Port   int    // 0: every port of the target whose protocol fits the grant
	Grants []Grant
}

// GrantKind is the family of a grant.
type GrantKind uint8

// The kinds. The zero GrantKind grants nothing.
const (
	GrantNone GrantKind = iota
	GrantAny            // every port, method and path of the target
	GrantHTTP           // methods and a path pattern
	GrantWS             // a WebSocket upgrade on a path pattern
	GrantGRPC           // a service and a method, either may be "*"
	GrantTCP            // a connection to a tcp port
)

// Grant is one right, as written: "GET /books/{id}", "grpc shop.v1.Payments/Charge",
// "ws /live", "tcp" or "any".
type Grant struct {
	Pos     Pos
	Kind    GrantKind
	Methods []string // HTTP only; sorted, upper case; ["*"] for every method
	// Pattern is the canonical path pattern (HTTP, WS): literal segments in
	// canon's canonical encoding, "{name}" or "*" for one segment, "**" at the
	// end for zero or more segments. For GRPC it is "/pkg.Service/Method", with "*" for a
	// method or both.
	Pattern string
	// AsUser: the call needs the live request of a signed-in user ("GET /orders as user"), and with MFA one whose second factor
	// is at most so many seconds old ("as user mfa 15m").
	AsUser bool `json:",omitempty"`
	MFA    int  `json:",omitempty"`
}

// Runtime is the base profile of the sandbox.
type Runtime uint8

// The base profiles. RuntimeStatic (a program that needs only itself and the
// system's libraries) is what an absent word means.
const (
	RuntimeStatic Runtime = iota
	RuntimeGo
	RuntimeNode
	RuntimePython
	RuntimeJVM
)

// Files lists paths (relative to the folder of ward.yaml, or absolute) that the service may
// use besides its workdir, which is readable. A write path may be read too.
type Files struct {
	Read, Write []Path
}

// Path is a path with the line that names it.
type Path struct {
	Pos  Pos
	Path string
}

// Limits bound a service; 0 means Ward's default.
type Limits struct {
	MemoryBytes int64
	CPU         float64 // cores
	PIDs        int
	OpenFiles   int
}

// Sensitivity says how bad it is to lose a service.
type Sensitivity uint8

// The levels, ascending. SensitivityUnset ranks as Medium.
const (
	SensitivityUnset Sensitivity = iota
	Low
	Medium
	High
	Critical
)

// ReadyKind is how a service shows that it can take requests.
type ReadyKind uint8

// ReadyDefault is TCP on the first listen port, or nothing where there is none.
const (
	ReadyDefault ReadyKind = iota
	ReadyNone              // counts as ready when started
	ReadyTCP               // a connection is accepted
	ReadyHTTP              // GET Path answers 2xx or 3xx
)

// Ready is the probe of a service.
type Ready struct {
	Pos            Pos
	Kind           ReadyKind
	Port           int    // 0: the first listen port
	Path           string // HTTP only
	TimeoutSeconds int    // default 60
}

// Restart says when a service that ended is started again, with back-off.
type Restart uint8

// The zero Restart is always.
const (
	RestartAlways Restart = iota
	RestartOnFailure
	RestartNever
)

// ExternalTLS says who speaks TLS to an external.
type ExternalTLS uint8

// TLSPassthrough is the default on port 443, TLSNone otherwise.
const (
	TLSNone        ExternalTLS = iota
	TLSPassthrough             // the service speaks TLS itself; Ward checks the SNI at layer 4
	TLSOriginate               // the service speaks plain HTTP; Ward speaks verified TLS outside
)

// External is a destination outside the application.
type External struct {
	Pos       Pos
	Name      ExternalName
	Host      string // real DNS name or IP literal
	Port      int
	LocalPort int // the port that services dial; default Port, or 80 for TLSOriginate with HTTP
	TLS       ExternalTLS
	Protocol  Protocol // HTTP, H2C, GRPC or TCP (default for none and passthrough)
	// Addresses are IPs or CIDRs that answers of the name must lie in. Loopback,
	// link-local, private and metadata addresses are refused unless one of these,
	// or Host itself, names them.
	Addresses []string
	CAFile    string // PEM roots for TLSOriginate; "" for the system's
	Auth      *Auth  `json:",omitempty"`
}

// Observe is a grant that only records until its end date (inclusive): it
// allows what no rule allows yet, and says so in the ledger.
type Observe struct {
	Pos    Pos
	From   ServiceName
	To     string
	Grants []Grant
	Until  string // YYYY-MM-DD
}
