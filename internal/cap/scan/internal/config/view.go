package config

import (
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// view is a parsed file as rules see it.
type view struct {
	path     string
	subjects []subject
	problems []Problem
	includes []string                  // further files that belong to it
	accounts map[string]map[string]any // ServiceAccounts, by namespace/name
	judged   bool                      // at least a part of it could be read
}

func (v *view) problem(line int, format string, args ...any) {
	v.problems = append(v.problems, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

// read parses a file and lists its subjects. What can't be read is a problem.
func (v *view) read(k kind, src []byte) {
	if k == docker {
		v.dockerfile(src)
		return
	}
	r := &yamlReader{yes: k == kubernetes || k == compose, nulls: k == actions}
	docs, err := parseYAML(src, r)
	v.problems = append(v.problems, r.problems...)
	if err != nil {
		hint := ""
		if strings.Contains(string(src), "{{") {
			hint = " (a template can only be checked after it was rendered)"
		}
		v.problem(0, "%v%s", err, hint)
	}
	if k == kubernetes {
		v.noteAccounts(docs)
	}
	for i := range docs {
		m, ok := docs[i].value.(map[string]any)
		if !ok {
			if k != kubernetes {
				v.problem(docs[i].root.Line, "a mapping is wanted here")
			}
			continue
		}
		v.judged = true
		switch k {
		case compose:
			v.compose(docs[i].root, m)
		case kubernetes:
			v.object(docs[i].root, m, 0)
		case actions:
			v.workflow(docs[i].root, m)
		case gitlab:
			v.pipeline(docs[i].root, m)
		}
	}
}

// scripts adds the commands of a script, or list of scripts, as subjects.
func (v *view) scripts(n *yaml.Node, name string, vars map[string]any) {
	n = resolve(n)
	if n == nil {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			if len(v.subjects) > maxYAMLNodes {
				return
			}
			v.scripts(c, name, vars)
		}
		return
	}
	if n.Kind != yaml.ScalarNode {
		return
	}
	commands, cut := commandsOf(n.Value)
	if cut {
		v.problem(n.Line, "more than %d commands in a script; the others weren't checked", maxCommands)
	}
	lineAt := linesIn(n)
	for _, c := range commands {
		v.subjects = append(v.subjects, subject{scope: "cmd", name: name, item: excerpt(c.text), vars: with(vars, "cmd", c.view()), line: lineAt(c.offset)})
	}
}

// linesIn says on which line of the file an offset of a scalar is; of one in quotes, the line where it begins.
func linesIn(n *yaml.Node) func(offset int) int {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		return func(int) int { return n.Line }
	}
	var ends []int
	for i := range len(n.Value) {
		if n.Value[i] == '\n' {
			ends = append(ends, i)
		}
	}
	return func(offset int) int { return n.Line + 1 + sort.SearchInts(ends, offset) }
}

// with is a copy of vars with one more.
func with(vars map[string]any, name string, value any) map[string]any {
	out := make(map[string]any, len(vars)+1)
	for k, v := range vars {
		out[k] = v
	}
	out[name] = value
	return out
}

// mapping and sequence are what a field holds, or nothing.
func mapping(m map[string]any, key string) map[string]any {
	out, _ := m[key].(map[string]any)
	return out
}

func str(m map[string]any, key string) string {
	switch s := m[key].(type) {
	case string:
		return s
	case nil, map[string]any, []any:
		return ""
	default:
		return fmt.Sprint(s)
	}
}

// compose lists the services of a Compose file.
func (v *view) compose(root *yaml.Node, m map[string]any) {
	v.subjects = append(v.subjects, subject{scope: "file", vars: map[string]any{"object": m}, node: root, value: m})
	for _, it := range items(m, []any{"services"}) {
		s, ok := it.value.(map[string]any)
		name, _ := it.key.(string)
		if !ok {
			v.problem(lookup(root, it.path).Line, "service %s isn't a mapping", excerpt(name))
			continue
		}
		vars := map[string]any{"object": m, "service": s, "image": parseImage(str(s, "image"))}
		v.subjects = append(v.subjects, subject{
			scope: "service", name: "service " + excerpt(name), vars: vars, node: find(root, it.path...), value: s, line: lookup(root, it.path).Line,
		})
	}
}
