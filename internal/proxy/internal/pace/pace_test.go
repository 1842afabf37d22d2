package pace

import (
	"slices"
	"testing"
	"time"
)

// TestPace counts what a client is waited for against what it brings, at 100 bytes a second and a grace of 10 seconds.
func TestPace(t *testing.T) {
	type step struct {
		wait time.Duration // for the client
		rest time.Duration // in which nobody waits for it
		n    int           // bytes that come
	}
	for name, tt := range map[string]struct {
		steps []step
		said  []bool // by slow
		cut   bool
	}{
		"fast":                                   {slices.Repeat([]step{{time.Second, 0, 1000}}, 100), nil, false},
		"just fast enough":                       {slices.Repeat([]step{{time.Second, 0, 100}}, 1000), nil, false},
		"a pause":                                {[]step{{5 * time.Second, 0, 100}}, []bool{true, false}, false},
		"a byte each second":                     {slices.Repeat([]step{{time.Second, 0, 1}}, 11), []bool{true, false}, true},
		"all at once, and then next to nothing":  {append([]step{{time.Second, 0, 1 << 20}}, slices.Repeat([]step{{time.Second, 0, 1}}, 21)...), []bool{true, false}, true},
		"all at once, and a pause within credit": {[]step{{time.Second, 0, 1 << 20}, {12 * time.Second, 0, 1}}, nil, false},
		"nothing":                                {[]step{{11 * time.Second, 0, 0}}, []bool{true, false}, true},
		"who takes it is slow":                   {slices.Repeat([]step{{time.Millisecond, time.Minute, 10}}, 100), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var said []bool
			cut := 0
			p := &Pace{Rate: 100, Grace: 10 * time.Second, Slow: func(s bool) { said = append(said, s) }, Cut: func() { cut++ }}
			for range 2 { // the second body on the same connection
				said, cut = nil, 0
				now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
				p.Start()
				for _, s := range tt.steps {
					p.begin(now)
					for range int(s.wait / time.Second) {
						now = now.Add(time.Second)
						p.check(now)
					}
					now = now.Add(s.wait % time.Second)
					p.end(now, s.n)
					now = now.Add(s.rest)
					p.check(now)
				}
				open := p.begin(now)
				p.Stop()
				if !slices.Equal(said, tt.said) || (cut == 1) != tt.cut || open == tt.cut {
					t.Errorf("slow %v, want %v; cut %d times, open %v", said, tt.said, cut, open)
				}
			}
		})
	}
}

// TestWaitsForUsDontCount: while another body of the connection isn't taken, a wait counts for nothing; that one was, once, excuses no more than that.
func TestWaitsForUsDontCount(t *testing.T) {
	for name, tt := range map[string]struct {
		untaken time.Duration // of each second
		cut     bool
	}{
		"all the time":     {time.Second, false},
		"nearly":           {900 * time.Millisecond, false},
		"a moment, always": {time.Millisecond, true},
		"never":            {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			cut, now := false, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			p := &Pace{Rate: 100, Grace: 10 * time.Second, Slow: func(bool) {}, Cut: func() { cut = true }, Untaken: &Untaken{}}
			p.Start()
			p.begin(now)
			for range 15 {
				p.Untaken.add(1, now)
				p.Untaken.add(-1, now.Add(tt.untaken))
				now = now.Add(time.Second)
				p.check(now)
			}
			p.end(now, 1)
			if open := p.begin(now); cut != tt.cut || open == tt.cut {
				t.Errorf("cut %v, open %v", cut, open)
			}
			p.Stop()
		})
	}
}
