package wardfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wardhq/ward/internal/model"
)

func mustParse(t *testing.T, src string) *model.Model {
	t.Helper()
	m, ps := Parse("ward.yaml", strings.NewReader(src))
	if ps.HasErrors() {
		t.Fatal(ps.String())
	}
	return m
}

func TestDefaults(t *testing.T) {
	m := mustParse(t, `
app: shop
services:
  s: {run: ./s a 'b c', listen: http://:80, ready: {port: 80}}
externals:
  a: {host: A.Example, port: 443}
  b: {host: b.example, tls: originate}
  c: {host: 10.0.0.1, port: 5432}
`)
	want := &model.Model{
		App: "shop", TrustDomain: "shop.internal",
		Gateway: model.Gateway{Listen: "127.0.0.1:8443", Host: "localhost", TLS: "internal"},
		Services: []model.Service{{
			Name: "s", Run: []string{"./s", "a", "b c"}, Workdir: ".", Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}},
			Replicas: 1, Ready: model.Ready{Port: 80, TimeoutSeconds: 60},
		}},
		Externals: []model.External{
			{Name: "a", Host: "a.example", Port: 443, LocalPort: 443, TLS: model.TLSPassthrough, Protocol: model.TCP},
			{Name: "b", Host: "b.example", Port: 443, LocalPort: 80, TLS: model.TLSOriginate, Protocol: model.HTTP},
			{Name: "c", Host: "10.0.0.1", Port: 5432, LocalPort: 5432, TLS: model.TLSNone, Protocol: model.TCP},
		},
	}
	if diff := cmp.Diff(want, m, cmpopts.IgnoreTypes(model.Pos{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestShopOfTwelve(t *testing.T) {
	src := string(readFile(t, "testdata/shop12.yaml"))
	m, ps := Parse("shop12.yaml", strings.NewReader(src))
	if len(ps) > 0 {
		t.Fatal(ps.String())
	}
	edges, kinds := 0, map[model.GrantKind]bool{}
	for _, s := range m.Services {
		edges += len(s.Calls)
		for _, c := range s.Calls {
			for _, g := range c.Grants {
				kinds[g.Kind] = true
			}
		}
	}
	if lines := strings.Count(src, "\n"); len(m.Services) != 12 || edges != 18 || lines > 80 {
		t.Errorf("%d services, %d edges, %d lines", len(m.Services), edges, lines)
	}
	if !kinds[model.GrantHTTP] || !kinds[model.GrantWS] || !kinds[model.GrantGRPC] || !kinds[model.GrantTCP] {
		t.Errorf("kinds %v", kinds)
	}
	if got, err := Format([]byte(src)); err != nil || string(got) != src {
		t.Errorf("not in its canonical form: %v\n%s", err, cmp.Diff(src, string(got)))
	}
}

// Each case is one file and what must be said about it, as "line:col severity part | hint part".
func TestProblems(t *testing.T) {
	const head = "app: a\nservices:\n  s: {run: x, listen: [http://:1, tcp://:2], sensitivity: high, calls: {t: GET /x}}\n  t: {run: x, listen: [h2c://:1, grpc://:2], calls: {db: tcp}}\n  db: {run: x, listen: tcp://:5432}\n"
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"misspelt key", "ap: a\nservices: {s: {run: x}}\n", []string{`1:1 error unknown key "ap" | did you mean "app"?`}},
		{"duplicate key", "app: a\napp: b\nservices: {s: {run: x}}\n", []string{`2:1 error "app" stands twice in one mapping; first on line 1 | `}},
		{"alias", "app: &a a\nservices: {s: {run: *a}}\n", []string{"1:6 error YAML anchors (&a) are not used here | write the value out"}},
		{"tag", "app: !!str a\n", []string{"1:6 error YAML tags (!!str) are not used here | remove"}},
		{"second document", "app: a\n---\napp: b\n", []string{"2:1 error a second YAML document | "}},
		{"tab", "app: a\nservices:\n\ts: 1\n", []string{"3:2 error YAML: found character that cannot start any token | indent with spaces"}},
		{"brace in a list", "app: a\nservices: {s: {run: x, calls: {t: [GET /a, GET /{id}]}}}\n", []string{"2:49 error YAML: did not find expected ',' or ']' | needs quotes"}},
		{"empty file", "# nothing\n", []string{"1:1 error the file is empty | ward init"}},
		{"bidirectional control", "app: a\u202e\n", []string{"1:7 error invisible control character U+202E | "}},
		{"unknown target", strings.Replace(head, "db: tcp", "bd: tcp", 1), []string{`4:54 error unknown target "bd" | did you mean "db"?`}},
		{"port that isn't there", strings.Replace(head, "db: tcp", "db:1: tcp", 1), []string{"4:54 error db doesn't listen on port 1 | tcp://:5432"}},
		{"port picks the listener", strings.Replace(head, "db: tcp", "s:2: GET /", 1), []string{`4:59 error "GET /" fits no port of s | s says tcp://:2 (line 3); make that http or h2c`}},
		{"grpc to http", strings.Replace(head, "db: tcp", "s: grpc A/B", 1), []string{`error "grpc A/B" fits no port of s | make that grpc or h2c`}},
		{"self", strings.Replace(head, "t: GET", "s: GET", 1), []string{"3:73 error service s calls itself | "}},
		{
			"one route twice", head + "  u: {run: x, listen: http://:1, expose: {route: \"GET /a/{x}\", to: anyone}}\n  v: {run: x, listen: http://:1, expose: {route: GET /a/*, to: anyone}}\n",
			[]string{`7:50 error the route "GET /a/*" is exposed already, by u on line 6 | one service`, "5:3 "}[:1],
		},
		{"expose without a web port", strings.Replace(head, "listen: tcp://:5432", "listen: tcp://:5432, expose: {route: GET /, to: anyone}", 1), []string{"error service db exposes routes but has no http, h2c or grpc port | add a listen line"}},
		{"unknown secret", "app: a\nservices: {s: {run: x, secrets: {stripe-ky: file}}}\nsecrets: {stripe-key: {}}\n", []string{`2:34 error unknown secret "stripe-ky" | did you mean "stripe-key"?`}},
		{"undeclared secret", "app: a\nservices: {s: {run: x, secrets: {k: file}}}\n", []string{`error unknown secret "k" | declare it under secrets: k: {}`}},
		{"used canary", "app: a\nservices: {s: {run: x, secrets: {k: file}}}\nsecrets: {k: {canary: true, generate: key}}\n", []string{"error secret k is a canary (line 3), and is used | "}},
		{"secret and variable", "app: a\nservices: {s: {run: x, env: {K: v}, secrets: {k: env K}}}\nsecrets: {k: {}}\n", []string{"error K is the secret k already (line 2) | "}},
		{"secret in the environment", "app: a\nservices: {s: {run: x, secrets: {k: env K}}}\nsecrets: {k: {}}\n", []string{"2:34 warning every child of s, and whatever prints its environment, sees the secret k | a file is safer"}},
		{"secret without a reader", "app: a\nservices: {s: {run: x}}\nsecrets: {k: {}}\n", []string{"3:11 warning nobody gets secret k | "}},
		{"generated and sealed", "app: a\nservices: {s: {run: x, secrets: {k: file}}}\nsecrets: {k: {generate: key, sealed: f}}\n", []string{"error secret k is both generated and read from a file | "}},
		{"unknown key", "app: a\nservices: {s: {run: x, keys: {pii: encrypt}}}\n", []string{`error unknown key "pii" | declare it under keys`}},
		{"use that a key hasn't", "app: a\nservices: {s: {run: x, keys: {k: [sign, encrypt]}}}\nkeys: {k: {purpose: ES256}}\n", []string{"error the key k is for ES256: nobody can encrypt with it | "}},
		{"class that is a signing key", "app: a\nservices: {s: {run: x, data: [k]}}\nkeys: {k: {purpose: ES256}}\n", []string{`error "k" is a class of data of s, and a key for ES256 | `}},
		{"a service called ward", "app: a\nservices: {ward: {run: x, data: [pii]}}\n", []string{"2:12 error ward uses keys, and another service is called ward | http://ward"}},
		{"auth in clear", "app: a\nservices: {s: {run: x, calls: {e: GET /}}}\nsecrets: {k: {}}\nexternals: {e: {host: a.b, port: 80, protocol: http, auth: bearer secret:k}}\n", []string{"error external e: the secret would cross the network in clear | write tls: originate"}},
		{"auth on passthrough", "app: a\nservices: {s: {run: x, calls: {e: tcp}}}\nsecrets: {k: {}}\nexternals: {e: {host: a.b, port: 443, auth: bearer secret:k}}\n", []string{"error external e: Ward can't authenticate requests that it doesn't see | write tls: originate"}},
		{"database that nobody may call", head + "secrets: {p: {}}\ndatabases: {d: {at: db, users: {s: {login: x secret:p}}}}\n", []string{"error service s has a user at db, and may not call it | add to its calls: db: tcp"}},
		{"database without an admin", head + "databases: {d: {at: db, users: {t: {role: r}}}}\n", []string{"error nobody can make users at database d | add admin: USER secret:NAME"}},
		{"database at a web port", head + "secrets: {p: {}}\ndatabases: {d: {at: t, users: {s: {login: x secret:p}}}}\n", []string{"error t has no such tcp port | listen: tcp://:5432"}},
		{"user that lives too long", head + "secrets: {p: {}}\ndatabases: {d: {at: db, admin: w secret:p, users: {t: {role: r, life: 48h}}}}\n", []string{"error a user of d would live for 48h | from 1m to 24h"}},
		{"one name space", head + "externals: {db: {host: x.example, port: 1}}\n", []string{`6:13 error "db" is the name of a service already (line 5) | `}},
		{"external kinds", head + "externals: {e: {host: x.example, port: 443, protocol: http}, f: {host: f.example, port: 1, ca: x}}\n", []string{
			"6:55 error external e: say who speaks TLS on port 443 | tls: originate", "6:96 error external f: \"ca\" means something only | originate",
		}},
		{"audience and condition", head + "  u: {run: x, listen: http://:1, expose: {route: GET /, to: staff, when: 'user.mfa'}}\nusers: {}\n", []string{
			"6:61 error expected anyone, signed-in, group:NAME, role:NAME or user:MAIL, found \"staff\" | group:NAME",
			"6:74 error condition: at character 1: undeclared reference to 'user' | there are user.id",
		}},
		{"sign-in without users", head + "  u: {run: x, listen: http://:1, calls: {t: GET /x as user}, expose: {route: GET /, to: signed-in}}\n", []string{
			"6:45 error \"GET /x as user\" needs sign-in, and the file has no users: | add users:",
			"6:70 error \"signed-in\" needs sign-in, and the file has no users: | add users:",
		}},
		{"a group that nobody named", head + "  u: {run: x, listen: http://:1, expose: {route: GET /, to: [group:staf, role:root]}}\nusers: {groups: [staff]}\n", []string{
			"error users: has no group \"staf\" | did you mean \"staff\"?", "error users: has no role \"root\" | roles: [root]",
		}},
		{"pages need an origin of their own", head + "users: {host: localhost}\n", []string{"error users.host and gateway.host are the same | id.localhost"}},
		{"clients", head + "users:\n  clients:\n    a: {redirects: http://shop.example/cb}\n    b: {public: true, service: s, redirects: [https://b.example/*]}\n    c: {public: true, grants: [client_credentials]}\n    d: {secret_sha256: abc}\n", []string{
			`8:5 error client a is to have exactly one of public: true, secret_sha256, jwks_file and service | `,
			`8:5 error client a: "http://shop.example/cb" can't be redirected to | https, http on loopback`,
			`9:5 error client b is to have exactly one`, `9:5 error client b: "https://b.example/*" can't be redirected to | wildcard`,
			`10:5 error client c is public and can't prove who it is | PKCE`,
			`11:5 error client d is to have exactly one`, `11:5 error client d has no redirects | `, `11:24 error expected 64 hexadecimal digits`,
		}},
		{"sensitive and open", strings.Replace(head, "calls: {t: GET /x}}", "calls: {t: GET /x}, expose: {route: \"* /**\", to: anyone}}", 1), []string{
			"warning service s has sensitivity high, and is exposed to anyone | ", "warning every route of s, with every method, is open | ",
		}},
		{"broad", strings.Replace(head, "GET /x", "[any, \"GET /**\", \"* /**\", grpc */*, ws /**]", 1), []string{
			`warning "any" from s to t is broad | ward learn`, `warning "GET /**"`, `warning "* /**"`, `warning "grpc */*"`, `warning "ws /**"`,
		}},
		{"circle", strings.Replace(head, "db: tcp", "db: tcp, s: GET /x", 1), []string{"3:73 warning services call each other in a circle: s → t → s | "}},
		{"unused", head + "  u: {run: x, listen: tcp://:1}\n  worker: {run: x}\n", []string{"6:3 warning nobody calls service u | "}},
		{"secrets", head + "  u: {run: x, env: {A_TOKEN: abc, TOKEN_TTL: 30s, KEY_FILE: /k, DB: 'postgres://u:p@db/x', DB2: 'postgres://db/x', API_KEY: ''}}\n", []string{"warning A_TOKEN looks like a secret", "warning DB looks like a secret"}},
		{"a day that isn't", head + "observe: [{from: s, to: t, grant: GET /, until: 2027-02-29}]\n", []string{"6:49 error expected a date such as 2031-01-31, found \"2027-02-29\" | calendar"}},
		{"a shell's words", strings.Replace(head, "run: x", "run: x $HOME", 1), []string{`3:12 error "$" means something to a shell only | run: [sh, -c`}},
		{"ready without a port", head + "  u: {run: x, ready: GET /h}\n", []string{"6:15 error service u has no port to ask | ready: none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ps := Parse("ward.yaml", strings.NewReader(c.src))
			if len(ps) != len(c.want) {
				t.Fatalf("%d problems:\n%s", len(ps), ps)
			}
			for i, w := range c.want {
				msg, hint, _ := strings.Cut(w, " | ")
				text := strings.TrimPrefix(ps[i].String(), "ward.yaml:")
				text = strings.ReplaceAll(strings.ReplaceAll(text, ": error: ", " error "), ": warning: ", " warning ")
				if !strings.Contains(text, msg) || !strings.Contains(ps[i].Hint, hint) {
					t.Errorf("want %q in\n%s", w, text)
				}
			}
		})
	}
}
