package canon

import (
	"net/netip"
	"strconv"
	"strings"
)

// Host splits and canonicalises the value of a Host header or :authority (RFC
// 9110 §7.2): host as in Request.Host, port as in Request.Port. The error is an
// Error. Names are letters, digits, "-", "_" and "."; what ends in a number has
// to be a whole IPv4 address, because "127.1" and "0x7f.1" are read in several
// ways. Plain lower-case names cost no allocation.
func Host(raw string) (host, port string, err error) {
	if raw != "" && raw[0] == '[' {
		return host6(raw)
	}
	host = raw
	if i := strings.IndexByte(raw, ':'); i >= 0 {
		host, port = raw[:i], raw[i+1:]
		if !validPort(port) {
			return "", "", ErrPort
		}
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) == 0 || len(host) > 253 {
		return "", "", ErrHost
	}
	upper, label := false, 0
	for i := range len(host) {
		c := host[i]
		switch {
		case c == '.':
			if i == label {
				return "", "", ErrHost
			}
			label = i + 1
			continue
		case c >= 'A' && c <= 'Z':
			upper = true
		case class[c]&className == 0:
			return "", "", ErrHost
		}
		if i-label >= 63 {
			return "", "", ErrHost
		}
	}
	if label == len(host) || numeric(host[label:]) && !isIPv4(host) {
		return "", "", ErrHost
	}
	if upper {
		host = strings.ToLower(host)
	}
	return host, port, nil
}

func host6(raw string) (host, port string, err error) {
	i := strings.IndexByte(raw, ']')
	if i < 0 {
		return "", "", ErrHost
	}
	host, rest := raw[:i+1], raw[i+1:]
	if rest != "" {
		if rest[0] != ':' || !validPort(rest[1:]) {
			return "", "", ErrPort
		}
		port = rest[1:]
	}
	a, err := netip.ParseAddr(host[1:i])
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", "", ErrHost
	}
	return "[" + a.String() + "]", port, nil
}

// numeric tells whether the last label of a name makes it an address to the
// parsers of the WHATWG URL standard and of inet_aton.
func numeric(label string) bool {
	if len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x' {
		for i := 2; i < len(label); i++ {
			if unhex(label[i]) == 0xff {
				return false
			}
		}
		return true
	}
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return true
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] < '1' || s[0] > '9' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	n, err := strconv.Atoi(s)
	return err == nil && n <= 65535
}
