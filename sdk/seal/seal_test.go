package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

var place = Context{Class: "addresses", Table: "orders", Column: "address", Row: "17"}

// fake is a provider with one version of every key, and of every owner's. It counts what is asked of it.
type fake struct {
	service   string
	limits    Grant
	made      atomic.Int64
	opened    atomic.Int64
	delay     time.Duration
	mu        sync.Mutex
	err       error // of every call
	version   byte
	masters   map[string]envelope.Key
	versioned map[envelope.KeyID]byte
}

func newFake() *fake {
	return &fake{service: "orders", version: 1, masters: map[string]envelope.Key{}, versioned: map[envelope.KeyID]byte{}}
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) wrapper(key, owner string, version byte) (*envelope.Wrapper, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprint(key, "/", owner, "/", version)
	if _, ok := f.masters[name]; !ok {
		f.masters[name] = envelope.NewKey()
	}
	id := envelope.KeyID{7: version}
	f.versioned[id] = version
	w, err := envelope.NewWrapper(id, key, owner, f.masters[name])
	return w, errors.Join(f.err, err)
}

func (f *fake) Service(context.Context) (string, error) { return f.service, nil }

func (f *fake) NewDataKey(ctx context.Context, key, owner string) (Grant, error) {
	f.made.Add(1)
	if err := f.wait(ctx); err != nil {
		return Grant{}, err
	}
	w, err := f.wrapper(key, owner, f.version)
	if err != nil {
		return Grant{}, err
	}
	out := f.limits
	out.Key, err = w.New()
	return out, err
}

func (f *fake) wait(ctx context.Context) error {
	if f.delay == 0 {
		return nil
	}
	select {
	case <-time.After(f.delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) OpenDataKey(ctx context.Context, key, owner string, header []byte) (Grant, error) {
	f.opened.Add(1)
	if err := f.wait(ctx); err != nil {
		return Grant{}, err
	}
	w, err := f.wrapper(key, owner, header[11])
	if err != nil {
		return Grant{}, err
	}
	d, err := w.Open(header)
	return Grant{Key: d, MaxAge: f.limits.MaxAge}, err
}

func (f *fake) LookupKeys(_ context.Context, key string) ([]*envelope.LookupKey, error) {
	f.opened.Add(1)
	var all []*envelope.LookupKey
	for v := f.version; v > 0; v-- {
		if _, err := f.wrapper(key, "", v); err != nil {
			return nil, err
		}
		secret, err := envelope.DeriveLookupKey(f.masters[fmt.Sprint(key, "//", v)])
		if err != nil {
			return nil, err
		}
		l, err := envelope.NewLookupKey(envelope.KeyID{7: v}, secret)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustSeal(t testing.TB, c *Client, value string, at Context) []byte {
	t.Helper()
	sealed, err := c.Seal(t.Context(), []byte(value), at)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestAValueOpensInItsPlaceOnly(t *testing.T) {
	f := newFake()
	c, other := newClient(t, Config{Provider: f}), newClient(t, Config{Provider: f})
	sealed := mustSeal(t, c.For("customer 7"), "1 Main Street", place)
	for name, try := range map[string]struct {
		c  *Client
		at func(*Context)
		ok bool
	}{
		"its place":         {c.For("customer 7"), func(*Context) {}, true},
		"in a fresh client": {other.For("customer 7"), func(*Context) {}, true},
		"with the service":  {other.For("customer 7"), func(c *Context) { c.Service = "orders" }, true},
		"another service":   {other.For("customer 7"), func(c *Context) { c.Service = "web" }, false},
		"another class":     {other.For("customer 7"), func(c *Context) { c.Class = "names" }, false},
		"no class":          {other.For("customer 7"), func(c *Context) { c.Class = "" }, false},
		"another tenant":    {other.For("customer 7"), func(c *Context) { c.Tenant = "b" }, false},
		"another table":     {other.For("customer 7"), func(c *Context) { c.Table = "b" }, false},
		"another column":    {other.For("customer 7"), func(c *Context) { c.Column = "b" }, false},
		"another row":       {other.For("customer 7"), func(c *Context) { c.Row = "18" }, false},
		"fields that slip":  {other.For("customer 7"), func(c *Context) { c.Column, c.Row = "addres", "s17" }, false},
		"another owner":     {c.For("customer 8"), func(*Context) {}, false},
		"no owner":          {c, func(*Context) {}, false},
	} {
		at := place
		try.at(&at)
		got, err := try.c.Unseal(t.Context(), sealed, at)
		if try.ok && (err != nil || string(got) != "1 Main Street") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if !try.ok && (!errors.Is(err, ErrDecrypt) || got != nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := c.Seal(t.Context(), nil, Context{Service: "web", Class: "addresses", Row: "1"}); err == nil {
		t.Error("sealed for another service")
	}
}

func TestBudgetsChangeTheDataKey(t *testing.T) {
	for name, try := range map[string]struct {
		cfg    Config
		limits Grant
		size   int
	}{
		"messages":              {Config{MaxMessages: 10}, Grant{}, 1},
		"bytes":                 {Config{MaxBytes: 1000}, Grant{}, 100},
		"the server's messages": {Config{MaxMessages: 100}, Grant{MaxMessages: 10}, 1},
		"the server's bytes":    {Config{}, Grant{MaxBytes: 1000}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.limits = try.limits
			try.cfg.Provider = f
			c := newClient(t, try.cfg)
			uses := map[string]int{}
			var wg sync.WaitGroup
			var mu sync.Mutex
			for range 4 {
				wg.Go(func() {
					for range 25 {
						sealed, err := c.Seal(t.Context(), make([]byte, try.size), place)
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						uses[string(sealed[:envelope.HeaderSize])]++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			for _, n := range uses {
				if n > 10 {
					t.Errorf("a data key sealed %d messages", n)
				}
			}
			if made := f.made.Load(); made < 10 || made > 14 {
				t.Errorf("%d data keys for 100 messages", made)
			}
		})
	}
	c := newClient(t, Config{Provider: newFake(), MaxBytes: 10})
	if _, err := c.Seal(t.Context(), make([]byte, 11), place); err == nil {
		t.Error("a value beyond the whole budget was sealed")
	}
}

func TestADataKeyIsOverAfterItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.limits.MaxAge = time.Minute
		c := newClient(t, Config{Provider: f})
		first := mustSeal(t, c, "x", place)
		time.Sleep(47 * time.Second)
		if again := mustSeal(t, c, "x", place); !bytes.Equal(again[:envelope.HeaderSize], first[:envelope.HeaderSize]) {
			t.Error("the data key changed before its time")
		}
		time.Sleep(2 * time.Second)
		if ahead := mustSeal(t, c, "x", place); bytes.Equal(ahead[:envelope.HeaderSize], first[:envelope.HeaderSize]) {
			t.Error("the data key wasn't fetched ahead")
		}
		if _, err := c.Unseal(t.Context(), first, place); err != nil || f.opened.Load() != 1 {
			t.Errorf("in the last fifth it wasn't asked for: %v", err)
		}
	})
}

func TestAShreddedKeyStopsWithinItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newClient(t, Config{Provider: f, MaxAge: time.Minute}).For("customer 7")
		sealed := mustSeal(t, c, "x", place)
		f.fail(fmt.Errorf("%w: shredded", ErrRefused))
		time.Sleep(47 * time.Second)
		if _, err := c.Unseal(t.Context(), sealed, place); err != nil {
			t.Errorf("within its age: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := c.Unseal(t.Context(), sealed, place); !errors.Is(err, ErrRefused) {
			t.Errorf("asked again, it was refused: %v", err)
		}
		f.fail(errors.New("away"))
		if _, err := c.Unseal(t.Context(), sealed, place); err == nil {
			t.Error("it opened after the refusal")
		}
	})
}

func TestAProviderThatIsAwayIsBridgedUntilTheKeysAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newClient(t, Config{Provider: f, MaxAge: time.Minute})
		sealed := mustSeal(t, c, "x", place)
		f.fail(errors.New("away"))
		for range 59 {
			time.Sleep(time.Second)
			mustSeal(t, c, "x", place)
			if _, err := c.Unseal(t.Context(), sealed, place); err != nil {
				t.Fatal(err)
			}
		}
		if asked := f.made.Load(); asked > 12 {
			t.Errorf("asked %d times", asked)
		}
		time.Sleep(time.Second)
		if _, err := c.Seal(t.Context(), nil, place); err == nil {
			t.Error("sealed after the key's age")
		}
		if _, err := c.Unseal(t.Context(), sealed, place); err == nil {
			t.Error("opened after the key's age")
		}
	})
}

func TestCallersWhoMissTheSameKeyShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.delay = time.Second
		c := newClient(t, Config{Provider: f})
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Seal(hasty, nil, place); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hasty one: %v", err)
			}
		})
		synctest.Wait() // the hasty one fetches for all
		for range 50 {
			wg.Go(func() {
				if _, err := c.Seal(t.Context(), nil, place); err != nil {
					t.Errorf("one who waits: %v", err)
				}
			})
		}
		wg.Wait()
		if made := f.made.Load(); made != 2 {
			t.Errorf("%d fetches; one gave up, one for all others", made)
		}
	})
}

func TestAKeyToOpenIsOverAfterTheProvidersAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		sealed := mustSeal(t, newClient(t, Config{Provider: f}), "x", place)
		f.limits.MaxAge = time.Minute
		c := newClient(t, Config{Provider: f})
		for _, asked := range []int64{1, 1, 2} {
			if _, err := c.Unseal(t.Context(), sealed, place); err != nil || f.opened.Load() != asked {
				t.Errorf("asked %d times instead of %d, %v", f.opened.Load(), asked, err)
			}
			time.Sleep(30 * time.Second)
		}
	})
}

func TestAKeyThatIsOverIsntUsedWhileAnotherIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newClient(t, Config{Provider: f, MaxAge: time.Minute})
		old := mustSeal(t, c, "x", place)
		time.Sleep(time.Minute)
		f.delay = time.Second
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if sealed := mustSeal(t, c, "x", place); bytes.Equal(sealed[:envelope.HeaderSize], old[:envelope.HeaderSize]) {
					t.Error("sealed under a key that is over")
				}
			})
			synctest.Wait()
		}
		wg.Wait()
	})
}

func TestTheLeastUsedKeyIsForgottenFirst(t *testing.T) {
	f := newFake()
	c := newClient(t, Config{Provider: f, MaxKeys: 2})
	for _, owner := range []string{"a", "b", "a", "c", "a"} {
		mustSeal(t, c.For(owner), "x", place)
	}
	if made := f.made.Load(); made != 3 {
		t.Errorf("%d data keys made for three owners", made)
	}
	if n := len(c.sealers.entries); n != 2 || c.sealers.order.Len() != 2 || len(c.openers.entries) != 2 {
		t.Errorf("%d are kept", n)
	}
}

func TestRewrapChangesToTheNewestVersionAndLeavesItThere(t *testing.T) {
	f := newFake()
	c := newClient(t, Config{Provider: f})
	old := mustSeal(t, c, "x", place)
	if same, err := c.Rewrap(t.Context(), old, place); err != nil || !bytes.Equal(same, old) {
		t.Errorf("without a newer version it changed, %v", err)
	}
	f.version = 2
	c = newClient(t, Config{Provider: f})
	anew, err := c.Rewrap(t.Context(), old, place)
	if err != nil || anew[11] != 2 {
		t.Fatalf("under version %d, %v", anew[11], err)
	}
	for _, sealed := range [][]byte{old, anew} {
		if got, err := c.Unseal(t.Context(), sealed, place); err != nil || string(got) != "x" {
			t.Errorf("opens as %q, %v", got, err)
		}
	}
	if _, err := c.Rewrap(t.Context(), append(old, 0), place); !errors.Is(err, ErrDecrypt) {
		t.Errorf("a broken value: %v", err)
	}
}

func TestFilesAreReadFromTheBeginningAndFromAnywhere(t *testing.T) {
	f := newFake()
	c, other := newClient(t, Config{Provider: f}).For("customer 7"), newClient(t, Config{Provider: f}).For("customer 7")
	plain := []byte(strings.Repeat("0123456789", 20_000))
	var sealed bytes.Buffer
	w, err := c.NewWriter(t.Context(), &sealed, place)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(plain)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := other.NewReader(t.Context(), bytes.NewReader(sealed.Bytes()), place)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	at, err := other.NewReaderAt(t.Context(), bytes.NewReader(sealed.Bytes()), int64(sealed.Len()), place)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 50_000)
	if _, err := at.ReadAt(part, 99_999); err != nil || !bytes.Equal(part, plain[99_999:149_999]) || at.Size() != 200_000 {
		t.Errorf("a part of %d: %v", at.Size(), err)
	}
	elsewhere := place
	elsewhere.Row = "18"
	if _, err := other.NewReader(t.Context(), bytes.NewReader(sealed.Bytes()), elsewhere); !errors.Is(err, ErrDecrypt) {
		t.Errorf("in another place: %v", err)
	}
	if _, err := other.For("").NewReader(t.Context(), bytes.NewReader(sealed.Bytes()), place); !errors.Is(err, ErrDecrypt) {
		t.Errorf("without its owner: %v", err)
	}
	if _, err := other.Unseal(t.Context(), sealed.Bytes(), place); !errors.Is(err, ErrDecrypt) {
		t.Errorf("as a message: %v", err)
	}
}

func TestLookupsAreFoundUnderEveryVersion(t *testing.T) {
	f := newFake()
	c := newClient(t, Config{Provider: f})
	at := Context{Class: "addresses", Table: "orders", Column: "email"}
	old, err := c.SealLookup(t.Context(), []byte("a@b"), at)
	if err != nil {
		t.Fatal(err)
	}
	oldIndex, _ := c.Index(t.Context(), []byte("a@b"), at)
	f.version = 2
	c = newClient(t, Config{Provider: f})
	forms, err := c.Lookups(t.Context(), []byte("a@b"), at)
	if err != nil || len(forms) != 2 || bytes.Equal(forms[0], old) || !bytes.Equal(forms[1], old) {
		t.Errorf("forms %x, %v", forms, err)
	}
	indexes, err := c.Indexes(t.Context(), []byte("a@b"), at)
	if err != nil || len(indexes) != 2 || bytes.Equal(indexes[0], oldIndex) || !bytes.Equal(indexes[1], oldIndex) || len(oldIndex) != 16 {
		t.Errorf("indexes %x, %v", indexes, err)
	}
	if got, err := c.UnsealLookup(t.Context(), old, at); err != nil || string(got) != "a@b" {
		t.Errorf("%q, %v", got, err)
	}
	other := at
	other.Column = "other"
	if _, err := c.UnsealLookup(t.Context(), old, other); !errors.Is(err, ErrDecrypt) {
		t.Errorf("another column: %v", err)
	}
	if _, err := c.For("customer 7").SealLookup(t.Context(), nil, at); err == nil {
		t.Error("a lookup hung on an owner")
	}
	if _, err := c.SealLookup(t.Context(), nil, place); err == nil {
		t.Error("a lookup had a row")
	}
	if _, err := c.Unseal(t.Context(), old, at); !errors.Is(err, ErrDecrypt) {
		t.Errorf("as a message: %v", err)
	}
}

func TestSealingAllocatesTheResultAlone(t *testing.T) {
	c, value := newClient(t, Config{Provider: newFake()}), make([]byte, 1024)
	sealed := mustSeal(t, c, string(value), place)
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Seal(t.Context(), value, place) }); n > 1 {
		t.Errorf("seal: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Unseal(t.Context(), sealed, place) }); n > 1 {
		t.Errorf("unseal: %v allocations", n)
	}
}
