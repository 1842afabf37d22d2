package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

// serve answers as Ward's API does, from a fake's keys.
func serve(t *testing.T, f *fake) *API {
	t.Helper()
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, out any, err error) {
		switch {
		case errors.Is(err, ErrDecrypt):
			w.WriteHeader(http.StatusBadRequest)
			out = map[string]string{"kind": "invalid", "error": ErrDecrypt.Error()}
		case err != nil:
			w.WriteHeader(http.StatusForbidden)
			out = map[string]string{"kind": "refused", "error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(out)
	}
	type ask struct {
		Owner  string `json:"owner"`
		Header []byte `json:"header"`
	}
	decode := func(r *http.Request) (in ask) { _ = json.NewDecoder(r.Body).Decode(&in); return in }
	mux.HandleFunc("GET /v1/me", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"service": f.service, "keys": map[string][]string{"addresses": {"encrypt"}}}, nil)
	})
	mux.HandleFunc("POST /v1/keys/{name}/data-key", func(w http.ResponseWriter, r *http.Request) {
		k, err := f.NewDataKey(r.Context(), r.PathValue("name"), decode(r).Owner)
		if err != nil {
			reply(w, nil, err)
			return
		}
		reply(w, map[string]any{"header": k.Key.Header(), "plaintext": k.Key.Reveal(), "max_age_seconds": 60, "max_uses": 3, "max_bytes": 1000}, nil)
	})
	mux.HandleFunc("POST /v1/keys/{name}/open-data-key", func(w http.ResponseWriter, r *http.Request) {
		in := decode(r)
		d, err := f.OpenDataKey(r.Context(), r.PathValue("name"), in.Owner, in.Header)
		if err != nil {
			reply(w, nil, err)
			return
		}
		reply(w, map[string]any{"plaintext": d.Key.Reveal()}, nil)
	})
	mux.HandleFunc("GET /v1/keys/{name}/lookup-keys", func(w http.ResponseWriter, r *http.Request) {
		_, err := f.wrapper(r.PathValue("name"), "", 1)
		secret, _ := envelope.DeriveLookupKey(f.masters[r.PathValue("name")+"//1"])
		reply(w, map[string]any{"versions": []any{map[string]any{"key_id": envelope.KeyID{7: 1}, "key": secret.Reveal()}}}, err)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return &API{URL: s.URL}
}

func TestTheAPIsKeysSealAndOpen(t *testing.T) {
	f := newFake()
	api := serve(t, f)
	c, other := newClient(t, Config{Provider: api}), newClient(t, Config{Provider: api})
	for range 7 {
		sealed := mustSeal(t, c.For("customer 7"), "1 Main Street", place)
		if got, err := other.For("customer 7").Unseal(t.Context(), sealed, place); err != nil || string(got) != "1 Main Street" {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := other.For("customer 8").Unseal(t.Context(), sealed, place); !errors.Is(err, ErrDecrypt) {
			t.Errorf("another owner: %v", err)
		}
	}
	if made := f.made.Load(); made != 3 {
		t.Errorf("%d data keys for 7 messages, of which the server allows 3 each", made)
	}
	at := Context{Class: "addresses", Column: "email"}
	found, err := c.SealLookup(t.Context(), []byte("a@b"), at)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.UnsealLookup(t.Context(), found, at); err != nil || string(got) != "a@b" {
		t.Errorf("lookup: %q, %v", got, err)
	}
	f.fail(errors.New("orders may not use addresses"))
	if _, err := c.For("customer 9").Seal(t.Context(), nil, place); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "may not use") {
		t.Errorf("refused: %v", err)
	}
}

func TestAnswersThatArentRightGiveNoKeyAndNoSecretInTheError(t *testing.T) {
	secret := strings.Repeat("c2VjcmV0", 5) + "c2U="
	for name, answer := range map[string]func(http.ResponseWriter){
		"no JSON":         func(w http.ResponseWriter) { fmt.Fprintf(w, `{"plaintext": "%s`, secret) },
		"another type":    func(w http.ResponseWriter) { fmt.Fprintf(w, `{"plaintext": ["%s"]}`, secret) },
		"no header":       func(w http.ResponseWriter) { fmt.Fprintf(w, `{"plaintext": "%s"}`, secret) },
		"too long":        func(w http.ResponseWriter) { fmt.Fprint(w, "{\"x\":\"", strings.Repeat("x", maxReply), "\"}") },
		"away":            func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"an error's page": func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden); fmt.Fprint(w, "<html>") },
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		a := &API{URL: s.URL}
		for _, err := range []error{second(a.NewDataKey(t.Context(), "k", "")), second(a.OpenDataKey(t.Context(), "k", "", make([]byte, 104)))} {
			if err == nil || strings.Contains(err.Error(), "c2Vjcm") {
				t.Errorf("%s: %v", name, err)
			}
		}
		s.Close()
	}
}

func second[T any](_ T, err error) error { return err }

const keysetJSON = `{"service": "orders", "keys": [
	{"name": "addresses", "key_id": "0000000000000002", "key": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="},
	{"name": "addresses", "key_id": "0000000000000001", "key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="},
	{"name": "addresses", "owner": "customer 7", "key_id": "0000000000000002", "key": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="},
	{"name": "addresses.lookup", "key_id": "0000000000000003", "key": "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="}]}`

func TestAKeysetWorksWithoutAServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(keysetJSON), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Provider: k})
	for _, c := range []*Client{c, c.For("customer 7")} {
		sealed := mustSeal(t, c, "x", place)
		if got, err := newClient(t, Config{Provider: k}).For(c.owner).Unseal(t.Context(), sealed, place); err != nil || string(got) != "x" || sealed[11] != 2 {
			t.Errorf("%q under version %d, %v", got, sealed[11], err)
		}
	}
	if _, err := c.Index(t.Context(), []byte("x"), Context{Class: "addresses", Column: "email"}); err != nil {
		t.Error(err)
	}
	if _, err := c.For("customer 8").Seal(t.Context(), nil, place); !errors.Is(err, ErrRefused) {
		t.Errorf("an owner who isn't there: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeyset(path); err == nil {
			t.Errorf("a keyset of mode %o was read", mode)
		}
	}
	if _, err := OpenKeyset(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestAKeysetThatIsntClearIsRefused(t *testing.T) {
	for name, edit := range map[string][2]string{
		"an unknown word":  {`"owner"`, `"onwer"`},
		"more behind it":   {`]}`, `]} {}`},
		"no service":       {`"orders"`, `""`},
		"a short key":      {"AgICAgIC", ""},
		"a short ID":       {`"0000000000000003"`, `"3"`},
		"an upper-case ID": {`"0000000000000003"`, `"000000000000000A"`},
		"no name":          {`"addresses.lookup"`, `""`},
		"no keys":          {`"keys": [`, `"keys": [], "more": [`},
	} {
		if _, err := ParseKeyset([]byte(strings.Replace(keysetJSON, edit[0], edit[1], 1))); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func FuzzParseKeyset(f *testing.F) {
	f.Add([]byte(keysetJSON))
	f.Add([]byte(`{"service":"a","keys":[{"name":"","key_id":"","key":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeyset(bytes.Clone(b))
		if err != nil {
			return
		}
		for name := range k.wrappers {
			n, err := k.NewDataKey(t.Context(), name.key, name.owner)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.OpenDataKey(t.Context(), name.key, name.owner, n.Key.Header()); err != nil {
				t.Errorf("what it wraps doesn't open: %v", err)
			}
		}
	})
}

// FuzzUnseal gives the client's readers what nobody has sealed.
func FuzzUnseal(f *testing.F) {
	k, err := ParseKeyset([]byte(keysetJSON))
	if err != nil {
		f.Fatal(err)
	}
	c, err := New(f.Context(), Config{Provider: k})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(mustSeal(f, c, "", place))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := c.Unseal(t.Context(), b, place); err == nil && len(got)+envelope.Overhead != len(b) {
			t.Errorf("%d bytes opened as %d", len(b), len(got))
		} else if err != nil && !errors.Is(err, ErrDecrypt) {
			t.Errorf("the error says more: %v", err)
		}
		if _, err := c.UnsealLookup(t.Context(), b, Context{Class: "addresses", Column: "email"}); err == nil {
			t.Error("a lookup opened")
		}
		if r, err := c.NewReader(t.Context(), bytes.NewReader(b), place); err == nil {
			if _, err := io.Copy(io.Discard, r); err == nil {
				t.Error("a stream opened")
			}
		}
	})
}
