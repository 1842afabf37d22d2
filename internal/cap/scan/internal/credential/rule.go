package credential

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/finding"
)

//go:embed rules/*.yaml
var ruleFiles embed.FS

// rule is one entry of rules/*.yaml. It has token or value, or both; a group in a pattern is the credential, else all of it is.
type rule struct {
	ID       string   `yaml:"id"`       // "secret-" and the name
	Title    string   `yaml:"title"`    // the kind: "GitHub token"
	Keywords []string `yaml:"keywords"` // lower case; token is tried where one stands
	Names    []string `yaml:"names"`    // lower case; value is tried where a name has one
	Token    string   `yaml:"token"`    // RE2: what begins with one of Names
	Back     bool     `yaml:"back"`     // the token begins before the keyword, where its word does
	Value    string   `yaml:"value"`    // RE2, any case: all of what is assigned to a name with one of Names
	Entropy  float64  `yaml:"entropy"`  // bits per character that the credential must have; 3 if it is left out
	Random   bool     `yaml:"random"`   // it must look drawn by lot too, not like words
	Generic  bool     `yaml:"generic"`  // a guess by the name alone: not in tests, lock files and generated ones
	Exact    bool     `yaml:"exact"`    // the form says enough: regular values and those of examples count, too
	Files    []string `yaml:"files"`    // lower case: how the names of the files end that it is for; none stands for all

	Identifier bool `yaml:"identifier"` // no secret by itself: it names the application that has one

	Severity string   `yaml:"severity"`
	Opens    string   `yaml:"opens"`  // what who has it can do: "push to its owner's repositories"
	Revoke   string   `yaml:"revoke"` // where it ends: "at github.com/settings/tokens"
	URL      string   `yaml:"url"`
	Bad      []string `yaml:"bad"`  // examples; {hex:32} stands for so many characters by lot, since real ones would be found here
	Good     []string `yaml:"good"` // what looks like it and isn't

	Published []string `yaml:"published"` // values that documentation prints: 8 bytes of their SHA-256, in hex

	severity     finding.Severity
	unsure       string                // why it may be none; "" for a form of its own
	token, value func() *regexp.Regexp // compiled when first needed
	order        int
}

// loadRules reads the rules, the more certain ones first.
func loadRules() ([]*rule, error) {
	files, err := ruleFiles.ReadDir("rules")
	if err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	var out []*rule
	for _, f := range files {
		src, err := ruleFiles.ReadFile("rules/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("load rules: %w", err)
		}
		var some []*rule
		dec := yaml.NewDecoder(bytes.NewReader(src))
		dec.KnownFields(true)
		if err := dec.Decode(&some); err != nil {
			return nil, fmt.Errorf("load rules of %s: %w", f.Name(), err)
		}
		out = append(out, some...)
	}
	slices.SortStableFunc(out, func(a, b *rule) int { return a.doubt() - b.doubt() })
	for i, r := range out {
		r.order, r.severity = i, finding.SeverityOf(r.Severity)
		if r.Entropy == 0 {
			r.Entropy = 3
		}
		if r.Generic {
			r.unsure = "only the name and the randomness of the value say so"
		}
		r.token, r.value = lazy(r.Token), lazy("(?i:"+r.Value+`)\z`)
	}
	return out, nil
}

// doubt is how uncertain a rule is: a form of its own, a service's name beside a plain value, or only a name.
func (r *rule) doubt() int {
	switch {
	case r.Exact:
		return -1
	case len(r.Files) > 0: // they may turn out not to hold, and so take nothing's place
		return 4
	case r.Identifier:
		return 3
	case r.Generic:
		return 2
	case r.Token == "":
		return 1
	}
	return 0
}

// counts tells whether the rule is for a file of that name.
func (r *rule) counts(name string) bool {
	lower := strings.ToLower(name)
	return len(r.Files) == 0 || slices.ContainsFunc(r.Files, func(end string) bool { return strings.HasSuffix(lower, end) })
}

// guesses tells whether the rule stays out of dull files.
func (r *rule) guesses() bool { return r.Generic || r.Identifier }

// lazy compiles a pattern that a test has compiled before.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?:` + pattern + `)`) })
}

// hit is a credential in a text.
type hit struct {
	rule       *rule
	start, end int
	shown      string // the public beginning, or ""
	number     int    // of this rule's credentials in the text, from 1
	value      digest
}

func (h *hit) finding(at finding.Location) finding.Finding {
	r := h.rule
	title := r.Title
	if h.shown != "" {
		title += " " + h.shown + "…"
	}
	if h.number > 1 {
		title += fmt.Sprintf(" (no. %d here)", h.number)
	}
	f := finding.Finding{
		ID: r.ID, Kind: finding.Secret, Tool: "ward", Title: title, URL: r.URL, Severity: r.severity, Location: at, Mark: h.mark(at.Path),
		Detail: "Whoever reads this, here or in any copy, can " + r.Opens + " (CWE-798).",
		Fix:    "Revoke it " + r.Revoke + ", then give the new one to the service alone, as a secret in ward.yaml: git keeps the old one for ever.",
	}
	if r.Identifier {
		f.Detail = "It is public by itself: whoever reads it can " + r.Opens + ", which is what it is for."
		f.Fix = "Nothing has to be revoked; see to it that the secret that belongs to it isn't here, too."
	}
	f.Unsure = r.unsure
	return f
}

// mark tells a credential that takes another one's place from it: a baseline hides only the one that was there. 16 bits, and others for each
// rule and file, since reports are passed on: who guesses passwords learns too little from them. One new value of 65,536 has the old one's.
func (h *hit) mark(path string) string {
	keyed := hmac.New(sha256.New, []byte(h.rule.ID+"\x00"+path))
	keyed.Write(h.value[:])
	return hex.EncodeToString(keyed.Sum(nil)[:2])
}

// shownOf is what may be shown of a credential: the beginning of it that all of its kind share.
func shownOf(r *rule, text string) string {
	for _, k := range r.Keywords {
		if !r.Back && len(k) >= 3 && len(text) >= len(k) && strings.EqualFold(text[:len(k)], k) {
			return text[:min(len(k), 4)]
		}
	}
	return ""
}
