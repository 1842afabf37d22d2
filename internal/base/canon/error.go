package canon

// Error is why a request has no single reading. Its text is fixed, holds nothing
// of the request, and may be shown to the client; its HTTP status is always 400.
type Error string

// Error is the public reason.
func (e Error) Error() string { return string(e) }

// The reasons.
const (
	ErrMethod        Error = "the method is not a known form of token"
	ErrConnect       Error = "CONNECT is not served"
	ErrHost          Error = "the host is not a valid name or address"
	ErrPort          Error = "the port of the host is not a number from 1 to 65535"
	ErrTarget        Error = "the request target is not in origin form"
	ErrTargetLong    Error = "the request target is longer than 8 KiB"
	ErrAuthority     Error = "the authority of the target differs from the Host"
	ErrByte          Error = "the request target holds a byte that must not be there"
	ErrEscape        Error = "the path holds a broken percent escape"
	ErrEscapedByte   Error = "the path holds an escaped slash, backslash or control"
	ErrDoubleEscape  Error = "the path holds an escape of an escape"
	ErrUTF8          Error = "the path is not UTF-8 after decoding"
	ErrDotSegment    Error = "the path holds a dot segment"
	ErrEmptySegment  Error = "the path holds an empty segment"
	ErrParamsSegment Error = "the path holds a segment of parameters only"
)
