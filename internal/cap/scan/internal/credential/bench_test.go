package credential

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkFind measures bytes of source in memory on one core: this repository's own Go files.
func BenchmarkFind(b *testing.B) {
	var files [][]byte
	total := 0
	err := filepath.WalkDir("../../../../..", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" {
			return err
		}
		src, err := os.ReadFile(name)
		files, total = append(files, src), total+len(src)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	m, err := newMatcher()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(total))
	for b.Loop() {
		for _, src := range files {
			m.find("a.go", src)
		}
	}
}

func BenchmarkNewMatcher(b *testing.B) {
	for b.Loop() {
		if _, err := newMatcher(); err != nil {
			b.Fatal(err)
		}
	}
}
