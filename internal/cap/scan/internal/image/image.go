// Package image opens container images: from a registry, an archive (docker save, OCI) or an OCI layout, as one file system that knows which
// layer brought each file.
//
// Guarantee: each layer is what the image's configuration says by hash, and the configuration what the manifest says. Names, links and whiteouts of
// hostile layers stay within the image; entries, bytes, the ratio of compression and link chains have limits, past which Open is an error.
// Nothing is run, and device nodes don't exist. Not guaranteed: that a tag names what it named yesterday.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/wardhq/ward/internal/finding"
)

// Options say which image is meant, and how it is brought.
type Options struct {
	Platform  string            // "os/architecture", with a variant or not; "" for linux/amd64
	Temp      string            // folder for what is unpacked; "" for the system's
	Transport http.RoundTripper // to registries; nil for the default
}

// Image is an opened image. Its methods may be used by many at once, until Close.
type Image struct {
	Ref string
	// Digest is the manifest's ("sha256:…"); "" of a docker archive, which has none.
	Digest string
	Config Config
	// Problems are files that couldn't be taken over: their names aren't text.
	Problems []finding.Problem
	layers   []Layer
	tree     *tree
	pinned   bool // asked for by digest, or not from a registry
}

// Layer is one layer of an image.
type Layer struct {
	Digest  string // of its uncompressed archive, which is how the configuration names it
	Created string // the instruction that made it: "RUN apt-get install …"; "" if it isn't known
}

// Config is how an image is run (OCI image specification, config.md).
type Config struct {
	User         string
	Env          []string
	ExposedPorts []string
	Entrypoint   []string
	Cmd          []string
	History      []string // of all instructions, those without a layer too
}

// limits bound one image.
type limits struct {
	layers   int
	entries  int   // files and folders in all layers
	unpacked int64 // bytes of all layers
	ratio    int64 // of unpacked to packed bytes, past slack
	slack    int64
	document int64 // bytes of a manifest or configuration
	name     int   // bytes of a path
}

func standard() limits {
	return limits{layers: 512, entries: 2_000_000, unpacked: 32 << 30, ratio: 100, slack: 256 << 20, document: 8 << 20, name: 4096}
}

// bundle is an image that isn't unpacked yet.
type bundle struct {
	digest string
	config []byte
	layers []blob
	pinned bool
}

// blob is one packed layer.
type blob struct {
	size int64
	open func() (io.ReadCloser, error)
}

// Open opens an image and unpacks it into a temporary file. ref is an archive, a folder with an OCI layout, or "registry/repository:tag@digest".
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	return open(ctx, ref, o, standard())
}

func open(ctx context.Context, ref string, o Options, lim limits) (*Image, error) {
	b, end, err := bring(ctx, ref, o, lim)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", ref, err)
	}
	defer end()
	img := &Image{Ref: ref, Digest: b.digest, pinned: b.pinned}
	diffs, err := img.configure(b.config)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", ref, err)
	}
	if len(diffs) != len(b.layers) || len(diffs) > lim.layers {
		return nil, fmt.Errorf("open image %s: %d layers, where its configuration has %d (at most %d)", ref, len(b.layers), len(diffs), lim.layers)
	}
	if img.tree, err = newTree(o.Temp, lim); err != nil {
		return nil, fmt.Errorf("open image %s: %w", ref, err)
	}
	for _, l := range b.layers {
		img.tree.packed += l.size
	}
	for i, l := range b.layers {
		if err := img.unpack(ctx, i, l, diffs[i]); err != nil {
			img.Close()
			return nil, fmt.Errorf("open image %s: layer %d: %w", ref, i+1, err)
		}
	}
	img.Problems = img.tree.problems
	return img, nil
}

// configure reads the configuration, and returns its layers' digests.
func (img *Image) configure(raw []byte) ([]string, error) {
	var c struct {
		Config struct {
			User            string
			Env             []string
			ExposedPorts    map[string]struct{}
			Entrypoint, Cmd []string
		} `json:"config"`
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
		History []struct {
			CreatedBy string `json:"created_by"`
			Empty     bool   `json:"empty_layer"`
		} `json:"history"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("read its configuration: %w", err)
	}
	img.Config = Config{User: c.Config.User, Env: c.Config.Env, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, ExposedPorts: sortedKeys(c.Config.ExposedPorts)}
	var made []string
	for _, h := range c.History {
		img.Config.History = append(img.Config.History, h.CreatedBy)
		if !h.Empty {
			made = append(made, instruction(h.CreatedBy))
		}
	}
	for i, d := range c.RootFS.DiffIDs {
		l := Layer{Digest: d}
		if len(made) == len(c.RootFS.DiffIDs) {
			l.Created = made[i]
		}
		img.layers = append(img.layers, l)
	}
	return c.RootFS.DiffIDs, nil
}

// instruction is the Dockerfile's instruction in a line of history.
func instruction(created string) string {
	s := strings.TrimSpace(created)
	if rest, ok := strings.CutPrefix(s, "/bin/sh -c #(nop)"); ok {
		return strings.TrimSpace(rest)
	}
	if rest, ok := strings.CutPrefix(s, "/bin/sh -c "); ok {
		return "RUN " + rest
	}
	return strings.TrimSuffix(s, " # buildkit")
}

// unpack reads one layer to its end, and checks its hash.
func (img *Image) unpack(ctx context.Context, n int, l blob, want string) error {
	packed, err := l.open()
	if err != nil {
		return err
	}
	defer packed.Close()
	plain, end, err := decompress(packed)
	if err != nil {
		return err
	}
	if end != nil {
		defer end()
	}
	hash := sha256.New()
	in := io.TeeReader(&bounded{ctx: ctx, r: plain, tree: img.tree}, hash)
	if err := img.tree.layer(n, in); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what follows the archive's end belongs to the hash
		return err
	}
	if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("its hash is %s, not %s", got, want)
	}
	return nil
}

// decompress looks at the first bytes, since media types lie. end is nil if r isn't compressed.
func decompress(r io.Reader) (plain io.Reader, end func(), err error) {
	var magic [4]byte
	n, err := io.ReadFull(r, magic[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	whole := io.MultiReader(strings.NewReader(string(magic[:n])), r)
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(whole)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { z.Close() }, nil
	case string(magic[:]) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(whole, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return whole, nil, nil
}

// bounded counts the bytes of all layers.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	tree *tree
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	t := b.tree
	t.unpacked += int64(n)
	if t.unpacked > t.lim.unpacked {
		return n, fmt.Errorf("more than %d bytes unpacked", t.lim.unpacked)
	}
	if t.unpacked > t.lim.slack && t.unpacked/t.lim.ratio > t.packed {
		return n, fmt.Errorf("%d bytes unpack to more than %d times as much", t.packed, t.lim.ratio)
	}
	return n, err
}

// FS is the merged root file system. Links are followed within it.
func (img *Image) FS() fs.FS { return img.tree }

// LayerOf is the layer that brought the file, link or folder at a path, as it is now.
func (img *Image) LayerOf(name string) (Layer, bool) {
	n, _, err := img.tree.walk("open", path.Clean(name), true)
	if err != nil || n.layer < 0 {
		return Layer{}, false
	}
	return img.layers[n.layer], true
}

// Close removes what was unpacked.
func (img *Image) Close() error { return img.tree.close() }

// newTree makes the file that holds the contents; it has no name any more.
func newTree(temp string, lim limits) (*tree, error) {
	f, err := os.CreateTemp(temp, "ward-image-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &tree{lim: lim, data: f, root: &node{mode: fs.ModeDir | 0o755, layer: -1, children: map[string]*node{}}, past: map[string][]*node{}}, nil
}
