package lexis

import (
	"slices"
	"strings"
)

// SecretLooking says that an environment variable looks like a secret that is
// written out: by its name, or by a password inside of a URL.
func SecretLooking(name, value string) bool {
	if value == "" || Only(value, "0123456789smhd.") || value == "true" || value == "false" {
		return false
	}
	if _, rest, ok := strings.Cut(value, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(authority, '@'); at > 0 {
			_, pass, has := strings.Cut(authority[:at], ":")
			return has && pass != ""
		}
		return false
	}
	parts := strings.Split(strings.ToUpper(name), "_")
	last := parts[len(parts)-1]
	if slices.Contains([]string{"FILE", "PATH", "DIR", "ID", "NAME", "TTL", "LENGTH", "TYPE", "HEADER", "HOST", "USER"}, last) || slices.Contains(parts, "PUBLIC") {
		return false
	}
	for _, part := range parts {
		for _, w := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "PASSPHRASE"} {
			if strings.HasSuffix(part, w) {
				return true
			}
		}
		if part == "KEY" || part == "CREDENTIALS" || part == "PASS" {
			return true
		}
	}
	return false
}
