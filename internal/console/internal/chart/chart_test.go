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
	return Draw("x", []Series{{Name: "a", Values: values(v...)}}, time.Unix(0, 0), time.Minute, Unit{"number", plain})
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
		"no series": {Draw("x", nil, time.Unix(0, 0), time.Minute, Unit{"number", plain}), true}, "unknown": {draw(-1, -1), true}, "no values": {draw(), true},
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

func TestTheTableIsTheHighestOfEachPart(t *testing.T) {
	a := values(1, 2, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, 3, 2)
	c := Draw("x", []Series{{Name: "a", Values: a}, {Name: "b", Values: values(4)}}, time.Unix(17*60, 0), time.Minute, Unit{"number", plain})
	if len(c.Rows) != 9 {
		t.Fatalf("%d rows", len(c.Rows))
	}
	want := map[int][]string{0: {"|||", "–"}, 1: {"–", "–"}, 7: {"|||||||||", "–"}, 8: {"||", "||||"}}
	for i, values := range want {
		if diff := cmp.Diff(values, c.Rows[i].Values); diff != "" {
			t.Errorf("row %d: %s", i, diff)
		}
	}
	if !c.Rows[0].From.Equal(time.Unix(16*60, 0)) || !c.Rows[8].From.Equal(time.Unix(0, 0)) {
		t.Errorf("from %s to %s", c.Rows[8].From, c.Rows[0].From)
	}
}

func TestTheScriptGetsGapsAsNull(t *testing.T) {
	v := values(1, -1, 1234.5678)
	v = append(v, values(math.NaN(), math.Inf(1), 1e-7)...)
	c := Draw("x", []Series{{Name: `a"<`, Stroke: 5, Values: v}}, time.Unix(60, 0), 15*time.Second, Unit{"seconds", plain})
	if want := `{"unit":"seconds","end":60,"step":15,"lines":[{"name":"a\"\u003c","stroke":5,"values":[1,null,1235,null,null,1e-07]}]}`; c.Data != want {
		t.Errorf("got %s", c.Data)
	}
	if c.Lines[0].Number != 5 {
		t.Errorf("stroke %d", c.Lines[0].Number)
	}
}
