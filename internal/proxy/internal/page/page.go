// Package page renders the texts of Ward's own answers, for machines and for gRPC. It is pure, and guarantees that what comes out can be sent as it is.
package page

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// JSON is the body of an answer for machines.
func JSON(status int, text, denial string) string {
	b, err := json.Marshal(struct {
		Status int    `json:"status"`
		Error  string `json:"error"`
		ID     string `json:"id,omitempty"`
	}{status, text, denial})
	if err != nil {
		return "{}" // strings and numbers can always be marshalled
	}
	return string(b) + "\n"
}

// GRPCStatus maps a status of HTTP to one of gRPC, as its protocol's "HTTP to gRPC
// Status Code Mapping" does, and finer where our own answers know more.
func GRPCStatus(status int) string {
	code := 2 // UNKNOWN
	switch status {
	case http.StatusBadRequest, http.StatusInternalServerError:
		code = 13 // INTERNAL
	case http.StatusUnauthorized:
		code = 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		code = 7 // PERMISSION_DENIED
	case http.StatusNotFound:
		code = 12 // UNIMPLEMENTED
	case http.StatusRequestHeaderFieldsTooLarge:
		code = 8 // RESOURCE_EXHAUSTED
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = 14 // UNAVAILABLE
	}
	return strconv.Itoa(code)
}

// GRPCMessage escapes a text as grpc-message wants it.
func GRPCMessage(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '%' {
			b = append(b, '%', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}
