package control

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/seal"
	"github.com/wardhq/ward/internal/wire"
)

// databaseFile is the database in the state's folder.
const databaseFile = "ward.db"

// ledgerFolder is the ledger's.
const ledgerFolder = "ledger"

// watchFolder holds traces and history. They aren't in backups: they are large, tell nothing that the ledger doesn't keep, and change under the reader.
const watchFolder = "watch"

// Pack writes a copy of a control's state, as a tar, while it goes on: the database first, as of one moment, then what only grows or is
// replaced as a whole. So the ledger has everything that the database has. Whatever is secret in it is sealed under the root key.
func (k *Control) Pack(ctx context.Context, w io.Writer) error {
	tmp, err := os.MkdirTemp(k.config.Dir, "backup-")
	if err != nil {
		return fmt.Errorf("pack state: %w", err)
	}
	defer os.RemoveAll(tmp)
	snapshot := filepath.Join(tmp, databaseFile)
	if err := k.db.Snapshot(ctx, snapshot); err != nil {
		return fmt.Errorf("pack state: %w", err)
	}
	t := tar.NewWriter(w)
	if err := packFile(t, snapshot, databaseFile); err != nil {
		return fmt.Errorf("pack state: %w", err)
	}
	err = filepath.WalkDir(k.config.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was replaced just now
			}
			return err
		}
		name, err := filepath.Rel(k.config.Dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == watchFolder || strings.HasPrefix(name, "backup-")):
			return fs.SkipDir
		case name == ledgerFolder:
			if err := packLedger(t, path); err != nil {
				return err
			}
			return fs.SkipDir
		case !d.Type().IsRegular(), strings.HasPrefix(name, databaseFile), strings.HasSuffix(name, ".new"):
			return nil
		}
		return packFile(t, path, filepath.ToSlash(name))
	})
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		return fmt.Errorf("pack state: %w", err)
	}
	return nil
}

// packLedger packs a ledger while it goes on: the checkpoint as it was before the segments were listed, so that they hold all that it signs.
// What can be made anew stays behind.
func packLedger(t *tar.Writer, dir string) error {
	const name = "checkpoint"
	signed, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: ledgerFolder + "/" + name, Mode: 0o600, Size: int64(len(signed)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := t.Write(signed); err != nil {
		return err
	}
	for _, d := range all {
		n := d.Name()
		if !d.Type().IsRegular() || n == name || n == "reserve" || strings.HasPrefix(n, "index-") || strings.HasSuffix(n, ".new") {
			continue
		}
		if err := packFile(t, filepath.Join(dir, n), ledgerFolder+"/"+n); err != nil {
			return err
		}
	}
	return nil
}

// packFile adds a file as long as it is now; what is appended meanwhile is left out.
func packFile(t *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, st.Size())
	return err
}

// serveBackup streams the state to the administrator. An error on the way breaks the answer off, so that nobody takes half for all.
func (k *Control) serveBackup(w http.ResponseWriter, r *http.Request) {
	// Whoever exchanged the kit on disk must not get the next backup.
	kit := r.URL.Query().Get("kit")
	mac, err := hex.DecodeString(r.URL.Query().Get("mac"))
	if err != nil || kit == "" {
		wire.WriteError(w, fault.New(fault.Invalid, "a backup is for a recovery kit, and none is named"))
		return
	}
	if err := seal.CheckKit(k.config.Key, kit, mac); err != nil {
		wire.WriteError(w, err)
		return
	}
	if err := k.ledger.Append(r.Context(), []wire.Event{{Source: "control", Time: k.config.Clock.Now().UTC(), Kind: "state.backup", Subject: "admin"}}); err != nil {
		wire.WriteError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := k.Pack(r.Context(), w); err != nil {
		slog.Error("backup", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// Proof is what was opened of a state.
type Proof struct {
	Keys    int `json:"keys"` // versions
	Secrets int `json:"secrets"`
	Records int `json:"records"` // of the ledger
}

// Prove opens everything that is sealed in the state, and reads the whole ledger.
func (k *Control) Prove(ctx context.Context) (Proof, error) {
	var p Proof
	var err error
	if p.Keys, p.Secrets, err = k.safe.Prove(ctx); err != nil {
		return p, err
	}
	size, _ := k.ledger.Size()
	p.Records = int(size)
	return p, nil
}
