package vocabulary

import "github.com/wardhq/ward/internal/model/form"

func watchForm() *form.Form {
	path := textForm("a path", form.RENonEmpty)
	url := textForm("a URL", form.REURL)
	span := textForm("a duration such as 1h", form.REDuration)
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: []form.Field{
		form.Key("otlp", "Collectors that get metrics and traces.", &form.Form{Shape: form.ListShape, What: "a list of collectors", Min: 1, Max: 8, Elem: &form.Form{
			Shape: form.ObjectShape, What: "a mapping with endpoint", Inline: true, Always: []string{"endpoint"}, Fields: []form.Field{
				form.Key("endpoint", "The base URL; /v1/metrics and /v1/traces are added.", url),
				form.Key("send", "What; metrics and traces if absent.", listForm("a list of metrics and traces", wordForm("metrics or traces", []string{"metrics", "traces"}))),
				form.Key("format", "protobuf, if absent, or json.", wordForm("protobuf or json", []string{"protobuf", "json"})),
				form.Key("headers_file", "The file of header fields, a line each: Name: value.", path),
			},
		}}),
		form.Key("notify", "Whom findings are told.", &form.Form{Shape: form.ListShape, What: "a list of whom to tell", Min: 1, Max: 32, Elem: notifyForm()}),
		form.Key("heartbeat", "A URL that is asked for again and again: who no longer hears it raises the alarm.", &form.Form{Shape: form.ObjectShape, What: "a mapping with url", Inline: true, Always: []string{"url"}, Fields: []form.Field{
			form.Key("url", "The URL.", url),
			form.Key("every", "How often; 1m if absent.", span),
		}}),
		form.Key("rules", "What rules of detection may do, where it isn't the default.", rulesForm()),
		form.Key("slo", "What routes promise.", sloForm()),
		form.Key("ledger", "What the audit trail keeps.", &form.Form{Shape: form.ObjectShape, What: "a mapping", Inline: true, Fields: []form.Field{
			form.Key("allowed", "Services whose allowed calls are kept too, or all.", someForm("a service, all, or a list", textForm("a service's name, or all", form.RELabel))),
			form.Key("budget", "How much of the disk it may take; 4GB if absent.", textForm("a size such as 4GB", form.RESize)),
			form.Key("keep", "How long records are kept; 400d if absent.", textForm("a number of days such as 400d", form.REDays)),
		}}),
		form.Key("anchor", "Where signed checkpoints of the audit trail go.", &form.Form{Shape: form.ListShape, What: "a list of anchors", Min: 1, Max: 8, Elem: &form.Form{
			Shape: form.ObjectShape, What: "a mapping with file, webhook or rfc3161", Inline: true, OneOf: []string{"file", "webhook", "rfc3161"}, Fields: []form.Field{
				form.Key("file", "A file, best on another host's disk.", path),
				form.Key("webhook", "A URL that gets each checkpoint.", url),
				form.Key("rfc3161", "The URL of a time-stamp server.", url),
				form.Key("every", "How often; 1h if absent.", span),
			},
		}}),
		form.Key("never_block", "Addresses that no answer may close out.", someForm("an address, a network, or a list", textForm("an address or a network such as 203.0.113.0/24", form.REAddress))),
		form.Key("console", "The console behind the gateway, for people who sign in; absent: only by ward console.", consoleForm()),
		form.Key("canaries", "off: no traps are laid.", wordForm("on or off", []string{"on", "off"})),
	}}
}

func consoleForm() *form.Form {
	who := func(of string) *form.Form {
		return someForm("who has the role, or a list", textForm(of, form.REWho))
	}
	const words = "group:NAME, role:NAME or user:MAIL"
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Inline: true, Fields: []form.Field{
		form.Key("host", "Its host name; console. before that of the gateway if absent.", textForm("a host name", form.REHost)),
		form.Key("viewer", "Who may look; role:ward-viewer if absent.", who(words)),
		form.Key("operator", "Who may also act on findings; role:ward-operator if absent.", who(words)),
		form.Key("administrator", "Who may also cut services off, and end sessions; role:ward-admin if absent.", who(words)),
	}}
}

func notifyForm() *form.Form {
	text := textForm("a text", form.RENonEmpty)
	path := textForm("a path", form.RENonEmpty)
	return &form.Form{Shape: form.ObjectShape, What: "a mapping with to", Inline: true, Always: []string{"to"}, Fields: []form.Field{
		form.Key("to", "What takes it.", wordForm("one of slack, webhook, pagerduty, teams, ntfy, mail", Notifiers())),
		form.Key("url", "Where, if that is no secret.", textForm("a URL", form.REURL)),
		form.Key("url_file", "The file of the URL, if it is one.", path),
		form.Key("host", "The host of that URL; what is usual if absent.", textForm("a host name", form.REHost)),
		form.Key("key_file", "The file of the key, token or password.", path),
		form.Key("address", "The mail address.", text),
		form.Key("from", "The mail's sender.", text),
		form.Key("smtp", "smtp://host:port (with STARTTLS) or smtps://host:port.", textForm("smtp://host:port or smtps://host:port", form.RESMTP)),
		form.Key("user", "The name to sign in with there.", text),
		form.Key("least", "The lowest severity; high if absent.", wordForm("a severity", Severities())),
		form.Key("repeat", "After how long an open finding is told again; 4h if absent.", textForm("a duration such as 4h", form.REDuration)),
		form.Key("quiet", "Hours of the day, UTC, in which only critical ones are told.", textForm("hours such as 22:00-07:00", form.REHours)),
	}}
}

func rulesForm() *form.Form {
	f := &form.Form{Shape: form.ObjectShape, What: "modes by rule"}
	for _, name := range WatchRules() {
		f.Fields = append(f.Fields, form.Key(name, "observe: findings alone; protect: and the rule's answer.", wordForm("observe or protect", []string{"observe", "protect"})))
	}
	return f
}

func sloForm() *form.Form {
	objective := func() []form.Field {
		return []form.Field{
			form.Key("availability", "The share of requests that don't fail; 99.5% if absent.", textForm("a percentage such as 99.9%", form.REPercent)),
			form.Key("p99", "What 99 of 100 requests are answered in; 1s if absent.", textForm("a time such as 300ms", form.RELatency)),
		}
	}
	f := &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: objective()}
	f.Fields = append(f.Fields, form.Key("services", "Services that promise something else.", &form.Form{
		Shape: form.NamesShape, What: "objectives by service", Name: form.RELabel,
		Elem: &form.Form{Shape: form.ObjectShape, What: "a mapping", Inline: true, Fields: objective()},
	}))
	return f
}

// Notifiers are what takes notifications.
func Notifiers() []string {
	return []string{"slack", "webhook", "pagerduty", "teams", "ntfy", "mail"}
}

// Severities of findings, ascending.
func Severities() []string { return []string{"low", "medium", "high", "critical"} }

// WatchRules are the rules of detection.
func WatchRules() []string {
	return []string{
		"undeclared-routes", "honey-path", "payload", "malformed", "slow-requests", "failed-sign-ins", "password-spraying", "factor-fatigue", "factors-removed", "new-device", "replay", "token-misused",
		"denied-call", "undeclared-host", "direct-connect", "undeclared-name", "egress-volume", "canary", "undeclared-secret", "secret-habit", "undeclared-program", "denied-write", "new-listener",
		"unknown-agent", "unusual-administration", "ledger-gap", "clock-skew", "error-budget", "slower", "disk-budget", "expiring", "bypass", "silence", "leak", "crash-loop",
	}
}
