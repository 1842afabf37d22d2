package form

import (
	"strings"

	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/phrase"
)

// Matcher is the Go twin of the vocabulary's expressions: hand-written, because
// they run for every line, and compared with the expressions by a test.
func Matcher(re string) func(string) bool {
	switch re {
	case RELabel:
		return lexis.IsLabel
	case REDomain:
		return lexis.IsTrustDomain
	case REEnvName:
		return lexis.IsIdent
	case REClass:
		return func(s string) bool {
			return len(s) <= 63 && s != "" && s[0] >= 'a' && s[0] <= 'z' && lexis.Only(s, "abcdefghijklmnopqrstuvwxyz0123456789-")
		}
	case RETarget:
		return func(s string) bool {
			name, port, has := strings.Cut(s, ":")
			n, ok := lexis.Decimal(port)
			return lexis.IsLabel(name) && (!has || ok && n >= 1 && n <= 65535)
		}
	case REHostPort:
		return lexis.IsHostPort
	case REHost:
		return func(s string) bool { return lexis.IsHost(s) }
	case REDays:
		return func(s string) bool {
			n, ok := lexis.Decimal(strings.TrimSuffix(s, "d"))
			return ok && n > 0 && n < 10_000 && strings.HasSuffix(s, "d") && s[0] != '0'
		}
	case REHours:
		return isHours
	case REPercent:
		return func(s string) bool {
			whole, part, has := strings.Cut(strings.TrimSuffix(s, "%"), ".")
			digits := func(s string, most int) bool { return s != "" && len(s) <= most && lexis.Only(s, "0123456789") }
			return strings.HasSuffix(s, "%") && digits(whole, 2) && (!has || digits(part, 4))
		}
	case RELatency:
		return func(s string) bool {
			n, ok := lexis.Decimal(strings.TrimSuffix(strings.TrimSuffix(s, "s"), "m"))
			return ok && n > 0 && n < 100_000 && strings.HasSuffix(s, "s") && s[0] != '0'
		}
	case REColor:
		return func(s string) bool { return len(s) == 7 && s[0] == '#' && lexis.Only(s[1:], "0123456789abcdefABCDEF") }
	case RESHA256:
		return func(s string) bool { return len(s) == 64 && lexis.Only(s, "0123456789abcdef") }
	case REURL:
		return func(s string) bool { return lexis.IsURL(s, "http://", "https://") }
	case RESMTP:
		return func(s string) bool {
			return lexis.IsURL(s, "smtp://", "smtps://") && lexis.Only(s[strings.Index(s, "//")+2:], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:[]-")
		}
	case phrase.RERole:
		return phrase.IsRole
	case REWho:
		return isWho
	case RENonEmpty:
		return func(s string) bool { return s != "" && strings.IndexByte(s, 0) < 0 }
	}
	return func(string) bool { return true }
}

func isWho(s string) bool {
	kind, name, has := strings.Cut(s, ":")
	switch kind {
	case "anyone", "signed-in":
		return !has
	case "group", "role":
		return lexis.IsLabel(name)
	case "user":
		user, domain, ok := strings.Cut(name, "@")
		return ok && user != "" && domain != "" && !strings.ContainsAny(name, " \t\n\v\f\r\u00a0") && !strings.Contains(domain, "@")
	}
	return false
}

func isHours(s string) bool {
	from, to, ok := strings.Cut(s, "-")
	clock := func(s string) bool {
		return len(s) == 5 && s[2] == ':' && lexis.Only(s[:2]+s[3:], "0123456789") && s[:2] < "24" && s[3] < '6'
	}
	return ok && clock(from) && clock(to)
}
