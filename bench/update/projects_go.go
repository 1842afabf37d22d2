package main

// module is a Go module: what it requires, and a test of a package of its own.
func module(requires, imports, test string) map[string]string {
	return map[string]string{
		"go.mod":       "module example.com/application\n\ngo 1.21\n\n" + requires,
		"main_test.go": "package main\n\nimport (\n\t\"testing\"\n" + imports + ")\n\n" + test,
		"main.go":      "package main\n\nfunc main() {}\n",
	}
}

func goProjects() []project {
	return []project{
		{
			name: "go-text", why: "one part, mended for good only years later",
			files: module("require golang.org/x/text v0.3.0\n", "\t\"golang.org/x/text/language\"\n", `
func TestParse(t *testing.T) {
	if tag, err := language.Parse("de-CH"); err != nil || tag.String() != "de-CH" {
		t.Fatal(tag, err)
	}
}
`),
			change: []map[string]string{{"golang.org/x/text": "0.3.0→0.39.0 raise"}},
		},
		{
			name: "go-yaml", why: "three holes of one part, mended by three patches: the last of them",
			files: module("require gopkg.in/yaml.v2 v2.2.1\n", "\t\"gopkg.in/yaml.v2\"\n", `
func TestUnmarshal(t *testing.T) {
	var v struct{ A int }
	if err := yaml.Unmarshal([]byte("a: 1"), &v); err != nil || v.A != 1 {
		t.Fatal(v, err)
	}
}
`),
			change: []map[string]string{{"gopkg.in/yaml.v2": "2.2.1→2.2.8 raise"}},
			touch:  map[string]string{"gopkg.in/yaml.v2": "go.mod go.sum"},
		},
		{
			name: "go-moved", why: "a module that was given up under its name: nothing mends it; the other one is proposed",
			files: module("require (\n\tgithub.com/dgrijalva/jwt-go v3.2.0+incompatible\n\tgithub.com/gorilla/websocket v1.4.0\n)\n",
				"\t\"github.com/dgrijalva/jwt-go\"\n\t\"github.com/gorilla/websocket\"\n", `
func TestSign(t *testing.T) {
	if _, err := jwt.New(jwt.SigningMethodHS256).SignedString([]byte("key")); err != nil {
		t.Fatal(err)
	}
	if websocket.TextMessage != 1 {
		t.Fatal("the protocol has changed")
	}
}
`),
			change: []map[string]string{{"github.com/gorilla/websocket": "1.4.0→1.4.1 raise"}},
			held:   map[string]string{"github.com/dgrijalva/jwt-go": "no version that clears it is known"},
		},
		{
			name: "go-broken", why: "of two patches in one group the one breaks the program's test (jwt 4.5.1 no longer says that a token with a wrong signature has expired, too): halved",
			files: module("require (\n\tgithub.com/buger/jsonparser v1.1.1\n\tgithub.com/golang-jwt/jwt/v4 v4.5.0\n)\n",
				"\t\"errors\"\n\n\t\"github.com/buger/jsonparser\"\n\t\"github.com/golang-jwt/jwt/v4\"\n", `
func TestExpired(t *testing.T) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": 1}).SignedString([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return []byte("another key"), nil })
	if !errors.Is(err, jwt.ErrTokenExpired) {
		t.Fatal(err)
	}
}

func TestGet(t *testing.T) {
	if n, err := jsonparser.GetInt([]byte("{\"a\": 1}"), "a"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}
`),
			change: []map[string]string{{"github.com/buger/jsonparser": "1.1.1→1.1.2 raise"}},
			held:   map[string]string{"github.com/golang-jwt/jwt/v4": "TestExpired"},
		},
		{
			name: "go-flaky", why: "tests that flap by themselves don't count",
			files: module("require github.com/ulikunitz/xz v0.5.10\n", "\t\"bytes\"\n\t\"os\"\n\n\t\"github.com/ulikunitz/xz\"\n", `
func TestWrite(t *testing.T) {
	w, err := xz.NewWriter(new(bytes.Buffer))
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
}

func TestOnce(t *testing.T) {
	if _, err := os.Stat("marker"); err == nil {
		t.Fatal("it ran before")
	}
	_ = os.WriteFile("marker", nil, 0o600)
}

func TestTwice(t *testing.T) {
	if _, err := os.Stat("another"); err != nil {
		_ = os.WriteFile("another", nil, 0o600)
		t.Fatal("it didn't run before")
	}
}
`),
			change: []map[string]string{{"github.com/ulikunitz/xz": "0.5.10→0.5.15 raise"}},
			unsure: 3, // and the package that they are of
		},
		{
			name: "go-retracted", why: "the versions that the advisory names and the two after it were retracted",
			files: module("require github.com/klauspost/compress v1.14.0\n", "\t\"github.com/klauspost/compress/zstd\"\n", `
func TestWrite(t *testing.T) {
	if _, err := zstd.NewWriter(nil); err != nil {
		t.Fatal(err)
	}
}
`),
			change: []map[string]string{{"github.com/klauspost/compress": "1.14.0→1.14.4 raise"}},
		},
		{
			name: "go-gin", why: "a framework with a dozen weak parts behind it: raised, with what it brings in",
			files: module("require github.com/gin-gonic/gin v1.6.3\n", "\t\"net/http/httptest\"\n\n\t\"github.com/gin-gonic/gin\"\n", `
func TestHello(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/hello/:name", func(c *gin.Context) { c.String(200, "hello %s", c.Param("name")) })
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/hello/you", nil))
	if w.Code != 200 || w.Body.String() != "hello you" {
		t.Fatal(w.Code, w.Body)
	}
}
`),
			change: []map[string]string{{
				"github.com/gin-gonic/gin": "1.6.3→1.9.1 raise", "golang.org/x/crypto": "0.9.0→0.52.0 raise", "golang.org/x/net": "0.10.0→0.56.0 raise",
				"golang.org/x/sys": "0.8.0→0.44.0 raise", "golang.org/x/text": "0.9.0→0.39.0 raise", "google.golang.org/protobuf": "1.30.0→1.33.0 raise",
			}},
			held: map[string]string{"golang.org/x/crypto": "no version"},
		},
	}
}
