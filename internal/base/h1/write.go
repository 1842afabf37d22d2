package h1

import (
	"net/http"
	"strconv"
)

// The Append functions write to the end of dst and return it, like append. What
// they write was parsed by this package, or has to pass ValidField.

// AppendRequestLine begins a request. Path is in origin form, or "*".
func AppendRequestLine(dst []byte, method, path, query string, hasQuery bool) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	if hasQuery {
		dst = append(dst, '?')
		dst = append(dst, query...)
	}
	return append(dst, " HTTP/1.1\r\n"...)
}

// AppendStatusLine begins a response; an empty reason is filled in.
func AppendStatusLine(dst []byte, status int, reason string) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	if reason == "" {
		reason = http.StatusText(status)
	}
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

// AppendField writes one field.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendFraming writes the field that tells the body's end; none for None and
// UntilClose.
func AppendFraming(dst []byte, fr Framing) []byte {
	switch fr.Kind {
	case Length:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, fr.Length, 10)
		return append(dst, "\r\n"...)
	case Chunked:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return dst
}

// ChunkPrefix is the place that PutChunk needs before the data, and ChunkSuffix
// behind it.
const (
	ChunkPrefix = 18
	ChunkSuffix = 2
)

// PutChunk frames the n bytes of data at buf[ChunkPrefix:] as one chunk, in place,
// and returns the part of buf to write. n is greater than 0.
func PutChunk(buf []byte, n int) []byte {
	const hex = "0123456789abcdef"
	i := ChunkPrefix - 2
	buf[i], buf[i+1] = '\r', '\n'
	for v := n; v > 0; v >>= 4 {
		i--
		buf[i] = hex[v&15]
	}
	end := ChunkPrefix + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[i : end+2]
}

// AppendLastChunk ends a chunked body with its trailers.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for _, f := range trailers {
		dst = AppendField(dst, f.Name, f.Value)
	}
	return append(dst, "\r\n"...)
}
