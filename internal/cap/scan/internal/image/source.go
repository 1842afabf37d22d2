package image

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// box holds the files of an archive or layout.
type box func(name string) (r io.ReadCloser, size int64, err error)

// bring finds an image. end closes what it is read from.
func bring(ctx context.Context, ref string, o Options, lim limits) (b bundle, end func(), err error) {
	platform, err := v1.ParsePlatform(cmp.Or(o.Platform, "linux/amd64"))
	if err != nil {
		return b, nil, err
	}
	info, err := os.Stat(ref)
	if err == nil && remotely(ref) {
		// Whoever proposes a change could put an image of their own in the place of the registry's.
		return b, nil, fmt.Errorf("%s names an image in a registry, and a file here, too; say ./%s if you mean the file, or remove it", ref, ref)
	}
	switch {
	case err == nil && info.IsDir():
		if _, err := os.Stat(filepath.Join(ref, "index.json")); err == nil {
			return fromFolder(ref, platform, lim)
		}
	case err == nil:
		return fromArchive(ctx, ref, o, platform, lim)
	}
	b, err = fromRegistry(ctx, ref, o, platform)
	return b, func() {}, err
}

// remotely tells whether a name is that of an image in a registry, by its host, tag or digest.
func remotely(ref string) bool {
	if _, err := name.ParseReference(ref); err != nil || strings.HasPrefix(ref, ".") || filepath.IsAbs(ref) {
		return false
	}
	host, _, path := strings.Cut(ref, "/")
	return strings.ContainsAny(ref, ":@") || path && strings.Contains(host, ".")
}

func fromRegistry(ctx context.Context, ref string, o Options, platform *v1.Platform) (b bundle, err error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return b, err
	}
	_, b.pinned = r.(name.Digest)
	options := []remote.Option{remote.WithContext(ctx), remote.WithPlatform(*platform), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if o.Transport != nil {
		options = append(options, remote.WithTransport(o.Transport))
	}
	img, err := remote.Image(r, options...)
	if err != nil {
		return b, err
	}
	digest, err := img.Digest()
	if err != nil {
		return b, err
	}
	b.digest = digest.String()
	if b.config, err = img.RawConfigFile(); err != nil { // which it compares with the manifest's digest
		return b, err
	}
	layers, err := img.Layers()
	if err != nil {
		return b, err
	}
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			return b, err
		}
		b.layers = append(b.layers, blob{size: size, open: l.Compressed})
	}
	return b, nil
}

func fromFolder(dir string, platform *v1.Platform, lim limits) (b bundle, end func(), err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return b, nil, err
	}
	in := func(name string) (io.ReadCloser, int64, error) {
		f, err := root.Open(name)
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("not a regular file")
		}
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, info.Size(), nil
	}
	if b, err = fromLayout(in, platform, lim); err != nil {
		root.Close()
		return b, nil, err
	}
	return b, func() { root.Close() }, nil
}

// fromArchive reads a tar archive where it lies, by the offsets of its files; a compressed one is unpacked first.
func fromArchive(ctx context.Context, file string, o Options, platform *v1.Platform, lim limits) (b bundle, end func(), err error) {
	f, err := os.Open(file)
	if err != nil {
		return b, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if f, err = uncompressed(ctx, f, o, lim); err != nil {
		return b, nil, err
	}
	in, err := index(f, lim)
	if err != nil {
		return b, nil, err
	}
	from := func(in box, lim limits) (bundle, error) { return fromLayout(in, platform, lim) }
	if _, _, err := in("manifest.json"); err == nil {
		from = fromDocker
	}
	b, err = from(in, lim)
	return b, func() { f.Close() }, err
}

func uncompressed(ctx context.Context, f *os.File, o Options, lim limits) (*os.File, error) {
	info, err := f.Stat()
	if err != nil {
		return f, err
	}
	plain, end, err := decompress(f)
	if err != nil {
		return f, err
	}
	if end == nil {
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	}
	defer end()
	t, err := newTree(o.Temp, lim)
	if err != nil {
		return f, err
	}
	t.packed = info.Size()
	if _, err := io.Copy(t.data, &bounded{ctx: ctx, r: plain, tree: t}); err != nil {
		t.close()
		return f, err
	}
	f.Close()
	_, err = t.data.Seek(0, io.SeekStart)
	return t.data, err
}

// index notes where the files of an archive lie.
func index(f *os.File, lim limits) (box, error) {
	type place struct{ off, size int64 }
	places, links := map[string]place{}, map[string]string{}
	in := tar.NewReader(f)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		off, err := f.Seek(0, io.SeekCurrent) // archive/tar reads whole blocks and no further
		if err != nil {
			return nil, err
		}
		name := inside(h.Name)
		if len(places)+len(links) > 16*lim.layers {
			return nil, errors.New("too many files for an image")
		}
		switch h.Typeflag {
		case tar.TypeReg:
			places[name] = place{off, h.Size}
		case tar.TypeSymlink:
			links[name] = inside(path.Join(path.Dir(name), h.Linkname))
		case tar.TypeLink:
			links[name] = inside(h.Linkname)
		}
	}
	return func(name string) (io.ReadCloser, int64, error) {
		for range maxLinks {
			if p, ok := places[name]; ok {
				return io.NopCloser(io.NewSectionReader(f, p.off, p.size)), p.size, nil
			}
			if name = links[name]; name == "" {
				break
			}
		}
		return nil, 0, fs.ErrNotExist
	}, nil
}

func (in box) document(name string, lim limits) ([]byte, error) {
	r, size, err := in(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	if size > lim.document {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, lim.document)
	}
	return io.ReadAll(io.LimitReader(r, lim.document))
}

func (in box) blob(name string) (blob, error) {
	r, size, err := in(name)
	if err != nil {
		return blob{}, fmt.Errorf("%s: %w", name, err)
	}
	r.Close()
	return blob{size: size, open: func() (io.ReadCloser, error) {
		r, _, err := in(name)
		return r, err
	}}, nil
}

// fromDocker reads what docker save writes; its archive names the configuration by hash at most, so only the layers are checked, against it.
func fromDocker(in box, lim limits) (b bundle, err error) {
	raw, err := in.document("manifest.json", lim)
	if err != nil {
		return b, err
	}
	var images []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(raw, &images); err != nil {
		return b, fmt.Errorf("manifest.json: %w", err)
	}
	if len(images) != 1 {
		return b, fmt.Errorf("the archive holds %d images; save one", len(images))
	}
	b.pinned = true
	if b.config, err = in.document(inside(images[0].Config), lim); err != nil {
		return b, err
	}
	for _, l := range images[0].Layers {
		part, err := in.blob(inside(l))
		if err != nil {
			return b, err
		}
		b.layers = append(b.layers, part)
	}
	return b, nil
}

// descriptor points at a blob (OCI image specification, descriptor.md).
type descriptor struct {
	MediaType string       `json:"mediaType"`
	Digest    string       `json:"digest"`
	Platform  *v1.Platform `json:"platform"`
}

// fromLayout reads an OCI layout: index.json, and blobs by hash.
func fromLayout(in box, platform *v1.Platform, lim limits) (b bundle, err error) {
	raw, err := in.document("index.json", lim)
	if err != nil {
		return b, err
	}
	for range 4 { // indexes in indexes
		var m struct {
			Manifests []descriptor `json:"manifests"`
			Config    descriptor   `json:"config"`
			Layers    []descriptor `json:"layers"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return b, fmt.Errorf("read the manifest: %w", err)
		}
		if m.Config.Digest != "" {
			return in.layers(b, m.Config, m.Layers, lim)
		}
		d, err := choose(m.Manifests, platform)
		if err != nil {
			return b, err
		}
		if raw, err = in.hashed(d.Digest, lim); err != nil {
			return b, err
		}
		b.digest, b.pinned = d.Digest, true
	}
	return b, errors.New("indexes in indexes in indexes")
}

func (in box) layers(b bundle, config descriptor, layers []descriptor, lim limits) (_ bundle, err error) {
	if b.config, err = in.hashed(config.Digest, lim); err != nil {
		return b, err
	}
	for _, l := range layers {
		name, err := blobName(l.Digest)
		if err != nil {
			return b, err
		}
		part, err := in.blob(name)
		if err != nil {
			return b, err
		}
		b.layers = append(b.layers, part)
	}
	return b, nil
}

// choose takes the one manifest, or the one for the platform.
func choose(all []descriptor, platform *v1.Platform) (descriptor, error) {
	all = slices.DeleteFunc(all, func(d descriptor) bool { return d.Platform != nil && d.Platform.OS == "unknown" }) // attestations
	fits := slices.DeleteFunc(slices.Clone(all), func(d descriptor) bool { return d.Platform == nil || !d.Platform.Satisfies(*platform) })
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(all) == 1 && all[0].Platform == nil:
		return all[0], nil
	}
	return descriptor{}, fmt.Errorf("%d of its %d images are for %s; name the platform, or keep one", len(fits), len(all), platform)
}

func (in box) hashed(digest string, lim limits) ([]byte, error) {
	name, err := blobName(digest)
	if err != nil {
		return nil, err
	}
	b, err := in.document(name, lim)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); digest != "sha256:"+hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("the content of %s has another hash", digest)
	}
	return b, nil
}

func blobName(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%.100q is no SHA-256", digest)
	}
	return "blobs/sha256/" + sum, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
