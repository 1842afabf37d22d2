// Package pace bounds how slowly a client brings a body.
//
// Guarantee: on average a body comes at the rate that is asked for, or it is cut; but for a grace, which what comes fast earns again. Only time that
// is spent waiting for the client counts, and none while it may wait for us.
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
	// Untaken are the bodies of the connection that its services don't take now; nil where it has one at a time. As long as there are any, the client
	// may not be allowed to bring others (RFC 9113, section 5.2), and no wait counts.
	Untaken *Untaken

	mu      sync.Mutex
	on      bool          // guarded by mu, as all below: a body is on its way
	behind  time.Duration // negative: ahead
	since   time.Time     // of the wait that goes on; zero for none
	excused time.Duration // Untaken's at since
	told    bool          // it is slow
	over    bool          // the time is up
	timer   *time.Timer   // nil until the first wait
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
	p.since, p.excused = now, p.Untaken.until(now)
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
	return p.behind + now.Sub(p.since) - (p.Untaken.until(now) - p.excused)
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

// Untaken counts bodies of one connection, and how long there were any. It is safe for concurrent use.
type Untaken struct {
	mu    sync.Mutex
	n     int           // guarded by mu
	since time.Time     // guarded by mu: there are some
	whole time.Duration // guarded by mu: before that
}

func (u *Untaken) add(n int, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.n
	switch u.n += n; {
	case before == 0:
		u.since = now
	case u.n == 0:
		u.whole += now.Sub(u.since)
	}
}

// until is how long in all there were any.
func (u *Untaken) until(now time.Time) time.Duration {
	if u == nil {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == 0 {
		return u.whole
	}
	return u.whole + now.Sub(u.since)
}

// Body is a body of HTTP/2, on its way from NewBody to Stop.
type Body struct {
	io.ReadCloser
	pace *Pace

	mu      sync.Mutex
	untaken bool // guarded by mu: it counts in Untaken
	over    bool // guarded by mu: it has come, or nobody wants it
}

// NewBody begins a body, which counts for others as untaken when nobody reads it.
func NewBody(b io.ReadCloser, p *Pace) *Body {
	p.Start()
	out := &Body{ReadCloser: b, pace: p}
	out.turn(true, false)
	return out
}

// Read is Pace's.
func (b *Body) Read(p []byte) (int, error) {
	b.turn(false, false)
	n, err := b.pace.Read(b.ReadCloser, p)
	b.turn(err == nil, err != nil)
	return n, err
}

// Stop ends it.
func (b *Body) Stop() {
	b.turn(false, true)
	b.pace.Stop()
}

func (b *Body) turn(untaken, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = b.over || over
	if untaken = untaken && !b.over; untaken == b.untaken {
		return
	}
	b.untaken = untaken
	if untaken {
		b.pace.Untaken.add(1, time.Now())
	} else {
		b.pace.Untaken.add(-1, time.Now())
	}
}
