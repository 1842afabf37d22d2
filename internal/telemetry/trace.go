package telemetry

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"unsafe"
)

// TraceID and SpanID are those of W3C Trace Context; zero is none.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Span is a request's place in a trace.
type Span struct {
	Trace   TraceID
	Parent  SpanID // of who called; zero if nobody said
	ID      SpanID // our own
	Sampled bool   // as the caller said
}

// TraceParent is the header's name, and its length in version 00.
const (
	TraceParent = "Traceparent"
	parentSize  = 55
)

// NewSpan continues the trace that a traceparent names, or begins one where it is none (W3C Trace Context §3.2: what isn't valid is as if it
// weren't there). Nobody can guess a trace that begins here. n is how many such fields there are: of more than one, none counts.
func NewSpan(parent string, n int) Span {
	var s Span
	if n != 1 || !s.parse(parent) {
		s = Span{Trace: newTrace()}
	}
	binary.LittleEndian.PutUint64(s.ID[:], rand.Uint64()|1)
	return s
}

// newTrace is apart, so that only who begins a trace pays for what crypto/rand does with its argument.
func newTrace() (t TraceID) {
	_, _ = crand.Read(t[:]) // it never fails (crypto/rand)
	t[15] |= 1              // never zero
	return t
}

// TraceOf is the trace that a traceparent names, as 32 digits of it, "" where NewSpan would begin another one.
func TraceOf(parent string, n int) string {
	var s Span
	if n != 1 || !s.parse(parent) {
		return ""
	}
	return parent[3:35]
}

func (s *Span) parse(p string) bool {
	// A later version may be longer, with a dash after the flags.
	if len(p) < parentSize || p[2] != '-' || p[35] != '-' || p[52] != '-' || len(p) > parentSize && (p[:2] == "00" || p[parentSize] != '-') || p[:2] == "ff" {
		return false
	}
	var version, flags [1]byte
	if !lowerHex(version[:], p[:2]) || !lowerHex(s.Trace[:], p[3:35]) || !lowerHex(s.Parent[:], p[36:52]) || !lowerHex(flags[:], p[53:55]) {
		return false
	}
	s.Sampled = flags[0]&1 != 0
	return s.Trace != TraceID{} && s.Parent != SpanID{}
}

// lowerHex decodes lower-case hex alone, as the header must have it.
func lowerHex(to []byte, from string) bool {
	for i := range to {
		a, b := nibble(from[2*i]), nibble(from[2*i+1])
		if a|b > 15 {
			return false
		}
		to[i] = a<<4 | b
	}
	return true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// Parent is room for a traceparent; a pool keeps it for the length of a request.
type Parent [parentSize]byte

// Write is the traceparent to send on: valid for as long as the room isn't written to again.
func (p *Parent) Write(s *Span) string {
	copy(p[:], "00-")
	hex.Encode(p[3:], s.Trace[:])
	p[35] = '-'
	hex.Encode(p[36:], s.ID[:])
	copy(p[52:], "-00")
	if s.Sampled {
		p[54] = '1'
	}
	return unsafe.String(&p[0], len(p))
}
