package draft

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/model/source"
)

// Procfile drafts a ward.yaml from a Procfile ("name: command" lines); app is the
// application's name, which need not be a label.
func Procfile(app string, src []byte) ([]byte, error) {
	if len(src) > source.MaxScalar {
		return nil, errors.New("the Procfile is larger than 64 KiB")
	}
	d := &draft{app: app, from: "a Procfile"}
	number := 0
	for line := range strings.Lines(strings.ToValidUTF8(string(src), "?")) {
		number++
		line = strings.TrimSpace(line)
		name, cmd, ok := strings.Cut(line, ":")
		name, cmd = strings.TrimSpace(name), strings.TrimSpace(cmd)
		if line == "" || line[0] == '#' {
			continue
		}
		if !ok || cmd == "" || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d: %q is no line of a Procfile, which is name: command", number, oneLine(line))
		}
		if len(d.services) == maxServices {
			return nil, errors.New("the Procfile has too many processes")
		}
		s := &service{source: name, note: map[string]string{}}
		d.unique(s)
		base := min(5000+100*len(d.services), 65535)
		if strings.Contains(cmd, "$PORT") || strings.Contains(cmd, "${PORT") || name == "web" {
			s.addPort(port{base, "http", true})
			s.mark("listen", "the port that a Procfile's runner gives; check that the program listens there")
			text := fmt.Sprint(base)
			s.env = append(s.env, variable{name: "PORT", value: text})
			cmd = strings.NewReplacer("${PORT}", text, "$PORT", text).Replace(cmd)
		}
		if name == "web" {
			s.expose = true
			s.mark("expose", "opens every route, as the Procfile did; name those that are meant for everyone")
		}
		s.run = commandText(cmd)
		if s.runtime = runtimeOf(strings.Fields(cmd)...); s.runtime == "" {
			s.mark("run", "runs with the runtime \"static\"; write runtime: node, python, jvm or go if it needs one")
		}
		d.services = append(d.services, s)
	}
	if len(d.services) == 0 {
		return nil, errors.New("the Procfile names no process")
	}
	d.notes = append(d.notes, "a Procfile doesn't tell who calls whom: write calls for each service")
	return d.bytes()
}
