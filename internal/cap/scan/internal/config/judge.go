package config

import (
	"context"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/finding"
)

// subject is one thing that rules of its scope judge: a stage, a container, a job, a command.
type subject struct {
	scope string
	name  string // how titles begin: "container web of Deployment shop"
	item  string // what {item} says where a rule has no each
	vars  map[string]any
	node  *yaml.Node // of what each and at start from; nil in a Dockerfile
	value any        // the same as a value
	line  int        // where there is no node
}

// verdicts are what the rules say of one file.
type verdicts struct {
	findings []finding.Finding
	problems []Problem
	cost     uint64
	budget   uint64 // of cost
}

// judge asks every rule about every subject of its scope. An error is ctx's only.
func (set *ruleSet) judge(ctx context.Context, v *view) (*verdicts, error) {
	out := &verdicts{budget: set.budget}
	for _, r := range set.rules {
		failed := false
		for i := range v.subjects {
			s := &v.subjects[i]
			if s.scope != r.Scope {
				continue
			}
			if len(out.findings) >= maxFindings {
				out.problems = append(out.problems, Problem{Message: fmt.Sprintf("more than %d findings; the others aren't listed", maxFindings)})
				return out, nil
			}
			err := r.judge(ctx, s, v.path, out)
			if out.cost > out.budget {
				out.problems = append(out.problems, Problem{Message: fmt.Sprintf("the file takes too long to judge; rule %s and those after it weren't all asked", r.ID)})
				return out, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil && !failed {
				failed = true // once for each file says it
				out.problems = append(out.problems, Problem{Line: s.at(nil), Message: fmt.Sprintf("rule %s couldn't be judged: %v", r.ID, err)})
			}
		}
	}
	return out, nil
}

// judge asks a rule about a subject, or about each item in it.
func (r *rule) judge(ctx context.Context, s *subject, path string, out *verdicts) error {
	found := func(item string, at []any) {
		out.findings = append(out.findings, r.finding(s, item, finding.Location{Path: path, Line: s.at(at)}))
	}
	if r.Each == "" {
		holds, err := r.holds(ctx, s.vars, out)
		if holds {
			found(s.item, steps(r.At))
		}
		return err
	}
	var failed error
	for _, it := range items(s.value, steps(r.Each)) {
		if len(out.findings) >= maxFindings || out.cost > out.budget {
			break // the caller says so
		}
		vars := with(s.vars, "item", it.value)
		vars["key"] = it.key
		holds, err := r.holds(ctx, vars, out)
		if err != nil {
			failed = err // the other items are judged all the same
		}
		if holds {
			found(it.text(), slices.Concat(it.path, steps(r.At)))
		}
	}
	return failed
}

// holds judges once, and adds up the cost.
func (r *rule) holds(ctx context.Context, vars map[string]any, out *verdicts) (bool, error) {
	val, details, err := r.program.ContextEval(ctx, vars)
	out.cost++
	if details != nil && details.ActualCost() != nil {
		out.cost += *details.ActualCost()
	}
	if err != nil {
		return false, err
	}
	holds, ok := val.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it's neither true nor false")
	}
	return holds, nil
}

func (s *subject) at(path []any) int {
	if s.node == nil {
		return s.line
	}
	n := lookup(s.node, path)
	if n == s.node && s.line > 0 {
		return s.line // nothing on the path is there: where the subject's own name stands
	}
	return n.Line
}

// steps are those of a dotted path.
func steps(path string) []any {
	var out []any
	for rest := path; rest != ""; {
		var step string
		step, rest = cutDot(rest)
		out = append(out, step)
	}
	return out
}

func cutDot(s string) (first, rest string) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// item is one element of what each names.
type item struct {
	path  []any
	key   any // the index, or the name in a map
	value any
}

func (it *item) text() string {
	switch v := it.value.(type) {
	case map[string]any:
		for _, name := range []string{"name", "source", "host_ip", "topologyKey"} {
			if s, ok := v[name].(string); ok {
				return excerpt(s)
			}
		}
	case []any:
	default:
		if _, named := it.key.(string); !named {
			return excerpt(fmt.Sprint(v))
		}
	}
	if k, ok := it.key.(string); ok {
		return excerpt(k)
	}
	return ""
}

// items are the elements of the list or map at a path; a list on the way stands for each of its own, so that rules can say
// "containers.ports".
func items(v any, path []any) []item {
	at := []item{{value: v}}
	for _, step := range path {
		var next []item
		for _, it := range at {
			m, ok := it.value.(map[string]any)
			if !ok {
				continue
			}
			if v, ok := m[step.(string)]; ok {
				next = append(next, item{path: append(slices.Clone(it.path), step), value: v})
			}
		}
		at = next
	}
	var out []item
	for _, it := range at {
		switch v := it.value.(type) {
		case []any:
			for i, e := range v {
				out = append(out, item{append(slices.Clone(it.path), i), int64(i), e})
			}
		case map[string]any:
			keys := make([]string, 0, len(v))
			for k := range v {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				out = append(out, item{append(slices.Clone(it.path), k), k, v[k]})
			}
		default:
			out = append(out, item{it.path, int64(0), v})
		}
	}
	return out
}
