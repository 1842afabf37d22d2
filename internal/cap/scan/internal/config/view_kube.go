package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxLists is how deep a List may hold Lists.
const maxLists = 4

// object lists a Kubernetes object, its pod and its containers.
func (v *view) object(root *yaml.Node, m map[string]any, depth int) {
	kindName := str(m, "kind")
	if str(m, "apiVersion") == "" || kindName == "" {
		return
	}
	if list, ok := m["items"].([]any); ok && strings.HasSuffix(kindName, "List") {
		if depth >= maxLists {
			v.problem(root.Line, "lists in lists deeper than %d weren't checked", maxLists)
			return
		}
		for i, e := range list {
			if o, ok := e.(map[string]any); ok {
				v.object(resolve(find(root, "items", i)), o, depth+1)
			}
		}
		return
	}
	name := str(mapping(m, "metadata"), "name")
	if name == "" {
		name = str(mapping(m, "metadata"), "generateName")
	}
	title := strings.TrimSpace(excerpt(kindName) + " " + excerpt(name))
	vars := map[string]any{"object": m}
	v.subjects = append(v.subjects, subject{scope: "object", name: title, vars: vars, node: root, value: m})
	if path, pod := podOf(kindName, m); pod != nil {
		v.subjects = append(v.subjects, subject{
			scope: "pod", name: title, vars: with(vars, "pod", pod), node: find(root, path...), value: pod, line: lookup(root, path).Line,
		})
		v.containers(title, find(root, path...), pod, with(vars, "pod", pod))
	}
}

// podOf is the specification of the pods that an object makes.
func podOf(kindName string, m map[string]any) ([]any, map[string]any) {
	for _, path := range [][]any{{"spec"}, {"template", "spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		if len(path) == 1 && kindName != "Pod" {
			continue
		}
		at := m
		for _, step := range path {
			at = mapping(at, step.(string))
		}
		for _, list := range containerLists() {
			if _, ok := at[list].([]any); ok {
				return path, at
			}
		}
	}
	return nil, nil
}

func containerLists() []string {
	return []string{"containers", "initContainers", "ephemeralContainers"}
}

func (v *view) containers(title string, node *yaml.Node, pod, vars map[string]any) {
	for _, list := range containerLists() {
		all, _ := pod[list].([]any)
		for i, e := range all {
			n := find(node, list, i)
			c, ok := e.(map[string]any)
			if !ok {
				v.problem(line(n), "a container of %s isn't a mapping", title)
				continue
			}
			name := "container " + excerpt(str(c, "name")) + " of " + title
			own := with(with(vars, "container", c), "image", parseImage(str(c, "image")))
			own["list"] = list
			v.subjects = append(v.subjects, subject{scope: "container", name: name, vars: own, node: n, value: c, line: line(n)})
			v.scripts(scriptOfWords(find(n, "command"), find(n, "args")), name, own)
		}
	}
}

// scriptOfWords makes one script of a container's command and arguments, which are words, at the line of the first.
func scriptOfWords(lists ...*yaml.Node) *yaml.Node {
	var script *yaml.Node
	for _, l := range lists {
		l = resolve(l)
		if l == nil || l.Kind != yaml.SequenceNode {
			continue
		}
		for _, w := range l.Content {
			if w = resolve(w); w.Kind != yaml.ScalarNode {
				continue
			}
			if script == nil {
				script = &yaml.Node{Kind: yaml.ScalarNode, Line: l.Line}
			}
			script.Value += shellQuote(w.Value) + " "
		}
	}
	return script
}

func line(n *yaml.Node) int {
	if n == nil {
		return 0
	}
	return n.Line
}
