// Package canon holds the one canonical HTTP request that every part of Ward
// matches, logs and forwards.
//
// Guarantee: a Request that this package returns has exactly one reading. What
// two programs could read in two ways (dot segments after decoding, %2f,
// backslash, NUL, bad UTF-8, empty inner segments, two Hosts) is an error, never
// a guess. Not guaranteed: that the path exists or means anything to a service.
package canon

// Protocol is what the request is spoken as, for the matcher.
type Protocol uint8

// The protocols. The zero Protocol matches no rule.
const (
	ProtocolUnknown Protocol = iota
	HTTP                     // plain HTTP request, version 1.1 or 2
	WebSocket                // HTTP/1.1 Upgrade: websocket, or RFC 8441 CONNECT
	GRPC                     // HTTP/2 POST with content-type application/grpc
	TCP                      // a layer-4 connection: no method, no path
)

// Request is the canonical form. Its strings may alias the bytes that were
// parsed: copy them to keep them longer than the request.
type Request struct {
	Protocol Protocol
	// Method is an upper-case token (RFC 9110 §9.1).
	Method string
	// Host is lower case, without port or trailing dot; an IPv6 literal keeps
	// its brackets.
	Host string
	// Port is the port of the Host header or :authority, "" if none.
	Port string
	// Path starts with "/" and is percent-encoded in the one canonical way:
	// unreserved bytes (RFC 3986 §2.3) never encoded, all else that a path may
	// not hold raw encoded with upper-case hex. It never holds "//", "." or ".."
	// segments. A trailing slash is kept, and is significant. The one other path is
	// "*", of OPTIONS only (RFC 9112 §3.2.4).
	Path string
	// Query is the raw query without "?", "" if none. It is forwarded as it came.
	Query string
	// HasQuery tells "/a?" from "/a".
	HasQuery bool
}

// Target is the origin-form request target (RFC 9112 §3.2.1) to forward.
func (r *Request) Target() string {
	if !r.HasQuery {
		return r.Path
	}
	return r.Path + "?" + r.Query
}
