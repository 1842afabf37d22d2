// Package anchor takes a ledger's signed checkpoints (C2SP tlog-checkpoint) to places that who rules this machine doesn't rule: a file on
// another host's disk, a webhook, a time-stamp server (RFC 3161). Who puts back an older ledger, or writes it anew with its key, contradicts
// them.
//
// Guarantee: what is due is tried, and tried again a minute later when it failed; what was taken where, when, and what failed is kept and
// shown. A file that a ledger doesn't go on from isn't overwritten (WriteFile). Not guaranteed: that a webhook keeps what it gets, and that
// a time-stamp's signature is one to trust; its token is kept for 'openssl ts -verify'.
package anchor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/model"
)

// Times.
const (
	everyDefault = time.Hour
	again        = time.Minute      // after a failure
	patience     = 20 * time.Second // with a server
)

// The kinds of anchors.
const (
	File    = "file"
	Webhook = "webhook"
	RFC3161 = "rfc3161"
)

// State is what is known of an anchor.
type State struct {
	Kind    string    `json:"kind"`
	To      string    `json:"to"`
	Every   int       `json:"every"`           // seconds
	Since   time.Time `json:"since,omitzero"`  // when it became an anchor
	Records int64     `json:"records"`         // under the last checkpoint that it took
	Root    string    `json:"root,omitempty"`  // of that
	Time    time.Time `json:"time,omitzero"`   // when
	Stamp   time.Time `json:"stamp,omitzero"`  // what the time-stamp server says of when
	Error   string    `json:"error,omitempty"` // why the last try failed
	Tried   time.Time `json:"tried,omitzero"`  // the last try
	// Contradicted tells that the ledger doesn't go on from what the anchor has.
	Contradicted bool   `json:"contradicted,omitempty"`
	Kept         string `json:"kept,omitempty"` // the name of the files of checkpoint and token in the folder
}

// Config is what a Keeper needs.
type Config struct {
	Dir       string            // its own folder
	Ledger    string            // the ledger's
	Transport http.RoundTripper // the way out
	Clock     clock.Clock
	// Failed is told the first time that an anchor fails or is contradicted, and when it works again.
	Failed func(State)
}

// Keeper anchors a ledger. It is safe for concurrent use.
type Keeper struct {
	config Config
	client *http.Client

	mu     sync.Mutex
	states []State // guarded by mu
}

// statesFile holds what is known, in the folder.
const statesFile = "anchors.json"

// Open returns a Keeper of what its folder knows. It does nothing until SetTargets.
func Open(c Config) (*Keeper, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open anchors: %w", err)
	}
	k := &Keeper{config: c, client: &http.Client{
		Transport: c.Transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	b, err := os.ReadFile(filepath.Join(c.Dir, statesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &k.states)
	}
	if err != nil { // what was anchored is elsewhere; here it is only remembered
		slog.Warn("what was anchored can't be read; it is begun anew", "error", err)
		k.states = nil
	}
	return k, nil
}

// SetTargets says where checkpoints go from now on.
func (k *Keeper) SetTargets(all []model.Anchor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var states []State
	for i := range all {
		a := &all[i]
		s := State{Kind: File, To: a.File, Since: k.config.Clock.Now().UTC()}
		if a.Webhook != "" {
			s.Kind, s.To = Webhook, a.Webhook
		} else if a.RFC3161 != "" {
			s.Kind, s.To = RFC3161, a.RFC3161
		}
		if at := k.find(s.Kind, s.To); at >= 0 {
			s = k.states[at]
		}
		s.Every = a.Every
		if a.Every == 0 {
			s.Every = int(everyDefault / time.Second)
		}
		states = append(states, s)
	}
	k.states = states
}

func (k *Keeper) find(kind, to string) int {
	return slices.IndexFunc(k.states, func(s State) bool { return s.Kind == kind && s.To == to })
}

// States is how all anchors are.
func (k *Keeper) States() []State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.states)
}

// Overdue tells whether the anchor should have taken a checkpoint long ago: twice the time between two of them, and what a few tries take.
func (s *State) Overdue(now time.Time) bool {
	last := s.Time
	if last.IsZero() {
		last = s.Since
	}
	return now.Sub(last) > 2*time.Duration(s.Every)*time.Second+5*again
}

func (s *State) due(now time.Time) bool {
	wait := time.Duration(s.Every) * time.Second
	if s.Error != "" {
		wait = min(wait, again)
	}
	return s.Tried.IsZero() || !now.Before(s.Tried.Add(wait)) || now.Before(s.Tried) // the last: the clock was set back
}

// Due are the anchors of a kind whose time has come.
func (k *Keeper) Due(kind string) []State {
	now := k.config.Clock.Now()
	return slices.DeleteFunc(k.States(), func(s State) bool { return s.Kind != kind || !s.due(now) })
}

// Run takes checkpoints to webhooks and time-stamp servers until ctx ends. Files are the supervisor's (Due, Done).
func (k *Keeper) Run(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		k.Round(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Round takes a checkpoint to all servers that are due.
func (k *Keeper) Round(ctx context.Context) {
	for _, s := range append(k.Due(Webhook), k.Due(RFC3161)...) {
		signed, tree, err := ledger.ReadCheckpoint(k.config.Ledger)
		if err == nil {
			err = k.take(ctx, &s, signed)
		}
		if ctx.Err() != nil {
			return
		}
		k.Done(s, tree, err)
	}
}

// take brings a checkpoint to a server.
func (k *Keeper) take(ctx context.Context, s *State, signed []byte) error {
	sum := sha256.Sum256([]byte(s.Kind + " " + s.To))
	s.Kept = hex.EncodeToString(sum[:6])
	if s.Kind == Webhook {
		_, err := k.post(ctx, s.To, "text/plain; charset=utf-8", signed)
		return err
	}
	ask, nonce, err := newQuery(signed)
	if err != nil {
		return err
	}
	token, err := k.post(ctx, s.To, "application/timestamp-query", ask)
	if err != nil {
		return err
	}
	if s.Stamp, err = ParseToken(token, signed, nonce); err != nil {
		return err
	}
	return errors.Join(k.write(s.Kept+".checkpoint", signed), k.write(s.Kept+".tsr", token))
}

func (k *Keeper) post(ctx context.Context, to, kind string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return b, nil
}

// Done takes note of how a try ended; tree is what was taken there.
func (k *Keeper) Done(s State, tree tlog.Tree, err error) {
	failed := s.Error != ""
	was := s.Contradicted
	s.Tried, s.Error, s.Contradicted = k.config.Clock.Now().UTC(), "", false
	if err != nil {
		s.Error, s.Contradicted = clip(err.Error()), fault.KindOf(err) == fault.Refused
	} else {
		s.Records, s.Root, s.Time = tree.N, tree.Hash.String(), s.Tried
	}
	k.mu.Lock()
	if at := k.find(s.Kind, s.To); at >= 0 {
		s.Every = k.states[at].Every
		k.states[at] = s
	}
	b, merr := json.Marshal(k.states)
	k.mu.Unlock()
	if merr = errors.Join(merr, k.write(statesFile, b)); merr != nil {
		slog.Warn("anchors not kept", "error", merr)
	}
	if (failed != (err != nil) || was != s.Contradicted) && k.config.Failed != nil {
		k.config.Failed(s)
	}
}

func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// write replaces a file of the folder.
func (k *Keeper) write(name string, b []byte) error {
	path := filepath.Join(k.config.Dir, name)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// maxCheckpoint bounds a file that is said to be a checkpoint, in bytes.
const maxCheckpoint = 16 << 10

// ReadFile reads a checkpoint that was kept elsewhere. What it says is nothing before it was compared (ledger.Prove).
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCheckpoint+1))
	if err == nil && len(b) > maxCheckpoint {
		err = fault.New(fault.Invalid, path+" is no checkpoint of a ledger")
	}
	return b, err
}

// WriteFile replaces the checkpoint in a file by the ledger's own of now, if the ledger goes on from the one that is there. If it doesn't,
// the file stays as evidence, and the error is fault.Refused.
func WriteFile(path, ledgerDir string) (tlog.Tree, error) {
	old, err := ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tlog.Tree{}, err
	}
	if err == nil && len(old) > 0 {
		if _, err := ledger.Prove(ledgerDir, ledger.Nothing, old); err != nil {
			return tlog.Tree{}, err
		}
	}
	signed, tree, err := ledger.ReadCheckpoint(ledgerDir)
	if err != nil {
		return tlog.Tree{}, err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if errors.Is(err, fs.ErrNotExist) { // it isn't made: it may be where another disk is to be mounted
		return tlog.Tree{}, fault.Wrap(fault.NotFound, "there is no folder "+filepath.Dir(path)+"; make it, or mount it", err)
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	_, err = f.Write(signed)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return tlog.Tree{}, err
	}
	return tree, os.Rename(path+".new", path)
}
