// Package keys is Ward's managed keys: what services encrypt, sign and authenticate with, and never hold.
//
// What wraps what: the root seals one key-encryption key per managed key; that seals the key's versions; a version wraps data
// keys, or an owner's keys (one per version), which wrap the data keys of that owner. Signing versions seal nothing further.
//
// Guarantee: private material is on disk only sealed, each piece bound to its name and place; a use is counted durably, and
// checked against the state of that moment, before its result is returned, so that disabling, deletion and shredding count at once
// and for all replicas; a version over its budget wraps nothing more; a destroyed key or owner's key is in no table.
// Not guaranteed: authorisation (the caller's); that a data key given to a service is forgotten there before MaxAge; that
// destroyed bytes are gone from older backups of the database, and from its write-ahead log before the next checkpoint.
package keys

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Bounds of what is kept in memory.
const (
	maxLoaded  = 4096 // keys
	maxOwners  = 4096 // wrappers of owners, per key
	maxSealers = 1024 // data keys that seal, per key
	maxOpeners = 1024 // data keys that open, per key
)

// maxTries bounds how often a use begins again because its key has changed.
const maxTries = 8

// Budget is what a version of an encryption key may do before it is replaced.
type Budget struct {
	DataKeys int64 // wrapped by it
	Messages int64 // under its data keys, at most
	Bytes    int64 // the same
}

// defaultBudget has room for what is under way when it is reached: AES-GCM with random nonces holds for 2^32 wraps (NIST SP 800-38D §8.3).
var defaultBudget = Budget{DataKeys: 1 << 31, Messages: 1 << 52, Bytes: 1 << 62}

// Config is what a Ring needs.
type Config struct {
	DB    *store.DB
	Root  secret.Bytes // 32 bytes, for this purpose alone
	Clock clock.Clock
	// Record keeps uses and changes, and returns when they are durable; its error withholds the results of the uses.
	Record func(context.Context, []Use) error
	Budget Budget // zero: the default
}

// Caller is who uses a key.
type Caller struct {
	Service  string
	Instance string // for the record
}

// Use is what Record gets: a service's uses of one kind that share a commit, or a change by Ward or an administrator (no Service).
type Use struct {
	Key     string
	Version int64 // 0 where it means nothing
	Service string
	Op      Op
	Count   int64
	// Of one of them, as a sample. No row and no tenant: they may be people.
	Instance, Class, Table, Column string
}

// Ring is the managed keys of one application. It is safe for concurrent use, and replicas may share its database.
type Ring struct {
	config  Config
	root    atomic.Pointer[secret.Bytes]
	loaded  *cache[string, *key]
	counter *counter
}

// Open prepares the tables; it reads no key.
func Open(ctx context.Context, c Config) (*Ring, error) {
	if len(c.Root.Reveal()) != secret.KeySize || c.Record == nil {
		return nil, errors.New("open keys: a root of 32 bytes and a record are needed")
	}
	if c.Budget == (Budget{}) {
		c.Budget = defaultBudget
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	if err := c.DB.Migrate(ctx, "keys", files); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	r := &Ring{config: c, loaded: newCache[string, *key](maxLoaded)}
	r.counter = newCounter(r.commit)
	r.root.Store(&c.Root)
	return r, nil
}

// use runs do with a key that serves op, and returns when what do has counted is durable and the key was still the same then.
func (r *Ring) use(ctx context.Context, c Caller, name string, op Op, do func(context.Context, *key, *tally) error) error {
	for range maxTries {
		k, err := r.ready(ctx, name, op)
		if err != nil {
			return err
		}
		t := &tally{key: k, version: k.current(r.config.Clock.Now()), caller: c, op: op}
		if err = do(ctx, k, t); err == nil {
			err = r.counter.add(ctx, t)
		}
		if !errors.Is(err, errStale) {
			return err
		}
		r.loaded.drop(name)
	}
	return fault.New(fault.Unavailable, fmt.Sprintf("the key %s is being changed; try again", name))
}

// ready returns a key that serves op now and has a version for it: one that is missing or has used up its budget is made first.
func (r *Ring) ready(ctx context.Context, name string, op Op) (*key, error) {
	k, ok := r.loaded.get(name)
	if !ok || k.refusal() != nil { // a refusal is the truth of now, not of what was read before
		var err error
		if k, err = r.load(ctx, name); err != nil {
			return nil, err
		}
	}
	if !op.serves(k.purpose) {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the key %s is for %s, which can't %s", name, k.purpose, op))
	}
	for range maxTries {
		if err := k.refusal(); err != nil {
			return nil, err
		}
		if v := k.current(r.config.Clock.Now()); v != nil && !v.spent.Load() {
			return k, nil
		}
		var err error
		if k, err = r.advance(ctx, k, r.config.Clock.Now()); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Unavailable, fmt.Sprintf("the key %s is being changed; try again", name))
}

// load reads a key anew, for the next ones too.
func (r *Ring) load(ctx context.Context, name string) (*key, error) {
	k, err := r.fetch(ctx, name)
	if err == nil {
		r.loaded.put(name, k)
	}
	return k, err
}

func (r *Ring) fetch(ctx context.Context, name string) (*key, error) {
	var k *key
	err := r.config.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		k, err = r.read(ctx, tx, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return k, nil
}

// change does fn's work on the state of a key, which is from then on another to all who use it.
func (r *Ring) change(ctx context.Context, name string, fn func(context.Context, *store.Tx, *key) error) error {
	defer r.loaded.drop(name)
	err := r.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		k, err := r.read(ctx, tx, name)
		if err != nil {
			return err
		}
		if !k.destroyed.IsZero() {
			return fault.New(fault.Conflict, k.refusal().Public)
		}
		if _, err := tx.Exec(ctx, "UPDATE keys_key SET generation = generation + 1 WHERE name = ?", name); err != nil {
			return err
		}
		return fn(ctx, tx, k)
	})
	if err != nil {
		return fmt.Errorf("change key: %w", err)
	}
	return nil
}

// record keeps a change of a key.
func (r *Ring) record(ctx context.Context, op Op, name string, version int64) error {
	if err := r.config.Record(ctx, []Use{{Key: name, Op: op, Version: version, Count: 1}}); err != nil {
		return fmt.Errorf("record change of key: %w", err)
	}
	return nil
}

// key is one key as it was at a generation. It doesn't change, but for its caches, and is dropped as a whole when the key does.
type key struct {
	name       string
	purpose    Purpose
	generation int64
	rotate     time.Duration // 0: never
	min        int64         // the lowest version that still decrypts and verifies
	disabled   bool
	created    time.Time
	deleteAt   time.Time
	destroyed  time.Time
	kek        secret.Bytes
	versions   []*version // by number
	*caches
}

// version is one version of a key.
type version struct {
	id       envelope.KeyID
	number   int64
	created  time.Time
	starts   time.Time // to encrypt or sign; before that it decrypts and verifies
	imported bool
	disabled bool
	public   []byte // PKIX, of a signing key
	spend    Budget // what was counted when it was read
	spent    flag   // over its budget
	material func() (*material, error)
}

// read reads a key and its versions; it opens the kek, but no version.
func (r *Ring) read(ctx context.Context, tx *store.Tx, name string) (*key, error) {
	k := &key{name: name, caches: newCaches()}
	var sealed []byte
	var rotate, created, deleteAt, destroyed int64
	err := tx.QueryRow(ctx, "SELECT purpose, generation, kek, rotate, min_version, disabled, created_at, delete_at, destroyed_at FROM keys_key WHERE name = ?", name).
		Scan(&k.purpose, &k.generation, &sealed, &rotate, &k.min, &k.disabled, &created, &deleteAt, &destroyed)
	if errors.Is(err, store.ErrNoRows) {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("there is no key %s", name))
	}
	if err != nil {
		return nil, err
	}
	k.rotate, k.created, k.deleteAt, k.destroyed = time.Duration(rotate)*time.Microsecond, at(created), at(deleteAt), at(destroyed)
	if k.destroyed.IsZero() {
		if k.kek, err = r.openKEK(k.name, k.purpose, sealed); err != nil {
			return nil, err
		}
	}
	rows, err := tx.Query(ctx, "SELECT id, number, sealed, public, imported, disabled, created_at, starts_at, data_keys, messages, bytes FROM keys_version WHERE name = ? ORDER BY number", name)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var id, sealed []byte
		var created, starts int64
		v := &version{}
		if err := rows.Scan(&id, &v.number, &sealed, &v.public, &v.imported, &v.disabled, &created, &starts, &v.spend.DataKeys, &v.spend.Messages, &v.spend.Bytes); err != nil {
			return nil, err
		}
		if len(id) != len(v.id) {
			return nil, errors.New("the database holds a damaged key ID")
		}
		v.id, v.created, v.starts = envelope.KeyID(id), at(created), at(starts)
		v.spent.Store(r.config.Budget.spentBy(v.spend))
		v.material = k.opener(v, sealed)
		k.versions = append(k.versions, v)
	}
	return k, rows.Err()
}

func (b Budget) spentBy(s Budget) bool {
	return s.DataKeys >= b.DataKeys || s.Messages >= b.Messages || s.Bytes >= b.Bytes
}

// refusal says why a key can't be used now; nil if it can.
func (k *key) refusal() *fault.Error {
	switch {
	case !k.destroyed.IsZero():
		return fault.New(fault.Refused, fmt.Sprintf("the key %s was destroyed on %s; what it encrypted can't be read by anybody", k.name, day(k.destroyed)))
	case !k.deleteAt.IsZero():
		return fault.New(fault.Refused, fmt.Sprintf("the key %s will be destroyed on %s and isn't used until then; `ward keys undelete %s` keeps it", k.name, day(k.deleteAt), k.name))
	case k.disabled:
		return fault.New(fault.Refused, fmt.Sprintf("the key %s is disabled; `ward keys enable %s` allows it again", k.name, k.name))
	}
	return nil
}

// current is the version that encrypts and signs: the newest one whose time has come. If that one may not be used there is
// none, and one is made: an older one never comes back.
func (k *key) current(now time.Time) *version {
	for _, v := range slices.Backward(k.versions) {
		if now.Before(v.starts) && v != k.versions[0] {
			continue
		}
		if k.retired(v) != nil {
			return nil
		}
		return v
	}
	return nil
}

// last is the number of the newest version; 0 if there is none.
func (k *key) last() int64 {
	if len(k.versions) == 0 {
		return 0
	}
	return k.versions[len(k.versions)-1].number
}

// version that may decrypt or verify. If a replica has just made it, it isn't known here, and the commit of the use tells.
func (k *key) version(id envelope.KeyID) (*version, error) {
	for _, v := range k.versions {
		if v.id != id {
			continue
		}
		if err := k.retired(v); err != nil {
			return nil, err
		}
		return v, nil
	}
	return nil, errDecrypt()
}

func (k *key) retired(v *version) error {
	if v.disabled {
		return fault.New(fault.Refused, fmt.Sprintf("version %d of the key %s is disabled", v.number, k.name))
	}
	if v.number < k.min {
		return fault.New(fault.Refused, fmt.Sprintf("version %d of the key %s is below %d, the lowest that may be used", v.number, k.name, k.min))
	}
	return nil
}

// errDecrypt is all that a failed decryption says.
func errDecrypt() error { return fault.New(fault.Refused, "it can't be decrypted") }

func at(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
