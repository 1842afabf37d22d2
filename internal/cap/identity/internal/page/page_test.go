package page

import (
	_ "embed"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
)

//go:embed view.go
var viewSource []byte // tests of the source run without it too

func newPages(t *testing.T, c Config) *Pages {
	t.Helper()
	if c.Name == "" {
		c.Name = "Toy Shop"
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t *testing.T, p *Pages, r *http.Request, v View) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Render(w, r, 200, v); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestHeaders(t *testing.T) {
	p := newPages(t, Config{})
	h := render(t, p, httptest.NewRequest("GET", "/sign-in", nil), SignIn{}).Header()
	want := map[string]string{
		"Content-Security-Policy":    "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'",
		"X-Content-Type-Options":     "nosniff",
		"Cache-Control":              "no-store",
		"Referrer-Policy":            "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin",
		"Content-Type":               "text/html; charset=utf-8",
		"Content-Language":           "en",
		"Retry-After":                "",
		"Refresh":                    "",
		"Set-Cookie":                 "",
	}
	for k, v := range want {
		if got := h.Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
}

func TestFormsMayEndOnlyWhereNamed(t *testing.T) {
	p := newPages(t, Config{})
	for target, want := range map[string]string{
		"https://App.example.org/callback?x=1": "https://app.example.org",
		"http://127.0.0.1:7777/cb":             "http://127.0.0.1:7777",
		"http://[::1]:7777/cb":                 "http://[::1]:7777",
		"com.example.app:/cb":                  "com.example.app:",
	} {
		v := SignIn{Frame: Frame{FormTo: []string{target}}}
		policy := render(t, p, httptest.NewRequest("GET", "/", nil), v).Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "; form-action 'self' "+want+"; frame-ancestors") {
			t.Errorf("%s: %s", target, policy)
		}
	}
	for _, target := range []string{
		"", "*", "https:", "https://", "https://*.example.org", "https://a.example;script-src *", "https://a.example 'unsafe-inline'",
		"javascript:alert(1)", "data:text/html,x", "blob:x", "https://user@a.example", "//a.example", "/path", "https://a.example\r\nX: y", "https://a,b", "file:///etc",
	} {
		w := httptest.NewRecorder()
		err := p.Render(w, httptest.NewRequest("GET", "/", nil), 200, SignIn{Frame: Frame{FormTo: []string{target}}})
		if err == nil || w.Code != 500 || strings.Contains(w.Body.String(), "<form") {
			t.Errorf("%q was taken: %d %s", target, w.Code, w.Header().Get("Content-Security-Policy"))
		}
	}
}

func TestLinksCannotLeadAstray(t *testing.T) {
	p := newPages(t, Config{})
	for name, v := range map[string]View{
		"step-up to another site":       StepUp{Next: "https://evil.example/"},
		"step-up to a host":             StepUp{Next: "//evil.example/"},
		"step-up by a backslash":        StepUp{Next: `/\evil.example/`},
		"step-up by a tab":              StepUp{Next: "/\t/evil.example/"},
		"step-up to script":             StepUp{Next: "javascript:alert(1)"},
		"provider elsewhere":            SignIn{Providers: []Provider{{Name: "x", URL: "https://evil.example/"}}},
		"older elsewhere":               Activity{Older: "//evil.example/"},
		"reset elsewhere":               Secured{ResetURL: "data:text/html,x"},
		"back to script":                SignedOut{Back: "javascript:alert(1)"},
		"continue to script":            Continue{URL: "javascript:alert(1)"},
		"continue with a second header": Continue{URL: "https://a.example/\r\nSet-Cookie: x"},
		"continue with a quote":         Continue{URL: `https://a.example/"`},
		"continue with a space":         Continue{URL: "https://a.example/ x"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := p.Render(w, httptest.NewRequest("GET", "/", nil), 200, v); err == nil || w.Code != 500 || w.Header().Get("Refresh") != "" {
				t.Errorf("taken: %d %v\n%s", w.Code, w.Header(), w.Body)
			}
		})
	}
}

func TestSpecialHeaders(t *testing.T) {
	p := newPages(t, Config{})
	r := httptest.NewRequest("GET", "/", nil)
	for after, want := range map[time.Duration]string{0: "1", -time.Hour: "1", time.Millisecond: "1", 90 * time.Second: "90", 90*time.Second + 1: "91"} {
		if got := render(t, p, r, Limited{After: after}).Header().Get("Retry-After"); got != want {
			t.Errorf("after %v: %q, want %q", after, got, want)
		}
	}
	if got := render(t, p, r, Continue{URL: "com.example.app:/cb?code=a&state=b", Host: "the app"}).Header().Get("Refresh"); got != "0; url=com.example.app:/cb?code=a&state=b" {
		t.Errorf("Refresh: %q", got)
	}
}

func TestLanguageOfARequest(t *testing.T) {
	p := newPages(t, Config{})
	for _, c := range []struct {
		name, method, query, cookie, accept string
		want                                string
		chosen                              bool
	}{
		{name: "none said", want: "en"},
		{name: "German", accept: "de-AT,de;q=0.9,en;q=0.8", want: "de"},
		{name: "neither", accept: "ja,fr;q=0.5", want: "en"},
		{name: "quality decides", accept: "de;q=0.1,en;q=0.9", want: "en"},
		{name: "nonsense", accept: ";;;=\x00", want: "en"},
		{name: "endless", accept: strings.Repeat("de,", 2000), want: "en"},
		{name: "cookie over header", cookie: "en", accept: "de", want: "en"},
		{name: "unknown cookie", cookie: "xx", accept: "de", want: "de"},
		{name: "chosen now", query: "?lang=de", cookie: "en", want: "de", chosen: true},
		{name: "chosen, unknown", query: "?lang=%22%3E", accept: "de", want: "de"},
		{name: "a form can't choose", method: "POST", query: "?lang=de", want: "en"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(or(c.method, "GET"), "/sign-in"+c.query, nil)
			if c.cookie != "" {
				r.AddCookie(&http.Cookie{Name: LanguageCookie, Value: c.cookie})
			}
			r.Header.Set("Accept-Language", c.accept)
			h := render(t, p, r, SignIn{}).Header()
			if got := h.Get("Content-Language"); got != c.want || (h.Get("Set-Cookie") != "") != c.chosen {
				t.Errorf("%s, cookie %q", got, h.Get("Set-Cookie"))
			}
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestOperatorsTextsAreTextOnly(t *testing.T) {
	texts := map[string]map[string]string{"en": {"sign-in.title": "Welcome <b>back</b>", "sign-in.client": "for {client}"}}
	p := newPages(t, Config{Texts: texts, Base: "/auth"})
	body := render(t, p, httptest.NewRequest("GET", "/auth/sign-in", nil), SignIn{Client: "{client}<i>", Register: PathRegister}).Body.String()
	for _, want := range []string{"<h1>Welcome &lt;b&gt;back&lt;/b&gt;</h1>", "<p>for {client}&lt;i&gt;</p>", `href="/auth/register"`, `href="/auth/assets/ward.`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if got := render(t, newPages(t, Config{}), httptest.NewRequest("GET", "/", nil), SignIn{}).Body.String(); !strings.Contains(got, "<h1>Sign in</h1>") {
		t.Error("one operator's texts reached another's pages")
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for name, c := range map[string]Config{
		"no name":              {},
		"long name":            {Name: strings.Repeat("x", 61)},
		"name of two lines":    {Name: "a\nb"},
		"named colour":         {Name: "x", Color: "red"},
		"colour with CSS":      {Name: "x", Color: "#000000;}"},
		"base without slash":   {Name: "x", Base: "auth"},
		"base with slash":      {Name: "x", Base: "/auth/"},
		"base with host":       {Name: "x", Base: "//evil.example"},
		"base with query":      {Name: "x", Base: "/a?b"},
		"unknown language":     {Name: "x", Texts: map[string]map[string]string{"fr": {}}},
		"unknown key":          {Name: "x", Texts: map[string]map[string]string{"en": {"sign-in.titel": "x"}}},
		"empty text":           {Name: "x", Texts: map[string]map[string]string{"de": {"sign-in.title": " "}}},
		"long text":            {Name: "x", Texts: map[string]map[string]string{"de": {"sign-in.title": strings.Repeat("x", 2001)}}},
		"unknown placeholder":  {Name: "x", Texts: map[string]map[string]string{"en": {"sign-in.client": "{password}"}}},
		"module over ours":     {Name: "x", Modules: map[string][]byte{"passkey.js": nil}},
		"module out of place":  {Name: "x", Modules: map[string][]byte{"../x.js": nil}},
		"module of other type": {Name: "x", Modules: map[string][]byte{"x.html": nil}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSecretsShowOnTheirPageOnly(t *testing.T) {
	p := newPages(t, Config{})
	r := httptest.NewRequest("GET", "/", nil)
	v := AddTOTP{QR: secret.New([]byte("png")), Key: secret.New([]byte("JBSWY3DPEHPK3PXP"))}
	if body := render(t, p, r, v).Body.String(); !strings.Contains(body, "JBSW Y3DP EHPK 3PXP") || !strings.Contains(body, "data:image/png;base64,cG5n") {
		t.Errorf("no key:\n%s", body)
	}
	b, err := json.Marshal(v)
	if err != nil || strings.Contains(string(b), "JBSW") {
		t.Errorf("a view in a log: %s %v", b, err)
	}
}

func TestContrastOfAnyBrand(t *testing.T) {
	property := regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)
	for r := 0; r <= 255; r += 17 {
		for g := 0; g <= 255; g += 17 {
			for b := 0; b <= 255; b += 17 {
				c := rgb{float64(r), float64(g), float64(b)}
				for _, s := range []struct{ surface, away rgb }{{lightSurface, black}, {darkSurface, white}} {
					v := map[string]rgb{}
					for _, m := range property.FindAllStringSubmatch(scheme(c, s.surface, s.away), -1) {
						n, _ := strconv.ParseUint(m[2], 16, 24)
						v[m[1]] = rgb{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
					}
					if len(v) != 4 || contrast(v["on-brand"], v["brand"]) < 4.5 || contrast(v["on-brand"], v["brand-hover"]) < 4.5 ||
						contrast(v["link"], s.surface) < 4.5 || contrast(v["brand"], s.surface) < 3 {
						t.Fatalf("%v on %v: %v", c, s.surface, v)
					}
				}
			}
		}
	}
}

func TestContrastAsInTheStandard(t *testing.T) {
	for _, c := range []struct {
		a, b rgb
		want string
	}{{white, black, "21.00"}, {white, white, "1.00"}, {rgb{0x77, 0x77, 0x77}, white, "4.48"}, {rgb{255, 0, 0}, white, "4.00"}} {
		if got := strconv.FormatFloat(contrast(c.a, c.b), 'f', 2, 64); got != c.want {
			t.Errorf("%v on %v: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

func TestAssets(t *testing.T) {
	p := newPages(t, Config{Base: "/auth", Modules: map[string][]byte{"pow.js": []byte("export {}")}})
	for name, mediaType := range map[string]string{
		"ward.css": "text/css; charset=utf-8", "brand.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
		"passkey.js": "text/javascript; charset=utf-8", "pow.js": "text/javascript; charset=utf-8",
	} {
		w := httptest.NewRecorder()
		p.Assets().ServeHTTP(w, httptest.NewRequest("GET", p.assets.paths[name], nil))
		h := w.Header()
		if w.Code != 200 || h.Get("Content-Type") != mediaType || h.Get("Cache-Control") != "public, max-age=31536000, immutable" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", name, w.Code, h)
		}
	}
	for _, path := range []string{"/auth/assets/", "/auth/assets/ward.css", "/auth/assets/../page.go", "/assets/ward.css"} {
		w := httptest.NewRecorder()
		p.Assets().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	p.Assets().ServeHTTP(w, httptest.NewRequest("POST", p.assets.paths["ward.css"], nil))
	if w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
	other := newPages(t, Config{Base: "/auth", Color: "#aa0000"})
	if p.assets.paths["brand.css"] == other.assets.paths["brand.css"] || p.assets.paths["ward.css"] != other.assets.paths["ward.css"] {
		t.Error("an address doesn't follow its content")
	}
}

// TestTextsAreCompleteAndUsed compares the languages with each other and with what templates and
// constants ask for.
func TestTextsAreCompleteAndUsed(t *testing.T) {
	used := usedKeys(t)
	texts := map[string]map[string]string{}
	for _, code := range []string{"en", "de"} {
		b, err := textFiles.ReadFile("texts/" + code + ".json")
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		texts[code] = m
		var keys []string
		for k, v := range m {
			keys = append(keys, k)
			if strings.TrimSpace(v) == "" {
				t.Errorf("%s: %s is empty", code, k)
			}
			// A JSON object with the same name twice would hide one.
			if n := strings.Count(string(b), strconv.Quote(k)+":"); n != 1 {
				t.Errorf("%s: %s is there %d times", code, k, n)
			}
		}
		slices.Sort(keys)
		if diff := cmp.Diff(used, keys); diff != "" {
			t.Errorf("%s (- used, + there):\n%s", code, diff)
		}
	}
	for k, en := range texts["en"] {
		a, b := placeholder().FindAllString(en, -1), placeholder().FindAllString(texts["de"][k], -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%s: placeholders %v in English, %v in German", k, a, b)
		}
	}
}

// usedKeys are the keys that templates name, that Go constants are, and that follow from kinds,
// scopes, fields and views.
func usedKeys(t *testing.T) []string {
	t.Helper()
	used := map[string]bool{}
	files, err := fs.Glob(htmlFiles, "html/*.html")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`\(field \. "([a-z_]+)"`)
	named := regexp.MustCompile(`[ ({]t "([a-z_.-]+)"`)
	for _, f := range files {
		b, _ := htmlFiles.ReadFile(f)
		for _, m := range named.FindAllSubmatch(b, -1) {
			used[string(m[1])] = true
		}
		for _, m := range field.FindAllSubmatch(b, -1) {
			used["field."+string(m[1])] = true
		}
	}
	for _, k := range constantsOf(t, "Key") {
		used[k] = true
		if strings.HasPrefix(k, "error.") {
			used[k+".advice"] = true
		}
	}
	for _, k := range constantsOf(t, "Kind") {
		used["kind."+k], used["choose."+k] = true, true
	}
	for _, s := range []string{"openid", "profile", "email", "phone", "groups", "roles", "offline_access"} {
		used["scope."+s] = true
	}
	for _, m := range regexp.MustCompile(`name\(\) string +\{ return "([a-z-]+)" \}`).FindAllSubmatch(viewSource, -1) {
		used[string(m[1])+".title"] = true
	}
	var keys []string
	for k := range used {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// constantsOf are the values of view.go's constants of a type.
func constantsOf(t *testing.T, typeName string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "view.go", viewSource, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == typeName {
				s, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				out = append(out, s)
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("no constants of type %s", typeName)
	}
	return out
}

// TestEveryLinkIsAPath holds the templates' links against the exported paths, and every view
// against a template.
func TestEveryLinkIsAPath(t *testing.T) {
	paths := []string{
		PathSignIn, PathRegister, PathForgot, PathLost, PathFactor, PathRecovery, PathSignOut, PathAccount, PathProfile, PathFactors,
		PathPasskey, PathTOTP, PathPhone, PathCodes, PathSessions, PathActivity, PathData, PathDelete,
	}
	files, _ := fs.Glob(htmlFiles, "html/*.html")
	inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\son[a-z]+=|\sstyle=|href="javascript`)
	for _, f := range files {
		b, _ := htmlFiles.ReadFile(f)
		for _, m := range regexp.MustCompile(`\(?path "([^"]+)"`).FindAllSubmatch(b, -1) {
			if !slices.Contains(paths, string(m[1])) {
				t.Errorf("%s links to %s", path.Base(f), m[1])
			}
		}
		if m := inline.Find(b); m != nil {
			t.Errorf("%s holds %q", path.Base(f), m)
		}
		forms, tokens := strings.Count(string(b), "<form"), strings.Count(string(b), `{{template "csrf"`)
		if forms != tokens {
			t.Errorf("%s: %d forms, %d with csrf", path.Base(f), forms, tokens)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{Name: "Toy Shop"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	p, err := New(Config{Name: "Toy Shop"})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/sign-in", nil)
	r.Header.Set("Accept-Language", "de-AT,de;q=0.9,en;q=0.8")
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Render(httptest.NewRecorder(), r, 200, SignIn{Register: PathRegister}); err != nil {
			b.Fatal(err)
		}
	}
}
