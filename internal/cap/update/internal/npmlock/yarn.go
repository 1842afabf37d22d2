package npmlock

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// block is one entry of a yarn.lock of version 1: the requests that it answers, and its lines below.
type block struct {
	asked []string // "name@range" each
	lines []string
}

// value is that of a key at the entry's first level.
func (b *block) value(key string) string {
	for _, l := range b.lines {
		if v, ok := strings.CutPrefix(l, "  "+key+" "); ok {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// requires are what it asks for, with the ranges.
func (b *block) requires() map[string]string {
	out, within := map[string]string{}, false
	for _, l := range b.lines {
		if rest, ok := strings.CutPrefix(l, "    "); ok && within {
			if name, rng, ok := strings.Cut(rest, " "); ok {
				out[strings.Trim(name, `"`)] = strings.Trim(rng, `"`)
			}
			continue
		}
		within = l == "  dependencies:" || l == "  optionalDependencies:"
	}
	return out
}

// descriptor parts "name@range"; of an alias, "other@npm:name@range", the name is the real one.
func descriptor(s string) (name, rng string) {
	if i := strings.Index(s, "@npm:"); i > 0 {
		if real := s[i+len("@npm:"):]; strings.LastIndexByte(real, '@') > 0 {
			return descriptor(real)
		}
		return s[:i], s[i+len("@npm:"):]
	}
	if i := strings.IndexByte(strings.TrimPrefix(s, "@"), '@'); i >= 0 {
		i += len(s) - len(strings.TrimPrefix(s, "@"))
		return s[:i], s[i+1:]
	}
	return s, ""
}

// errBerry is a lock file of yarn 2 or later.
var errBerry = errors.New("it is of yarn 2 or later, whose lock files aren't written yet")

// blocks parts a yarn.lock (https://classic.yarnpkg.com/lang/en/docs/yarn-lock/).
func blocks(b []byte) ([]block, error) {
	if bytes.HasPrefix(b, []byte("__metadata:")) || bytes.Contains(b, []byte("\n__metadata:")) {
		return nil, errBerry
	}
	var out []block
	n := 0
	for line := range strings.SplitSeq(string(b), "\n") {
		n++
		line = strings.TrimRight(line, "\r")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] != ' ':
			head, ok := strings.CutSuffix(line, ":")
			if !ok {
				return nil, fmt.Errorf("line %d: not the head of an entry", n)
			}
			if len(out) >= maxPackages {
				return nil, fmt.Errorf("more than %d parts", maxPackages)
			}
			var e block
			for one := range strings.SplitSeq(head, ", ") {
				e.asked = append(e.asked, strings.Trim(one, `"`))
			}
			out = append(out, e)
		case len(out) == 0:
			return nil, fmt.Errorf("line %d: a value outside of any entry", n)
		default:
			out[len(out)-1].lines = append(out[len(out)-1].lines, line)
		}
	}
	return out, nil
}

// ParseYarn reads a yarn.lock of yarn 1, with the package.json beside it.
func ParseYarn(b, manifest []byte) (*Lock, error) {
	all, err := blocks(b)
	if err != nil {
		return nil, fmt.Errorf("read yarn.lock: %w", err)
	}
	wants, err := wanted(manifest)
	if err != nil {
		return nil, err
	}
	at := map[string]copied{}
	for i := range all {
		name, _ := descriptor(all[i].asked[0])
		for _, a := range all[i].asked {
			at[a] = copied{name, all[i].value("version")}
		}
	}
	out := newLock()
	request := func(by Ask, name, rng string) {
		if k, ok := at[name+"@"+rng]; ok {
			by.Range = rng
			out.ask(k, by)
		}
	}
	for name, rng := range wants {
		request(Ask{}, name, rng)
	}
	for i := range all {
		k := at[all[i].asked[0]]
		out.source(k, all[i].value("resolved"))
		for name, rng := range all[i].requires() {
			request(Ask{Name: k.name, Version: k.version}, name, rng)
		}
	}
	return out.sort(), nil
}

// Swap is a part's new version in a yarn.lock, which yarn found under an alias.
type Swap struct{ Name, From, To, Alias string }

// SwapYarn gives the requests for a part that led to one version, or to what is newer than wanted now, what its alias leads to: yarn has no word for
// "this version, within what is asked for". Of requests that don't admit it nothing changes. The entries of the aliases go.
func SwapYarn(b []byte, swaps []Swap, admits func(rng, version string) bool) ([]byte, error) {
	all, err := blocks(b)
	if err != nil {
		return nil, fmt.Errorf("change yarn.lock: %w", err)
	}
	for _, s := range swaps {
		alias := s.Alias + "@npm:" + s.Name + "@" + s.To
		i := slices.IndexFunc(all, func(e block) bool { return slices.Contains(e.asked, alias) })
		if i < 0 {
			return nil, fmt.Errorf("change yarn.lock: yarn found no %s %s", s.Name, s.To)
		}
		found := all[i]
		all = slices.Delete(all, i, i+1)
		var moved []string
		for j := range all {
			all[j].asked = slices.DeleteFunc(all[j].asked, func(a string) bool {
				name, rng := descriptor(a)
				moves := name == s.Name && (all[j].value("version") == s.From || rng == "^"+s.To || rng == "~"+s.To || rng == s.To) && admits(rng, s.To)
				if moves {
					moved = append(moved, a)
				}
				return moves
			})
		}
		all = slices.DeleteFunc(all, func(e block) bool { return len(e.asked) == 0 })
		if len(moved) > 0 {
			all = append(all, block{moved, found.lines})
		}
	}
	var out strings.Builder
	out.WriteString("# yarn lockfile v1\n\n\n")
	for _, e := range all {
		for i, a := range e.asked {
			if i > 0 {
				out.WriteString(", ")
			}
			fmt.Fprintf(&out, "%q", a)
		}
		out.WriteString(":\n" + strings.Join(e.lines, "\n") + "\n\n")
	}
	return []byte(out.String()), nil
}
