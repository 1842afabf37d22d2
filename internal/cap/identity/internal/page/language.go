package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	textlanguage "golang.org/x/text/language"
)

//go:embed texts/*.json
var textFiles embed.FS

// Key names a text. Problems, events and scopes are given by key, so that they can be said in
// every language.
type Key string

// language is one language's texts. Placeholders are words in braces.
type language struct {
	Code, Name string
	texts      map[Key]string
}

type languages struct {
	all     []*language // the first is the one that is used when none fits
	matcher textlanguage.Matcher
}

const maxText = 2000 // bytes of one text that an operator brings

// newLanguages reads the embedded texts and lays the operator's over them.
func newLanguages(own map[string]map[string]string) (*languages, error) {
	ls := &languages{}
	var tags []textlanguage.Tag
	for _, l := range []*language{{Code: "en", Name: "English"}, {Code: "de", Name: "Deutsch"}} {
		b, err := textFiles.ReadFile("texts/" + l.Code + ".json")
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		if err := json.Unmarshal(b, &l.texts); err != nil {
			return nil, fmt.Errorf("read texts %s: %w", l.Code, err)
		}
		if err := l.replace(own[l.Code]); err != nil {
			return nil, err
		}
		ls.all = append(ls.all, l)
		tags = append(tags, textlanguage.Make(l.Code))
	}
	for code := range own {
		if ls.find(code) == nil {
			return nil, fmt.Errorf("texts: there is no language %q, only en and de", code)
		}
	}
	ls.matcher = textlanguage.NewMatcher(tags)
	return ls, nil
}

var placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{[a-z]+\}`) })

// replace takes an operator's texts over ours. A text may leave a placeholder out but not bring one.
func (l *language) replace(own map[string]string) error {
	keys := make([]string, 0, len(own))
	for k := range own {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		ours, ok := l.texts[Key(k)]
		switch text := own[k]; {
		case !ok:
			return fmt.Errorf("texts: %s has no key %q", l.Code, k)
		case strings.TrimSpace(text) == "" || len(text) > maxText || strings.ContainsFunc(text, isControl):
			return fmt.Errorf("texts: %s %s needs 1 to %d bytes without control characters", l.Code, k, maxText)
		default:
			for _, p := range placeholder().FindAllString(text, -1) {
				if !strings.Contains(ours, p) {
					return fmt.Errorf("texts: %s %s knows no %s", l.Code, k, p)
				}
			}
			l.texts[Key(k)] = text
		}
	}
	return nil
}

// text is a key's text with its placeholders filled by pairs of name and value.
func (l *language) text(k Key, pairs ...any) (string, error) {
	s, ok := l.texts[k]
	if !ok {
		return "", fmt.Errorf("no text %q", k)
	}
	if len(pairs)%2 != 0 {
		return "", fmt.Errorf("text %q: a placeholder without a value", k)
	}
	var replace []string
	for i := 0; i < len(pairs); i += 2 {
		replace = append(replace, "{"+fmt.Sprint(pairs[i])+"}", fmt.Sprint(pairs[i+1]))
	}
	return strings.NewReplacer(replace...).Replace(s), nil
}

func (ls *languages) find(code string) *language {
	i := slices.IndexFunc(ls.all, func(l *language) bool { return l.Code == code })
	if i < 0 {
		return nil
	}
	return ls.all[i]
}

const maxAcceptLanguage = 256 // bytes; browsers send less than 100

// of is the reader's language, and whether this request chose it.
func (ls *languages) of(r *http.Request) (*language, bool) {
	if r.Method == http.MethodGet {
		if l := ls.find(r.URL.Query().Get(languageQuery)); l != nil {
			return l, true
		}
	}
	if c, err := r.Cookie(LanguageCookie); err == nil {
		if l := ls.find(c.Value); l != nil {
			return l, false
		}
	}
	accept := r.Header.Get("Accept-Language")
	if len(accept) > maxAcceptLanguage {
		return ls.all[0], false
	}
	tags, _, err := textlanguage.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return ls.all[0], false
	}
	_, i, _ := ls.matcher.Match(tags...)
	return ls.all[i], false
}
