package watching

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
)

func TestPromisesArePrinted(t *testing.T) {
	var all []watch.SLO
	if err := json.Unmarshal([]byte(`[{"target":"web","route":"GET /","promised_availability":99.5,"promised_p99":1000000000,"availability":98.7,"over":777600000000000,"budget":-1.6,"burn_1h":20,"p99":1500000,"alert":"page","what":"It fails."}]`), &all); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[time.Duration]string{15 * time.Minute: "15 min", 90 * time.Minute: "90 min", 47 * time.Hour: "47 h", 50 * time.Hour: "2 days"} {
		if got := span(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	var out bytes.Buffer
	if err := printSLOs(&out, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"web", "GET /", "99.5% 1.0 s", "98.700%", "9 days", "-160%", "20.0", "1.5 ms", "page", "page: It fails."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %s", want, out.String())
		}
	}
}
