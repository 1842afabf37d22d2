package up

import (
	"context"
	"sync/atomic"

	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/wire"
)

// leaks finds secrets, the numbers of payment cards, and credentials that show what they are, in what services and Ward's own processes print.
type leaks struct {
	prints atomic.Pointer[leak.Fingerprints] // nil until control has told them
	found  func(who string, f leak.Finding)
	shown  func(who, kind string) // a credential that shows what it is
}

// follow keeps the fingerprints as control has them until ctx ends.
func (l *leaks) follow(ctx context.Context, c *wire.Client) {
	wire.Follow(ctx, "follow fingerprints", func(have string) (uint64, error) {
		f, err := c.Fingerprints(ctx, have)
		if err != nil || ctx.Err() != nil {
			return 0, err
		}
		prints, err := leak.Unmarshal(f.Prints)
		if err == nil {
			l.prints.Store(prints)
		}
		return f.Sequence, err
	})
}

// cleaner cleans one stream. It isn't for concurrent use.
type cleaner struct {
	leaks  *leaks
	who    string
	prints *leak.Fingerprints
	finder *leak.Finder
	tokens leak.Tokens
	within bool // a line
}

func (l *leaks) cleaner(who string) *cleaner { return &cleaner{leaks: l, who: who} }

// clean returns the line with asterisks in place of what must not be in it. Where more of it follows, its end may come then.
func (c *cleaner) clean(line []byte, more bool) []byte {
	if now := c.leaks.prints.Load(); c.finder == nil || now != c.prints && !c.within {
		c.prints = now
		c.finder = now.Finder(true, func(f leak.Finding) { c.leaks.found(c.who, f) })
	}
	out := c.finder.Mask(make([]byte, 0, len(line)), line)
	if c.within = more; !more {
		out = c.finder.Flush(out)
	}
	c.tokens.Mask(out, func(kind string) { c.leaks.shown(c.who, kind) })
	return out
}

// shownInLog is a credential that Ward doesn't know in what somebody prints.
func (s *Supervisor) shownInLog(who, kind string) { s.flags.Note(flagged{who, "token-in-log", kind}) }

// foundInLog is one secret in what somebody prints.
func (s *Supervisor) foundInLog(who string, f leak.Finding) {
	kind, what := "secret-in-log", f.Secret+" ("+f.Form.String()+")"
	switch {
	case f.Canary:
		kind = "canary"
	case f.Form == leak.Card:
		kind, what = "card-in-log", "the number of a payment card"
	}
	s.flags.Note(flagged{who, kind, what})
}
