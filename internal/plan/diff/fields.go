package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

// fields collects the values that differ.
type fields []Field

func (f *fields) add(name, old, new string) {
	if old != new {
		*f = append(*f, Field{name, old, new})
	}
}

func appFields(old, new *plan.Plan) []Field {
	f := fields{}
	f.add("app", old.App, new.App)
	f.add("trust domain", old.TrustDomain, new.TrustDomain)
	f.add("gateway listen", old.Gateway.Listen, new.Gateway.Listen)
	f.add("gateway http", old.Gateway.HTTP, new.Gateway.HTTP)
	f.add("gateway host", old.Gateway.Host, new.Gateway.Host)
	f.add("gateway tls", old.Gateway.TLS, new.Gateway.TLS)
	f.add("gateway certificate", old.Gateway.CertFile, new.Gateway.CertFile)
	f.add("gateway key", old.Gateway.KeyFile, new.Gateway.KeyFile)
	return f
}

// items compares two lists by name.
func items[T any](old, new []T, name func(*T) string, compare func(a, b *T) []Field) []Item {
	out := []Item{}
	before := make(map[string]*T, len(old))
	for i := range old {
		before[name(&old[i])] = &old[i]
	}
	for i := range new {
		n := name(&new[i])
		was, ok := before[n]
		delete(before, n)
		switch {
		case !ok:
			out = append(out, Item{Name: n, Change: "added"})
		default:
			if f := compare(was, &new[i]); len(f) > 0 {
				out = append(out, Item{Name: n, Change: "changed", Fields: f})
			}
		}
	}
	for i := range old {
		if n := name(&old[i]); before[n] != nil {
			out = append(out, Item{Name: n, Change: "removed"})
		}
	}
	return out
}

func compareServices(old, new []plan.Service) []Item {
	return items(old, new, func(s *plan.Service) string { return string(s.Name) }, func(a, b *plan.Service) []Field {
		var f fields
		f.add("run", quoted(a.Run), quoted(b.Run))
		f.add("workdir", a.Workdir, b.Workdir)
		f.add("runtime", a.Runtime.String(), b.Runtime.String())
		f.add("env", changedEnv(a.Env, b.Env, false), changedEnv(a.Env, b.Env, true))
		f.add("listen", listens(a.Listen), listens(b.Listen))
		f.add("may read", paths(a.Files.Read), paths(b.Files.Read))
		f.add("may write", paths(a.Files.Write), paths(b.Files.Write))
		f.add("memory", size(a.Limits.MemoryBytes), size(b.Limits.MemoryBytes))
		f.add("cpu", number(a.Limits.CPU), number(b.Limits.CPU))
		f.add("processes", number(float64(a.Limits.PIDs)), number(float64(b.Limits.PIDs)))
		f.add("open files", number(float64(a.Limits.OpenFiles)), number(float64(b.Limits.OpenFiles)))
		f.add("sensitivity", a.Sensitivity.String(), b.Sensitivity.String())
		f.add("data", sorted(a.Data), sorted(b.Data))
		f.add("secrets", secretUses(a.Secrets), secretUses(b.Secrets))
		f.add("replicas", strconv.Itoa(a.Replicas), strconv.Itoa(b.Replicas))
		f.add("ready", ready(a.Ready), ready(b.Ready))
		f.add("restart", a.Restart.String(), b.Restart.String())
		return f
	})
}

func compareExternals(old, new []model.External) []Item {
	return items(old, new, func(e *model.External) string { return string(e.Name) }, func(a, b *model.External) []Field {
		var f fields
		f.add("host", a.Host, b.Host)
		f.add("port", strconv.Itoa(a.Port), strconv.Itoa(b.Port))
		f.add("local port", strconv.Itoa(a.LocalPort), strconv.Itoa(b.LocalPort))
		f.add("tls", a.TLS.String(), b.TLS.String())
		f.add("protocol", a.Protocol.String(), b.Protocol.String())
		f.add("addresses", sorted(a.Addresses), sorted(b.Addresses))
		f.add("ca", a.CAFile, b.CAFile)
		f.add("auth", auth(a.Auth), auth(b.Auth))
		return f
	})
}

func quoted(argv []string) string {
	out := make([]string, 0, len(argv))
	for _, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n\"'") {
			a = strconv.Quote(a)
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

// changedEnv names the variables of one side that the other has not or has with
// another value. A value may be a secret, so none is said.
func changedEnv(old, new []model.EnvVar, newSide bool) string {
	this, other := old, new
	if newSide {
		this, other = new, old
	}
	values := map[string]string{}
	for _, v := range other {
		values[v.Name] = v.Value
	}
	var out []string
	for _, v := range this {
		was, ok := values[v.Name]
		switch {
		case !ok:
			out = append(out, v.Name)
		case was != v.Value && newSide:
			out = append(out, v.Name+" (another value)")
		case was != v.Value:
			out = append(out, v.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func listens(ls []model.Listen) string {
	sorted := slices.Clone(ls)
	slices.SortFunc(sorted, func(a, b model.Listen) int { return cmp.Compare(a.Port, b.Port) })
	out := make([]string, 0, len(sorted))
	for _, l := range sorted {
		out = append(out, fmt.Sprintf("%s :%d", l.Protocol, l.Port))
	}
	return strings.Join(out, ", ")
}

func paths(ps []model.Path) string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.Path)
	}
	return sorted(out)
}

func sorted(ss []string) string {
	out := slices.Clone(ss)
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func size(n int64) string {
	if n == 0 {
		return ""
	}
	return words.Bytes(n)
}

func number(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func ready(r model.Ready) string {
	out := r.Kind.String()
	if r.Path != "" {
		out += " " + r.Path
	}
	if r.Port != 0 {
		out += " :" + strconv.Itoa(r.Port)
	}
	if r.TimeoutSeconds != 0 {
		out += " within " + strconv.Itoa(r.TimeoutSeconds) + "s"
	}
	return out
}
