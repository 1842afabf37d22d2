package canon

import "strings"

// maxMethod bounds a method, in bytes.
const maxMethod = 32

// New returns the canonical request of a method, the value of the Host header (or
// :authority) and the request target (or :path). The target is in origin form, in
// absolute form with the authority that host names too, or "*" for OPTIONS; a
// fragment, a raw space, control or non-ASCII byte is refused, and so is CONNECT.
// Protocol is HTTP: who knows of an upgrade or of gRPC sets it. The error is an
// Error. A request that is canonical already costs no allocation, and the strings
// of the result then alias the arguments.
func New(method, host, target string) (Request, error) {
	r := Request{Protocol: HTTP, Method: method}
	if err := checkMethod(method); err != nil {
		return Request{}, err
	}
	if len(target) > maxTarget {
		return Request{}, ErrTargetLong
	}
	var err error
	if r.Host, r.Port, err = Host(host); err != nil {
		return Request{}, err
	}
	if target == "*" {
		if method != "OPTIONS" {
			return Request{}, ErrTarget
		}
		r.Path = "*"
		return r, nil
	}
	if target == "" {
		return Request{}, ErrTarget
	}
	if target[0] != '/' {
		if target, err = r.originForm(target); err != nil {
			return Request{}, err
		}
	}
	path := target
	if i := strings.IndexByte(target, '?'); i >= 0 {
		path, r.Query, r.HasQuery = target[:i], target[i+1:], true
		for j := range len(r.Query) {
			if class[r.Query[j]]&classQuery == 0 {
				return Request{}, ErrByte
			}
		}
	}
	if path == "" {
		path = "/" // absolute form with a query and no path
	}
	if r.Path, err = Path(path); err != nil {
		return Request{}, err
	}
	if r.HasQuery && len(r.Path)+1+len(r.Query) > maxTarget {
		return Request{}, ErrTargetLong
	}
	return r, nil
}

func checkMethod(m string) error {
	if m == "" || len(m) > maxMethod {
		return ErrMethod
	}
	for i := range len(m) {
		if class[m[i]]&classToken == 0 {
			return ErrMethod
		}
	}
	if m == "CONNECT" {
		return ErrConnect
	}
	return nil
}

// originForm cuts scheme and authority off an absolute-form target, if they say
// the same as the Host.
func (r *Request) originForm(target string) (string, error) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", ErrTarget
	}
	authority, rest := splitAuthority(rest)
	host, port, err := Host(authority)
	if err != nil {
		return "", err
	}
	if host != r.Host || port != r.Port {
		return "", ErrAuthority
	}
	if rest == "" {
		if r.Method == "OPTIONS" {
			// RFC 9112 §3.2.4 reads this as "*", most servers as "/".
			return "", ErrTarget
		}
		return "/", nil
	}
	return rest, nil
}

func splitAuthority(s string) (authority, rest string) {
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
