package wardfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wardhq/ward/internal/model"
)

func TestWatchIsRead(t *testing.T) {
	m, problems := Parse("ward.yaml", strings.NewReader(`app: a
gateway: {host: shop.example.com}
users: {groups: [oncall], mail: {from: ward@example.com, smtp: "smtp://mail.example.com:587", user: w, password_file: mail.key}}
services: {s: {run: x}}
watch:
  otlp:
    - {endpoint: https://otlp.example.com/, send: [traces], format: json, headers_file: otlp.headers}
  notify:
    - {to: slack, url_file: slack.url, least: medium}
    - {to: pagerduty, key_file: routing.key, quiet: 22:00-07:00}
    - {to: mail, address: oncall@example.com, repeat: 8h}
    - {to: webhook, url: "http://127.0.0.1:9000/hook", key_file: hook.key}
  heartbeat: {url: https://hc.example.com/ping, every: 2m}
  rules: {honey-path: observe, canary: protect}
  slo: {availability: 99.9%, services: {s: {p99: 300ms}}}
  ledger: {allowed: all, budget: 1GB, keep: 90d}
  anchor: [{rfc3161: https://time.example.com, every: 6h}]
  never_block: [203.0.113.0/24]
  console: {operator: ["group:oncall", "user:ada@example.com"]}
  canaries: off
`))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	want := model.Watch{
		OTLP: []model.OTLP{{Endpoint: "https://otlp.example.com", NoMetrics: true, JSON: true, HeadersFile: "otlp.headers"}},
		Notify: []model.Notify{
			{To: "slack", URLFile: "slack.url", Host: "hooks.slack.com", Least: "medium"},
			{To: "pagerduty", URL: "https://events.pagerduty.com/v2/enqueue", KeyFile: "routing.key", Quiet: "22:00-07:00"},
			{To: "mail", Address: "oncall@example.com", From: "ward@example.com", SMTP: "smtp://mail.example.com:587", User: "w", KeyFile: "mail.key", Repeat: 8 * 3600},
			{To: "webhook", URL: "http://127.0.0.1:9000/hook", KeyFile: "hook.key"},
		},
		Heartbeat:  model.Heartbeat{URL: "https://hc.example.com/ping", Every: 120},
		Rules:      []model.WatchRule{{Name: "honey-path", Observe: true}, {Name: "canary"}},
		SLO:        model.SLO{Objective: model.Objective{Availability: 99.9}, Services: []model.ServiceSLO{{Service: "s", Objective: model.Objective{P99: 300}}}},
		Ledger:     model.LedgerKeep{Allowed: []string{"all"}, Budget: 1e9, Days: 90},
		Anchor:     []model.Anchor{{RFC3161: "https://time.example.com", Every: 6 * 3600}},
		NeverBlock: []string{"203.0.113.0/24"},
		NoCanaries: true,
		Console: model.Console{
			Host: "console.shop.example.com", Viewer: []string{"role:ward-viewer"}, Operator: []string{"group:oncall", "user:ada@example.com"}, Administrator: []string{"role:ward-admin"},
		},
	}
	if d := cmp.Diff(want, m.Watch, cmpopts.IgnoreTypes(model.Pos{})); d != "" {
		t.Error(d)
	}
	to := []string{"https://otlp.example.com", "https://hooks.slack.com", "https://events.pagerduty.com/v2/enqueue", "smtp://mail.example.com:587", "http://127.0.0.1:9000/hook", "https://time.example.com", "https://hc.example.com/ping"}
	if d := cmp.Diff(to, m.Watch.Destinations(), cmpopts.SortSlices(strings.Compare)); d != "" {
		t.Error(d)
	}
}

func TestWatchTellsWhatIsMissing(t *testing.T) {
	for part, want := range map[string]string{
		"console: {}":                        "add users:",
		"console: true":                      "write {} for what is usual; it may hold host, viewer, operator, administrator",
		"notify: {to: ntfy}":                 "put it in brackets, as [{…}]",
		"notify: ntfy":                       "put it in brackets: [ntfy]",
		"notify: [ntfy]":                     "write {to: …}",
		"anchor: [kept.checkpoint]":          "write {file: …}",
		"notify: [{to: slack}]":              `slack needs "url_file"`,
		"notify: [{to: teams, url_file: x}]": `teams needs "host"`,
		"notify: [{to: webhook, url: https://h.example}]":         `webhook needs "key_file"`,
		"notify: [{to: mail, address: a@b.example}]":              `mail needs "smtp"`,
		"notify: [{to: pigeon}]":                                  "slack",
		"notify: [{to: ntfy, url: http://ntfy.example/x}]":        "in clear",
		"otlp: [{endpoint: http://otlp.example}]":                 "in clear",
		"heartbeat: {url: http://127.0.0.1.evil.example/}":        "in clear",
		"rules: {honey-pat: observe}":                             "honey-path",
		"rules: {honey-path: off}":                                "observe or protect",
		"slo: {availability: 0.5%}":                               "promises nothing",
		"slo: {services: {nobody: {p99: 1s}}}":                    "nobody",
		"slo: {p99: 1h}":                                          "300ms",
		"ledger: {allowed: [nobody]}":                             "nobody",
		"ledger: {budget: 1MB}":                                   "too small",
		"anchor: [{file: a, webhook: https://b.example}]":         "file",
		"never_block: [10.0.0.1/8]":                               "address",
		"notify: [{to: ntfy, url: https://n/x, quiet: 22-7}]":     "22:00-07:00",
		"notify: [{to: mail, address: a@b.c, smtp: smtp://x:25}]": `mail needs "from"`,
	} {
		_, problems := Parse("ward.yaml", strings.NewReader("app: a\nservices: {s: {run: x}}\nwatch: {"+part+"}\n"))
		var all string
		for _, p := range problems {
			all += p.Message + " " + p.Hint + "\n"
		}
		if !problems.HasErrors() || !strings.Contains(all, want) {
			t.Errorf("%s: %q lacks %q", part, all, want)
		}
	}
}

func TestTheConsoleIsForSomebodyAtAHostOfItsOwn(t *testing.T) {
	for console, want := range map[string]string{
		"viewer: signed-in":                 "can't be open to signed-in",
		"administrator: anyone":             "can't be open to anyone",
		"viewer: group:oncal":               `did you mean "oncall"?`,
		"operator: role:boss":               `users: has no role "boss"`,
		"host: shop.example.com":            "a host of its own",
		"host: ID.shop.example.com":         "a host of its own",
		"viewer: []":                        "an empty list",
		"viewers: group:oncall":             "viewer",
		"viewer: user:ada":                  "by the mail address: user:ada@example.com",
		"host: c.example.com, viewer: bob@": "group:NAME, role:NAME or user:MAIL",
	} {
		_, problems := Parse("ward.yaml", strings.NewReader("app: a\ngateway: {host: shop.example.com}\nusers: {groups: [oncall]}\nservices: {s: {run: x}}\nwatch: {console: {"+console+"}}\n"))
		var all string
		for _, p := range problems {
			all += p.Message + " " + p.Hint + "\n"
		}
		if !problems.HasErrors() || !strings.Contains(all, want) {
			t.Errorf("%s: %q lacks %q", console, all, want)
		}
	}
}
