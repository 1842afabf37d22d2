package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// toldWebhook takes what Ward tells: of a test and of findings apart, and heartbeats.
func toldWebhook(t *testing.T) (url string, tests, findings, beats chan string) {
	t.Helper()
	tests, findings, beats = make(chan string, 16), make(chan string, 16), make(chan string, 1024)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/forbidden":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet:
			beats <- r.URL.Path
		case r.Header.Get("webhook-signature") == "":
		case strings.Contains(string(b), `"type":"test"`):
			tests <- string(b)
		default:
			findings <- string(b)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, tests, findings, beats
}

// TestAnAttackIsTold attacks from outside; one message is with the webhook within 5 s. Only control's way out leads there.
func TestAnAttackIsTold(t *testing.T) {
	t.Parallel()
	url, tests, findings, beats := toldWebhook(t)
	yaml := twoServices + fmt.Sprintf(`watch:
  never_block: 127.0.0.1
  heartbeat: {url: "%s/beat", every: 1s}
  notify:
  - {to: webhook, url: "%[1]s/in", key_file: key.txt}
  - {to: ntfy, url: "%[1]s/forbidden", key_file: key.txt}
  - {to: ntfy, url: "https://nobody.invalid/topic"}
`, url)
	w := wardtest.Start(t, yaml, func(c *up.Config) {
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.File), "key.txt"), []byte("a key of at least 24 bytes\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	code, out, _ := say("notify", "test", "-f", w.File)
	for _, want := range []string{"webhook " + strings.TrimPrefix(url, "http://") + ": ok", ": the other side said 401 (unauthorized)", "ntfy nobody.invalid: the name of nobody.invalid:443 isn't found"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("%d, and %q isn't in\n%s", code, want, out)
		}
	}
	if len(tests) != 1 {
		t.Errorf("%d tests came", len(tests))
	}
	if code, out, _ := say("notify", "test", "--to", "webhook", "-f", w.File); code != 0 || strings.Contains(out, "ntfy") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs := say("notify", "test", "--to", "fax", "-f", w.File); code == 0 || !strings.Contains(errs, "nobody to tell") {
		t.Errorf("%d %s", code, errs)
	}
	c := from("127.0.0.66")
	began := time.Now()
	for range 5 {
		statusOf(t, c, w.URL+"/.env")
	}
	select {
	case m := <-findings:
		if took := time.Since(began); took > 5*time.Second || !strings.Contains(m, `"rule":"honey-path"`) || !strings.Contains(m, "127.0.0.66/32 is blocked until") || !strings.Contains(m, "undone by: ward answers lift ") {
			t.Errorf("after %s: %s", took, m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	wardtest.Eventually(t, "the status says it", func() bool {
		_, out, _ := say("notify", "status", "--json", "-f", w.File)
		var all []watch.ChannelStatus
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 4 {
			t.Fatalf("%v %s", err, out)
		}
		return !all[0].Sent.IsZero() && all[0].Error == "" && all[1].Waiting == 1 && strings.Contains(all[2].Error, "isn't found") && all[3].To == "heartbeat" && !all[3].Sent.IsZero()
	})
	if len(findings) != 0 {
		t.Errorf("one attack is %d messages", 1+len(findings))
	}
	wardtest.Eventually(t, "the ledger has it", func() bool {
		_, out, _ := say("audit", "--kind", "notify", "-f", w.File)
		return strings.Contains(out, "notify.sent") && strings.Contains(out, "notify.failed") && !strings.Contains(out, "/in") && !strings.Contains(out, "a key of")
	})
	if strings.Contains(w.Log.String(), "a key of at least") {
		t.Error("the key is in the log")
	}
	if got := <-beats; got != "/beat" {
		t.Error(got)
	}
}

func TestTheExamplesForNotificationsAreRight(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) != 7 {
		t.Errorf("%d examples", len(examples))
	}
	for _, x := range examples {
		file := filepath.Join(t.TempDir(), "ward.yaml")
		if err := os.WriteFile(file, append([]byte("app: a\nservices: {s: {run: x}}\n"), x[1]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := wardtest.Load(file); err != nil {
			t.Errorf("%s%v", x[1], err)
		}
	}
}
