package distro

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ulikunitz/xz"

	"github.com/wardhq/ward/internal/base/clock"
)

const (
	maxRelease = 8 << 20
	maxIndex   = 512 << 20 // bytes of Packages
	maxDeb     = 1 << 30
	debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	skew       = time.Hour // that the archive's clock may be ahead
)

// Fetch brings the archive's present state. Without a network the last one counts, as long as it is valid.
func Fetch(ctx context.Context, o Options) (*Archive, error) {
	a, err := fetch(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("fetch the security archive %s of %s: %w", o.Suite, o.Mirror, err)
	}
	return a, nil
}

func fetch(ctx context.Context, o Options) (*Archive, error) {
	o.Keyring = cmp.Or(o.Keyring, debianKeys)
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	f, err := os.Open(o.Keyring)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys, err := openpgp.ReadKeyRing(f)
	if err != nil {
		return nil, fmt.Errorf("read the keyring %s: %w", o.Keyring, err)
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return nil, err
	}
	r, err := o.newest(ctx, keys)
	if err != nil {
		return nil, err
	}
	a := &Archive{Date: r.date, options: o, binaries: map[string]build{}, logs: map[string][]entry{}}
	for _, c := range o.Components {
		b, err := o.packages(ctx, r, c)
		if err == nil {
			err = a.read(b)
		}
		if err != nil {
			return nil, fmt.Errorf("component %s: %w", c, err)
		}
	}
	return a, nil
}

// newest is the archive's Release file, which is never older than the last one that was seen.
func (o Options) newest(ctx context.Context, keys openpgp.EntityList) (release, error) {
	kept := filepath.Join(o.Cache, "InRelease-"+strings.ReplaceAll(o.Suite, "/", "_"))
	var old release
	before, err := os.ReadFile(kept)
	if err == nil {
		old, err = o.verify(before, keys)
	}
	known := err == nil
	signed, err := o.get(ctx, "dists/"+o.Suite+"/InRelease", maxRelease)
	if err != nil {
		if known && ctx.Err() == nil {
			return old, old.valid(o.Clock.Now())
		}
		return release{}, err
	}
	r, err := o.verify(signed, keys)
	if err != nil {
		return r, err
	}
	if err := r.valid(o.Clock.Now()); err != nil {
		return r, err
	}
	if known && r.date.Before(old.date) {
		return r, fmt.Errorf("it is of %s, and one of %s was seen before", r.date.Format(time.RFC1123), old.date.Format(time.RFC1123))
	}
	return r, keep(kept, signed)
}

// release is a Release file (https://wiki.debian.org/DebianRepository/Format).
type release struct {
	date, until time.Time
	hashes      map[string]sum // by path below the suite
}

type sum struct {
	hash string
	size int64
}

// verify reads a clear-signed Release file; nothing outside the signature is looked at.
func (o Options) verify(signed []byte, keys openpgp.EntityList) (release, error) {
	block, rest := clearsign.Decode(signed)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(signed, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return release{}, errors.New("its file InRelease isn't one signed text")
	}
	if _, err := block.VerifySignature(keys, &packet.Config{Time: o.Clock.Now}); err != nil {
		return release{}, fmt.Errorf("the signature of InRelease: %w", err)
	}
	r := release{hashes: map[string]sum{}}
	named := false
	err := stanzas(bytes.NewReader(block.Plaintext), func(f map[string]string) error {
		var err error
		named = named || f["Suite"] == o.Suite || f["Codename"] == o.Suite
		if r.date, err = time.Parse(time.RFC1123, f["Date"]); err != nil {
			return fmt.Errorf("its date: %w", err)
		}
		if v := f["Valid-Until"]; v != "" {
			if r.until, err = time.Parse(time.RFC1123, v); err != nil {
				return fmt.Errorf("the end of its validity: %w", err)
			}
		}
		for line := range strings.Lines(f["SHA256"]) {
			if w := strings.Fields(line); len(w) == 3 {
				size, err := strconv.ParseInt(w[1], 10, 64)
				if err != nil {
					return fmt.Errorf("the size of %s: %w", w[2], err)
				}
				r.hashes[w[2]] = sum{w[0], size}
			}
		}
		return nil
	})
	if err == nil && !named {
		err = fmt.Errorf("it is of another suite than %s", o.Suite)
	}
	return r, err
}

func (r release) valid(now time.Time) error {
	switch {
	case r.date.After(now.Add(skew)):
		return fmt.Errorf("it is signed for %s, which is to come", r.date.Format(time.RFC1123))
	case !r.until.IsZero() && now.After(r.until):
		return fmt.Errorf("it was valid until %s; the mirror is stale, or hides updates", r.until.Format(time.RFC1123))
	}
	return nil
}

// packages brings one component's list, from the cache if it has it.
func (o Options) packages(ctx context.Context, r release, component string) ([]byte, error) {
	dir := component + "/binary-" + o.Arch
	for _, form := range []string{".xz", ".gz", ""} {
		s, ok := r.hashes[dir+"/Packages"+form]
		if !ok {
			continue
		}
		if s.size > maxIndex || len(s.hash) != 64 {
			return nil, errors.New("its list is too large, or has no hash")
		}
		kept := filepath.Join(o.Cache, "Packages-"+path.Base(s.hash))
		b, err := os.ReadFile(kept)
		if err != nil || check(b, s.size, s.hash) != nil {
			if b, err = o.get(ctx, "dists/"+o.Suite+"/"+dir+"/by-hash/SHA256/"+s.hash, s.size); err != nil {
				b, err = o.get(ctx, "dists/"+o.Suite+"/"+dir+"/Packages"+form, s.size)
			}
			if err != nil {
				return nil, err
			}
			if err := check(b, s.size, s.hash); err != nil {
				return nil, fmt.Errorf("its Packages%s: %w", form, err)
			}
			if err := keep(kept, b); err != nil {
				return nil, err
			}
		}
		return unpack(form, b, maxIndex)
	}
	return nil, fmt.Errorf("it has no list for %s", o.Arch)
}

// check compares content with what is signed.
func check(b []byte, size int64, hash string) error {
	if got := sha256.Sum256(b); int64(len(b)) != size || hex.EncodeToString(got[:]) != hash {
		return errors.New("its content isn't what is signed")
	}
	return nil
}

// unpack is for content that was checked: what it unpacks to is the signer's word.
func unpack(form string, b []byte, limit int64) ([]byte, error) {
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch form {
	case ".xz":
		r, err = xz.NewReader(r)
	case ".gz":
		r, err = gzip.NewReader(r)
	case "":
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", limit)
	}
	return out, nil
}

// get fetches a file of the mirror, at most limit bytes of it.
func (o Options) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name != path.Clean(name) || path.IsAbs(name) || strings.HasPrefix(name, "..") || strings.ContainsAny(name, "?#%\\") {
		return nil, fmt.Errorf("%.200q is no file of a mirror", name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.Mirror, "/")+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := o.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", name, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return b, nil
}

func keep(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
