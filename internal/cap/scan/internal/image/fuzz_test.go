package image

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// FuzzLayer puts any archive over a layer with links: whatever it holds, the tree stays one that can be walked.
func FuzzLayer(f *testing.F) {
	base := entries{dir("usr/bin"), link("bin", "usr/bin"), regular("usr/bin/sh", "1"), link("up", "../../..")}.tar(f)
	f.Add(base)
	f.Add(entries{regular("bin/sh", "2"), regular("usr/.wh.bin", ""), regular("d/.wh..wh..opq", ""), hard("h", "usr/bin/sh"), regular("../x", "")}.tar(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := newTree(t.TempDir(), small())
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		if err := tr.layer(0, bytes.NewReader(base)); err != nil {
			t.Fatal(err)
		}
		if err := tr.layer(1, bytes.NewReader(b)); err != nil {
			return
		}
		n := 0
		err = fs.WalkDir(tr, ".", func(name string, d fs.DirEntry, err error) error {
			if n++; n > 2*tr.lim.entries+8 {
				t.Fatal("more names than entries")
			}
			if err != nil || d.IsDir() || d.Type()&fs.ModeSymlink != 0 {
				return err
			}
			_, err = fs.ReadFile(tr, name)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// FuzzArchive opens any archive as an image.
func FuzzArchive(f *testing.F) {
	b, err := os.ReadFile(saved(f, build(f, entries{regular("a", "1")})))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "image")
		write(t, file, b)
		_, end, err := fromArchive(t.Context(), file, Options{Temp: t.TempDir()}, &v1.Platform{OS: "linux", Architecture: "amd64"}, small())
		if err == nil {
			end()
		}
	})
}
