package wardfile

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
)

func compiledSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("ward.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("ward.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is what an editor makes of a YAML text before it asks the schema.
func asJSON(t testing.TB, src string) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(src), &n); err != nil {
		t.Fatalf("%v in %q", err, src)
	}
	var conv func(n *yaml.Node) any
	conv = func(n *yaml.Node) any {
		switch n.Kind {
		case yaml.DocumentNode:
			return conv(n.Content[0])
		case yaml.MappingNode:
			out := map[string]any{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				out[n.Content[i].Value] = conv(n.Content[i+1])
			}
			return out
		case yaml.SequenceNode:
			out := []any{}
			for _, c := range n.Content {
				out = append(out, conv(c))
			}
			return out
		}
		var v any
		switch n.Tag {
		case "!!int", "!!float", "!!bool", "!!null":
			if err := n.Decode(&v); err != nil {
				t.Fatal(err)
			}
			return v
		}
		return n.Value
	}
	return conv(&n)
}

// templates turn a small part into a whole file.
func templates() map[string]string {
	return map[string]string{
		"top":      "app: a\nservices: {s: {run: x}}\n%\n",
		"app":      "app: %\nservices: {s: {run: x}}\n",
		"gateway":  "app: a\nservices: {s: {run: x}}\ngateway: %\n",
		"users":    "app: a\nservices: {s: {run: x}}\nusers: %\n",
		"service":  "app: a\nservices: {s: {run: x, listen: [http://:1, grpc://:2, tcp://:3], %}}\n",
		"bare":     "app: a\nservices: %\n",
		"plain":    "app: a\nservices: {s: {%}}\n",
		"call":     "app: a\nservices: {s: {run: x, calls: {t: %}}, t: {run: x, listen: [h2c://:1, tcp://:2]}}\n",
		"external": "app: a\nservices: {s: {run: x}}\nexternals: {e: %}\n",
		"secret":   "app: a\nservices: {s: {run: x}}\nsecrets: {e: %}\n",
		"key":      "app: a\nservices: {s: {run: x}}\nkeys: {e: %}\n",
		"database": "app: a\nservices: {s: {run: x, calls: {d: tcp}}, d: {run: x, listen: tcp://:5432}}\nsecrets: {p: {}}\ndatabases: {e: %}\n",
		"auth":     "app: a\nservices: {s: {run: x}}\nsecrets: {k: {}}\nexternals: {e: {host: a.b, tls: originate, auth: %}}\n",
		"delivery": "app: a\nservices: {s: {run: x, secrets: {k: %}}}\nsecrets: {k: {}}\n",
		"observe":  "app: a\nservices: {s: {run: x}, t: {run: x, listen: h2c://:1}}\nobserve: %\n",
	}
}

func TestSchemaAgreesWithParser(t *testing.T) {
	schema := compiledSchema(t)
	good := map[string][]string{
		"top":     {"trust_domain: a.example", "observe: []", "externals: {}"},
		"app":     {"shop", "a1-b", "\"8\""},
		"gateway": {"{}", "{listen: ':443'}", "{listen: '[::1]:1', http: a.b:2, host: a.b, tls: internal}", "{tls: {cert: a, key: b}}"},
		"users":   {"{}", "{host: id.example.com, name: Shop, color: '#1a6b4f', register: open, second_factor: optional, sign_in: [passkey]}", "{groups: [staff], roles: [admin], session: {idle: 1h, absolute: 2h}}", "{mail: {from: 'Shop <a@b.example>', smtp: 'smtp://mail.example:587', user: u, password_file: p}, sms: {webhook: 'https://sms.example/x', secret_file: s}}", "{providers: {google: {issuer: 'https://accounts.google.com', client_id: x, secret_file: s, scopes: [openid]}}, issuers: {corp: {issuer: 'https://idp.example', audience: a}}}", "{clients: {app: {public: true, redirects: com.example.app:/cb}, spa: {public: true, redirects: ['https://a.example/cb']}, me: {service: s, grants: [client_credentials], audiences: ['https://x']}}}", "{flags: {brute-force: [slow, mail], new-device: mail}, geoip: x.mmdb, breached: b.filter, texts: {sign-in: Hello}}"},
		"service": {
			"workdir: ..", "env: {A: b, B: 1, C: true, D: 1.5, E: ''}", "runtime: jvm", "sensitivity: critical", "data: [pii, cards]",
			"replicas: 64", "restart: on-failure", "ready: tcp", "ready: none", "ready: GET /h", "ready: {port: 1, timeout: 2m}",
			"ready: {probe: GET /h, port: 1}", "files: {read: [a], write: [/b]}", "limits: {memory: 256MB, cpu: 0.5, pids: 1, open_files: 1024}", "limits: {cpu: 2}",
			"expose: {route: GET /, to: anyone}", "expose: [{routes: [GET /a, ws /b], to: anyone}, {route: grpc a.B/*, to: anyone}]",
			"expose: {routes: GET /a, to: anyone}", "calls: {}", "env: {}", "limits: {}", "data: [pii], keys: {pii: [encrypt, lookup]}", "data: [pii], keys: {pii: decrypt}", "keys: {}", "secrets: {}",
		},
		"bare":     {"{s: {run: [x, 1, true, '']}}", "{s: {run: 'x \"y z\"', listen: http://:65535}}"},
		"plain":    {"run: x, listen: [tcp://:1]"},
		"call":     {"any", "tcp", "GET /", "'GET,POST /a/{id}/**'", "'* /**'", "ws /x", "grpc a.b.C/D", "grpc */*", "[GET /a, tcp]", "GET /%7Ea"},
		"external": {"{host: a.b, port: 1}", "{host: a.b, tls: originate}", "{host: 10.0.0.1, port: 443, addresses: [10.0.0.0/8, '::1']}", "{host: a, port: 5, protocol: grpc, tls: none, local_port: 6}", "{host: a, tls: originate, protocol: h2c, ca: f, addresses: 1.2.3.4}"},
		"auth":     {"bearer secret:k", "header X-Key secret:k", "query key secret:k", "basic me secret:k", "aws eu-west-1 s3 secret:k", "certificate secret:k", "{use: bearer secret:k, for: [POST /v1/charges, 'GET /v1/**']}"},
		"delivery": {"file", "file restart", "file signal HUP", "env KEY"},
		"secret":   {"{}", "{generate: password}", "{sealed: secrets/e.age}", "{generate: key, rotate: 30d, canary: true}"},
		"key":      {"{}", "{purpose: ES256, rotate: 90d}", "{purpose: lookup}"},
		"database": {"{at: d, admin: ward secret:p, users: {s: {role: shop_rw, life: 30m}}}", "{at: d:5432, name: shop, tls: off, users: {s: {login: s secret:p}}}", "{at: d, tls: verify, ca: f, admin: w secret:p, users: {s: {grants: ['SELECT, INSERT ON orders', USAGE ON ALL SEQUENCES IN SCHEMA public]}}}"},
		"observe":  {"[{from: s, to: t, grant: GET /, until: 2031-01-31}]", "[{from: s, to: t, grants: [GET /, grpc a.B/C], until: 2031-01-31}]"},
	}
	bad := map[string][]string{
		"top":     {"trust_domain: A", "trust_domain: 3", "trust: a", "observe: {}", "externals: []", "gateway: []", "gateway: null", "externals: null"},
		"app":     {"Shop", "1", "true", "-a", "a.b", "null", "[a]", "{}", "''"},
		"gateway": {"{listen: 443}", "{listen: a}", "{host: 'http://x'}", "{tls: external}", "{tls: {cert: a}}", "{tls: {cert: a, key: b, ca: c}}", "{port: 1}", "{tls: true}"},
		"service": {
			"env: {1A: b}", "env: {A: null}", "env: {A: [b]}", "env: [A]", "runtime: rust", "sensitivity: unset", "data: [PII]", "data: []", "data: pii", "data: [a, a]", "replicas: 0", "replicas: 65",
			"replicas: '1'", "replicas: 1.5", "restart: maybe", "ready: maybe", "ready: 1", "ready: {path: /x}", "ready: {port: 0}", "ready: {timeout: 30}", "files: {exec: [a]}", "files: {read: a}", "files: {read: ['']}", "files: [a]",
			"limits: {memory: 256}", "limits: {memory: 1PB}", "limits: {cpu: 0}", "limits: {cpu: '1'}", "limits: {cpu: 2000}", "limits: {pids: 0}", "limits: {open_files: 1}", "workdir: ''", "unknown: 1",
			"expose: {route: GET /}", "expose: {to: anyone}", "expose: {route: GET /, routes: [GET /a], to: anyone}", "expose: {route: GET /, to: everyone}", "expose: {route: any, to: anyone}", "expose: {route: tcp, to: anyone}",
			"expose: {route: [GET /], to: anyone}", "expose: []", "expose: GET /", "expose: {route: GET /, to: group:Staff}", "expose: {route: GET /, to: anyone, mfa: 15}", "expose: {route: GET /, to: anyone, forward: all}", "calls: {t: tcp as user}", "calls: {t: GET / as root}", "calls: {t: GET / as user mfa soon}", "calls: [a]", "calls: null", "data: [pii], keys: {pii: read}", "data: [pii], keys: [pii]", "data: [pii], keys: {pii: []}", "secrets: [k]",
		},
		"bare":     {"{}", "[]", "null", "{S: {run: x}}", "{s: null}", "{s: {}}", "{s: x}", "{s: {run: []}}", "{s: {run: ''}}", "{s: {run: [[a]]}}", "{s: {run: {a: b}}}", "{s: {run: 5}}"},
		"plain":    {"listen: http://:1", "run: x, listen: ':80'", "run: x, listen: [http://a:1]", "run: x, listen: []", "run: x, listen: ftp://:1", "run: x, listen: 80"},
		"call":     {"get /", "GET", "/x", "GET x", "ws", "grpc A", "grpc A/", "grpc */x", "grpc a..B/C", "[]", "[any, any]", "{a: b}", "'GET, POST /x'", "'GET /a?b'", "GET //", "ANY", "true", "'GET,* /'"},
		"external": {"{port: 1}", "{host: a.b, port: 0}", "{host: a.b, port: '1'}", "{host: a/b, port: 1}", "{host: a, port: 1, tls: yes}", "{host: a, port: 1, protocol: udp}", "{host: a, port: 1, addresses: [x]}", "null", "{host: a, port: 1, adresses: [1.1.1.1]}"},
		"auth":     {"null", "k", "bearer k", "digest secret:k", "header secret:k", "{use: bearer secret:k}", "{use: bearer secret:k, for: [any]}", "{use: bearer secret:k, for: []}", "{for: GET /}"},
		"delivery": {"null", "env", "File", "file signal KILL", "[file]"},
		"users":    {"[]", "{host: a/b}", "{color: red}", "{register: maybe}", "{second_factor: no}", "{sign_in: []}", "{sign_in: [email]}", "{groups: [Staff]}", "{groups: [a, a]}", "{mail: {from: a}}", "{mail: {from: a, smtp: 'http://x'}}", "{sms: {webhook: 'https://a', twilio: 'https://b'}}", "{providers: {g: {issuer: x, client_id: y}}}", "{clients: {c: {}, C: {}}}", "{flags: {spray: block}}", "{flags: {brute-force: shout}}", "{session: {idle: 5}}"},
		"secret":   {"null", "x", "{generate: hash}", "{value: x}", "{rotate: 30}", "{rotate: 0d}", "{canary: 1}", "{sealed: ''}"},
		"key":      {"null", "{purpose: AES}", "{rotate: 1h}", "{age: 1d}"},
		"database": {"{at: d}", "{users: {s: {login: s secret:p}}}", "{at: d, users: {}}", "{at: d, users: {s: {}}}", "{at: d, users: {s: {login: s}}}", "{at: d, users: {s: {login: s secret:p, role: r}}}", "{at: d, admin: w secret:p, users: {s: {role: R}}}", "{at: d, admin: w secret:p, users: {s: {grants: [ALL ON x]}}}", "{at: d, tls: maybe, users: {s: {login: s secret:p}}}"},
		"observe":  {"[{from: s, to: t, grant: GET /, until: tomorrow}]", "[{from: s, to: t, until: 2031-01-31}]", "[{to: t, grant: GET /, until: 2031-01-31}]", "{}", "[{from: s, to: t, grant: GET /, grants: [GET /], until: 2031-01-31}]", "[{from: s, to: t, grant: [GET /], until: 2031-01-31}]"},
	}
	run := func(valid bool, cases map[string][]string) {
		for name, parts := range cases {
			for _, part := range parts {
				src := strings.Replace(templates()[name], "%", part, 1)
				serr := schema.Validate(asJSON(t, src))
				_, ps := Parse("ward.yaml", strings.NewReader(src))
				if (serr == nil) != valid || ps.HasErrors() == valid {
					t.Errorf("%s: %s: expected valid=%v; schema: %v; parser:\n%s", name, part, valid, serr, ps.Only(model.Error))
				}
			}
		}
	}
	run(true, good)
	run(false, bad)
	src := string(readFile(t, "testdata/shop12.yaml"))
	if err := schema.Validate(asJSON(t, src)); err != nil {
		t.Error(err)
	}
}

// What the schema refuses, the parser must refuse: for any mutation of a sound
// file by one word.
func TestSchemaIsNeverStricterThanParser(t *testing.T) {
	schema := compiledSchema(t)
	src := string(readFile(t, "testdata/shop12.yaml"))
	words := regexp.MustCompile(`[A-Za-z0-9_.]+`).FindAllStringIndex(src, -1)
	for _, w := range words {
		for _, with := range []string{"x", "1", "any", "null", "A", "a.b"} {
			mutant := src[:w[0]] + with + src[w[1]:]
			if _, ps := Parse("ward.yaml", strings.NewReader(mutant)); ps.HasErrors() {
				continue
			}
			if err := schema.Validate(asJSON(t, mutant)); err != nil {
				t.Fatalf("%q for %q at byte %d: the parser accepts, the schema says %v", with, src[w[0]:w[1]], w[0], err)
			}
		}
	}
}

// What a hand-written matcher accepts, its expression in the schema accepts.
func TestMatchersAgreeWithExpressions(t *testing.T) {
	texts := []string{"22:00-07:00", "24:00-07:00", "22:60-07:00", "2:00-7:00", "22:00", "99.5%", "99%", "100%", ".5%", "99.12345%", "9.%", "300ms", "1s", "0s", "100000ms", "1m", "", "a", "A", "a-", "a.b", "a_b", "a:1", "a:0", "a:65536", ":443", "[::1]:1", "::1", "1.2.3.4", "a b", "é", "_x", "1x", "\n", "a\n", "a/b", strings.Repeat("a", 63), strings.Repeat("a", 64)}
	for _, re := range []string{form.RELabel, form.REDomain, form.REEnvName, form.REClass, form.RETarget, form.REHostPort, form.REHost, form.RENonEmpty, form.REHours, form.REPercent, form.RELatency} {
		for _, s := range texts {
			if is := form.Matcher(re)(s); is && !regexp.MustCompile(re).MatchString(s) {
				t.Errorf("%s refuses %q, its matcher accepts", re, s)
			} else if !is && re != form.REHost && re != form.REHostPort && re != form.RETarget && regexp.MustCompile(re).MatchString(s) {
				t.Errorf("%s accepts %q, its matcher refuses", re, s)
			}
		}
	}
}
