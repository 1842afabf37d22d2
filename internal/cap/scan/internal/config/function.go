package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// functions are what rules have beyond CEL. None of them fails on a file's odd shape: what isn't there is null or an empty list.
func functions() []cel.EnvOption {
	names := &credentialNames{regexp.MustCompile(credentialName), regexp.MustCompile(harmlessName)}
	return []cel.EnvOption{
		// x.at('a.b') is a field of a field, or null; x.at('') is x.
		cel.Function("at", cel.MemberOverload("at_path", []*cel.Type{cel.DynType, cel.StringType}, cel.DynType, cel.BinaryBinding(at))),
		// x.orElse(y) is y where x is null: what a container inherits from its pod.
		cel.Function("orElse", cel.MemberOverload("or_else", []*cel.Type{cel.DynType, cel.DynType}, cel.DynType, cel.BinaryBinding(func(x, y ref.Val) ref.Val {
			if x == types.NullValue {
				return y
			}
			return x
		}))),
		// x.list('a.b') is the list there; a single value is a list of one, a map the list of its keys.
		cel.Function("list", cel.MemberOverload("list_path", []*cel.Type{cel.DynType, cel.StringType}, cel.ListType(cel.DynType), cel.BinaryBinding(list))),
		// text(x) is a scalar's text; "" of null, maps and lists.
		cel.Function("text", cel.Overload("text_dyn", []*cel.Type{cel.DynType}, cel.StringType, cel.UnaryBinding(text))),
		// credential(name, value): by its name a secret, by its value the secret itself and no reference to one.
		cel.Function("credential", cel.Overload("credential_name_value", []*cel.Type{cel.DynType, cel.DynType}, cel.BoolType, cel.BinaryBinding(names.holds))),
		// imageOf(reference) is a map: name, tag, digest, dynamic (a variable is left in it).
		cel.Function("imageOf", cel.Overload("image_of", []*cel.Type{cel.DynType}, cel.DynType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.DefaultTypeAdapter.NativeToValue(parseImage(textOf(v)))
		}))),
		// hostPath(path) says whether a path of the host lets its reader or writer take the host over.
		cel.Function("hostPath", cel.Overload("host_path", []*cel.Type{cel.DynType}, cel.BoolType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.Bool(isSensitivePath(textOf(v)))
		}))),
	}
}

// listCost charges list for what it copies, so that the bounds on cost hold for it too.
type listCost struct{}

// CallCost is the cost of one call; nil leaves it to CEL.
func (listCost) CallCost(function, _ string, _ []ref.Val, result ref.Val) *uint64 {
	l, ok := result.(traits.Sizer)
	if function != "list" || !ok {
		return nil
	}
	n, _ := l.Size().(types.Int)
	cost := uint64(n) + 1
	return &cost
}

func at(v, field ref.Val) ref.Val {
	for _, step := range steps(string(field.(types.String))) {
		m, ok := v.(traits.Mapper)
		if !ok {
			return types.NullValue
		}
		if v, ok = m.Find(types.String(step.(string))); !ok {
			return types.NullValue
		}
	}
	return v
}

func list(v, field ref.Val) ref.Val {
	switch v := at(v, field).(type) {
	case traits.Lister:
		return v
	case types.Null:
		return types.NewDynamicList(types.DefaultTypeAdapter, []any{})
	case traits.Mapper:
		var keys []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			keys = append(keys, textOf(it.Next()))
		}
		slices.Sort(keys)
		return types.NewStringList(types.DefaultTypeAdapter, keys)
	case ref.Val:
		return types.NewRefValList(types.DefaultTypeAdapter, []ref.Val{v})
	}
	return types.NewDynamicList(types.DefaultTypeAdapter, []any{})
}

func text(v ref.Val) ref.Val { return types.String(textOf(v)) }

func textOf(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Null, traits.Lister, traits.Mapper, nil:
		return ""
	}
	return fmt.Sprint(v.Value())
}

// credentialNames are compiled with the language, so that a process that checks nothing doesn't pay.
type credentialNames struct{ name, harmless *regexp.Regexp }

const (
	credentialName = `(?i)(^|[_.-])(passw(or)?d|passphrase|passwd|pwd|secret|secret_?key(_?base)?|token|api_?key|apikey|access_?key(_?id)?|private_?key|auth_?token|credentials?|client_?secret|pass|encryption_?key|master_?key|signing_?key|deploy_?key)([_.-]?[0-9]*)$|(password|apikey|secretkey|accesskey|authtoken|privatekey)$`
	// harmlessName ends in what only points at a secret.
	harmlessName = `(?i)(_file|_path|_name|_id|_url|_dir|_length|_ttl|_expiry|_type|_arn|_ref|_policy)$|^(.*_)?(public|max|min|allow_empty|no)_|^key$`
)

func (c *credentialNames) holds(name, value ref.Val) ref.Val {
	n, v := textOf(name), strings.TrimSpace(textOf(value))
	if !c.name.MatchString(n) || c.harmless.MatchString(n) && !strings.HasSuffix(strings.ToLower(n), "access_key_id") {
		return types.False
	}
	return types.Bool(isLiteral(v))
}

// isLiteral says whether a value is the thing itself: not empty, no variable, template, path or switch.
func isLiteral(v string) bool {
	switch strings.ToLower(v) {
	case "", "true", "false", "yes", "no", "none", "null", "0", "1", "optional", "required":
		return false
	}
	return !strings.HasPrefix(v, "$") && !strings.Contains(v, "${") && !strings.Contains(v, "{{") && !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "<") &&
		!strings.HasPrefix(v, "vault:") && !strings.HasPrefix(v, "arn:")
}

// image is an image's reference, taken apart.
func parseImage(s string) map[string]any {
	name, digest, _ := strings.Cut(s, "@")
	if !strings.Contains(digest, ":") { // "@v1" names nothing
		digest = ""
	}
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	return map[string]any{"ref": s, "name": name, "base": base, "tag": tag, "digest": digest, "dynamic": strings.ContainsAny(s, "${%")}
}

// isSensitivePath says whether a mount of it opens the host: folders that hold everything, and whatever lies in those of the system,
// its keys, devices and container runtime. Folders for data (/srv/x, /home/x, /var/www) aren't.
func isSensitivePath(p string) bool {
	if !strings.HasPrefix(p, "/") {
		return false
	}
	p = path.Clean(p)
	if slices.Contains([]string{"/", "/home", "/media", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/spool"}, p) {
		return true
	}
	for _, dir := range []string{
		"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var/lib/containerd", "/var/lib/docker",
		"/var/lib/etcd", "/var/lib/kubelet", "/var/log", "/var/run", "/var/spool/cron",
	} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}
