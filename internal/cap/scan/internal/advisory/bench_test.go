package advisory

import (
	"encoding/binary"
	"flag"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/finding"
)

// A large index to measure, as bench/scan makes it of 215,000 advisories; without it one of 2,000 is made.
var large = flag.String("index", "", "an index to measure")

func measured(b *testing.B) *DB {
	b.Helper()
	path := *large
	if path == "" {
		path = filepath.Join(b.TempDir(), "index")
		var files []string
		for i := range 2000 {
			name := "A-" + strconv.Itoa(i)
			files = append(files, name+".json", entry(name, "npm", "p"+strconv.Itoa(i), events("SEMVER", "i=0 f=2.0.0")))
		}
		if _, err := Build(b.Context(), path, []Source{{Location: file(b, "all.zip", zipped(b, files...))}}, options()); err != nil {
			b.Fatal(err)
		}
	}
	d, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	return d
}

// packages are names of an ecosystem that the index holds, spread over all of it.
func packages(b *testing.B, d *DB, ecosystem string) []string {
	b.Helper()
	var out []string
	for i := uint64(0); i < d.keys; i += d.keys/1500 + 1 {
		row, err := d.file.Bytes(sectionKeys, i*keySize, keySize)
		if err != nil {
			b.Fatal(err)
		}
		off := uint64(binary.BigEndian.Uint32(row[8:]))
		head, err := d.file.Bytes(sectionGroups, off, 4)
		if err != nil {
			b.Fatal(err)
		}
		body, err := d.file.Bytes(sectionGroups, off+4, uint64(binary.BigEndian.Uint32(head)))
		if err != nil {
			b.Fatal(err)
		}
		c := cursor{b: body}
		if e, name, _ := strings.Cut(c.string(), "\x00"); e == ecosystem {
			out = append(out, name)
		}
	}
	return out
}

func BenchmarkOpen(b *testing.B) {
	d := measured(b)
	path := d.file.Name()
	for b.Loop() {
		d, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
	}
}

func BenchmarkFind(b *testing.B) {
	d := measured(b)
	names := packages(b, d, "npm")
	for _, bb := range []struct {
		name, suffix, version string
	}{{"hit", "", "0.0.1"}, {"fixed", "", "99.0.0"}, {"miss", "-not-there", "1.0.0"}} {
		b.Run(bb.name, func(b *testing.B) {
			var took []time.Duration
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				p := finding.Package{Ecosystem: "npm", Name: names[i%len(names)] + bb.suffix, Version: bb.version}
				start := time.Now()
				if _, err := d.Find(p); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
				i++
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}
