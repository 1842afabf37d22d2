// Package h1 is a strict HTTP/1.1 codec (RFC 9112): heads parsed in place, and
// bodies with their framing.
//
// Guarantee: a head that it accepts has one reading. Whatever servers are known
// to read differently (bare LF, obs-fold, space before a colon, two lengths, a
// length beside a transfer coding, odd chunk sizes, two Hosts) is an Error,
// also where RFC 9112 would allow leniency. Fields it hands out hold no control
// bytes, so that writing them out again can't split a message. Memory per
// connection is bounded by Limits.
//
// Not guaranteed: that a target makes sense (package canon), or anything about
// time: deadlines are the connection owner's.
package h1

// Limits bound what is read before it is understood. A zero field means its
// default.
type Limits struct {
	HeadBytes int // request or status line and fields, and likewise trailers; 32 KiB
	LineBytes int // any one line of them; 16 KiB
	Fields    int // number of fields; 128
}

func (l Limits) orDefault() Limits {
	if l.HeadBytes <= 0 {
		l.HeadBytes = 32 << 10
	}
	if l.LineBytes <= 0 {
		l.LineBytes = 16 << 10
	}
	if l.Fields <= 0 {
		l.Fields = 128
	}
	return l
}

// Error is why a message was refused: a fixed text that holds nothing of the
// message and may be shown to the peer.
type Error string

// Error is the public reason.
func (e Error) Error() string { return string(e) }

// Status is the HTTP status to answer a refused request with.
func (e Error) Status() int {
	switch e {
	case ErrHeadBytes, ErrLineBytes, ErrFieldCount:
		return 431
	case ErrVersion:
		return 505
	case ErrExpect:
		return 417
	}
	return 400
}

// The reasons.
const (
	ErrHeadBytes    Error = "the head is too large"
	ErrLineBytes    Error = "a line of the head is too long"
	ErrFieldCount   Error = "the head has too many fields"
	ErrVersion      Error = "the HTTP version is not 1.0 or 1.1"
	ErrExpect       Error = "the expectation is not 100-continue"
	ErrBareLF       Error = "a line does not end in CR LF"
	ErrRequestLine  Error = "the request line is malformed"
	ErrStatusLine   Error = "the status line is malformed"
	ErrFold         Error = "a field is folded over lines"
	ErrFieldName    Error = "a field name is not a token"
	ErrFieldValue   Error = "a field value holds a control byte"
	ErrFramingAlias Error = "a field name imitates a framing field"
	ErrHostCount    Error = "there is not exactly one Host"
	ErrLength       Error = "the Content-Length is not one decimal number"
	ErrCoding       Error = "the Transfer-Encoding is not chunked"
	ErrBothFramings Error = "there are both Content-Length and Transfer-Encoding"
	ErrCodingOn10   Error = "there is a Transfer-Encoding in HTTP/1.0"
	ErrConnection   Error = "the Connection field is malformed"
	ErrUpgrade      Error = "there is more than one Upgrade"
	ErrTraceBody    Error = "a TRACE request has a body"
	ErrChunk        Error = "a chunk is malformed"
	ErrTrailer      Error = "a trailer field must not be there"
)
