package plan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
)

// upstreams lists what s may dial: one address per target in the order of its
// callees, one Upstream per port that a rule opens.
func (b *builder) upstreams(s *model.Service) []Upstream {
	out := []Upstream{}
	shared := sharedHosts{}
	next := 0
	for _, c := range b.byCaller[string(s.Name)] {
		target := c.target
		if target == string(s.Name) {
			continue // a service reaches itself on its own loopback, without Ward
		}
		if e, ok := b.externals[target]; ok {
			u := Upstream{
				Target: target, External: true, Hosts: externalHosts(e), IP: loopback(next),
				Port: localPort(e), TargetPort: e.Port, Protocol: ExternalProtocol(e),
			}
			if !shared.place(&u, e.Host) {
				next++
			}
			out = append(out, u)
			continue
		}
		ip := loopback(next)
		next++
		for _, l := range b.services[target].Listen {
			if slices.Contains(c.ports, l.Port) {
				out = append(out, Upstream{
					Target: target, Hosts: []string{target}, IP: ip,
					Port: l.Port, TargetPort: l.Port, Protocol: l.Protocol,
				})
			}
		}
	}
	markLocalhost(s, out)
	if b.selfFree && (b.users || usesKeys(s)) {
		out = append(out, Upstream{Target: Self, Hosts: []string{SelfHost}, IP: loopback(next), Port: 80, TargetPort: 80, Protocol: model.HTTP})
	}
	return out
}

// Self is the target of the upstream that Ward answers itself: http://ward/.well-known/jwks.json has the keys that verify
// transaction tokens, http://ward/v1/keys is for managed keys. It can't be a service's name.
const (
	Self = "WARD"
	// SelfHost is the host that services ask it by, and what the audit trail calls it, unless a service or an external has the name.
	SelfHost = "ward"
	// TracesPort is where Ward takes a service's own spans, on 127.0.0.1 inside: where OpenTelemetry's libraries send them if nothing else is said.
	TracesPort = 4318
)

// pagesExternal is the way of services that are OAuth clients to the token endpoint, which is at the gateway.
const pagesExternal = "ward-id"

// addPages lets the services that are OAuth clients reach the host of the pages, through this machine's own gateway; they speak
// TLS to it themselves, with their SVID.
func (b *builder) addPages(m *model.Model) []model.External {
	externals := m.Externals
	if !m.Users.On() || b.services[pagesExternal] != nil || b.externals[pagesExternal] != nil {
		return externals
	}
	_, digits, _ := cutLast(m.Gateway.Listen, ":")
	port, err := strconv.Atoi(digits)
	if err != nil {
		return externals
	}
	x := model.External{
		Pos: m.Users.Pos, Name: pagesExternal, Host: m.Users.Host, Port: port, LocalPort: port, TLS: model.TLSPassthrough,
		Protocol: model.TCP, Addresses: []string{"127.0.0.1"},
	}
	for i := range m.Users.Clients {
		c := &m.Users.Clients[i]
		if c.Service == "" {
			continue
		}
		if b.externals[pagesExternal] == nil {
			externals = append(slices.Clip(externals), x)
			b.externals[pagesExternal] = &x
		}
		b.add(Rule{Caller: string(c.Service), Target: pagesExternal, Mode: Enforce, Pos: c.Pos}, []model.Grant{{Kind: model.GrantTCP}}, 0)
	}
	return externals
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// sharedHosts places externals of the same host on the same address, because
// /etc/hosts can give a name only one: host to address and taken ports.
type sharedHosts map[string]*sharedHost

type sharedHost struct {
	ip    string
	ports []int
}

// place tells whether u was moved to an address that an earlier external has.
// Where both are dialled on the same port, the later one keeps its own address
// and is known by its own name only.
func (h sharedHosts) place(u *Upstream, host string) bool {
	first, ok := h[host]
	if !ok {
		h[host] = &sharedHost{ip: u.IP, ports: []int{u.Port}}
		return false
	}
	if slices.Contains(first.ports, u.Port) {
		u.Hosts = []string{u.Target}
		return false
	}
	first.ports = append(first.ports, u.Port)
	u.IP = first.ip
	return true
}

// externalHosts leaves out an IP literal, which /etc/hosts can't map.
func externalHosts(e *model.External) []string {
	if e.Host == "" || e.Host == string(e.Name) || isIPLiteral(e.Host) {
		return []string{string(e.Name)}
	}
	return []string{e.Host, string(e.Name)}
}

// isIPLiteral is enough for a host that Parse accepted: no DNS name holds a
// colon, or consists of digits and dots only.
func isIPLiteral(host string) bool {
	return strings.Contains(host, ":") || strings.Trim(host, "0123456789.") == ""
}

// localPort is the port that services dial; Parse fills it in, a model made by
// hand may not.
func localPort(e *model.External) int {
	switch {
	case e.LocalPort != 0:
		return e.LocalPort
	case e.TLS == model.TLSOriginate && e.Protocol == model.HTTP:
		return 80
	default:
		return e.Port
	}
}

// markLocalhost sets Localhost on the ports that nothing else uses.
func markLocalhost(s *model.Service, ups []Upstream) {
	users := make(map[int]int, len(ups))
	for _, l := range s.Listen {
		users[l.Port]++
	}
	for i := range ups {
		users[ups[i].Port]++
	}
	for i := range ups {
		ups[i].Localhost = users[ups[i].Port] == 1
	}
}
