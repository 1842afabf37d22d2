package pins

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxSteps bounds how many nodes of a file are looked at: aliases count as often as they are used.
const maxSteps = 100_000

// walker follows paths through a file's documents.
type walker struct {
	*finder
	lines []word
	roots []*yaml.Node
	steps int
}

// walker reads the file; nil if that isn't possible.
func (f *finder) walker() *walker {
	// YAML ends lines at these, and editors don't: its lines would be others than ours.
	if strings.ContainsAny(strings.ReplaceAll(f.text, "\r\n", "\n"), "\r\u0085\u2028\u2029") {
		f.problem(0, "holds line ends that nobody sees")
		return nil
	}
	w := &walker{finder: f, lines: linesOf(f.text)}
	dec := yaml.NewDecoder(strings.NewReader(f.text))
	for {
		var n yaml.Node
		err := decode(dec, &n)
		if errors.Is(err, io.EOF) {
			return w
		}
		if err == nil && len(w.roots) >= maxPins {
			err = errors.New("too many documents")
		}
		if err != nil {
			f.problem(0, fmt.Sprintf("can't be read as YAML: %v", err))
			return nil
		}
		w.roots = append(w.roots, n.Content...)
	}
}

// decode reads one document; the library panics on some that are broken.
func decode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	return dec.Decode(n)
}

// at calls do with every node that a path leads to, "*" being each key or item.
func (w *walker) at(where string, do func(*yaml.Node)) {
	for _, n := range w.roots {
		w.follow(n, strings.Split(where, "."), do)
	}
}

func (w *walker) follow(n *yaml.Node, keys []string, do func(*yaml.Node)) {
	if w.steps++; w.steps > maxSteps {
		if w.steps == maxSteps+1 {
			w.problem(0, fmt.Sprintf("has more than %d nodes to look at", maxSteps))
		}
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		w.follow(n.Alias, keys, do)
	case len(keys) == 0:
		do(n)
	case n.Kind == yaml.SequenceNode && keys[0] == "*":
		for _, item := range n.Content {
			w.follow(item, keys[1:], do)
		}
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			switch {
			case key == "<<" && value.Kind == yaml.SequenceNode:
				w.follow(value, append([]string{"*"}, keys...), do)
			case key == "<<":
				w.follow(value, keys, do)
			case key == keys[0] || keys[0] == "*":
				w.follow(value, keys[1:], do)
			}
		}
	}
}

// scalar is where the value of a node stands in the file, and the quote around it. A value that isn't there as it is was written in another way.
func (w *walker) scalar(n *yaml.Node) (at int, quote string, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return 0, "", false
	}
	if n.Line < 1 || n.Line > len(w.lines) {
		w.problem(0, fmt.Sprintf("%.120q isn't where YAML says", n.Value))
		return 0, "", false
	}
	line := w.lines[n.Line-1]
	rest := line.text
	for range n.Column - 1 { // which counts characters
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
	}
	for rest != "" && strings.ContainsRune("&!", rune(rest[0])) { // an anchor or a tag stands in front
		_, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimLeft(rest, " ")
	}
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.SingleQuotedStyle:
		quote = "'"
	case yaml.DoubleQuotedStyle:
		quote = `"`
	}
	if !strings.HasPrefix(rest, quote+n.Value+quote) {
		w.problem(n.Line, fmt.Sprintf("%.120q is written in a way that isn't changed", n.Value))
		return 0, "", false
	}
	return line.at + len(line.text) - len(rest) + len(quote), quote, true
}

// docker begins a reference to an image where GitHub expects an action.
const docker = "docker://"

func (w *walker) imageAt(n *yaml.Node) {
	if at, _, ok := w.scalar(n); ok {
		ref, cut := strings.CutPrefix(n.Value, docker)
		if cut {
			at += len(docker)
		}
		w.image(n.Line, at, ref, ref)
	}
}

// uses takes "owner/name[/folder]@ref", with a comment that says what tag a commit was.
func (w *walker) uses(n *yaml.Node) {
	if strings.HasPrefix(n.Value, "./") {
		return // the repository's own
	}
	if strings.HasPrefix(n.Value, docker) {
		w.imageAt(n)
		return
	}
	at, quote, ok := w.scalar(n)
	if !ok {
		return
	}
	name, ref, _ := strings.Cut(n.Value, "@")
	if !matches(`[A-Za-z0-9-]+(/[A-Za-z0-9._-]+)+`, name) || !matches(`[A-Za-z0-9_][A-Za-z0-9._/+-]{0,200}`, ref) {
		w.problem(n.Line, fmt.Sprintf("%.120q is no action", n.Value))
		return
	}
	p := Pin{Path: w.path, Line: n.Line, Kind: Action, Name: name, Tag: ref, at: at, head: name + "@"}
	line := w.lines[n.Line-1]
	rest := line.text[at-line.at+len(n.Value)+len(quote):]
	if matches(actionDigest, ref) {
		p.Tag, p.Digest, p.text = tagIn(rest), ref, n.Value
	} else {
		p.text, p.tail = n.Value+quote, quote+" # "+ref
		if !matches(`\s*|\s+#.*`, rest) {
			w.problem(n.Line, fmt.Sprintf("behind %.120q is no place for the comment that says what the commit is", n.Value))
			return
		}
	}
	w.pins = append(w.pins, p)
}

// tagIn is the tag that a comment begins with: "# v4.2.2", or "# tag=v4.2.2"; "" if it says something else.
func tagIn(rest string) string {
	text, ok := strings.CutPrefix(strings.TrimSpace(rest), "#")
	words := strings.Fields(text)
	if !ok || len(words) == 0 {
		return ""
	}
	tag := strings.TrimPrefix(words[0], "tag=")
	if !matches(`[A-Za-z0-9_][A-Za-z0-9._/+-]{0,200}`, tag) {
		return ""
	}
	// A comment that goes on is prose, unless it begins as versions do, or is followed by one of its own, as Apply leaves it.
	if len(words) == 1 || words[1][0] == '#' || matches(`v?[0-9].*`, tag) {
		return tag
	}
	return ""
}

// workflow reads https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax.
func (f *finder) workflow() {
	w := f.walker()
	if w == nil {
		return
	}
	w.at("jobs.*.uses", w.uses)
	w.at("jobs.*.steps.*.uses", w.uses)
	for _, where := range []string{"jobs.*.container", "jobs.*.container.image", "jobs.*.services.*.image"} {
		w.at(where, w.imageAt)
	}
}

// action reads https://docs.github.com/actions/reference/workflows-and-actions/metadata-syntax.
func (f *finder) action() {
	w := f.walker()
	if w == nil {
		return
	}
	w.at("runs.steps.*.uses", w.uses)
	w.at("runs.image", func(n *yaml.Node) {
		if strings.HasPrefix(n.Value, docker) { // else it is a Dockerfile
			w.imageAt(n)
		}
	})
}

// compose reads https://github.com/compose-spec/compose-spec/blob/main/spec.md. What a service builds itself has an image that is its own name.
func (f *finder) compose() {
	w := f.walker()
	if w == nil {
		return
	}
	w.at("services.*", func(service *yaml.Node) {
		built := false
		w.follow(service, []string{"build"}, func(*yaml.Node) { built = true })
		if !built {
			w.follow(service, []string{"image"}, w.imageAt)
		}
	})
}

// gitlab reads https://docs.gitlab.com/ci/yaml/: image and services, at the top, in default and in jobs.
func (f *finder) gitlab() {
	w := f.walker()
	if w == nil {
		return
	}
	either := func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			w.follow(n, []string{"name"}, w.imageAt)
			return
		}
		w.imageAt(n)
	}
	for _, root := range w.roots {
		w.follow(root, []string{"image"}, either)
		w.follow(root, []string{"services", "*"}, either)
		for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
			if slices.Contains([]string{"variables", "include", "workflow", "stages", "spec", "image", "services"}, root.Content[i].Value) {
				continue // no jobs
			}
			w.follow(root.Content[i+1], []string{"image"}, either)
			w.follow(root.Content[i+1], []string{"services", "*"}, either)
		}
	}
}
