// Package vocabulary is the one table of what may stand in ward.yaml: the parser, the formatter (order of keys) and the
// JSON Schema all read it, so they can't drift.
package vocabulary

import (
	"github.com/wardhq/ward/internal/model/form"
)

const (
	maxReplicas  = 64
	maxPIDs      = 4 << 20
	maxOpenFiles = 1 << 20
)

func textForm(what, pattern string) *form.Form    { return &form.Form{What: what, Pattern: pattern} }
func wordForm(what string, w []string) *form.Form { return &form.Form{What: what, Words: w} }
func listForm(what string, elem *form.Form) *form.Form {
	return &form.Form{Shape: form.ListShape, What: what, Elem: elem, Min: 1}
}

func someForm(what string, elem *form.Form) *form.Form {
	return &form.Form{Shape: form.SomeShape, What: what, Elem: elem, Min: 1}
}

func wholeForm(what string, lo, hi int) *form.Form {
	return &form.Form{What: what, Types: form.IsNumber, Number: true, Min: lo, Max: hi}
}
func portForm() *form.Form { return wholeForm("a port (1 to 65535)", 1, 65535) }
func grantForm() *form.Form {
	return textForm(`a grant such as "GET /books/**", "grpc shop.v1.Payments/Charge", "ws /live", "tcp" or "any"`, form.REGrant)
}

func routeForm() *form.Form {
	return textForm(`a route such as "GET /books/**", "ws /live" or "grpc shop.v1.Shop/*"`, form.RERoute)
}

// File is the whole file.
func File() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Always: []string{"app", "services"}, Fields: []form.Field{
		form.Key("app", "The application's name, a DNS label.", textForm("a DNS label (a-z, 0-9, hyphen)", form.RELabel)),
		form.Key("trust_domain", "The SPIFFE trust domain; <app>.internal if absent.", textForm("a SPIFFE trust domain (a-z, 0-9, dot, hyphen, underscore)", form.REDomain)),
		form.Key("gateway", "The one way in.", gatewayForm()),
		form.Key("services", "The services that Ward starts and guards.", &form.Form{Shape: form.NamesShape, What: "services by name", Name: form.RELabel, Elem: serviceForm(), Min: 1}),
		form.Key("externals", "Destinations outside of the application.", &form.Form{Shape: form.NamesShape, What: "externals by name", Name: form.RELabel, Elem: externalForm()}),
		form.Key("users", "Who may sign in, and how; without it there is no sign-in.", usersForm()),
		form.Key("secrets", "Values that Ward keeps for services.", &form.Form{Shape: form.NamesShape, What: "secrets by name", Name: form.RELabel, Elem: secretForm()}),
		form.Key("keys", "Keys that Ward manages, besides those of data classes.", &form.Form{Shape: form.NamesShape, What: "keys by name", Name: form.REClass, Elem: keyForm()}),
		form.Key("databases", "PostgreSQL databases that Ward logs in to for services.", &form.Form{Shape: form.NamesShape, What: "databases by name", Name: form.RELabel, Elem: databaseForm()}),
		form.Key("scan", "What ward scan makes of what it finds.", scanForm()),
		form.Key("update", "How ward update proposes newer parts.", updateForm()),
		form.Key("watch", "What Ward does with what it sees.", watchForm()),
		form.Key("observe", "Grants that only record, until their end date.", &form.Form{Shape: form.ListShape, What: "a list", Elem: observeForm()}),
	}}
}

func gatewayForm() *form.Form {
	files := &form.Form{Shape: form.ObjectShape, What: "a mapping with cert and key", Always: []string{"cert", "key"}, Inline: true, Fields: []form.Field{
		form.Key("cert", "PEM file of the certificate chain.", textForm("a path", form.RENonEmpty)),
		form.Key("key", "PEM file of the private key.", textForm("a path", form.RENonEmpty)),
	}}
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: []form.Field{
		form.Key("listen", "host:port for HTTPS; 127.0.0.1:8443 if absent.", textForm("host:port", form.REHostPort)),
		form.Key("http", "host:port of a listener that only redirects to HTTPS; none if absent.", textForm("host:port", form.REHostPort)),
		form.Key("host", "The public host name; localhost if absent.", textForm("a host name", form.REHost)),
		form.Key(
			"tls", "internal (a certificate of the application's own CA), or the files of a certificate.",
			&form.Form{Shape: form.EitherShape, What: `"internal" or {cert: FILE, key: FILE}`, Text: &form.Form{What: `"internal"`, Words: []string{"internal"}}, Elem: files},
		),
	}}
}

func serviceForm() *form.Form {
	class := textForm("a lower-case word", form.REClass)
	data := listForm("a list of data classes", class)
	data.Unique, data.Max = true, 64
	listen := someForm("an address such as http://:8080, or a list", textForm(`an address such as "http://:8080" (http, h2c, grpc or tcp)`, form.REListen))
	listen.Max = 64
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Always: []string{"run"}, Fields: []form.Field{
		form.Key("run", "The program and its arguments: a list, or one string that is split at spaces without any expansion.", runForm()),
		form.Key("workdir", "The folder it runs in, relative to the folder of this file; that folder itself if absent.", textForm("a path", form.RENonEmpty)),
		form.Key("source", "The folder of its source code, for ward scan; workdir if absent.", textForm("a path", form.RENonEmpty)),
		form.Key("env", "Its environment variables.", &form.Form{
			Shape: form.NamesShape, What: "variables by name", Name: form.REEnvName,
			Elem: &form.Form{What: `a value ("" for empty)`, Types: form.IsString | form.IsNumber | form.IsBool},
		}),
		form.Key("runtime", "The base profile of its sandbox; static if absent.", wordForm("a runtime", Runtimes())),
		form.Key("listen", "What it listens on, such as http://:8080.", listen),
		form.Key("expose", "Routes that the gateway opens to the outside.", someForm("a mapping with route and to, or a list of them", exposeForm())),
		form.Key("sensitivity", "How bad it is to lose it; medium if absent.", wordForm("a sensitivity", Sensitivities()[1:])),
		form.Key("data", "Classes of data it holds, such as pii or cards.", data),
		form.Key("keys", "What it may do with which keys: encrypt, decrypt, lookup, mac, sign, verify.", keyUsesForm()),
		form.Key("secrets", "The secrets that it gets, and how.", secretUsesForm()),
		form.Key("calls", "Which services and externals it may call, and how.", &form.Form{Shape: form.NamesShape, What: "grants by target", Name: form.RETarget, Elem: grantsForm(grantForm())}),
		form.Key("ready", "How it shows that it can take requests: tcp, none, GET /path, or a mapping.", readyForm()),
		form.Key("files", "Files it may use besides its workdir.", &form.Form{Shape: form.ObjectShape, What: "a mapping with read and write", Inline: true, Fields: []form.Field{
			form.Key("read", "Paths it may read.", listForm("a list of paths", textForm("a path", form.RENonEmpty))),
			form.Key("write", "Paths it may read and write.", listForm("a list of paths", textForm("a path", form.RENonEmpty))),
		}}),
		form.Key("limits", "Bounds on what it uses.", &form.Form{Shape: form.ObjectShape, What: "a mapping", Inline: true, Fields: []form.Field{
			form.Key("memory", "Bytes, such as 256MB or 1GiB.", textForm("a size such as 256MB or 1GiB", form.RESize)),
			form.Key("cpu", "Cores, such as 0.5.", &form.Form{What: "a number of cores such as 0.5", Types: form.IsNumber}),
			form.Key("pids", "Processes and threads.", wholeForm("a number of processes", 1, maxPIDs)),
			form.Key("open_files", "Open files per process.", wholeForm("a number of files", 16, maxOpenFiles)),
		}}),
		form.Key("replicas", "How many run; 1 if absent.", wholeForm("a number of replicas", 1, maxReplicas)),
		form.Key("restart", "When it is started again after it ended; always if absent.", wordForm("a restart policy", Restarts())),
	}}
}

func runForm() *form.Form {
	arg := &form.Form{What: "an argument", Types: form.IsString | form.IsNumber | form.IsBool}
	return &form.Form{Shape: form.EitherShape, What: "a command line, or a list of arguments", Text: textForm("a command line", `\S`), Elem: listForm("a list of arguments", arg)}
}

func grantsForm(elem *form.Form) *form.Form {
	f := someForm("a grant, or a list of grants", elem)
	f.Unique = true
	return f
}

func exposeForm() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping with route and to", Inline: true, Always: []string{"to"}, OneOf: []string{"route", "routes"}, Fields: []form.Field{
		form.Key("route", "One route.", routeForm()),
		form.Key("routes", "Several routes.", grantsForm(routeForm())),
		form.Key("to", "Who may come: anyone, signed-in, group:NAME, role:NAME, user:MAIL, or a list of them.", someForm("whom it is open to, or a list", textForm(`anyone, signed-in, group:NAME, role:NAME or user:MAIL`, form.REWho))),
		form.Key("mfa", "How long ago a second factor may have been shown at most, such as 15m.", textForm("a duration such as 15m", form.REDuration)),
		form.Key("when", `A condition in CEL over user, params, method, path, ip and now, such as params.id == user.id.`, textForm("a condition", form.RENonEmpty)),
		form.Key("forward", "What passes although it stops at the gateway: cookies, authorization.", someForm("cookies, authorization, or both", wordForm("cookies or authorization", Forwards()))),
	}}
}

func readyForm() *form.Form {
	probe := textForm(`tcp, none or "GET /path"`, form.REReady)
	return &form.Form{Shape: form.EitherShape, What: `tcp, none, "GET /path" or a mapping`, Text: probe, Elem: &form.Form{Shape: form.ObjectShape, What: "a mapping", Inline: true, Fields: []form.Field{
		form.Key("probe", "tcp, none or GET /path; tcp if absent.", probe),
		form.Key("port", "The port to ask; the first listen port if absent.", portForm()),
		form.Key("timeout", "How long it may take to become ready, such as 30s; 60s if absent.", textForm("a duration such as 30s", form.REDuration)),
	}}}
}

func externalForm() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Inline: true, Always: []string{"host"}, Fields: []form.Field{
		form.Key("host", "Its DNS name or IP address.", textForm("a host name or an IP address", form.REHost)),
		form.Key("port", "Its port; 443 if absent and tls is passthrough or originate.", portForm()),
		form.Key("local_port", "The port that services dial; port if absent (80 for originate with http).", portForm()),
		form.Key("tls", "Who speaks TLS to it; passthrough if absent on port 443, else none.", wordForm("who speaks TLS", ExternalTLS())),
		form.Key("protocol", "What is spoken; http for originate, else tcp, if absent.", wordForm("a protocol", Protocols()[1:])),
		form.Key("addresses", "IP addresses or CIDR ranges that its name must resolve to.", someForm("an address or a list", textForm("an IP address or a CIDR range", form.REAddress))),
		form.Key("ca", "PEM file of the roots to verify it with, for originate; the system's if absent.", textForm("a path", form.RENonEmpty)),
		form.Key("auth", `How Ward authenticates calls with a secret that services don't see, such as "bearer secret:NAME".`, authForm()),
	}}
}

func observeForm() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping with from, to, grant and until", Inline: true, Always: []string{"from", "to", "until"}, OneOf: []string{"grant", "grants"}, Fields: []form.Field{
		form.Key("from", "The calling service.", textForm("a service's name", form.RELabel)),
		form.Key("to", "The service or external that is called.", textForm("a name", form.RELabel)),
		form.Key("grant", "One grant.", grantForm()),
		form.Key("grants", "Several grants.", grantsForm(grantForm())),
		form.Key("until", "The last day, YYYY-MM-DD.", textForm("a date such as 2031-01-31", form.REDate)),
	}}
}

func boolForm() *form.Form { return &form.Form{What: "true or false", Types: form.IsBool} }
