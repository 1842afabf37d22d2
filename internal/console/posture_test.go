package console

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/watch"
)

// gapsShown are the gaps that the page shows.
func gapsShown(t *testing.T, yaml string) []string {
	t.Helper()
	w := newWorld(t, yaml)
	_, page := w.enters("viewer").get("/posture")
	var out []string
	for _, m := range regexp.MustCompile(`(?s)<li data-key="[^"]*"><span class="warn"[^>]*>!</span> (.*?)</li>`).FindAllStringSubmatch(page, -1) {
		out = append(out, strings.TrimSpace(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(m[1], "")))
	}
	return out
}

func TestGaps(t *testing.T) {
	narrow := `
app: a
users: {name: A}
watch: {notify: [{to: slack, url_file: hook, host: hooks.example}], anchor: [{file: /mnt/anchor}]}
services:
  web: {run: ./web, listen: "http://:80", data: [pii], sensitivity: high, expose: {route: GET /, to: signed-in}}
`
	wide := `
app: a
watch: {canaries: off}
services:
  web:
    run: ./web
    listen: http://:80
    sensitivity: high
    expose: {route: "* /**", to: anyone}
    secrets: {key: env KEY}
    calls: {db: any, out: GET /}
  db: {run: ./db, listen: "tcp://:5432"}
secrets: {key: {generate: password}}
externals: {out: {host: out.example, port: 80, protocol: http}}
`
	if got := gapsShown(t, narrow); len(got) != 0 {
		t.Errorf("gaps where there are none: %q", got)
	}
	want := []string{
		"* /** is open to anyone, and the service is of high sensitivity line 9", "exposes more than a route: * /** line 9",
		"may do more at db than a route: any line 11",
		"key comes in a variable: children inherit it, and it can&#39;t change while the service runs line 10",
		"out is spoken to without TLS line 14", "nobody is asked who they are: there is no users:", "nobody is told of findings: there is no watch: notify:",
		"checkpoints of the audit trail stay on this machine: there is no watch: anchor:", "there are no traps: watch: canaries: is off",
	}
	if diff := cmp.Diff(want, gapsShown(t, wide)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatWardDroppedIsAGap(t *testing.T) {
	w := newWorld(t, "app: a\nservices: {web: {run: ./web}}\n")
	r := w.enters("viewer")
	if _, page := r.get("/posture"); strings.Contains(page, "dropped") {
		t.Error("something is dropped before anything was")
	}
	w.console.config.Drops = func() []watch.Drop { return []watch.Drop{{What: "spans", Count: 5}} }
	if _, page := r.get("/posture"); !strings.Contains(page, "5 dropped for want of room: 5 spans (ward metrics tells more)") {
		t.Error(page)
	}
}
