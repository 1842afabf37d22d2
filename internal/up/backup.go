package up

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/control"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/seal"
	"github.com/wardhq/ward/internal/wire"
)

// A backup is an age file for the recovery kit: a tar with the file of the root key first, and then control's state.

// sealEntry is the root key's file in a backup.
const sealEntry = "root.json"

// Bounds of what Restore takes from a backup.
const (
	maxEntries = 10_000
	maxRestore = 64 << 30 // bytes
)

// Backup writes the state of the running application to w, encrypted for its recovery kit.
func (p Paths) Backup(ctx context.Context, w io.Writer) error {
	st, err := seal.Load(p.Seal)
	if err != nil {
		return err
	}
	if st == nil || st.Kit == "" {
		return fault.New(fault.Refused, "a backup is encrypted for the recovery kit, and there is none yet; make one with 'ward seal kit'")
	}
	to, err := age.ParseX25519Recipient(st.Kit)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	resp, err := p.Admin().Do(ctx, http.MethodGet, "/v1/backup?"+url.Values{"kit": {st.Kit}, "mac": {hex.EncodeToString(st.KitMAC)}}.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	enc, err := age.Encrypt(w, to)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	root, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	t := tar.NewWriter(enc)
	err = t.WriteHeader(&tar.Header{Name: sealEntry, Mode: 0o600, Size: int64(len(root)), Typeflag: tar.TypeReg, Format: tar.FormatPAX})
	if err == nil {
		_, err = t.Write(root)
	}
	if err == nil {
		err = t.Flush() // its end is the end of what follows
	}
	if err == nil {
		_, err = io.Copy(enc, resp.Body)
	}
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Restored is what a restore, or the test of one, brought back.
type Restored struct {
	control.Proof
	TrustDomain string `json:"trust_domain"`
}

// Restore puts a backup in the place of a state that isn't there, by the recovery kit, and seals it under this machine's key file.
// Nothing is there before all of it has been opened.
func (p Paths) Restore(ctx context.Context, backup io.Reader, kit secret.Bytes) (Restored, error) {
	if p.hasState() {
		return Restored{}, fault.New(fault.Conflict, p.State+" has a state already; move it away first")
	}
	if err := privateDir(p.State); err != nil {
		return Restored{}, err
	}
	tmp, err := os.MkdirTemp(p.State, "restore-")
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	defer os.RemoveAll(tmp)
	st, root, err := unpack(backup, kit, tmp)
	if err != nil {
		return Restored{}, err
	}
	done, err := prove(ctx, tmp, root)
	if err != nil {
		return done, err
	}
	path, err := keyFile()
	if err != nil {
		return done, err
	}
	file := seal.KeyFile{Path: path}
	if err := file.Make(); err != nil {
		return done, err
	}
	if st, err = st.Under(ctx, file, root); err != nil {
		return done, err
	}
	if err := privateDir(p.Seal); err != nil {
		return done, err
	}
	if err := st.Save(p.Seal); err != nil {
		return done, err
	}
	// An empty folder may be there from a start that never came to anything.
	if err := os.Remove(p.Control); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return done, fault.Wrap(fault.Conflict, p.Control+" isn't empty; move it away first", err)
	}
	if err := os.Rename(tmp, p.Control); err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	return done, nil
}

// unpack decrypts a backup into a folder.
func unpack(backup io.Reader, kit secret.Bytes, dir string) (*seal.State, secret.Bytes, error) {
	none := secret.Bytes{}
	id, err := seal.ParseKit(kit)
	if err != nil {
		return nil, none, err
	}
	dec, err := age.Decrypt(backup, id)
	if err != nil {
		return nil, none, fault.Wrap(fault.Refused, "this isn't a backup for this recovery kit, or it is damaged", err)
	}
	t := tar.NewReader(dec)
	var st *seal.State
	left := int64(maxRestore)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n >= maxEntries {
			return nil, none, fault.Wrap(fault.Refused, "the backup is damaged", err)
		}
		if left -= h.Size; left < 0 {
			return nil, none, fault.New(fault.Refused, "the backup is larger than any that Ward takes back")
		}
		if n == 0 && h.Name == sealEntry {
			b, err := io.ReadAll(io.LimitReader(t, 64<<10))
			if err != nil {
				return nil, none, fault.Wrap(fault.Refused, "the backup is damaged", err)
			}
			if st, err = seal.Parse(b); err != nil {
				return nil, none, err
			}
			continue
		}
		if err := unpackFile(t, h, dir); err != nil {
			return nil, none, err
		}
	}
	// The last chunk of the encryption tells that nothing is missing.
	if _, err := io.Copy(io.Discard, dec); err != nil {
		return nil, none, fault.Wrap(fault.Refused, "the backup is damaged, or its end is missing", err)
	}
	if st == nil {
		return nil, none, fault.New(fault.Refused, "the backup doesn't begin with a root key")
	}
	root, err := st.Recover(kit)
	return st, root, err
}

// unpackFile writes one plain file below dir, and nothing anywhere else.
func unpackFile(t *tar.Reader, h *tar.Header, dir string) error {
	if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || strings.ContainsRune(h.Name, '\\') {
		return fault.New(fault.Refused, fmt.Sprintf("the backup holds %q, which Ward never puts there", wire.Clip(h.Name)))
	}
	path := filepath.Join(dir, filepath.FromSlash(h.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = io.Copy(f, t)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fault.Wrap(fault.Refused, "the backup is damaged", err)
	}
	return nil
}

// prove opens a state's folder with a root key, and everything in it.
func prove(ctx context.Context, dir string, root secret.Bytes) (Restored, error) {
	var s wire.PlanState
	b, err := os.ReadFile(filepath.Join(dir, "plan.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil || s.Plan == nil {
		return Restored{}, fault.Wrap(fault.Refused, "the state has no plan", err)
	}
	if _, err := ledger.Verify(filepath.Join(dir, "ledger"), ""); err != nil {
		return Restored{}, err
	}
	k, err := control.New(control.Config{Dir: dir, Key: root, TrustDomain: s.Plan.TrustDomain})
	if err != nil {
		return Restored{}, err
	}
	proof, err := k.Prove(ctx)
	return Restored{proof, s.Plan.TrustDomain}, errors.Join(err, k.Close())
}

// TestKit proves a recovery kit by a restore: the running application's state is backed up, taken back into a folder that nobody keeps,
// and opened there with what the kit alone opens.
func (p Paths) TestKit(ctx context.Context, kit secret.Bytes) (Restored, error) {
	st, err := seal.Load(p.Seal)
	if err != nil {
		return Restored{}, err
	}
	if st == nil {
		return Restored{}, fault.New(fault.NotFound, "nothing was ever sealed here")
	}
	if _, err := st.Recover(kit); err != nil {
		return Restored{}, err
	}
	var b bytes.Buffer
	if err := p.Backup(ctx, &b); err != nil {
		return Restored{}, err
	}
	tmp, err := os.MkdirTemp("", "ward-restore-")
	if err != nil {
		return Restored{}, fmt.Errorf("test recovery kit: %w", err)
	}
	defer os.RemoveAll(tmp)
	_, root, err := unpack(&b, kit, tmp)
	if err != nil {
		return Restored{}, err
	}
	return prove(ctx, tmp, root)
}
