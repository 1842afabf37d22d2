package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model/lexis"
)

const (
	// MaxPattern is how long a path may be, in bytes.
	MaxPattern  = 1024
	maxSegments = 64
)

// methods is every HTTP method that a grant may name. CONNECT and TRACE are
// missing on purpose: Ward never forwards them.
func methods() []string {
	return []string{
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "QUERY", "PURGE",
	}
}

// ParseGrant reads a grant as it stands in ward.yaml: "GET,POST /books/{id}",
// "* /x", "ws /live", "grpc shop.v1.Payments/Charge", "tcp" or "any"; all but the last two perhaps with
// " as user" or " as user mfa 15m". The Grant's Pos is zero. ParseGrant(g.String()) is g.
func ParseGrant(s string) (Grant, error) {
	right, user, as := strings.Cut(s, " as ")
	if !as {
		return parseRight(s)
	}
	g, err := parseRight(right)
	if err != nil {
		return Grant{}, err
	}
	if g.Kind == GrantTCP || g.Kind == GrantAny {
		return Grant{}, lexis.Errorf("name methods and paths: a user comes with a request", "%q can't be asked for a user", right)
	}
	who, age, has := strings.Cut(user, " mfa ")
	if g.AsUser = who == "user"; !g.AsUser {
		return Grant{}, lexis.Errorf(`write "as user", or "as user mfa 15m"`, "%q is not whom a call can be made for", lexis.Clip(user))
	}
	if has {
		var ok bool
		if g.MFA, ok = lexis.Seconds(age); !ok {
			return Grant{}, lexis.Errorf("a number and s, m or h: 15m", "%q is not a time", lexis.Clip(age))
		}
	}
	return g, nil
}

func parseRight(s string) (Grant, error) {
	switch s {
	case "any":
		return Grant{Kind: GrantAny}, nil
	case "tcp":
		return Grant{Kind: GrantTCP}, nil
	case "":
		return Grant{}, lexis.Errorf("", "an empty grant")
	}
	word, rest, ok := strings.Cut(s, " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case !ok && strings.HasPrefix(s, "/"):
		return Grant{}, lexis.Errorf(fmt.Sprintf("write %q, or %q for every method", "GET "+s, "* "+s), "a path without a method")
	case !ok && slices.Contains(methods(), strings.ToUpper(s)):
		return Grant{}, lexis.Errorf(fmt.Sprintf("write %q for every path", strings.ToUpper(s)+" /**"), "a method without a path")
	case !ok:
		hint := `write a method and a path ("GET /books/**"), "ws /live", "grpc pkg.Service/Method", "tcp" or "any"`
		if near := lexis.Nearest(s, []string{"any", "tcp"}); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return Grant{}, lexis.Errorf(hint, "%q is not a grant", lexis.Clip(s))
	case word == "ws":
		p, err := ParsePattern(rest)
		return grantOr(Grant{Kind: GrantWS, Pattern: p}, err)
	case word == "grpc":
		p, err := parseGRPC(rest)
		return grantOr(Grant{Kind: GrantGRPC, Pattern: p}, err)
	}
	ms, err := parseMethods(word)
	if err != nil {
		return Grant{}, err
	}
	p, err := ParsePattern(rest)
	return grantOr(Grant{Kind: GrantHTTP, Methods: ms, Pattern: p}, err)
}

func grantOr(g Grant, err error) (Grant, error) {
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

func parseMethods(word string) ([]string, error) {
	if word == "*" {
		return []string{"*"}, nil
	}
	known := methods()
	out := strings.Split(word, ",")
	for _, m := range out {
		if slices.Contains(known, m) {
			continue
		}
		switch up := strings.ToUpper(m); {
		case m == "":
			return nil, lexis.Errorf(`write methods with commas and no spaces: "GET,POST /x"`, "an empty method in %q", lexis.Clip(word))
		case m == "*":
			return nil, lexis.Errorf(`"*" stands alone: "* /x"`, `"*" among other methods`)
		case slices.Contains(known, up):
			return nil, lexis.Errorf(fmt.Sprintf("write %q", up), "method %q is not in upper case", m)
		case up == "WS" || up == "GRPC" || up == "TCP" || up == "ANY":
			return nil, lexis.Errorf(fmt.Sprintf("write %q", strings.ToLower(up)), "the word %q is not in lower case, or holds more than it may", m)
		case up == "CONNECT" || up == "TRACE":
			return nil, lexis.Errorf("", "method %s is never forwarded", up)
		default:
			hint := `a grant begins with a method, "*", "ws" or "grpc"`
			if near := lexis.Nearest(m, append([]string{"ws", "grpc"}, known...)); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			return nil, lexis.Errorf(hint, "unknown method %q", lexis.Clip(m))
		}
	}
	slices.Sort(out)
	if n := len(out); len(slices.Compact(out)) != n {
		return nil, lexis.Errorf("", "a method stands twice in %q", lexis.Clip(word))
	}
	return out, nil
}

// ParsePattern reads a path pattern and returns its canonical form: literal
// segments in canon's encoding, "{name}" or "*" for one segment, and "**" as the
// last segment for zero or more. A trailing slash is kept, and significant.
// ParsePattern(ParsePattern(x)) == ParsePattern(x).
func ParsePattern(s string) (string, error) {
	switch {
	case s == "":
		return "", lexis.Errorf(`"/**" is every path`, "the path is missing")
	case s[0] != '/':
		return "", lexis.Errorf(fmt.Sprintf("write %q", "/"+lexis.Clip(s)), "path %q doesn't begin with a slash", lexis.Clip(s))
	case len(s) > MaxPattern:
		return "", lexis.Errorf("", "a path pattern of %d bytes; the limit is %d", len(s), MaxPattern)
	case strings.ContainsAny(s, "?#"):
		return "", lexis.Errorf("the query is not part of a rule; leave it out", "path %q holds a query or a fragment", lexis.Clip(s))
	case strings.ContainsAny(s, " \t\n"):
		return "", lexis.Errorf("write a space as %20", "path %q holds a space", lexis.Clip(s))
	}
	segs := strings.Split(s[1:], "/")
	if len(segs) > maxSegments {
		return "", lexis.Errorf("", "a path pattern of %d segments; the limit is %d", len(segs), maxSegments)
	}
	changed := false
	for i, seg := range segs {
		last := i == len(segs)-1
		if seg == "" {
			if !last {
				return "", lexis.Errorf("", `path %q holds "//"`, lexis.Clip(s))
			}
			continue
		}
		c, err := parseSegment(seg, last)
		if err != nil {
			return "", err
		}
		changed = changed || c != seg
		segs[i] = c
	}
	if !changed {
		return s, nil
	}
	out := "/" + strings.Join(segs, "/")
	if len(out) > MaxPattern {
		return "", lexis.Errorf("", "a path pattern of %d bytes when encoded; the limit is %d", len(out), MaxPattern)
	}
	return out, nil
}

func parseSegment(seg string, last bool) (string, error) {
	switch {
	case seg == "*", seg == "**" && last:
		return seg, nil
	case seg == "**":
		return "", lexis.Errorf(`"*" stands for exactly one segment`, `"**" may only be the last segment`)
	case seg[0] == '{' && seg[len(seg)-1] == '}' && strings.Count(seg, "{") == 1:
		name := seg[1 : len(seg)-1]
		if !lexis.IsIdent(name) || len(name) > 63 {
			return "", lexis.Errorf("a name has letters, digits and underscores", "%q is not a name for a segment", lexis.Clip(seg))
		}
		return seg, nil
	case strings.ContainsAny(seg, "*{}"):
		return "", lexis.Errorf(`"*" and "{name}" stand for a whole segment, "**" for all that follow`, "segment %q mixes text with a wildcard", lexis.Clip(seg))
	}
	c, err := canon.Path("/" + seg)
	if err != nil {
		return "", lexis.Errorf("no request that Ward lets pass has such a segment", "segment %q: %v", lexis.Clip(seg), err)
	}
	if c = c[1:]; strings.ContainsAny(c, "*{}") {
		return "", lexis.Errorf("use a wildcard for the segment", `segment %q stands for a literal "*", which a pattern can't say`, lexis.Clip(seg))
	}
	return c, nil
}

func parseGRPC(s string) (string, error) {
	svc, method, ok := strings.Cut(s, "/")
	if svc == "" && ok { // as gRPC itself writes it: /pkg.Service/Method
		return "", lexis.Errorf(fmt.Sprintf("write %q", "grpc "+method), "a gRPC grant doesn't begin with a slash")
	}
	if !ok {
		return "", lexis.Errorf(fmt.Sprintf("write %q for every method of the service", "grpc "+lexis.Clip(s)+"/*"), "a gRPC grant needs a method: pkg.Service/Method")
	}
	if len(s) > MaxPattern {
		return "", lexis.Errorf("", "a gRPC grant of %d bytes; the limit is %d", len(s), MaxPattern)
	}
	if svc == "*" && method != "*" {
		return "", lexis.Errorf("name the service", "a gRPC method without its service")
	}
	if svc != "*" {
		for part := range strings.SplitSeq(svc, ".") {
			if !lexis.IsIdent(part) {
				return "", lexis.Errorf("as in the .proto file: package, dot, service", "%q is not a gRPC service", lexis.Clip(svc))
			}
		}
	}
	if method != "*" && !lexis.IsIdent(method) {
		return "", lexis.Errorf("as in the .proto file, or * for every method", "%q is not a gRPC method", lexis.Clip(method))
	}
	return "/" + svc + "/" + method, nil
}

// String is the grant as ward.yaml says it.
func (g Grant) String() string {
	switch {
	case g.AsUser && g.MFA > 0:
		return g.right() + " as user mfa " + lexis.Duration(g.MFA)
	case g.AsUser:
		return g.right() + " as user"
	}
	return g.right()
}

func (g Grant) right() string {
	switch g.Kind {
	case GrantAny:
		return "any"
	case GrantTCP:
		return "tcp"
	case GrantWS:
		return "ws " + g.Pattern
	case GrantGRPC:
		return "grpc " + strings.TrimPrefix(g.Pattern, "/")
	case GrantHTTP:
		return strings.Join(g.Methods, ",") + " " + g.Pattern
	}
	return "none"
}

// Equal says that two grants give the same right in the same words, wherever
// they stand.
func (g Grant) Equal(o Grant) bool {
	return g.Kind == o.Kind && g.Pattern == o.Pattern && g.AsUser == o.AsUser && g.MFA == o.MFA && slices.Equal(g.Methods, o.Methods)
}

// Fits says that a grant of this kind can mean a listener of this protocol.
func (k GrantKind) Fits(p Protocol) bool {
	switch k {
	case GrantAny:
		return p != ProtocolUnknown
	case GrantHTTP, GrantWS:
		return p == HTTP || p == H2C
	case GrantGRPC:
		return p == GRPC || p == H2C
	case GrantTCP:
		return p == TCP
	}
	return false
}
