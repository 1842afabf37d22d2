package phrase

import (
	"fmt"
	"regexp"
	"testing"
)

// sentences holds what each language says, good and bad.
var sentences = []struct {
	name  string
	re    string
	parse func(string) (fmt.Stringer, error)
	good  []string
	bad   []string
}{
	{
		"delivery", REDelivery, func(s string) (fmt.Stringer, error) { return ParseDelivery(s) },
		[]string{"file", "file restart", "file signal HUP", "file signal USR2", "env STRIPE_KEY", "env _x"},
		[]string{"", "env", "env 1X", "env A-B", "file signal KILL", "file signal", "file  restart", "File", "env A restart", "file\n"},
	},
	{
		"auth", REAuth, func(s string) (fmt.Stringer, error) { return ParseAuth(s) },
		[]string{"bearer secret:a", "header X-Api-Key secret:a-b", "query api_key secret:k1", "basic user@x secret:k", "aws eu-west-1 s3 secret:k", "certificate secret:tls"},
		[]string{"", "bearer", "bearer a", "bearer x secret:a", "header secret:a", "header X:Y secret:a", "header X\r\nY secret:a", "basic a:b secret:k", "aws eu secret:k", "aws EU s3 secret:k", "certificate x secret:k", "bearer secret:A", "bearer secret:a ", "digest secret:a", "query a&b secret:k"},
	},
	{
		"login", RELogin, func(s string) (fmt.Stringer, error) { return ParseLogin(s) },
		[]string{"shop secret:pw", "ward_1 secret:pg-admin"},
		[]string{"", "shop", "secret:pw", "1x secret:pw", `a" secret:pw`, "a b secret:pw", "shop secret:"},
	},
	{
		"rights", RERights, func(s string) (fmt.Stringer, error) { return ParseRights(s) },
		[]string{"SELECT ON orders", "SELECT, INSERT ON shop.orders", "SELECT ON ALL TABLES IN SCHEMA public", "USAGE ON ALL SEQUENCES IN SCHEMA public"},
		[]string{"", "SELECT", "SELECT ON", "SELECT ON a; DROP TABLE b", `SELECT ON "a"`, "select ON a", "ALL ON a", "SELECT,SELECT ON a", "SELECT ON a.b.c", "SELECT ON ALL TABLES IN SCHEMA a b", "CREATE ON a", "SELECT ON A"},
	},
}

func TestSentences(t *testing.T) {
	for _, l := range sentences {
		re := regexp.MustCompile(l.re)
		for _, s := range l.good {
			v, err := l.parse(s)
			if err != nil || v.String() != s {
				t.Errorf("%s %q: %v, %v", l.name, s, v, err)
			}
			if !re.MatchString(s) {
				t.Errorf("%s %q: the schema's expression refuses it", l.name, s)
			}
		}
		for _, s := range l.bad {
			if v, err := l.parse(s); err == nil {
				t.Errorf("%s %q: read as %v", l.name, s, v)
			}
		}
	}
}

func fuzz(f *testing.F, n int) {
	l := sentences[n]
	for _, s := range append(l.good, l.bad...) {
		f.Add(s)
	}
	re := regexp.MustCompile(l.re)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := l.parse(s)
		if err != nil {
			return
		}
		if !re.MatchString(s) {
			t.Fatalf("%q is read, and the schema refuses it", s)
		}
		if again, err := l.parse(v.String()); err != nil || fmt.Sprint(again) != fmt.Sprint(v) {
			t.Fatalf("%q became %q, which reads as %v, %v", s, v, again, err)
		}
	})
}

func FuzzParseDelivery(f *testing.F) { fuzz(f, 0) }
func FuzzParseAuth(f *testing.F)     { fuzz(f, 1) }
func FuzzParseLogin(f *testing.F)    { fuzz(f, 2) }
func FuzzParseRights(f *testing.F)   { fuzz(f, 3) }
