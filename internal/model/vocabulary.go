package model

// This file is the one table of what may stand in ward.yaml. The parser, the
// formatter (order of keys) and the JSON Schema all read it, so they can't drift.

// shape is what a value looks like.
type shape uint8

const (
	shapeText   shape = iota // a scalar
	shapeObject              // a mapping with known keys
	shapeNames               // a mapping from names to elem
	shapeList                // a list of elem
	shapeSome                // one elem, or a list of them
	shapeEither              // a scalar (text), or something else (elem)
)

// scalar types, as YAML and JSON tell them apart.
const (
	typeString = 1 << iota
	typeNumber
	typeBool
)

// form is what a value may be.
type form struct {
	shape   shape
	what    string // in messages: "expected <what>"
	fields  []field
	elem    *form
	text    *form    // of shapeEither
	name    string   // of shapeNames: pattern of a name
	types   int      // of shapeText; 0 is typeString
	words   []string // of shapeText: the only words, if any
	pattern string   // of shapeText: necessary, as an ECMA 262 and RE2 expression
	min     int      // least items, entries, or (whole numbers) value
	max     int      // most, 0 for no bound
	unique  bool     // of shapeList and shapeSome
	number  bool     // of shapeText: a whole number from min to max
	oneOf   []string // of shapeObject: exactly one of these keys
	always  []string // of shapeObject: required keys
	inline  bool     // of shapeObject: written in one line where it is short
}

type field struct {
	name string
	doc  string
	form *form
}

func (f *form) field(name string) *form {
	for i := range f.fields {
		if f.fields[i].name == name {
			return f.fields[i].form
		}
	}
	return nil
}

func (f *form) keys() []string {
	out := make([]string, len(f.fields))
	for i := range f.fields {
		out[i] = f.fields[i].name
	}
	return out
}

// The expressions of the small languages. They are what a JSON Schema can say;
// the functions that parse each language say the rest.
const (
	reLabel    = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	reDomain   = `^[a-z0-9._-]{1,255}$`
	reHostPort = `^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):[0-9]{1,5}$`
	reHost     = `^[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?$`
	reAddress  = `^[0-9a-fA-F.:]+(/[0-9]{1,3})?$`
	reTarget   = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?$`
	reListen   = `^(http|h2c|grpc|tcp)://:[0-9]{1,5}$`
	reEnvName  = `^[A-Za-z_][A-Za-z0-9_]*$`
	reClass    = `^[a-z][a-z0-9-]{0,62}$`
	reSize     = `^[1-9][0-9]{0,14}(kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`
	reDuration = `^[1-9][0-9]{0,4}[smh]$`
	reDate     = `^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`
	reReady    = `^(tcp|none|GET /.*)$`
	rePath     = `/([^/?#\s]+/)*([^/?#\s]+)?`
	reGRPC     = `grpc (\*/\*|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/(\*|[A-Za-z_][A-Za-z0-9_]*))`
	reHTTP     = `(\*|[A-Z]+(,[A-Z]+)*) ` + rePath
	reGrant    = `^(any|tcp|ws ` + rePath + `|` + reGRPC + `|` + reHTTP + `)$`
	reRoute    = `^(ws ` + rePath + `|` + reGRPC + `|` + reHTTP + `)$`
	reNonEmpty = `^[^\x00]+$`
)

const (
	maxReplicas  = 64
	maxPIDs      = 4 << 20
	maxOpenFiles = 1 << 20
)

func textForm(what, pattern string) *form { return &form{what: what, pattern: pattern} }
func wordForm(what string, w words) *form { return &form{what: what, words: w} }
func listForm(what string, elem *form) *form {
	return &form{shape: shapeList, what: what, elem: elem, min: 1}
}

func someForm(what string, elem *form) *form {
	return &form{shape: shapeSome, what: what, elem: elem, min: 1}
}

func wholeForm(what string, lo, hi int) *form {
	return &form{what: what, types: typeNumber, number: true, min: lo, max: hi}
}
func portForm() *form { return wholeForm("a port (1 to 65535)", 1, 65535) }
func grantForm() *form {
	return textForm(`a grant such as "GET /books/**", "grpc shop.v1.Payments/Charge", "ws /live", "tcp" or "any"`, reGrant)
}

func routeForm() *form {
	return textForm(`a route such as "GET /books/**", "ws /live" or "grpc shop.v1.Shop/*"`, reRoute)
}

// vocabulary is the whole file.
func vocabulary() *form {
	return &form{shape: shapeObject, what: "a mapping", always: []string{"app", "services"}, fields: []field{
		{"app", "The application's name, a DNS label.", textForm("a DNS label (a-z, 0-9, hyphen)", reLabel)},
		{"trust_domain", "The SPIFFE trust domain; <app>.internal if absent.", textForm("a SPIFFE trust domain (a-z, 0-9, dot, hyphen, underscore)", reDomain)},
		{"gateway", "The one way in.", gatewayForm()},
		{"services", "The services that Ward starts and guards.", &form{shape: shapeNames, what: "services by name", name: reLabel, elem: serviceForm(), min: 1}},
		{"externals", "Destinations outside of the application.", &form{shape: shapeNames, what: "externals by name", name: reLabel, elem: externalForm()}},
		{"observe", "Grants that only record, until their end date.", &form{shape: shapeList, what: "a list", elem: observeForm()}},
	}}
}

func gatewayForm() *form {
	files := &form{shape: shapeObject, what: "a mapping with cert and key", always: []string{"cert", "key"}, inline: true, fields: []field{
		{"cert", "PEM file of the certificate chain.", textForm("a path", reNonEmpty)},
		{"key", "PEM file of the private key.", textForm("a path", reNonEmpty)},
	}}
	return &form{shape: shapeObject, what: "a mapping", fields: []field{
		{"listen", "host:port for HTTPS; 127.0.0.1:8443 if absent.", textForm("host:port", reHostPort)},
		{"http", "host:port of a listener that only redirects to HTTPS; none if absent.", textForm("host:port", reHostPort)},
		{"host", "The public host name; localhost if absent.", textForm("a host name", reHost)},
		{
			"tls", "internal (a certificate of the application's own CA), or the files of a certificate.",
			&form{shape: shapeEither, what: `"internal" or {cert: FILE, key: FILE}`, text: &form{what: `"internal"`, words: []string{"internal"}}, elem: files},
		},
	}}
}

func serviceForm() *form {
	class := textForm("a lower-case word", reClass)
	data := listForm("a list of data classes", class)
	data.unique, data.max = true, 64
	listen := someForm("an address such as http://:8080, or a list", textForm(`an address such as "http://:8080" (http, h2c, grpc or tcp)`, reListen))
	listen.max = 64
	return &form{shape: shapeObject, what: "a mapping", always: []string{"run"}, fields: []field{
		{"run", "The program and its arguments: a list, or one string that is split at spaces without any expansion.", runForm()},
		{"workdir", "The folder it runs in, relative to the folder of this file; that folder itself if absent.", textForm("a path", reNonEmpty)},
		{"env", "Its environment variables.", &form{
			shape: shapeNames, what: "variables by name", name: reEnvName,
			elem: &form{what: `a value ("" for empty)`, types: typeString | typeNumber | typeBool},
		}},
		{"runtime", "The base profile of its sandbox; static if absent.", wordForm("a runtime", runtimeWords())},
		{"listen", "What it listens on, such as http://:8080.", listen},
		{"expose", "Routes that the gateway opens to the outside.", someForm("a mapping with route and to, or a list of them", exposeForm())},
		{"sensitivity", "How bad it is to lose it; medium if absent.", wordForm("a sensitivity", sensitivityWords()[1:])},
		{"data", "Classes of data it holds, such as pii or cards.", data},
		{"calls", "Which services and externals it may call, and how.", &form{shape: shapeNames, what: "grants by target", name: reTarget, elem: grantsForm(grantForm())}},
		{"ready", "How it shows that it can take requests: tcp, none, GET /path, or a mapping.", readyForm()},
		{"files", "Files it may use besides its workdir.", &form{shape: shapeObject, what: "a mapping with read and write", inline: true, fields: []field{
			{"read", "Paths it may read.", listForm("a list of paths", textForm("a path", reNonEmpty))},
			{"write", "Paths it may read and write.", listForm("a list of paths", textForm("a path", reNonEmpty))},
		}}},
		{"limits", "Bounds on what it uses.", &form{shape: shapeObject, what: "a mapping", inline: true, fields: []field{
			{"memory", "Bytes, such as 256MB or 1GiB.", textForm("a size such as 256MB or 1GiB", reSize)},
			{"cpu", "Cores, such as 0.5.", &form{what: "a number of cores such as 0.5", types: typeNumber}},
			{"pids", "Processes and threads.", wholeForm("a number of processes", 1, maxPIDs)},
			{"open_files", "Open files per process.", wholeForm("a number of files", 16, maxOpenFiles)},
		}}},
		{"replicas", "How many run; 1 if absent.", wholeForm("a number of replicas", 1, maxReplicas)},
		{"restart", "When it is started again after it ended; always if absent.", wordForm("a restart policy", restartWords())},
	}}
}

func runForm() *form {
	arg := &form{what: "an argument", types: typeString | typeNumber | typeBool}
	return &form{shape: shapeEither, what: "a command line, or a list of arguments", text: textForm("a command line", `\S`), elem: listForm("a list of arguments", arg)}
}

func grantsForm(elem *form) *form {
	f := someForm("a grant, or a list of grants", elem)
	f.unique = true
	return f
}

func exposeForm() *form {
	return &form{shape: shapeObject, what: "a mapping with route and to", inline: true, always: []string{"to"}, oneOf: []string{"route", "routes"}, fields: []field{
		{"route", "One route.", routeForm()},
		{"routes", "Several routes.", grantsForm(routeForm())},
		{"to", "Who may come: anyone.", &form{what: `"anyone"`, words: []string{"anyone"}}},
	}}
}

func readyForm() *form {
	probe := textForm(`tcp, none or "GET /path"`, reReady)
	return &form{shape: shapeEither, what: `tcp, none, "GET /path" or a mapping`, text: probe, elem: &form{shape: shapeObject, what: "a mapping", inline: true, fields: []field{
		{"probe", "tcp, none or GET /path; tcp if absent.", probe},
		{"port", "The port to ask; the first listen port if absent.", portForm()},
		{"timeout", "How long it may take to become ready, such as 30s; 60s if absent.", textForm("a duration such as 30s", reDuration)},
	}}}
}

func externalForm() *form {
	return &form{shape: shapeObject, what: "a mapping", inline: true, always: []string{"host"}, fields: []field{
		{"host", "Its DNS name or IP address.", textForm("a host name or an IP address", reHost)},
		{"port", "Its port; 443 if absent and tls is passthrough or originate.", portForm()},
		{"local_port", "The port that services dial; port if absent (80 for originate with http).", portForm()},
		{"tls", "Who speaks TLS to it; passthrough if absent on port 443, else none.", wordForm("who speaks TLS", externalTLSWords())},
		{"protocol", "What is spoken; http for originate, else tcp, if absent.", wordForm("a protocol", protocolWords()[1:])},
		{"addresses", "IP addresses or CIDR ranges that its name must resolve to.", someForm("an address or a list", textForm("an IP address or a CIDR range", reAddress))},
		{"ca", "PEM file of the roots to verify it with, for originate; the system's if absent.", textForm("a path", reNonEmpty)},
	}}
}

func observeForm() *form {
	return &form{shape: shapeObject, what: "a mapping with from, to, grant and until", inline: true, always: []string{"from", "to", "until"}, oneOf: []string{"grant", "grants"}, fields: []field{
		{"from", "The calling service.", textForm("a service's name", reLabel)},
		{"to", "The service or external that is called.", textForm("a name", reLabel)},
		{"grant", "One grant.", grantForm()},
		{"grants", "Several grants.", grantsForm(grantForm())},
		{"until", "The last day, YYYY-MM-DD.", textForm("a date such as 2031-01-31", reDate)},
	}}
}
