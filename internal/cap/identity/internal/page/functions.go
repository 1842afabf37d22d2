package page

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// functions are what the templates may call, in one language.
func (p *Pages) functions(l *language) template.FuncMap {
	return template.FuncMap{
		"t":        l.text,
		"key":      func(parts ...any) Key { return Key(fmt.Sprint(parts...)) },
		"asset":    p.asset,
		"path":     func(path string) string { return p.base + path },
		"outside":  outside,
		"local":    local,
		"tabs":     tabs,
		"field":    newField,
		"scope":    l.scope,
		"time":     l.time,
		"minutes":  func(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) },
		"hours":    func(d time.Duration) int { return int((d + time.Hour - 1) / time.Hour) },
		"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"png":      func(b secret.Bytes) template.URL { return dataURL("image/png", b.Reveal()) },
		"textfile": func(codes []secret.Bytes) template.URL { return dataURL("text/plain", []byte(lines(codes))) },
		"reveal":   func(b secret.Bytes) string { return string(b.Reveal()) },
		"groups":   groups,
	}
}

func (p *Pages) asset(name string) (string, error) {
	hashed, ok := p.assets.paths[name]
	if !ok {
		return "", fmt.Errorf("no asset %q", name)
	}
	return hashed, nil
}

type tab struct {
	Path string
	Text Key
}

// tabs are the account's navigation.
func tabs() []tab {
	return []tab{
		{PathAccount, "account.title"},
		{PathProfile, "profile.title"},
		{PathFactors, "factors.title"},
		{PathSessions, "sessions.title"},
		{PathActivity, "activity.title"},
		{PathData, "data.title"},
	}
}

// outside lets an address of another site or app through, which html/template alone would refuse
// for an app's own scheme.
func outside(address string) (template.URL, error) {
	if _, err := origin(address); err != nil {
		return "", fmt.Errorf("link to %q: %w", address, err)
	}
	return template.URL(address), nil
}

// local lets only paths of our own origin through, so that no view becomes an open redirect.
func local(path string) (string, error) {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\t\r\n") {
		return "", fmt.Errorf("link to %q: it isn't a path of ours", path)
	}
	return path, nil
}

// scope says in words what a client asks for.
func (l *language) scope(s Scope) string {
	if s.Text != "" {
		return s.Text
	}
	return l.texts[Key("scope."+s.Name)]
}

// time is a moment in words, in UTC because the server doesn't know the reader's zone.
func (l *language) time(t time.Time) string {
	if l.Code == "de" {
		return t.UTC().Format("02.01.2006, 15:04") + " UTC"
	}
	return t.UTC().Format("2 Jan 2006, 15:04") + " UTC"
}

// dataURL is safe for html/template to take as it is: base64 can't leave the attribute.
func dataURL(mediaType string, b []byte) template.URL {
	return template.URL("data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(b))
}

func lines(codes []secret.Bytes) string {
	var b strings.Builder
	for _, c := range codes {
		b.Write(c.Reveal())
		b.WriteByte('\n')
	}
	return b.String()
}

// groups writes a key in groups of four, as people type it.
func groups(key secret.Bytes) string {
	var b strings.Builder
	for i, r := range string(key.Reveal()) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// field is one input with its label, hint and problem.
type field struct {
	Name, Type, Value, Autocomplete, Mode, Hint string
	Label                                       Key
	Max                                         int
	Required, Focus, ReadOnly, Code             bool
	Problem                                     *Problem
}

// newField reads pairs such as "type" "email"; flags have no value: "required", "focus", "readonly".
func newField(d document, name string, options ...any) (field, error) {
	f := field{Name: name, Type: "text", Label: Key("field." + name), Max: 255}
	for i := range d.Problems {
		if d.Problems[i].Field == name {
			f.Problem = &d.Problems[i]
		}
	}
	for i := 0; i < len(options); i++ {
		switch options[i] {
		case "required":
			f.Required = true
			continue
		case "focus":
			f.Focus = len(d.Problems) == 0 // the summary of problems takes it
			continue
		case "readonly":
			f.ReadOnly = true
			continue
		case "code":
			f.Code = true
			continue
		}
		if i+1 == len(options) {
			return f, fmt.Errorf("field %s: %v has no value", name, options[i])
		}
		value := options[i+1]
		switch options[i] {
		case "type":
			f.Type = fmt.Sprint(value)
		case "value":
			f.Value = fmt.Sprint(value)
		case "autocomplete":
			f.Autocomplete = fmt.Sprint(value)
		case "mode":
			f.Mode = fmt.Sprint(value)
		case "hint":
			f.Hint = fmt.Sprint(value)
		case "max":
			f.Max, _ = value.(int)
		default:
			return f, fmt.Errorf("field %s: no option %v", name, options[i])
		}
		i++
	}
	return f, nil
}
