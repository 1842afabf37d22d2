package output

import (
	"context"
	"sync/atomic"

	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/wire"
)

// Leaks finds secrets, the numbers of payment cards, and credentials that show what they are, in what services and Ward's own processes print.
type Leaks struct {
	prints atomic.Pointer[leak.Fingerprints] // nil until control has told them
	Found  func(who string, f leak.Finding)
	Shown  func(who, kind string) // a credential that shows what it is
}

// Follow keeps the fingerprints as control has them until ctx ends.
func (l *Leaks) Follow(ctx context.Context, c *wire.Client) {
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
	leaks  *Leaks
	who    string
	prints *leak.Fingerprints
	finder *leak.Finder
	tokens leak.Tokens
	within bool // a line
}

func (l *Leaks) cleaner(who string) *cleaner { return &cleaner{leaks: l, who: who} }

// clean returns the line with asterisks in place of what must not be in it. Where more of it follows, its end may come then.
func (c *cleaner) clean(line []byte, more bool) []byte {
	if now := c.leaks.prints.Load(); c.finder == nil || now != c.prints && !c.within {
		c.prints = now
		c.finder = now.Finder(true, func(f leak.Finding) { c.leaks.Found(c.who, f) })
	}
	out := c.finder.Mask(make([]byte, 0, len(line)), line)
	if c.within = more; !more {
		out = c.finder.Flush(out)
	}
	c.tokens.Mask(out, func(kind string) { c.leaks.Shown(c.who, kind) })
	return out
}
