package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// workflow lists the jobs, steps and commands of a workflow of GitHub Actions, or of a composite action.
func (v *view) workflow(root *yaml.Node, m map[string]any) {
	object := with(m, "events", eventsOf(m["on"]))
	vars := map[string]any{"object": object}
	v.subjects = append(v.subjects, subject{scope: "object", name: "the workflow", vars: vars, node: root, value: m})
	for _, it := range items(m, []any{"jobs"}) {
		job, ok := it.value.(map[string]any)
		name, _ := it.key.(string)
		n := find(root, it.path...)
		at := lookup(root, it.path).Line
		if !ok {
			v.problem(at, "job %s isn't a mapping", excerpt(name))
			continue
		}
		own := with(vars, "job", job)
		title := "job " + excerpt(name)
		v.subjects = append(v.subjects, subject{scope: "job", name: title, vars: own, node: n, value: job, line: at})
		v.steps(find(n, "steps"), job["steps"], title, own)
	}
	if runs, ok := m["runs"].(map[string]any); ok {
		v.steps(find(root, "runs", "steps"), runs["steps"], "the action", with(vars, "job", map[string]any{}))
	}
}

func (v *view) steps(node *yaml.Node, steps any, title string, vars map[string]any) {
	all, _ := steps.([]any)
	for i, e := range all {
		n := find(node, i)
		step, ok := e.(map[string]any)
		if !ok {
			v.problem(line(n), "a step of %s isn't a mapping", title)
			continue
		}
		name := str(step, "name")
		if name == "" {
			name = str(step, "id")
		}
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		own := with(vars, "step", step)
		full := "step " + excerpt(name) + " of " + title
		v.subjects = append(v.subjects, subject{scope: "step", name: full, vars: own, node: n, value: step, line: line(n)})
		for _, script := range []*yaml.Node{find(n, "run"), find(n, "with", "script")} {
			v.expressions(script, full, own)
		}
		v.scripts(find(n, "run"), full, own)
	}
}

// expressions lists every ${{ … }} of a script.
func (v *view) expressions(script *yaml.Node, name string, vars map[string]any) {
	if script = resolve(script); script == nil || script.Kind != yaml.ScalarNode {
		return
	}
	text, lineAt := script.Value, linesIn(script)
	for at := 0; ; {
		i := strings.Index(text[at:], "${{")
		if i < 0 {
			return
		}
		start := at + i
		end := strings.Index(text[start:], "}}")
		if end < 0 {
			return
		}
		expr := strings.TrimSpace(text[start+3 : start+end])
		v.subjects = append(v.subjects, subject{scope: "expression", name: name, item: excerpt(expr), vars: with(vars, "item", expr), line: lineAt(start)})
		at = start + end + 2
	}
}

// eventsOf are the names of what starts a workflow: one name, a list, or a map.
func eventsOf(on any) []string {
	switch on := on.(type) {
	case string:
		return []string{on}
	case []any:
		var out []string
		for _, e := range on {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	case map[string]any:
		var out []string
		for k := range on {
			out = append(out, k)
		}
		slices.Sort(out)
		return out
	}
	return nil
}

// pipeline lists the jobs and commands of a GitLab pipeline, and the local files that it includes.
func (v *view) pipeline(root *yaml.Node, m map[string]any) {
	vars := map[string]any{"object": m}
	v.subjects = append(v.subjects, subject{scope: "object", name: "the pipeline", vars: vars, node: root, value: m})
	for _, it := range items(m, []any{"include"}) {
		switch inc := it.value.(type) {
		case string:
			if _, named := it.key.(string); named && it.key != "local" {
				continue
			}
			if !strings.Contains(inc, "://") {
				v.includes = append(v.includes, inc)
			}
		case map[string]any:
			if l := str(inc, "local"); l != "" {
				v.includes = append(v.includes, l)
			}
		}
	}
	v.pipelineJob(root, m, "the pipeline", vars)
	for _, it := range items(m, nil) {
		job, ok := it.value.(map[string]any)
		name, _ := it.key.(string)
		if !ok || slices.Contains([]string{"variables", "workflow", "include", "image", "cache", "pages:deploy", "spec"}, name) {
			continue
		}
		v.pipelineJob(find(root, name), job, "job "+excerpt(name), with(vars, "job", job))
	}
}

func (v *view) pipelineJob(n *yaml.Node, job map[string]any, title string, vars map[string]any) {
	image := job["image"]
	if im, ok := image.(map[string]any); ok {
		image = im["name"]
	}
	text, _ := image.(string)
	own := with(with(vars, "job", job), "image", parseImage(text))
	v.subjects = append(v.subjects, subject{scope: "job", name: title, vars: own, node: n, value: job, line: line(n)})
	for _, key := range []string{"before_script", "script", "after_script"} {
		v.scripts(find(n, key), title, own)
	}
}
