package draft

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/source"
	"github.com/wardhq/ward/internal/model/wardfile"
)

// Compose drafts a ward.yaml from a docker-compose.yml; app is the application's
// name where the file doesn't say one, and need not be a label.
func Compose(app string, src []byte) ([]byte, error) {
	doc, serr := source.Parse(src, source.Options{Foreign: true})
	if serr != nil {
		return nil, fmt.Errorf("read the Compose file: %w", serr)
	}
	root := newMapping(doc.Root)
	if name := text(root.get("name")); name != "" && !strings.Contains(name, "$") {
		app = name
	}
	d := &draft{app: app, from: "a Compose file"}
	c := &composer{draft: d, of: map[*service]mapping{}}
	services := newMapping(root.get("services"))
	for _, name := range services.keys {
		if len(d.services) == maxServices {
			return nil, errors.New("the Compose file has too many services")
		}
		s := &service{source: name, note: map[string]string{}}
		d.unique(s)
		d.services = append(d.services, s)
		c.of[s] = newMapping(services.get(name))
	}
	if len(d.services) == 0 {
		return nil, errors.New("the Compose file has no services")
	}
	for _, s := range d.services {
		c.program(s)
		c.ports(s)
		c.files(s)
	}
	for _, s := range d.services { // needs the ports of all
		c.environment(s)
	}
	for _, s := range d.services {
		c.calls(s)
	}
	return d.bytes()
}

type composer struct {
	*draft
	of map[*service]mapping
}

// mapping is a YAML mapping with its aliases and merge keys followed.
type mapping struct {
	keys   []string
	values map[string]*yaml.Node
}

func (m mapping) get(key string) *yaml.Node { return m.values[key] }

func newMapping(n *yaml.Node) mapping {
	m := mapping{values: map[string]*yaml.Node{}}
	m.take(n, 0)
	return m
}

func (m *mapping) take(n *yaml.Node, depth int) {
	n = follow(n)
	if n == nil || depth > 4 {
		return
	}
	if n.Kind == yaml.SequenceNode && depth > 0 { // <<: [*a, *b]
		for _, c := range n.Content {
			m.take(c, depth+1)
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := follow(n.Content[i])
		if k == nil || k.Value == "<<" {
			continue
		}
		if _, ok := m.values[k.Value]; !ok {
			m.keys = append(m.keys, k.Value)
			m.values[k.Value] = follow(n.Content[i+1])
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "<<" {
			m.take(n.Content[i+1], depth+1)
		}
	}
}

func follow(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < 8; i++ {
		n = n.Alias
	}
	return n
}

func text(n *yaml.Node) string {
	if n = follow(n); n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// texts is a list's scalars, or one scalar as a list of one.
func texts(n *yaml.Node) []string {
	if n = follow(n); n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return []string{n.Value}
	}
	var out []string
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			if c = follow(c); c != nil && c.Kind == yaml.ScalarNode {
				out = append(out, c.Value)
			}
		}
	}
	return out
}

// well is what is known of programs that teams take as images. %s is the service's name.
type well struct {
	image, run string
	port       int
	protocol   string
}

func wells() []well {
	return []well{
		{"postgres", "postgres -D data/%s", 5432, "tcp"},
		{"postgis", "postgres -D data/%s", 5432, "tcp"},
		{"redis", "redis-server --dir data/%s", 6379, "tcp"},
		{"valkey", "valkey-server --dir data/%s", 6379, "tcp"},
		{"mysql", "mysqld --datadir=data/%s", 3306, "tcp"},
		{"mariadb", "mariadbd --datadir=data/%s", 3306, "tcp"},
		{"mongo", "mongod --dbpath data/%s", 27017, "tcp"},
		{"rabbitmq", "rabbitmq-server", 5672, "tcp"},
		{"memcached", "memcached", 11211, "tcp"},
		{"nats", "nats-server", 4222, "tcp"},
		{"nginx", "nginx -g 'daemon off;'", 80, "http"},
		{"minio", "minio server data/%s", 9000, "http"},
		{"elasticsearch", "elasticsearch", 9200, "http"},
		{"mailhog", "MailHog", 1025, "tcp"},
		{"mailpit", "mailpit", 1025, "tcp"},
	}
}

func (c *composer) program(s *service) {
	m := c.of[s]
	image := text(m.get("image"))
	base := image[strings.LastIndexByte(image, '/')+1:]
	base, _, _ = strings.Cut(base, ":")
	base, _, _ = strings.Cut(base, "@")
	argv, entry := texts(m.get("command")), texts(m.get("entrypoint"))
	words := append(append([]string{}, entry...), argv...)
	isList := func(n *yaml.Node) bool { n = follow(n); return n != nil && n.Kind == yaml.SequenceNode }
	switch {
	case len(words) == 0:
	case !isList(m.get("command")) && !isList(m.get("entrypoint")):
		s.run = commandText(unescape(strings.Join(words, " ")))
		words = strings.Fields(strings.Join(words, " "))
	default:
		s.run = argvText(strings.Split(unescape(strings.Join(words, "\x00")), "\x00"))
	}
	for _, w := range wells() {
		if base != w.image {
			continue
		}
		s.addPort(port{number: w.port, protocol: w.protocol})
		if s.run == "" || len(entry) == 0 && strings.HasPrefix(words[0], "-") {
			s.run = w.run
			if strings.Contains(w.run, "%s") {
				s.run = fmt.Sprintf(w.run, s.name)
				s.write = append(s.write, "data/"+s.name)
				s.mark("files", "its data; the folder must be made, and for a database initialised")
			}
			for _, a := range words {
				s.run += " " + shellWord(unescape(a))
			}
			s.run = commandText(s.run)
		}
		s.mark("run", fmt.Sprintf("the image %s is not used: its program must be installed here; check the command", oneLine(image)))
	}
	s.runtime = runtimeOf(append(words, base)...)
	switch {
	case s.run == "":
		s.run = lexis.Quote("./"+s.name, false)
		s.mark("run", "the command stands in the image"+ofImage(image)+"; write it here")
	case s.note["run"] == "" && image != "":
		s.mark("run", "ran in the image "+oneLine(image)+"; check that the command works outside of it")
	}
	if strings.Contains(s.run, "$") {
		s.mark("run", "Compose or a shell would fill in the variables")
	}
	c.place(s, m)
}

func ofImage(image string) string {
	if image == "" {
		return " that Compose builds"
	}
	return " " + oneLine(image)
}

// place is where it runs, how often, and what comes after its end.
func (c *composer) place(s *service, m mapping) {
	build := text(m.get("build"))
	if b := newMapping(m.get("build")); build == "" {
		build = text(b.get("context"))
	}
	if build != "" && build != "." && !strings.Contains(build, "://") && !strings.ContainsAny(build, "\x00\n") {
		s.workdir = build
		s.mark("workdir", "where its image is built; does the program run from there?")
	}
	switch r, _, _ := strings.Cut(text(m.get("restart")), ":"); r {
	case "on-failure":
		s.restart = "on-failure"
	case "no", "false", "":
		if r != "" {
			s.restart = "never"
		}
	}
	deploy := newMapping(m.get("deploy"))
	copies := text(deploy.get("replicas"))
	if copies == "" {
		copies = text(m.get("scale"))
	}
	if n, err := strconv.Atoi(copies); err == nil && n > 1 && n <= 64 {
		s.copies = strconv.Itoa(n)
	}
	for _, k := range []string{"healthcheck", "env_file", "secrets", "configs", "cap_add", "privileged", "network_mode", "extends", "devices"} {
		if m.get(k) != nil {
			s.notes = append(s.notes, k+" of the Compose file is not carried over")
		}
	}
}

// unescape undoes Compose's own escape of the dollar sign.
func unescape(s string) string { return strings.ReplaceAll(s, "$$", "$") }

func shellWord(s string) string {
	if argv, err := lexis.SplitCommand("x " + s); err == nil && len(argv) == 2 && argv[1] == s {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (c *composer) ports(s *service) {
	m := c.of[s]
	published := false
	if n := follow(m.get("ports")); n != nil && n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			target := text(item)
			if long := newMapping(item); len(long.keys) > 0 {
				target = text(long.get("target")) + "/" + text(long.get("protocol"))
			}
			published = c.port(s, target) || published
		}
	}
	for _, target := range texts(m.get("expose")) {
		c.port(s, target)
	}
	guessed, web := false, false
	for _, p := range s.listen {
		guessed = guessed || p.guessed
		web = web || p.protocol != "tcp"
	}
	if guessed {
		s.mark("listen", "the protocol is a guess: http, h2c, grpc or tcp?")
	}
	switch {
	case published && web:
		s.expose = true
		s.mark("expose", "its port was published: name the routes that are meant for everyone, or remove it")
	case published:
		s.notes = append(s.notes, "its port was published on the host; under Ward only granted services reach it")
	}
}

// port takes one port of the Compose file: "8080:80", "127.0.0.1:8080:80/tcp", "80".
func (c *composer) port(s *service, spec string) bool {
	spec, protocol, _ := strings.Cut(spec, "/")
	inner := spec[strings.LastIndexByte(spec, ':')+1:]
	n, err := strconv.Atoi(inner)
	switch {
	case protocol == "udp":
		s.notes = append(s.notes, "UDP port "+inner+" is not carried over: Ward guards TCP")
		return false
	case err != nil || n < 1 || n > 65535:
		s.notes = append(s.notes, "could not read the port \""+spec+"\"")
		return false
	}
	s.addPort(guess(n))
	return true
}

func (c *composer) files(s *service) {
	n := follow(c.of[s].get("volumes"))
	if n == nil || n.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range n.Content {
		parts := strings.SplitN(text(item), ":", 3)
		host, inside, mode := parts[0], "", ""
		if long := newMapping(item); len(long.keys) > 0 {
			host, inside = text(long.get("source")), text(long.get("target"))
			if text(long.get("read_only")) == "true" {
				mode = "ro"
			}
		} else if len(parts) > 1 {
			inside = parts[1]
			mode = strings.Join(parts[2:], "")
		}
		bind := strings.HasPrefix(host, ".") || strings.HasPrefix(host, "/") && inside != ""
		switch {
		case host == "" || strings.ContainsAny(host, "$\x00\n") || strings.HasPrefix(host, "~"):
			s.notes = append(s.notes, "the volume \""+text(item)+"\" is not carried over")
			continue
		case !bind:
			s.notes = append(s.notes, "the volume "+host+" was mounted at "+inside+"; where is that data now?")
			continue
		case strings.Contains(mode, "ro"):
			s.read = append(s.read, host)
		default:
			s.write = append(s.write, host)
		}
		s.mark("files", host+" was "+inside+" in the container")
	}
}

func (c *composer) environment(s *service) {
	n := follow(c.of[s].get("environment"))
	add := func(name, value string, has bool) {
		v := variable{name: name, value: unescape(value)}
		switch {
		case !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name):
			s.notes = append(s.notes, "the variable \""+name+"\" is not carried over")
			return
		case !has:
			v.note = "Compose took it from the shell; write its value"
		case strings.Contains(value, "${") || strings.Contains(strings.ReplaceAll(value, "$$", ""), "$"):
			v.note = "Compose would fill in the variables; write the value"
		}
		for _, o := range s.env {
			if o.name == name {
				return
			}
		}
		s.env = append(s.env, v)
		c.addresses(s, name, value)
	}
	if n != nil && n.Kind == yaml.SequenceNode {
		for _, item := range texts(n) {
			name, value, has := strings.Cut(item, "=")
			add(name, value, has)
		}
		return
	}
	m := newMapping(n)
	for _, k := range m.keys {
		v := m.get(k)
		add(k, text(v), v != nil && v.Tag != "!!null")
	}
}

// addresses follows what a variable's value points to: another service, or a
// host outside.
func (c *composer) addresses(s *service, name, value string) {
	re := regexp.MustCompile(`(?:([a-z][a-z0-9+.-]*)://)?(?:[^\s/@,]*@)?([A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?`)
	for _, m := range re.FindAllStringSubmatch(value, 20) {
		scheme, host := m[1], m[2]
		number, _ := strconv.Atoi(m[3])
		if t := c.find(host); t != nil && t != s && (scheme != "" || number > 0 || host == value) {
			if number > 0 {
				p := guess(number)
				if scheme != "" && scheme != "http" && scheme != "https" && scheme != "ws" && scheme != "grpc" {
					p.protocol = "tcp"
				}
				t.addPort(p)
			}
			s.calls = append(s.calls, call{target: t.name, why: "from the variable " + name})
			continue
		}
		if (scheme == "https" || scheme == "http") && strings.Contains(host, ".") {
			c.outside(s, scheme, host, number)
		}
	}
}

func (c *composer) outside(s *service, scheme, host string, number int) {
	host = strings.ToLower(host)
	x := external{name: label(host), host: host, port: number, tls: "passthrough"}
	if scheme == "http" {
		x.tls = "none"
	}
	if number == 0 {
		x.port = map[string]int{"http": 80, "https": 443}[scheme]
	}
	probe := fmt.Sprintf("app: a\nservices: {s: {run: x}}\nexternals: {e: {host: %s, port: %d}}\n", lexis.Quote(host, true), x.port)
	if _, ps := wardfile.Parse("probe", strings.NewReader(probe)); ps.HasErrors() || c.find(x.name) != nil {
		return
	}
	known := false
	for _, o := range c.externals {
		if o.name == x.name {
			known = true
			if o != x {
				return
			}
		}
	}
	if !known {
		c.externals = append(c.externals, x)
	}
	s.addCall(call{target: x.name, grant: "tcp", why: "from an environment variable"})
}

// calls turns what was seen into grants that fit.
func (c *composer) calls(s *service) {
	seen := s.calls
	s.calls = nil
	m := c.of[s]
	names := texts(m.get("depends_on"))
	if len(names) == 0 {
		names = newMapping(m.get("depends_on")).keys
	}
	for _, l := range texts(m.get("links")) {
		name, _, _ := strings.Cut(l, ":")
		names = append(names, name)
	}
	for _, name := range names {
		if t := c.find(name); t != nil && t != s {
			seen = append(seen, call{target: t.name, why: "from depends_on"})
		}
	}
	for _, one := range seen {
		t := c.find(one.target)
		switch {
		case one.grant != "":
		case t == nil:
			continue
		case len(t.listen) == 0:
			s.notes = append(s.notes, "depends on "+t.name+", whose port is unknown: write its listen, and a call here if there is one")
			continue
		default:
			one.grant = "tcp"
			for _, p := range t.listen {
				if p.protocol != "tcp" {
					one.grant = "any"
					one.why += "; narrow it"
					break
				}
			}
		}
		s.addCall(one)
	}
}
