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
)

// Server is the responder's address, for resolv.conf.
const Server = "127.63.0.1"

// Serve starts the responder; it lives as long as the process. flag is called for each question about an unknown name.
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
	known map[string]netip.Addr // lower case, with the final dot
	flag  func(kind, detail string)
}

func newResponder(table []spec.Name, flag func(kind, detail string)) *responder {
	r := &responder{known: map[string]netip.Addr{}, flag: flag}
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
		r.flag("dns", strings.TrimSuffix(name, "."))
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
