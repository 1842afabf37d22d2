package model

import (
	"cmp"
	"slices"
)

// Watch is what Ward does with what it sees, where that isn't the default.
type Watch struct {
	OTLP       []OTLP      `json:",omitempty"`
	Notify     []Notify    `json:",omitempty"`
	Heartbeat  Heartbeat   `json:",omitzero"`
	Rules      []WatchRule `json:",omitempty"` // of detection, that aren't as they are by default
	SLO        SLO         `json:",omitzero"`
	Ledger     LedgerKeep  `json:",omitzero"`
	Anchor     []Anchor    `json:",omitempty"`
	NeverBlock []string    `json:",omitempty"` // addresses and networks (CIDR) that no answer may close out
	NoCanaries bool        `json:",omitempty"`
	Console    Console     `json:",omitzero"`
}

// Console says who may use the console behind the gateway: words as in Need.Who, but for "signed-in". The zero Console is there for nobody but
// who can run ward console.
type Console struct {
	Pos           Pos
	Host          string   // default "console.<gateway host>"
	Viewer        []string // see
	Operator      []string // act on findings, too
	Administrator []string // and cut services off, and end sessions
}

// The roles that the console is for where nothing else is said.
const (
	ConsoleViewer        = "ward-viewer"
	ConsoleOperator      = "ward-operator"
	ConsoleAdministrator = "ward-admin"
)

// On tells whether the console is behind the gateway.
func (c *Console) On() bool { return c.Pos.Line > 0 }

// Who may come in.
func (c *Console) Who() []string { return slices.Concat(c.Administrator, c.Operator, c.Viewer) }

// Destinations are the URLs, or at least the hosts, that control sends to.
func (w *Watch) Destinations() []string {
	var out []string
	for i := range w.OTLP {
		out = append(out, w.OTLP[i].Endpoint)
	}
	for i := range w.Notify {
		n := &w.Notify[i]
		out = append(out, n.URL, n.SMTP)
		if n.Host != "" {
			out = append(out, "https://"+n.Host)
		}
	}
	for i := range w.Anchor {
		out = append(out, w.Anchor[i].Webhook, w.Anchor[i].RFC3161)
	}
	out = append(out, w.Heartbeat.URL)
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// OTLP is a collector that gets metrics and traces (OTLP over HTTP).
type OTLP struct {
	Pos         Pos
	Endpoint    string // base URL: /v1/metrics and /v1/traces are added
	NoMetrics   bool   `json:",omitempty"`
	NoTraces    bool   `json:",omitempty"`
	JSON        bool   `json:",omitempty"` // rather than protobuf
	HeadersFile string `json:",omitempty"` // lines "Name: value"
}

// Notify is whom findings are told.
type Notify struct {
	Pos     Pos
	To      string // a word of vocabulary.Notifiers
	URL     string `json:",omitempty"` // where it is no secret
	URLFile string `json:",omitempty"` // the file of a URL that is one
	Host    string `json:",omitempty"` // of that URL, with the port unless it is 443: what the agent lets control reach
	KeyFile string `json:",omitempty"` // HMAC key, routing key, token or password
	Address string `json:",omitempty"` // mail
	From    string `json:",omitempty"` // mail: the sender
	SMTP    string `json:",omitempty"` // mail: smtp:// or smtps://
	User    string `json:",omitempty"` // mail
	Least   string `json:",omitempty"` // the lowest severity: "low" to "critical"; "" is high
	Repeat  int    `json:",omitempty"` // seconds after which an open finding is told again; 0 is four hours
	Quiet   string `json:",omitempty"` // "22:00-07:00", UTC: only critical ones then
}

// Heartbeat is a dead-man's switch: who no longer hears from Ward raises the alarm. The zero Heartbeat is none.
type Heartbeat struct {
	URL   string
	Every int // seconds; 0 is a minute
}

// WatchRule is a rule of detection whose mode is said.
type WatchRule struct {
	Pos     Pos
	Name    string // of vocabulary.WatchRules
	Observe bool   // findings, but no answer; else both
}

// SLO is what is promised of routes. Zero values are the defaults.
type SLO struct {
	Objective
	Services []ServiceSLO `json:",omitempty"`
}

// Objective is a promise; zero values are those of the level above.
type Objective struct {
	Availability float64 `json:",omitempty"` // per cent of requests that don't fail; 0 is 99.5
	P99          int     `json:",omitempty"` // milliseconds; 0 is 1000
}

// What is promised where nothing is said.
const (
	UsualAvailability = 99.5
	UsualP99          = 1000
)

// Of is what a service promises; nothing in it is zero. What isn't a service of its own list promises what all do.
func (s *SLO) Of(service ServiceName) Objective {
	all := s.Objective.or(Objective{UsualAvailability, UsualP99})
	for i := range s.Services {
		if s.Services[i].Service == service {
			return s.Services[i].Objective.or(all)
		}
	}
	return all
}

func (o Objective) or(b Objective) Objective {
	return Objective{cmp.Or(o.Availability, b.Availability), cmp.Or(o.P99, b.P99)}
}

// ServiceSLO is what one service promises.
type ServiceSLO struct {
	Pos     Pos
	Service ServiceName
	Objective
}

// AllServices, in LedgerKeep.Allowed, is every service.
const AllServices = "all"

// LedgerKeep is what the ledger keeps and how much.
type LedgerKeep struct {
	Allowed []string `json:",omitempty"` // services whose allowed calls are kept too; AllServices for everybody's
	Budget  int64    `json:",omitempty"` // bytes; 0 is 4 GB
	Days    int      `json:",omitempty"` // 0 is 400
}

// Anchor is where the ledger's signed checkpoints go, so that nobody can put back an older ledger unseen. One of File, Webhook, RFC3161 is set.
type Anchor struct {
	Pos     Pos
	File    string `json:",omitempty"`
	Webhook string `json:",omitempty"`
	RFC3161 string `json:",omitempty"` // the URL of a time-stamp server
	Every   int    `json:",omitempty"` // seconds; 0 is an hour
}
