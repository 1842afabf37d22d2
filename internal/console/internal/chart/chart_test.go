package chart

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func values(v ...float64) (out []*float64) {
	for _, x := range v {
		if x < 0 {
			out = append(out, nil)
			continue
		}
		out = append(out, &x)
	}
	return out
}

func plain(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strings.Repeat("|", int(v)), " "), " ")
}

func draw(v ...float64) Chart {
	return Draw("x", []Series{{"a", values(v...)}}, time.Unix(0, 0), time.Minute, plain)
}

func TestWhatIsUnknownIsAGap(t *testing.T) {
	c := draw(1, 2, -1, 3, -1, 2, 1)
	if got := strings.Count(c.Lines[0].D, "M"); got != 2 || len(c.Lines[0].Dots) != 1 {
		t.Errorf("%d lines, %d dots: %s", got, len(c.Lines[0].Dots), c.Lines[0].D)
	}
	if diff := cmp.Diff([]string{"|", "|||"}, []string{c.Lines[0].Last, c.Lines[0].Most}); diff != "" {
		t.Error(diff)
	}
}

func TestNothingKnownIsEmptyAndZeroIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		chart Chart
		empty bool
	}{
		"no series": {Draw("x", nil, time.Unix(0, 0), time.Minute, plain), true}, "unknown": {draw(-1, -1), true}, "no values": {draw(), true},
		"not a number": {draw(math.NaN(), math.Inf(1)), true}, "zero": {draw(0, 0), false},
	} {
		if c.chart.Empty != c.empty {
			t.Errorf("%s: %+v", name, c.chart)
		}
	}
}

func TestTheCeilingIsARoundNumberAboveAll(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.01: 2, 7: 10, 99: 100, 101: 200} {
		if got := round(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%g: %g, not %g", v, got, want)
		}
	}
}
