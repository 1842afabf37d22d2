package otlp

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHeaders bounds a file of header fields.
const maxHeaders = 32

// ParseHeaders reads header fields, a line each: "Name: value". Lines that are empty or begin with "#" are left out. An error names a line, and
// never what is in it.
func ParseHeaders(b []byte) (http.Header, error) {
	out := http.Header{}
	for i, line := range strings.Split(string(b), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("line %d isn't a header field, \"Name: value\"", i+1)
		case slices.Contains([]string{"Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Content-Length", "Content-Type", "Content-Encoding", "User-Agent"}, name):
			return nil, fmt.Errorf("line %d sets a header field that Ward sets itself", i+1)
		case len(out) >= maxHeaders:
			return nil, fmt.Errorf("line %d: there are more than %d header fields", i+1, maxHeaders)
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}
