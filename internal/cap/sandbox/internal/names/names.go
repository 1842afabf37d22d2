// Package names answers DNS inside a sandbox (RFC 1035, over UDP): it knows the granted
// names only, and tells of the others.
//
// Guarantee: it never asks anybody; a name without a grant gets NXDOMAIN.
package names

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/plan"
)

// Server is the responder's address, for resolv.conf.
const Server = "127.63.0.1"

// maxFlagged bounds how many unknown names are told of, maxTraps those that may be a trap's.
const (
	maxFlagged = 64
	maxTraps   = 16
)

// Serve starts the responder; it lives as long as the process. flag is called once per unknown name.
func Serve(table []spec.Name, flag func(kind, detail string)) error {
	conn, err := net.ListenPacket("udp4", Server+":53")
	if err != nil {
		return fmt.Errorf("start name responder: %w", err)
	}
	r := newResponder(table, flag)
	go r.serve(conn)
	return nil
}

type responder struct {
	known   map[string]netip.Addr // lower case, with the final dot
	flag    func(kind, detail string)
	flagged map[string]bool // only the serving goroutine uses it, and traps
	traps   map[string]bool
}

func newResponder(table []spec.Name, flag func(kind, detail string)) *responder {
	r := &responder{known: map[string]netip.Addr{}, flag: flag, flagged: map[string]bool{}, traps: map[string]bool{}}
	for _, n := range table {
		ip, err := netip.ParseAddr(n.IP)
		if err != nil {
			continue
		}
		for _, h := range n.Hosts {
			r.known[strings.ToLower(h)+"."] = ip
		}
	}
	return r
}

func (r *responder) serve(conn net.PacketConn) {
	buf := make([]byte, 1232)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := r.Answer(buf[:n]); reply != nil {
			_, _ = conn.WriteTo(reply, from) // a lost answer is asked for again
		}
	}
}

// Answer builds the reply to one query, or nil for what isn't one.
func (r *responder) Answer(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	name := strings.ToLower(q.Name.String())
	ip, ok := r.known[name]
	switch {
	case !ok:
		reply.RCode = dnsmessage.RCodeNameError
		seen, most := r.flagged, maxFlagged
		if strings.HasPrefix(name, plan.CanaryPrefix) { // what else was looked up before mustn't hide the trap
			seen, most = r.traps, maxTraps
		}
		if !seen[name] && len(seen) < most {
			seen[name] = true
			r.flag("dns", strings.TrimSuffix(name, "."))
		}
	case q.Type == dnsmessage.TypeA && ip.Is4():
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 5},
			Body:   &dnsmessage.AResource{A: ip.As4()},
		}}
	}
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	return out
}
