// Package seen remembers when Ward itself first saw each release, because the age of a release is what its publisher would lie about.
//
// Guarantee: a release that appears after the first contact with its part counts from the moment it was seen, whatever anybody says of its
// age; times never run backwards within the log, and lie in the future for nobody; the same version with other content is another release; what
// was returned is on disk. Not guaranteed: the age of what was there at the first contact, where only its publisher tells it (Claimed).
package seen

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
)

// Since says from when on a release counts.
type Since struct {
	Time    time.Time
	Claimed bool // its publisher's word, at the first contact
}

// Old tells whether a release has been there for a while.
func (s Since) Old(now time.Time, wait time.Duration) bool {
	return !s.Time.IsZero() && now.Sub(s.Time) >= wait
}

// Log is the file. It may be used by several processes at once.
type Log struct {
	path  string
	clock clock.Clock
}

// Open returns the log in a file, which Note makes if it isn't there.
func Open(path string, c clock.Clock) *Log { return &Log{path, c} }

// line is one record; that with no version says that the part was met.
type line struct {
	Ecosystem string    `json:"ecosystem"`
	Name      string    `json:"name"`
	Version   string    `json:"version,omitempty"`
	Integrity string    `json:"integrity,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Claimed   bool      `json:"claimed,omitempty"`
	At        time.Time `json:"at"` // when it was written
}

// maxLog bounds the file.
const maxLog = 256 << 20

// Note writes down what is listed of a part, and says since when each of it counts, by version.
func (l *Log) Note(ecosystem, name string, releases []registry.Release) (map[string]Since, error) {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open first-seen log: %w", err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock first-seen log: %w", err)
	}
	known, err := read(f, ecosystem, name)
	if err != nil {
		return nil, err
	}
	if known.torn > 0 {
		if err := f.Truncate(known.size); err != nil {
			return nil, fmt.Errorf("mend first-seen log: %w", err)
		}
	}
	out, fresh := known.judge(l.clock.Now(), ecosystem, name, releases)
	if len(fresh) == 0 {
		return out, nil
	}
	var text bytes.Buffer
	for _, x := range fresh {
		b, err := json.Marshal(x)
		if err != nil {
			return nil, fmt.Errorf("write first-seen log: %w", err)
		}
		text.Write(append(b, '\n'))
	}
	if _, err := f.Write(text.Bytes()); err != nil {
		return nil, fmt.Errorf("write first-seen log: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("write first-seen log: %w", err)
	}
	return out, nil
}

// known is what the log says of one part.
type known struct {
	met      bool
	versions map[string]line
	last     time.Time // the latest time in the whole log
	size     int64     // of the whole lines
	torn     int       // bytes of a last line that was never finished
}

// read takes a whole log. A line that was cut short by a crash was never acted upon; any other that can't be read is an error.
func read(r io.Reader, ecosystem, name string) (*known, error) {
	k := &known{versions: map[string]line{}}
	in := bufio.NewReader(io.LimitReader(r, maxLog+1))
	for n := 1; ; n++ {
		b, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			k.torn = len(b)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read first-seen log: %w", err)
		}
		k.size += int64(len(b))
		var x line
		if err := json.Unmarshal(b, &x); err != nil || x.Name == "" || x.At.IsZero() {
			return nil, fault.Wrap(fault.Invalid, fmt.Sprintf("line %d of the log of first-seen releases can't be read; mend it, or remove the log and wait anew", n), err)
		}
		if x.At.After(k.last) {
			k.last = x.At
		}
		if x.Ecosystem == ecosystem && x.Name == name {
			k.met = true
			k.versions[x.Version] = x // the last word counts
		}
	}
	if k.size+int64(k.torn) > maxLog {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("the log of first-seen releases is larger than %d MB", maxLog>>20))
	}
	return k, nil
}

// judge says since when each release counts, and what is to be written down.
func (k *known) judge(now time.Time, ecosystem, name string, releases []registry.Release) (map[string]Since, []line) {
	if now.Before(k.last) {
		now = k.last // the clock went back: what is new must not become older by that
	}
	now = now.UTC()
	out := map[string]Since{}
	var fresh []line
	if !k.met {
		fresh = append(fresh, line{Ecosystem: ecosystem, Name: name, At: now})
	}
	for _, r := range releases {
		x, ok := k.versions[r.Version]
		if !ok || x.Integrity != r.Integrity {
			x = line{Ecosystem: ecosystem, Name: name, Version: r.Version, Integrity: r.Integrity, Since: now, At: now}
			if !k.met && !ok && !r.Published.IsZero() && r.Published.Before(now) {
				x.Since, x.Claimed = r.Published.UTC(), r.Claimed
			}
			fresh = append(fresh, x)
		}
		out[r.Version] = Since{x.Since, x.Claimed}
	}
	return out, fresh
}
