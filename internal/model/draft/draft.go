// Package draft writes a first ward.yaml from what a team has already: a
// docker-compose.yml or a Procfile.
//
// It guarantees that the draft parses without an error, and that whatever the
// source couldn't tell stands below a comment that begins with "# ward:". It
// doesn't guarantee that the services run: images hold what no file tells.
package draft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/wardfile"
)

const maxServices = 1000

// service is a service on its way into the draft.
type service struct {
	name    string
	source  string   // its name in the source
	notes   []string // marks above everything
	run     string   // YAML text
	workdir string
	env     []variable
	runtime string
	listen  []port
	expose  bool
	route   string            // of expose; one service has all, the others a folder each
	note    map[string]string // marks above a key
	calls   []call
	write   []string
	read    []string
	restart string
	copies  string
}

type variable struct{ name, value, note string }

type port struct {
	number   int
	protocol string
	guessed  bool
}

type call struct{ target, grant, why string }

type external struct {
	name, host string
	port       int
	tls        string
}

// draft is the whole file.
type draft struct {
	app       string
	from      string
	services  []*service
	externals []external
	notes     []string
}

// label makes a DNS label of any text.
func label(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "-")
	out = strings.TrimRight(out[:min(len(out), 63)], "-")
	if out == "" {
		return "app"
	}
	return out
}

// unique gives a service a label that no other has.
func (d *draft) unique(s *service) {
	base := label(s.source)
	s.name = base
	for i := 2; slices.ContainsFunc(d.services, func(o *service) bool { return o.name == s.name }); i++ {
		s.name = fmt.Sprintf("%s-%d", base[:min(len(base), 58)], i)
	}
	if s.name != s.source {
		s.notes = append(s.notes, fmt.Sprintf("called %q before: whoever dials that name must dial this one", s.source))
	}
}

// service finds by the source's name or ours.
func (d *draft) find(name string) *service {
	for _, s := range d.services {
		if s.source == name || s.name == name {
			return s
		}
	}
	return nil
}

func (s *service) addPort(p port) {
	i := slices.IndexFunc(s.listen, func(o port) bool { return o.number == p.number })
	switch {
	case p.number < 1 || p.number > 65535 || len(s.listen) >= 64:
	case i < 0:
		s.listen = append(s.listen, p)
	case s.listen[i].guessed && !p.guessed:
		s.listen[i] = p
	}
}

func (s *service) mark(key, note string) {
	if old := s.note[key]; old != "" {
		note = old + "; " + note
	}
	s.note[key] = note
}

func (s *service) addCall(c call) {
	if !slices.ContainsFunc(s.calls, func(o call) bool { return o.target == c.target }) {
		s.calls = append(s.calls, c)
	}
}

// guess is the protocol that usually lives on a port.
func guess(n int) port {
	switch n {
	case 5432, 3306, 6379, 27017, 5672, 9092, 11211, 4222, 1883, 2181, 26379, 1433, 25, 465, 587, 1025, 389, 636, 22:
		return port{n, "tcp", true}
	case 50051, 50052:
		return port{n, "grpc", true}
	}
	return port{n, "http", true}
}

// bytes is the draft as text: formatted, and parsed to be sure of it.
func (d *draft) bytes() ([]byte, error) {
	w := &writer{}
	w.line(0, "# A first ward.yaml, drafted from "+oneLine(d.from)+". Lines that begin with \"# ward:\" name what must be checked")
	w.line(0, "# by someone who knows; then `ward check` says what is left, and `ward learn` narrows the calls.")
	for _, n := range d.notes {
		w.mark(0, n)
	}
	w.line(0, "app: "+lexis.Quote(label(d.app), false))
	w.line(0, "services:")
	d.routes()
	for i, s := range d.services {
		if i > 0 {
			w.line(0, "")
		}
		w.service(s)
	}
	if len(d.externals) > 0 {
		w.line(0, "externals:")
		for _, x := range d.externals {
			w.mark(2, "seen in an environment variable; is it still needed?")
			w.line(2, fmt.Sprintf("%s: {host: %s, port: %d, tls: %s}", lexis.Quote(x.name, true), lexis.Quote(x.host, true), x.port, x.tls))
		}
	}
	out, err := wardfile.Format([]byte(w.b.String()))
	if err != nil {
		return nil, fmt.Errorf("draft from %s: %w", d.from, err)
	}
	if _, ps := wardfile.Parse("draft", bytes.NewReader(out)); ps.HasErrors() {
		return nil, fmt.Errorf("draft from %s: %s", d.from, ps.Only(model.Error)[0].Message)
	}
	return out, nil
}

// routes shares the paths of the one gateway among the services that had ports of
// their own.
func (d *draft) routes() {
	first, firstGRPC := "", ""
	for _, s := range d.services {
		web := slices.ContainsFunc(s.listen, func(p port) bool { return p.protocol == "http" })
		switch {
		case !s.expose:
		case !web && firstGRPC == "":
			firstGRPC, s.route = s.name, "grpc */*"
		case !web:
			s.expose = false
			s.notes = append(s.notes, "its port was published; expose its gRPC services by name, as those of "+firstGRPC+" are")
		case first == "":
			first, s.route = s.name, "* /**"
			s.mark("expose", "as long as every path is declared, searches for holes such as /.env aren't found")
		default:
			s.route = "* /" + s.name + "/**"
			s.mark("expose", "all else leads to "+first+"; give each its routes")
		}
	}
}

type writer struct{ b strings.Builder }

func (w *writer) line(indent int, text string) {
	if text != "" {
		w.b.WriteString(strings.Repeat(" ", indent) + text)
	}
	w.b.WriteByte('\n')
}

func (w *writer) mark(indent int, note string) {
	if note != "" {
		w.line(indent, "# ward: "+oneLine(note))
	}
}

// oneLine makes a text safe for a comment.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

func (w *writer) service(s *service) {
	w.line(2, lexis.Quote(s.name, false)+":")
	for _, n := range s.notes {
		w.mark(4, n)
	}
	key := func(name, text string) {
		if text != "" {
			w.mark(4, s.note[name])
			w.line(4, name+": "+text)
		}
	}
	key("run", s.run)
	if s.workdir != "" {
		key("workdir", lexis.Quote(s.workdir, false))
	}
	if len(s.env) > 0 {
		w.mark(4, s.note["env"])
		w.line(4, "env:")
		for _, v := range s.env {
			w.mark(6, v.note)
			w.line(6, v.name+": "+lexis.Quote(v.value, false))
		}
	}
	key("runtime", s.runtime)
	if len(s.listen) > 0 {
		var list []string
		for _, p := range s.listen {
			list = append(list, fmt.Sprintf("%s://:%d", p.protocol, p.number))
		}
		text := "[" + strings.Join(list, ", ") + "]"
		if len(list) == 1 {
			text = list[0]
		}
		key("listen", text)
	}
	if s.expose {
		key("expose", fmt.Sprintf("{route: %q, to: anyone}", s.route))
	}
	if len(s.calls) > 0 {
		w.mark(4, s.note["calls"])
		w.line(4, "calls:")
		for _, c := range s.calls {
			w.line(6, fmt.Sprintf("%s: %s # ward: %s", lexis.Quote(c.target, false), c.grant, oneLine(c.why)))
		}
	}
	w.files(s)
	key("replicas", s.copies)
	key("restart", s.restart)
}

func (w *writer) files(s *service) {
	if len(s.read)+len(s.write) == 0 {
		return
	}
	var parts []string
	for _, l := range []struct {
		name  string
		paths []string
	}{{"read", s.read}, {"write", s.write}} {
		var list []string
		for _, p := range l.paths {
			list = append(list, lexis.Quote(p, true))
		}
		if len(list) > 0 {
			parts = append(parts, l.name+": ["+strings.Join(list, ", ")+"]")
		}
	}
	w.mark(4, s.note["files"])
	w.line(4, "files: {"+strings.Join(parts, ", ")+"}")
}

// commandText is the YAML of a command that a shell would have read: as one line
// where no shell is needed, and with the shell named where one is.
func commandText(cmd string) string {
	cmd = strings.TrimSpace(cmd)
	if _, err := lexis.SplitCommand(cmd); err == nil {
		return lexis.Quote(cmd, false)
	}
	return argvText([]string{"sh", "-c", cmd})
}

func argvText(argv []string) string {
	var list []string
	for _, a := range argv {
		list = append(list, lexis.Quote(a, true))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// runtimeOf is the base profile that a command or an image points to, "" if none.
func runtimeOf(words ...string) string {
	for _, w := range words {
		w = w[strings.LastIndexByte(w, '/')+1:]
		w, _, _ = strings.Cut(w, ":")
		switch {
		case slices.Contains([]string{"node", "npm", "npx", "yarn", "pnpm", "deno", "bun"}, w):
			return "node"
		case strings.HasPrefix(w, "python") || slices.Contains([]string{"gunicorn", "uvicorn", "flask", "celery", "django-admin", "poetry"}, w):
			return "python"
		case slices.Contains([]string{"java", "openjdk", "eclipse-temurin", "mvn", "gradle", "amazoncorretto"}, w):
			return "jvm"
		case w == "go" || w == "golang":
			return "go"
		}
	}
	return ""
}
