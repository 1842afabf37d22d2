// Package pace bounds how slowly a client brings a body.
//
// Guarantee: on average a body comes at the rate that is asked for, or it is cut; but for a grace, which what comes fast earns again. Only time that
// is spent waiting for the client counts.
package pace

import (
	"io"
	"os"
	"sync"
	"time"
)

// slowAfter is how far a body is behind when it counts as slow.
const slowAfter = 3 * time.Second

// Pace is that of one body after the other. It is for one reader, and safe for use by others meanwhile.
type Pace struct {
	Rate  int // bytes a second
	Grace time.Duration
	Slow  func(bool) // called when a body becomes slow, and when a slow one has ended; it must not wait
	Cut   func()     // called once the time is up; from then on Read fails

	mu     sync.Mutex
	on     bool          // guarded by mu, as all below: a body is on its way
	behind time.Duration // negative: ahead
	since  time.Time     // of the wait that goes on; zero for none
	told   bool          // it is slow
	over   bool          // the time is up
	timer  *time.Timer   // nil until the first wait
}

// Start begins a body.
func (p *Pace) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on, p.behind, p.since, p.told, p.over = true, 0, time.Time{}, false, false
}

// Stop ends it.
func (p *Pace) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.told {
		p.Slow(false)
	}
	p.on, p.told = false, false
}

// begin tells that we wait for the client from now on, and false if the time is up.
func (p *Pace) begin(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = now
	if p.timer == nil {
		p.timer = time.AfterFunc(p.next(now), func() { p.check(time.Now()) })
	} else if p.behind == 0 { // the first wait of another body
		p.timer.Reset(p.next(now))
	}
	return !p.over
}

// end tells that n bytes have come.
func (p *Pace) end(now time.Time, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behind = max(p.late(now)-time.Duration(n)*time.Second/time.Duration(p.Rate), -p.Grace)
	p.since = time.Time{}
}

// late is how far the body is behind now; mu is held.
func (p *Pace) late(now time.Time) time.Duration {
	if p.since.IsZero() {
		return p.behind
	}
	return p.behind + now.Sub(p.since)
}

// next is when to look again; mu is held.
func (p *Pace) next(now time.Time) time.Duration {
	limit := p.Grace
	if !p.told {
		limit = min(slowAfter, p.Grace)
	}
	return max(limit-p.late(now), p.Grace/20) // while nobody waits it stands still
}

// check looks whether the body is too late.
func (p *Pace) check(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on || p.over {
		return
	}
	late := p.late(now)
	if late >= min(slowAfter, p.Grace) && !p.told {
		p.told = true
		p.Slow(true)
	}
	if late >= p.Grace {
		p.over = true
		p.Cut()
		return
	}
	p.timer.Reset(p.next(now))
}

// Read reads from r, which is what the client brings.
func (p *Pace) Read(r io.Reader, b []byte) (int, error) {
	if !p.begin(time.Now()) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := r.Read(b)
	p.end(time.Now(), n)
	return n, err
}

// Body is a body of HTTP/2.
type Body struct {
	io.ReadCloser
	Pace *Pace
}

// Read is Pace's.
func (b *Body) Read(p []byte) (int, error) { return b.Pace.Read(b.ReadCloser, p) }
