package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/vocabulary"
)

// ParseListen reads "http://:8080" (or h2c, grpc, tcp). The Listen's Pos is zero.
func ParseListen(s string) (Listen, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Listen{}, lexis.Errorf(`write a protocol and a port: "http://:8080"`, "%q is not an address", lexis.Clip(s))
	}
	i := slices.Index(vocabulary.Protocols(), scheme)
	if i < 1 {
		return Listen{}, lexis.Errorf("", "unknown protocol %q in %q", lexis.Clip(scheme), lexis.Clip(s))
	}
	host, port, ok := strings.Cut(rest, ":")
	n, isNum := lexis.Decimal(port)
	switch {
	case ok && host != "" && isNum:
		return Listen{}, lexis.Errorf("write \""+scheme+"://:"+port+"\": a service is alone in its network, so the address doesn't matter", "%q names a host", lexis.Clip(s))
	case !ok || !isNum || n < 1 || n > 65535:
		return Listen{}, lexis.Errorf("a port is a whole number from 1 to 65535: \""+scheme+"://:8080\"", "%q has no valid port", lexis.Clip(s))
	}
	return Listen{Protocol: Protocol(i), Port: n}, nil
}

// String is the listener as ward.yaml says it.
func (l Listen) String() string { return fmt.Sprintf("%s://:%d", l.Protocol, l.Port) }
