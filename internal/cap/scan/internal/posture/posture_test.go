package posture_test

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/scan/internal/posture"
	"github.com/wardhq/ward/internal/model/wardfile"
)

const service = "app: a\nservices: {s: {run: x, listen: http://:1, limits: {memory: 1GiB}, %}}\n"

// examples are for each rule a model that it finds and one that it doesn't.
func examples() map[string][2]string {
	with := func(part string) string { return strings.Replace(service, "%", part, 1) }
	more := func(part string) string { return with("restart: always") + part + "\n" }
	calls := func(grant string) string {
		return "app: a\nservices: {s: {run: x, limits: {memory: 1GiB}, calls: {t: " + grant + "}}, t: {run: x, limits: {memory: 1GiB}, listen: http://:1}}\n"
	}
	people := func(users, expose string) string {
		return with("sensitivity: high, expose: "+expose) + "users: " + users + "\n"
	}
	return map[string][2]string{
		"ward-broad-grant":           {calls(`"* /**"`), calls("GET /books/*")},
		"ward-sensitive-exposed":     {with("sensitivity: high, expose: {route: GET /a, to: anyone}"), with("expose: {route: GET /a, to: anyone}")},
		"ward-everything-exposed":    {with(`expose: {route: "* /**", to: anyone}`), with("expose: {route: GET /**, to: anyone}")},
		"ward-secret-in-file":        {with("env: {DB_PASSWORD: hunter2}"), with("env: {DB_PASSWORD_FILE: /run/secrets/db}")},
		"ward-secret-in-environment": {with("secrets: {k: env K}") + "secrets: {k: {}}\n", with("secrets: {k: file}") + "secrets: {k: {}}\n"},
		"ward-broad-files":           {with("files: {read: [/etc]}"), with("files: {read: [/etc/mime.types]}")},
		"ward-circle":                {"app: a\nservices: {s: {run: x, listen: http://:1, calls: {t: GET /a}}, t: {run: x, listen: http://:1, calls: {s: GET /a}}}\n", calls("GET /a")},
		"ward-factor-of-anyone":      {people("{groups: [g]}", "{route: GET /a, to: anyone, mfa: 5m}"), people("{groups: [g]}", "{route: GET /a, to: signed-in, mfa: 5m}")},
		"ward-nonce-only": {
			more("users: {clients: {c: {redirects: https://x/y, service: s, nonce_only: true}}}"), more("users: {clients: {c: {redirects: https://x/y, service: s}}}"),
		},
		"ward-no-limits":            {"app: a\nservices: {s: {run: x}}\n", with("restart: always")},
		"ward-plaintext-external":   {more("externals: {e: {host: example.com, port: 80}}"), more("externals: {e: {host: example.com, port: 443}, l: {host: 127.0.0.1, port: 80}}")},
		"ward-plaintext-database":   {database("example.com", "tls: off", "login: u secret:p"), database("127.0.0.1", "tls: off", "login: u secret:p")},
		"ward-fixed-database-login": {database("example.com", "tls: verify", "login: u secret:p"), database("example.com", "admin: u secret:p", "role: shop")},
		"ward-secret-never-rotated": {more("secrets: {k: {generate: password}}"), more("secrets: {k: {generate: password, rotate: 30d}, bait: {generate: password, canary: true}, set: {}}")},
		"ward-static-client-secret": {
			more("users: {clients: {c: {redirects: https://x/y, secret_sha256: " + strings.Repeat("ab", 32) + "}}}"), more("users: {clients: {c: {redirects: https://x/y, service: s}}}"),
		},
		"ward-observed-grant": {
			calls("GET /a") + "observe: [{from: s, to: t, grant: GET /b, until: 2031-01-31}]\n", calls("GET /a"),
		},
		"ward-second-factor-optional": {more("users: {second_factor: optional}"), more("users: {groups: [g]}")},
		"ward-open-registration":      {people("{register: open}", "{route: GET /a, to: signed-in}"), people("{register: closed}", "{route: GET /a, to: signed-in}")},
		"ward-forwarded-credentials":  {with("expose: {route: GET /a, to: anyone, forward: cookies}"), with("expose: {route: GET /a, to: anyone}")},
	}
}

func database(host, key, user string) string {
	return "app: a\nservices: {s: {run: x, limits: {memory: 1GiB}, calls: {e: tcp}}}\nexternals: {e: {host: " + host + ", port: 5432}}\nsecrets: {p: {}}\ndatabases: {d: {at: e, " + key + ", users: {s: {" + user + "}}}}\n"
}

func TestEachRuleFindsItsBadExampleAndNotItsGoodOne(t *testing.T) {
	all := examples()
	for _, r := range posture.Rules() {
		ex, ok := all[r.ID]
		if !ok {
			t.Errorf("%s has no examples", r.ID)
			continue
		}
		for i, want := range []bool{true, false} {
			m, problems := wardfile.Parse("ward.yaml", strings.NewReader(ex[i]))
			if problems.HasErrors() {
				t.Fatalf("%s: %v", r.ID, problems)
			}
			found := false
			for _, f := range posture.Find(m, problems, "deploy/ward.yaml") {
				if f.ID != r.ID {
					continue
				}
				found = true
				if f.Location.Path != "deploy/ward.yaml" || f.Location.Line == 0 || f.Title == "" || f.Fix == "" || f.Detail == "" || f.Severity == 0 {
					t.Errorf("%s: half a finding: %+v", r.ID, f)
				}
			}
			if found != want {
				t.Errorf("%s: found %v in\n%s", r.ID, found, ex[i])
			}
		}
		delete(all, r.ID)
	}
	for id := range all {
		t.Errorf("examples of %s, which is no rule", id)
	}
}
