package osv

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/flate"
)

// Limits of a source.
const (
	maxEntries  = 4_000_000
	maxBytes    = 32 << 30 // of all entries
	maxDownload = 4 << 30
	maxRatio    = 200 // between an entry and its compressed form, beyond the first MiB
)

// Origin is what a source turned out to be.
type Origin struct {
	Location string    // a path or URL, without user and query
	SHA256   string    // of the files' bytes; of a folder's entries that of the list which sha256sum would print, with its zips' bytes after it
	Time     time.Time // of the newest file, or of the download
	Fetched  bool      // downloaded now, so that Time is the data's
}

// Visit gets each entry's name and bytes, which hold until it returns; err says why there are none. It is called concurrently.
type Visit func(name string, b []byte, err error)

// Reader reads sources.
type Reader struct {
	Client *http.Client
	Now    func() time.Time
}

// Read visits each entry at a location: a .json, a .zip, a folder with either, or an http(s) URL of either; with ecosystems, a mirror's base, of
// which each "BASE/Ecosystem/all.zip" is read. Files with other endings are not entries. An error means that the source as a whole can't be used.
func (r *Reader) Read(ctx context.Context, location string, ecosystems []string, visit Visit) (Origin, error) {
	s := &source{ctx: ctx, visit: visit, digest: sha256.New()}
	o := Origin{Location: location}
	var err error
	if remote(location) {
		o.Location, o.Time, o.Fetched = Bare(location), r.Now(), true
		err = r.fetch(s, location, ecosystems)
	} else {
		if len(ecosystems) > 0 {
			return o, errors.New("ecosystems can be chosen of a mirror's URL only")
		}
		err = s.local(location)
		o.Time = s.newest
	}
	o.SHA256 = hex.EncodeToString(s.digest.Sum(nil))
	return o, err
}

func remote(location string) bool {
	return strings.HasPrefix(location, "https://") || strings.HasPrefix(location, "http://")
}

// Bare is a location without what may be secret in a URL: user, query and fragment.
func Bare(location string) string {
	if !remote(location) {
		return location
	}
	u, err := url.Parse(location)
	if err != nil {
		return "a URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

func (r *Reader) fetch(s *source, location string, ecosystems []string) error {
	if len(ecosystems) == 0 {
		return r.fetchOne(s, location)
	}
	for _, e := range ecosystems {
		u, err := url.JoinPath(location, url.PathEscape(e), "all.zip")
		if err == nil {
			err = r.fetchOne(s, u)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
	}
	return nil
}

// get asks for a URL; its errors don't hold what may be secret in it.
func (r *Reader) get(ctx context.Context, location string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, errors.New("this isn't a URL")
	}
	res, err := r.Client.Do(req)
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("the server answers %s", res.Status)
	}
	return res, nil
}

// Whole is a file or what a URL gives, of at most limit bytes.
func (r *Reader) Whole(ctx context.Context, location string, limit int64) ([]byte, error) {
	var in io.ReadCloser
	if remote(location) {
		res, err := r.get(ctx, location)
		if err != nil {
			return nil, err
		}
		in = res.Body
	} else {
		f, err := os.Open(location)
		if err != nil {
			return nil, err
		}
		in = f
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is larger than %d MiB", limit>>20)
	}
	return b, err
}

func (r *Reader) fetchOne(s *source, location string) error {
	res, err := r.get(s.ctx, location)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	tmp, err := os.CreateTemp("", "ward-advisories-*")
	if err != nil {
		return err
	}
	defer tmp.Close()
	defer os.Remove(tmp.Name())
	n, err := io.Copy(tmp, io.LimitReader(res.Body, maxDownload+1))
	if err != nil {
		return err
	}
	if n > maxDownload || res.ContentLength >= 0 && n != res.ContentLength {
		return fmt.Errorf("the download has %d bytes, not what was announced or allowed", n)
	}
	return s.file(res.Request.URL.Path, tmp)
}

// source is one Read under way.
type source struct {
	ctx       context.Context
	visit     Visit
	digest    hash.Hash
	newest    time.Time
	entries   atomic.Int64
	bytes     atomic.Int64
	buffers   sync.Pool // of *bytes.Buffer
	inflaters sync.Pool // of io.ReadCloser, flate's
}

func (s *source) local(location string) error {
	fi, err := os.Stat(location)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		f, err := os.Open(location)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.file(location, f)
	}
	root, err := os.OpenRoot(location)
	if err != nil {
		return err
	}
	defer root.Close()
	var entries, zips []string
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		isZip := hasEnding(p, ".zip")
		switch {
		case d.IsDir() || !isZip && !hasEnding(p, ".json"):
			return nil
		case len(entries)+len(zips) == maxEntries:
			return fmt.Errorf("there are more than %d files", maxEntries)
		case !d.Type().IsRegular(): // a link may lead anywhere, a pipe never ends
			s.visit(p, nil, errors.New("it isn't a regular file"))
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		s.written(fi)
		if isZip {
			zips = append(zips, p)
		} else {
			entries = append(entries, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	sums := make([][sha256.Size]byte, len(entries))
	err = s.each(len(entries), func(i int) error {
		return s.entry(entries[i], func() (io.ReadCloser, error) { return root.Open(entries[i]) }, &sums[i])
	})
	for i, name := range entries {
		fmt.Fprintf(s.digest, "%x  %s\n", sums[i], name)
	}
	for _, name := range zips {
		if err == nil {
			err = s.zipOf(root, name)
		}
	}
	return err
}

func (s *source) zipOf(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.file(name, f)
}

func (s *source) written(fi fs.FileInfo) {
	if fi.ModTime().After(s.newest) {
		s.newest = fi.ModTime().UTC()
	}
}

func hasEnding(name, ending string) bool { return strings.EqualFold(path.Ext(name), ending) }

// file visits a JSON file, or what is in a zip.
func (s *source) file(name string, f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	s.written(fi)
	if _, err := io.Copy(s.digest, io.NewSectionReader(f, 0, fi.Size())); err != nil {
		return err
	}
	if hasEnding(name, ".json") {
		return s.entry(name, func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, fi.Size())), nil }, nil)
	}
	z, err := zip.NewReader(f, fi.Size())
	if err != nil {
		return fmt.Errorf("read %s: %w", path.Base(name), err)
	}
	z.RegisterDecompressor(zip.Deflate, s.inflate)
	return s.each(len(z.File), func(i int) error {
		e := z.File[i]
		if !hasEnding(e.Name, ".json") {
			return nil
		}
		if e.UncompressedSize64 > 1<<20 && e.UncompressedSize64/maxRatio > e.CompressedSize64 {
			return fmt.Errorf("read %s: %.100q would grow from %d to %d bytes, as zip bombs do", path.Base(name), e.Name, e.CompressedSize64, e.UncompressedSize64)
		}
		return s.entry(e.Name, e.Open, nil)
	})
}

// inflate is zip's decompressor, at half the cost of the standard library's.
func (s *source) inflate(r io.Reader) io.ReadCloser {
	in, _ := s.inflaters.Get().(io.ReadCloser)
	if in == nil || in.(flate.Resetter).Reset(r, nil) != nil {
		in = flate.NewReader(r)
	}
	return &inflater{in, s}
}

// inflater is used once, and then given back.
type inflater struct {
	io.ReadCloser
	of *source
}

func (i *inflater) Close() error {
	in := i.ReadCloser
	i.ReadCloser = io.NopCloser(strings.NewReader("")) // whoever reads on doesn't read of another's
	if _, ok := in.(flate.Resetter); !ok {
		return nil
	}
	err := in.Close()
	i.of.inflaters.Put(in)
	return err
}

// each calls do for 0 to n-1, several at once, until one fails, and gives the first failure.
func (s *source) each(n int, do func(int) error) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	var once sync.Once
	var failure error
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					once.Do(func() { failure = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	workers.Wait()
	return failure
}

// entry visits what open gives. Its error is one of the whole source.
func (s *source) entry(name string, open func() (io.ReadCloser, error), sum *[sha256.Size]byte) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.entries.Add(1) > maxEntries {
		return fmt.Errorf("there are more than %d entries", maxEntries)
	}
	buffer, _ := s.buffers.Get().(*bytes.Buffer)
	if buffer == nil {
		buffer = &bytes.Buffer{}
	}
	defer s.buffers.Put(buffer)
	buffer.Reset()
	err := readEntry(buffer, open)
	b := buffer.Bytes()
	if s.bytes.Add(int64(len(b))) > maxBytes {
		return fmt.Errorf("the entries have more than %d GiB", maxBytes>>30)
	}
	if sum != nil {
		*sum = sha256.Sum256(b)
	}
	if err != nil {
		b = nil
	}
	s.visit(name, b, err)
	return nil
}

func readEntry(b *bytes.Buffer, open func() (io.ReadCloser, error)) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = b.ReadFrom(io.LimitReader(f, MaxEntry+1)) // one more than Parse takes
	return err
}
