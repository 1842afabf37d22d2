package config

import (
	"slices"
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
	if spec, ok := m["spec"]; ok && spec != nil && mapping(m, "spec") == nil && slices.Contains(workloads(), kindName) {
		v.problem(line(find(root, "spec")), "the specification of %s isn't a mapping", title)
	}
	for _, path := range podPaths() {
		if pod := podAt(m, path); pod != nil {
			own := with(with(vars, "pod", pod), "account", v.account(m, pod))
			v.subjects = append(v.subjects, subject{scope: "pod", name: title, vars: own, node: find(root, path...), value: pod, line: lookup(root, path).Line})
			v.containers(title, find(root, path...), pod, own)
		}
	}
}

// account is the ServiceAccount of a pod, where the same file has it.
func (v *view) account(object, pod map[string]any) any {
	name := str(pod, "serviceAccountName")
	if name == "" {
		name = "default"
	}
	if a, ok := v.accounts[str(mapping(object, "metadata"), "namespace")+"/"+name]; ok {
		return a
	}
	return nil
}

// noteAccounts remembers the ServiceAccounts of a file.
func (v *view) noteAccounts(docs []document) {
	v.accounts = map[string]map[string]any{}
	for i := range docs {
		if m, ok := docs[i].value.(map[string]any); ok && str(m, "kind") == "ServiceAccount" {
			meta := mapping(m, "metadata")
			v.accounts[str(meta, "namespace")+"/"+str(meta, "name")] = m
		}
	}
}

// podPaths are where objects specify the pods that they make: Pod, PodTemplate, Deployment and the like (also Knative's and Argo's), CronJob.
func podPaths() [][]any {
	return [][]any{{"spec"}, {"template", "spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}}
}

// workloads are the kinds of objects that make pods.
func workloads() []string {
	return []string{"Pod", "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"}
}

// podAt is the specification of pods at a path; nil if there is none.
func podAt(m map[string]any, path []any) map[string]any {
	for _, step := range path {
		m = mapping(m, step.(string))
	}
	for _, list := range containerLists() {
		if all, ok := m[list].([]any); ok && len(all) > 0 {
			return m
		}
	}
	return nil
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
			own["group"] = list
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
