package page

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// secure sets the headers that every page has.
func secure(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	// With no-referrer browsers send "Origin: null" with a form, and the check against CSRF would
	// have nothing to go by; same-origin tells other sites just as little.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=(), payment=(), usb=()")
}

// contentPolicy allows our own style, scripts and images. Chromium also holds the redirects that
// answer a form against form-action, so the origins that may follow one are named.
func contentPolicy(formTo []string) (string, error) {
	targets := "'self'"
	for _, t := range formTo {
		o, err := origin(t)
		if err != nil {
			return "", fmt.Errorf("allow a form to end at %q: %w", t, err)
		}
		targets += " " + o
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; img-src 'self' data:; form-action " + targets +
		"; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'", nil
}

var (
	hostSource = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)
	})
	schemeSource = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+$`) })
)

// origin is the CSP source of a redirect's target: scheme and host of a web address, or the
// private-use scheme of an app (RFC 8252 §7.1 asks for a domain in reverse, so one with a dot).
func origin(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil || u.User != nil {
		return "", fmt.Errorf("it isn't an address without user information")
	}
	host := strings.ToLower(u.Host)
	switch scheme := strings.ToLower(u.Scheme); {
	case (scheme == "https" || scheme == "http") && hostSource().MatchString(host):
		return scheme + "://" + host, nil
	case schemeSource().MatchString(scheme):
		return scheme + ":", nil
	}
	return "", fmt.Errorf("it is neither a web address nor an app's own scheme")
}

// special are the headers that single views bring.
func special(v View) (map[string]string, error) {
	switch v := v.(type) {
	case Limited:
		seconds := max(1, int64((v.After+time.Second-1)/time.Second))
		return map[string]string{"Retry-After": strconv.FormatInt(seconds, 10)}, nil
	case Continue:
		if _, err := origin(v.URL); err != nil {
			return nil, fmt.Errorf("continue elsewhere: %w", err)
		}
		if strings.ContainsFunc(v.URL, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\`, r) }) {
			return nil, fmt.Errorf("continue elsewhere: the address isn't plain ASCII")
		}
		return map[string]string{"Refresh": "0; url=" + v.URL}, nil
	}
	return nil, nil
}
