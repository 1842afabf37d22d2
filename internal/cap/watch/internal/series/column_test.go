package series

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestColumnsComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	of := func(n int, f func(i int) int64) []int64 {
		out := make([]int64, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	for name, c := range map[string]struct {
		rows []int64
		most int // bytes
	}{
		"no sample":                    {of(240, func(int) int64 { return absent }), 3},
		"zeros":                        {of(240, func(int) int64 { return 0 }), 4},
		"one of many":                  {of(240, func(i int) int64 { return int64(i/239) * 7 }), 8},
		"a constant":                   {of(240, func(int) int64 { return math.MaxInt64 }), 13},
		"a steady rate":                {of(240, func(int) int64 { return 1000 + random.Int64N(64) }), 200},
		"rare and great":               {of(240, func(i int) int64 { return int64(i%60/59) << 40 }), 40},
		"a line":                       {of(240, func(i int) int64 { return int64(i) * 1234567 }), 1100},
		"whole gauges are as small":    {of(240, func(i int) int64 { return random.Int64N(4) * gaugeUnit }), 90},
		"the longest":                  {of(maxRows, func(int) int64 { return random.Int64N(1000) }), 800},
		"the ends of the range":        {[]int64{math.MaxInt64, math.MinInt64 + 1, 0, math.MaxInt64, math.MinInt64 + 1}, 100},
		"anything":                     {of(maxRows, func(int) int64 { return max(int64(random.Uint64()), math.MinInt64+1) }), 12 * maxRows},
		"comes and goes":               {of(240, func(i int) int64 { return []int64{absent, 5, 6, absent, absent, 7}[i/7%6] }), 120},
		"begins late":                  {of(240, func(i int) int64 { return []int64{absent, 5}[i/200] }), 7},
		"ends early":                   {of(240, func(i int) int64 { return []int64{5, absent}[i/200] }), 7},
		"steady, but for one outburst": {of(240, func(i int) int64 { return 50 + random.Int64N(8) + int64(i/100*i%239/238)<<50 }), 260},
		"none":                         {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := appendColumn([]byte("before"), c.rows)[6:]
			got := make([]int64, len(c.rows))
			for _, behind := range []string{"", "what comes next"} {
				rest, err := readColumn(append(b[:len(b):len(b)], behind...), got)
				if err != nil || string(rest) != behind {
					t.Fatalf("rest %q, %v", rest, err)
				}
				if d := cmp.Diff(c.rows, got); len(got) > 0 && d != "" {
					t.Fatal(d)
				}
			}
			if len(b) > c.most {
				t.Errorf("%d bytes, more than %d", len(b), c.most)
			}
			for n := range b {
				if _, err := readColumn(b[:n], got); err == nil {
					t.Fatalf("cut to %d of %d bytes, it's whole", n, len(b))
				}
			}
		})
	}
}

func FuzzColumn(f *testing.F) {
	for _, rows := range [][]int64{{0}, {1, 2, 3, 4, 5, 6, 7, 8}, {absent, 5, absent, 1 << 60}, {1000000, 2000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9000000}} {
		f.Add(appendColumn(nil, rows), uint16(len(rows)))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		rows := make([]int64, n%(maxRows+1))
		rest, err := readColumn(b, rows)
		if err != nil {
			return
		}
		if len(rest) > len(b) {
			t.Fatal("more is left than there was")
		}
		again := make([]int64, len(rows))
		if rest, err := readColumn(appendColumn(nil, rows), again); err != nil || len(rest) > 0 {
			t.Fatalf("%v, %d bytes left", err, len(rest))
		}
		if d := cmp.Diff(rows, again); d != "" {
			t.Error(d)
		}
	})
}
