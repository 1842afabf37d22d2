// Package lexis is the small languages inside of ward.yaml's values: names,
// addresses, sizes, dates, commands, and the quotes around a text.
//
// It guarantees that each function is total: any text gets an answer or an error
// with a hint, at a cost linear in its length. It knows no positions and no keys.
package lexis

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// MaxCores is the most that Cores reads.
const MaxCores = 1024

// Only says that every byte of s is one of set.
func Only(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

// IsLabel says that s is a DNS label in lower case (RFC 1123 §2.1).
func IsLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// IsTrustDomain follows the SPIFFE ID specification §2.1: lower-case letters,
// digits, dot, hyphen, underscore, at most 255 bytes.
func IsTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && Only(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_")
}

// IsHost says that s is a DNS name (in any case) or an IP address.
func IsHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if len(s) > 253 || s == "" {
		return false
	}
	digits := true
	for label := range strings.SplitSeq(strings.ToLower(s), ".") {
		if !IsLabel(label) {
			return false
		}
		digits = Only(label, "0123456789")
	}
	return !digits // a name that ends in a number would be read as an address
}

// IsURL says that s begins with one of the schemes (as "https://"), names something, and holds no space, control or
// fragment. It is no full check.
func IsURL(s string, schemes ...string) bool {
	if len(s) > 2048 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || unicode.IsSpace(r) }) {
		return false
	}
	for _, scheme := range schemes {
		if rest, ok := strings.CutPrefix(s, scheme); ok && rest != "" && rest[0] != '/' {
			return true
		}
	}
	return false
}

// RedirectProblem says what keeps a URI from being redirected to (RFC 9700 §2.1, RFC 8252 §7), "" for nothing: it is
// absolute, without a fragment, user or wildcard; https, http only on loopback; or, of a native client, a private scheme with a
// dot in it.
func RedirectProblem(uri string, native bool) string {
	scheme, rest, ok := strings.Cut(uri, ":")
	authority, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
	host := authority
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	switch {
	case !ok || len(uri) > 2048 || strings.ContainsAny(uri, " \\#*\t\r\n") || strings.Contains(authority, "@"):
		return "write the whole URI, without a fragment, user or wildcard"
	case scheme == "https" && strings.HasPrefix(rest, "//") && IsHost(strings.Trim(host, "[]")):
		return ""
	case scheme == "http" && (host == "localhost" || host == "127.0.0.1" || host == "[::1]"):
		return ""
	case native && strings.Contains(scheme, ".") && IsHost(scheme):
		return ""
	}
	return "https, http on loopback, or, of a public client, a scheme like com.example.app"
}

// IsHostPort says that s is host:port, where an absent host is every address.
func IsHostPort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return false
	}
	host, port := s[:i], s[i+1:]
	if n, ok := Decimal(port); !ok || n < 1 || n > 65535 {
		return false
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		a, err := netip.ParseAddr(host[1 : len(host)-1])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	return host == "" || strings.IndexByte(host, ':') < 0 && IsHost(host)
}

// IsAddress says that s is an IP address or a CIDR range whose host bits are 0.
func IsAddress(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	return err == nil && p == p.Masked()
}

// IsDate says that s is a day of the calendar, YYYY-MM-DD.
func IsDate(s string) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' || !Only(s[:4]+s[5:7]+s[8:], "0123456789") {
		return false
	}
	num := func(s string) int {
		n := 0
		for i := range len(s) {
			n = n*10 + int(s[i]-'0')
		}
		return n
	}
	y, m, d := num(s[:4]), num(s[5:7]), num(s[8:])
	if m < 1 || m > 12 || d < 1 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[m-1]
	if m == 2 && (y%4 == 0 && y%100 != 0 || y%400 == 0) {
		days = 29
	}
	return d <= days
}

// Size reads 256MB (powers of 1000) or 256MiB (powers of 1024).
func Size(s string) (int64, bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 1 {
		return 0, false
	}
	n, ok := Decimal(s[:i])
	units := map[string]int64{
		"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
	u := units[s[i:]]
	if !ok || u == 0 || n == 0 || int64(n) > (1<<53)/u {
		return 0, false
	}
	return int64(n) * u, true
}

// Seconds reads 30s, 2m or 1h.
func Seconds(s string) (int, bool) {
	if len(s) < 2 {
		return 0, false
	}
	unit := map[byte]int{'s': 1, 'm': 60, 'h': 3600}[s[len(s)-1]]
	n, ok := Decimal(s[:len(s)-1])
	return n * unit, ok && unit > 0 && n > 0 && n < 100_000
}

// Duration is n seconds as Seconds reads them, in the largest unit that is exact.
func Duration(n int) string {
	switch {
	case n%3600 == 0:
		return strconv.Itoa(n/3600) + "h"
	case n%60 == 0:
		return strconv.Itoa(n/60) + "m"
	}
	return strconv.Itoa(n) + "s"
}

// Cores reads a number such as 0.5, in hundredths at the finest.
func Cores(s string) (float64, bool) {
	whole, frac, has := strings.Cut(s, ".")
	if has && (frac == "" || len(frac) > 2) {
		return 0, false
	}
	n, ok := Decimal(whole)
	if !ok || !Only(frac, "0123456789") {
		return 0, false
	}
	v, unit := float64(n), 0.1
	for i := range len(frac) {
		v += float64(frac[i]-'0') * unit
		unit /= 10
	}
	return v, v > 0 && v <= MaxCores
}

// IsIdent says that s is a letter or underscore, and then letters, digits and underscores.
func IsIdent(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// Decimal reads a number of at most 9 digits, without sign or leading zero.
func Decimal(s string) (int, bool) {
	if s == "" || len(s) > 9 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	v := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		v = v*10 + int(s[i]-'0')
	}
	return v, true
}
