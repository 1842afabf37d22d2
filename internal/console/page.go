package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/console/internal/access"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

//go:embed html/*.html static/* uplot/*.js uplot/*.css
var files embed.FS

// asset is a file that pages load.
type asset struct {
	path    string
	kind    string
	content []byte
}

// readAssets gives each file an address that holds its content's hash.
func readAssets() (map[string]asset, error) {
	out := map[string]asset{}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, folder := range []string{"static", "uplot"} {
		entries, err := files.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("read assets: %w", err)
		}
		for _, e := range entries {
			content, err := files.ReadFile(folder + "/" + e.Name())
			if err != nil {
				return nil, fmt.Errorf("read assets: %w", err)
			}
			sum, ext := sha256.Sum256(content), path.Ext(e.Name())
			out[e.Name()] = asset{"/static/" + strings.TrimSuffix(e.Name(), ext) + "-" + base64.RawURLEncoding.EncodeToString(sum[:9]) + ext, types[ext], content}
		}
	}
	return out, nil
}

// static serves assets for good: another content has another address.
func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	for _, a := range c.assets {
		if a.path == r.URL.Path {
			w.Header().Set("Content-Type", a.kind)
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
			return
		}
	}
	http.Error(w, "there is no such file", http.StatusNotFound)
}

// frame is what every page has around it.
type frame struct {
	view
	App                     string
	Menu                    []entry
	Session                 *access.Session
	Operator, Administrator bool   // what the session may, as its role says
	People                  bool   // users: is on
	Leave                   string // where a form ends the session
	Prove                   string // where to show again who one is, before a strong act; "" if that isn't needed
	ByLink                  bool   // that is shown by a new link, and not at Prove
	Now                     time.Time
	Done                    string // what was just done
}

// entry is one of the menu.
type entry struct{ Key, Path, Name string }

// menu is that of every page; a constant list.
var menu = []entry{
	{"map", "/", "Map"},
	{"findings", "/findings", "Findings"},
	{"traces", "/traces", "Traces"},
	{"logs", "/logs", "Logs"},
	{"audit", "/audit", "Audit"},
	{"people", "/people", "People"},
	{"posture", "/posture", "Posture"},
}

// doneText says what was done; the address holds the word alone, so that no link can put a text on a page.
var doneText = map[string]string{
	"closed": "The finding is closed. What happens again is a new one.", "silenced": "Silenced. It gets no answer until then, and ends by itself.",
	"heard": "The silence has ended.", "blocked": "The client is blocked.", "slowed": "The client is slowed down to a request a second.", "quarantined": "The service is in quarantine: it calls nobody, and nobody calls it, until somebody lifts it, at most for 30 days.",
	"lifted": "Lifted.", "revoked": "The sessions have ended.", "checking": "Every record is being read again.",
}

// readPages reads each template with the layout around it.
func readPages(assets map[string]asset) (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(template.FuncMap{
		"asset": func(name string) (string, error) {
			a, ok := assets[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %s", name)
			}
			return a.path, nil
		},
		"when": when, "until": until, "stamp": stamp, "rate": rate, "took": took, "percent": percent, "size": size, "name": partyName, "link": partyLink,
		"badge": badge, "known": known, "verdict": verdictText, "count": count, "count64": func(n int64, thing string) string { return count(int(n), thing) }, "every": func(seconds int) string { return span(time.Duration(seconds) * time.Second) }, "lines": func(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") },
		"query": url.QueryEscape, "both": func(frame any, data any) pair { return pair{frame, data} }, "clip": clip, "level": levelMark, "quoted": quoted, "sent": func() []string { return []string{"client", "reason", "for", "slow", "finding"} },
	}).ParseFS(files, "html/layout.html", "html/parts.html")
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	entries, err := files.ReadDir("html")
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	out := map[string]*template.Template{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(files, "html/"+e.Name())
		}
		if err != nil {
			return nil, fmt.Errorf("read page %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

// pair hands two things to a template.
type pair struct{ F, D any }

// when is how long ago something was, with the time itself for who points at it.
func when(now, t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	d := now.Sub(t)
	text := span(d) + " ago"
	switch {
	case d < -time.Second:
		text = "in " + span(-d)
	case d < 2*time.Second:
		text = "now"
	}
	return timeElement(t, text)
}

// until is when something ends.
func until(now, t time.Time) template.HTML {
	if !now.Before(t) {
		return timeElement(t, "ended")
	}
	return timeElement(t, span(t.Sub(now))+" more")
}

// stamp is a time of day, with the date where it is another day's.
func stamp(now, t time.Time) template.HTML {
	if now.UTC().Format(time.DateOnly) != t.UTC().Format(time.DateOnly) {
		return timeElement(t, t.UTC().Format("2 Jan 15:04:05"))
	}
	return timeElement(t, t.UTC().Format("15:04:05"))
}

// timeElement is safe as HTML: times and our own words alone are in it.
func timeElement(t time.Time, text string) template.HTML {
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `" title="` + t.UTC().Format("2006-01-02 15:04:05 UTC") + `">` + template.HTMLEscapeString(text) + `</time>`)
}

// span is a duration in one unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// rate is how many a second, "–" for none.
func rate(v float64) string {
	switch {
	case v <= 0 || math.IsNaN(v):
		return "–"
	case v < 0.1:
		return "<0.1/s"
	case v < 10:
		return fmt.Sprintf("%.1f/s", v)
	case v < 10_000:
		return fmt.Sprintf("%.0f/s", v)
	}
	return fmt.Sprintf("%.1fk/s", v/1000)
}

// took is a duration as people read it.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func percent(v float64) string {
	switch {
	case v <= 0:
		return "–"
	case v < 0.001:
		return "<0.1 %"
	}
	return fmt.Sprintf("%.1f %%", v*100)
}

func size(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d GB", n>>30)
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func clip(n int, s string) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// known is a sensitivity's word, "" where none was declared.
func known(s model.Sensitivity) string {
	if s == model.SensitivityUnset {
		return ""
	}
	return s.String()
}

// partyName is what people call a party of an edge.
func partyName(id string) string {
	switch id {
	case plan.Outside:
		return "Internet"
	case plan.Self:
		return "Ward"
	case "":
		return "undeclared"
	}
	return id
}

// partyLink is where a service is shown, "" for what is none.
func partyLink(id string) string {
	if id == "" || id == plan.Outside || id == plan.Self {
		return ""
	}
	return "/services/" + url.PathEscape(id)
}

// mark is a state that is shown by a sign, a word and a colour.
type mark struct{ Class, Sign, Word string }

// badge is a severity.
func badge(s finding.Severity) mark {
	switch s {
	case finding.Critical:
		return mark{"critical", "▲", "critical"}
	case finding.High:
		return mark{"high", "▲", "high"}
	case finding.Medium:
		return mark{"medium", "◆", "medium"}
	}
	return mark{"low", "●", "low"}
}

func verdictText(v telemetry.Verdict) mark {
	switch v {
	case telemetry.Allowed:
		return mark{"good", "✓", "allowed"}
	case telemetry.Limited:
		return mark{"high", "✕", "limited"}
	case telemetry.Failed:
		return mark{"medium", "!", "failed"}
	}
	return mark{"critical", "✕", "refused"}
}

// compressed answers in gzip where it is understood; events go as they are, and so does what another site's page leads to: it chooses a part of the
// page, and could learn the rest from how well both compress together (BREACH).
func compressed(next http.Handler) http.Handler {
	writers := sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is a valid one
		return z
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		if r.URL.Path == wire.ConsoleEvents || r.Method != http.MethodGet || site == "cross-site" || site == "same-site" || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		z := writers.Get().(*gzip.Writer)
		z.Reset(w)
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Vary", "Accept-Encoding")
		r.Header.Del("Range")
		next.ServeHTTP(&zipped{ResponseWriter: w, z: z}, r)
		_ = z.Close() // the reader has gone
		writers.Put(z)
	})
}

// zipped is an answer in gzip.
type zipped struct {
	http.ResponseWriter
	z *gzip.Writer
}

// WriteHeader forgets the length, which is that of the plain text.
func (z *zipped) WriteHeader(status int) {
	z.Header().Del("Content-Length")
	z.ResponseWriter.WriteHeader(status)
}

func (z *zipped) Write(b []byte) (int, error) {
	z.Header().Del("Content-Length")
	return z.z.Write(b)
}

// part is a piece of a sentence; what is to be typed is shown so.
type part struct {
	Text  string
	Typed bool
}

// quoted takes a sentence apart in which what is to be typed is in backticks.
func quoted(s string) []part {
	var out []part
	for i, text := range strings.Split(s, "`") {
		out = append(out, part{text, i%2 == 1})
	}
	return out
}
