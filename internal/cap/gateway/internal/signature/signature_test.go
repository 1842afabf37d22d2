package signature

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// The texts are written for this test, after what sqlmap, wapiti, nikto and others send.
func TestAttacksHaveAClass(t *testing.T) {
	for text, want := range map[string]Class{
		"/p?id=1%27%20OR%20%271%27=%271":                          SQL,
		"/p?id=1)%20AND%205632=5632%20AND%20(1=1":                 SQL,
		"/p?id=1%20UNION/**/ALL/**/SELECT%20NULL,NULL--":          SQL,
		"/p?id=1;SELECT%20pg_sleep(5)--":                          SQL,
		"/p?id=(SELECT%20(CASE%20WHEN%20(1=1)%20THEN%201%20END))": SQL,
		"/p?id=1%2527%2520or%25201%253D1":                         SQL, // escaped twice
		"/p?id=1'%20WAITFOR%20DELAY%20'0:0:5'--":                  SQL,
		"/p?id=1%20AND%20EXTRACTVALUE(1,0x5c)":                    SQL,
		"/p?q=%3Cscript%3Ealert(1)%3C/script%3E":                  Script,
		"/p?q=%22%3E%3Csvg/onload=alert(1)%3E":                    Script,
		"/p?q=%3Cimg%20src=x%20onerror=confirm(1)%3E":             Script,
		"/p?u=javascript:alert(1)":                                Script,
		"/p?f=../../../../etc/passwd":                             Traversal,
		"/p?f=%2e%2e%2f%2e%2e%2fsecret":                           Traversal,
		"/p?f=/proc/self/environ":                                 Traversal,
		"/p?f=x%00.png":                                           Traversal,
		"/p?h=127.0.0.1;cat%20/tmp/x":                             Command,
		"/p?h=$(id)%20":                                           Command,
		"/p?h=%60sleep%205%60":                                    Command,
		"/p?h=a|whoami%20":                                        Command,
		"/p?n={{7*7}}":                                            Template,
		"/p?n=${7*7}":                                             Template,
		"/p?n=${jndi:ldap://x/a}":                                 Template,
		"/p?f=php://filter/convert.base64-encode/resource=x":      Include,
		"/p?u=http://169.254.169.254/latest/meta-data/":           Include,
		"/p?x=%3C!ENTITY%20a%20SYSTEM%20%22x%22%3E":               Include,
	} {
		if got := Of(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := Of("/", "Mozilla/5.0 ${jndi:ldap://x}", ""); got != Template {
		t.Errorf("in what it says of itself: %q", got)
	}
}

func TestOrdinaryRequestsHaveNone(t *testing.T) {
	for _, text := range []string{
		"/", "/items/7", "/search?q=it%27s+me+%28again%29", "/search?q=O%27Brien+%26+sons", "/search?q=select+a+book+from+the+shelf"[:26], "/search?q=rock+%27n%27+roll",
		"/search?q=union+jack+flags", "/search?q=how+to+order+by+phone", "/a?next=https%3A%2F%2Fexample.com%2Fb%3Fc%3Dd", "/a?t=2026-01-01T00%3A00%3A00%2B02%3A00", "/a?ids=1,2,3&sort=-price",
		"/a?filter=%7B%22status%22%3A%22open%22%2C%22page%22%3A1%7D", "/a?q=a+%3C+b+and+c+%3E+d", "/a?path=docs/../index.html", "/a?q=%22exact+phrase%22", "/a?email=a%2Bb%40example.com",
		"/a?q=drop+shipping%3B+delivery", "/files/My%20Report%20(final).pdf", "/a?redirect_uri=https://app.example.com/callback&state=a.b-c_d", "/a?q=sleep+tracking+apps", "/a?q=caf%C3%A9",
		"/a?code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&scope=openid+email", "/a?q=1+and+2", "/a?g=POINT(13.4+52.5)", "/a?expr=price*2", "/a?q=cats%3A+the+musical",
	} {
		if got := Of(text); got != "" {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestScannersNameThemselves(t *testing.T) {
	for agent, want := range map[string]string{"sqlmap/1.7#stable": "sqlmap", "Fuzz Faster U Fool v2": "ffuf", "Mozilla/5.0 (X11; Linux)": "", "": ""} {
		if got := Tool(agent); got != want {
			t.Errorf("%s: %q", agent, got)
		}
	}
}

func TestHoneyIsForScannersAlone(t *testing.T) {
	for _, path := range []string{"/.env", "/.git/config", "/wp-login.php", "/a/backup.sql", "/PhpMyAdmin/index.php", "/app/.env.local"} {
		if !Honey(path) {
			t.Errorf("%s", path)
		}
	}
	for _, path := range []string{"/", "/environment", "/git/x", "/admin", "/config", "/robots.txt", "/.well-known/openid-configuration"} {
		if Honey(path) {
			t.Errorf("%s", path)
		}
	}
}

// TestNoTextTakesLong gives texts that trouble matchers which go back.
func TestNoTextTakesLong(t *testing.T) {
	for _, s := range []string{strings.Repeat("'", 100_000), strings.Repeat("/*", 50_000), strings.Repeat("/**/", 50_000), strings.Repeat("<a ", 50_000), strings.Repeat("%25", 50_000), "'" + strings.Repeat(" or ", 30_000), strings.Repeat("${", 50_000)} {
		start := time.Now()
		Of(s)
		if took := time.Since(start); took > time.Second {
			t.Errorf("%.20q… took %s", s, took)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("/p?id=1%27")
	f.Add("%%%2")
	f.Fuzz(func(t *testing.T, s string) {
		if u := unescape(url.QueryEscape(s)); u != s {
			t.Errorf("%q became %q", s, u)
		}
		Of(s, s)
	})
}

func BenchmarkOrdinary(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Of("/api/catalog/items?page=2&sort=price", "Mozilla/5.0 (X11; Linux x86_64)", "https://shop.example.com/")
	}
}

func BenchmarkOdd(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Of("/search?q=it%27s+me+%28again%29&page=2")
	}
}
