package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// TestTheReserveIsKeptFromOthers: who fills the disk again and again takes nothing of what was reserved, not even while one segment goes over into the next.
func TestTheReserveIsKeptFromOthers(t *testing.T) {
	dir := smallDisk(t, "3m")
	const limit = 256 << 10
	l, err := open(dir, "test.ward", testKey, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fill := func() {
		for err := error(nil); err == nil; {
			_, err = f.Write(make([]byte, 4096))
		}
	}
	const spare = 64 << 10 // for checkpoints, hashes and what is known before the segment
	fill()
	if st, err := f.Stat(); err != nil || f.Truncate(st.Size()-spare) != nil {
		t.Fatal(err)
	}
	l.lookAround()
	e := wire.Event{Source: "full", Kind: "x", Detail: map[string]string{"pad": string(bytes.Repeat([]byte{'y'}, 900))}}
	for err = nil; err == nil && l.Status().Segments < 2; {
		e.Seq++
		err = l.Append(t.Context(), []wire.Event{e})
	}
	fill()
	into := 0
	for ; err == nil && into < 1000; into++ {
		e.Seq++
		err = l.Append(t.Context(), []wire.Event{e})
	}
	if !isKind(err, fault.Exhausted) || into*1000 < limit-32<<10 {
		t.Errorf("after %d records in the second segment: %v", into, err)
	}
}
