package scan_test

import (
	"archive/tar"
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/scan"
)

// layer is one of an image, with files.
func layer(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnImageIsLookedInto(t *testing.T) {
	const package1 = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.1-1)\nVersion: 3.0.1-1\n\n"
	const package2 = "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib\nVersion: 1.2.3-1\n\n"
	first := layer(t, map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n", "var/lib/dpkg/status": package2})
	second := layer(t, map[string]string{"var/lib/dpkg/status": package2 + package1, "app/config.env": "STRIPE=" + "sk_live_" + "9QmZ7xKt2VbLw4RnYc8JdHs3\n"})
	img, err := mutate.AppendLayers(empty.Image, first, second)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "app.tar")
	if err := tarball.WriteToFile(file, name.MustParseReference("app:1"), img); err != nil {
		t.Fatal(err)
	}
	source := folder(t, map[string]string{"a.json": `{"schema_version":"1.7.0","id":"DSA-1-1","modified":"2026-11-21T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:12","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"3.0.2-1"}]}]}]}`})
	r := scan.Request{Dir: t.TempDir(), Name: ".", Now: day(), DB: filepath.Join(t.TempDir(), "db"), Images: []string{file}, Parts: []string{"images"}}
	if _, err := scan.BuildData(t.Context(), r.DB, []scan.DataSource{{Location: source}}, scan.DataOptions{Clock: clock.Func(day)}); err != nil {
		t.Fatal(err)
	}
	out := run(t, r)
	hole := of(out, "DSA-1-1")
	id, err := second.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	if hole == nil || hole.Package.Name != "libssl3" || hole.Package.Layer != id.String() || hole.Location.Path != file+":/var/lib/dpkg/status" || hole.Clean != "3.0.2-1" {
		t.Errorf("%+v", hole)
	}
	if of(out, "image-user-root") == nil || of(out, "secret-stripe-key") == nil || out.Parts != 2 {
		t.Errorf("%+v", out.Findings)
	}
	for _, f := range out.Findings {
		if strings.Contains(f.Title+f.Detail, "9QmZ7xKt2") {
			t.Errorf("the credential itself: %+v", f)
		}
	}
	r.Images = []string{filepath.Join(t.TempDir(), "nowhere.tar")}
	if _, err := scan.Run(t.Context(), r); err == nil {
		t.Error("an image that isn't there is clean")
	}
}
