package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of one YAML file. Aliases count as often as they are used.
const (
	maxYAMLNodes = 300_000
	maxYAMLDepth = 64
	maxDocuments = 2_000
)

// document is one YAML document: its nodes for the lines, its value for the rules.
type document struct {
	root  *yaml.Node
	value any // map[string]any, []any, string, bool, int, float64; nil fields are left out
}

// yamlReader turns nodes into values within bounds.
type yamlReader struct {
	nodes    int
	yes      bool // yes and on are true, as in YAML 1.1, by which Kubernetes and Compose read
	nulls    bool // keep fields without a value, as ""
	problems []Problem
}

// parseYAML reads all documents of a file. Documents after one that can't be read are lost, and the error says so; those before it stay.
func parseYAML(src []byte, r *yamlReader) ([]document, error) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var docs []document
	for {
		var node yaml.Node
		err := decodeNode(dec, &node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return docs, fmt.Errorf("read YAML: %w", err)
		}
		if len(docs) >= maxDocuments {
			return docs, fmt.Errorf("read YAML: more than %d documents", maxDocuments)
		}
		if len(node.Content) == 0 {
			continue
		}
		v, err := r.value(node.Content[0], 0)
		if err != nil {
			return docs, err
		}
		docs = append(docs, document{node.Content[0], v})
	}
}

// decodeNode is Decode, whose own panics on odd input are errors here.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the reader gave up: %v", p)
		}
	}()
	return dec.Decode(n)
}

func (r *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	if r.nodes++; r.nodes > maxYAMLNodes {
		return nil, fmt.Errorf("read YAML: more than %d values, counting what aliases repeat", maxYAMLNodes)
	}
	if depth > maxYAMLDepth {
		return nil, fmt.Errorf("read YAML: line %d: nested deeper than %d", n.Line, maxYAMLDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		return out, r.mapping(n, out, depth)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := r.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			if v == nil {
				v = ""
			}
			out = append(out, v)
		}
		return out, nil
	}
	return r.scalar(n), nil
}

func (r *yamlReader) mapping(n *yaml.Node, out map[string]any, depth int) error {
	own := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Tag == "!!merge" {
			continue
		}
		if own[key.Value] {
			r.problems = append(r.problems, Problem{Line: key.Line, Message: fmt.Sprintf("%s is set twice; the later one was checked", excerpt(key.Value))})
		}
		own[key.Value] = true
		v, err := r.value(n.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		if v == nil && r.nulls {
			v = ""
		}
		if v != nil {
			out[key.Value] = v
		} else {
			delete(out, key.Value)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		if err := r.merge(n.Content[i+1], out, own, depth); err != nil {
			return err
		}
	}
	return nil
}

// merge fills in what << names; own keys and earlier merges win.
func (r *yamlReader) merge(from *yaml.Node, out map[string]any, own map[string]bool, depth int) error {
	v, err := r.value(from, depth+1)
	if err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, m := range list {
		fields, _ := m.(map[string]any)
		for k, v := range fields {
			if !own[k] {
				if _, set := out[k]; !set {
					out[k] = v
				}
			}
		}
	}
	return nil
}

func (r *yamlReader) scalar(n *yaml.Node) any {
	if r.yes && n.Style == 0 && n.Tag == "!!str" {
		switch strings.ToLower(n.Value) {
		case "yes", "on", "y":
			return true
		case "no", "off", "n":
			return false
		}
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		var v any
		if n.Decode(&v) == nil {
			switch v := v.(type) {
			case int:
				return int64(v)
			case bool, int64, float64:
				return v
			}
		}
	}
	return n.Value
}

// lookup follows a path of keys and indexes from a node as far as it leads. It returns the node that stands for the last step found: the
// key of a field, the item of a list.
func lookup(n *yaml.Node, path []any) *yaml.Node {
	at := n
	for _, step := range path {
		n = resolve(n)
		next, mark := child(n, step)
		if next == nil {
			return at
		}
		n, at = next, mark
	}
	return at
}

// find is the value at a path; nil if there is none.
func find(n *yaml.Node, path ...any) *yaml.Node {
	for _, step := range path {
		if n == nil {
			return nil
		}
		n, _ = child(resolve(n), step)
	}
	return n
}

func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < maxYAMLDepth; i++ {
		n = n.Alias
	}
	return n
}

// child is one step: the value, and the node whose line tells where it stands.
func child(n *yaml.Node, step any) (value, mark *yaml.Node) {
	if n == nil {
		return nil, nil
	}
	if i, ok := step.(int); ok {
		if n.Kind != yaml.SequenceNode || i >= len(n.Content) {
			return nil, nil
		}
		return n.Content[i], n.Content[i]
	}
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if n.Content[i].Value == step {
			return n.Content[i+1], n.Content[i]
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			if v, m := mergedChild(resolve(n.Content[i+1]), step); v != nil {
				return v, m
			}
		}
	}
	return nil, nil
}

// mergedChild looks in what << names; merges inside merges are bounded because anchors can't hold themselves in a file that was read.
func mergedChild(n *yaml.Node, step any) (value, mark *yaml.Node) {
	if n == nil || n.Kind != yaml.SequenceNode {
		return child(n, step)
	}
	for _, c := range n.Content {
		if v, m := child(resolve(c), step); v != nil {
			return v, m
		}
	}
	return nil, nil
}
