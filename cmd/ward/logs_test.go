package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// printing prints what attacks a log and whoever reads it.
const printing = `
i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo "line $i of a flood"; done
printf 'half of a token: ghp_ABCDEFGHIJKLM'; printf 'NOPQRSTUVWXYZ0123456789\n'
x=xxxxxxxxxx; for i in 1 2 3 4 5 6 7 8 9 10; do x=$x$x; done # 10,240
y=yyyyyy; for i in 1 2 3 4 5 6 7 8 9 10; do y=$y$y; done # 6,144: the token stands across 16,384
printf '%s%.6120s ghp_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 long\n' $x $y
printf '\033]0;owned\007\033[2Jcleared\n'
printf 'ERROR catalog | not from catalog\n'
printf 'binary \000\001\377\376 end\n'
printf '{"level":"warn","msg":"slow","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}\n'
printf '%s%s%s%s%s%s%s%s\n' $x $x $x $x $x $x $x $x
printf 'flood is over\n'
`

func TestLogsAreSearched(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, strings.Replace(twoServices, "  lonely:\n    run: [./toy]", "  lonely:\n    files: {read: [print.sh]}\n    restart: on-failure\n    run: [sh, print.sh]", 1), func(c *up.Config) {
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.File), "print.sh"), []byte(printing), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	logs := func(args ...string) string {
		t.Helper()
		code, out, errs := say(append([]string{"logs", "-f", w.File}, args...)...)
		if code != 0 {
			t.Fatalf("%v: %d %s", args, code, errs)
		}
		return out
	}
	wardtest.Eventually(t, "all lines are kept", func() bool { return strings.Contains(logs("lonely", "--grep", "Flood"), "flood is over") })
	all := logs("-n", "1000") + logs("catalog")
	for _, want := range []string{"| toy service listens on", "| half of a token: *", "* long\n", "cleared", "binary ", " end\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, bad := range []string{"ghp_", "ABCDEF", "0123456789", "\x1b", "\x00"} {
		if strings.Contains(all, bad) {
			t.Errorf("%q was printed", bad)
		}
	}
	if out := logs("--level", "error"); !strings.Contains(out, "lonely | ERROR catalog | not from catalog") || strings.Contains(out, "slow") {
		t.Errorf("errors: %.300s", out)
	}
	var e watch.LogEntry
	if err := json.Unmarshal([]byte(logs("--json", "-n", "1", "--trace", "4bf92f3577b34da6a3ce929d0e0e4736")), &e); err != nil || e.Service != "lonely" || e.Level.String() != "warn" || e.Trace == "" || time.Since(e.Time) > time.Hour {
		t.Errorf("%+v %v", e, err)
	}
	if out := logs("--regexp", "^toy .* [0-9]+$", "--since", "1h", "-n", "1"); strings.Count(out, "\n") != 1 {
		t.Errorf("one line: %q", out)
	}
	if out := logs("catalog", "--grep", "not from"); out != "" {
		t.Errorf("a line of another service: %s", out)
	}
	for want, args := range map[string][]string{
		"no service \"nobody\"": {"nobody"}, "can't be read": {"--regexp", "("}, "neither a time": {"--since", "x"}, "is no level": {"--level", "bad"}, "1 or more": {"-n", "0"}, "32 digits": {"--trace", "7"},
	} {
		if code, _, errs := say(append([]string{"logs", "-f", w.File}, args...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
	if out := logs("lonely", "--grep", "I/O error"); out != "" {
		t.Errorf("a service that prints much is refused by its pipe: %.300s", out)
	}
	if code, out, errs := say("slo", "-f", w.File); code != 0 || !strings.Contains(out, "PROMISED") && !strings.Contains(out, "nothing was asked for") {
		t.Errorf("slo: %d %s %s", code, out, errs)
	}
}
