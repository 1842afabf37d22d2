package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/wardhq/ward/sdk/seal/chunked"
)

var update = flag.Bool("update", false, "make testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

// vector is one of docs/FORMAT.md's.
type vector struct {
	Comment   string  `json:"comment"`
	Kind      string  `json:"kind"` // message, stream, lookup, index or mac
	Valid     bool    `json:"valid"`
	Key       []byte  `json:"key"` // M: the version of the managed key, or the owner's key under it
	KeyID     KeyID   `json:"key_id"`
	KeyName   string  `json:"key_name"`
	Owner     string  `json:"owner"`
	Context   Context `json:"context"`
	Plaintext []byte  `json:"plaintext"`
	Sealed    []byte  `json:"sealed"`
}

var errNotEqual = errors.New("another plaintext")

// open reads a vector as someone would who has the managed key.
func (v *vector) open() error {
	m, err := KeyFrom(v.Key)
	if err != nil {
		return err
	}
	var got []byte
	switch v.Kind {
	case "message", "stream":
		w, err := NewWrapper(v.KeyID, v.KeyName, v.Owner, m)
		if err != nil {
			return err
		}
		if got, err = openUnder(w, v); err != nil {
			return err
		}
	case "mac":
		k, err := NewMACKey(v.KeyID, m)
		if err != nil {
			return err
		}
		return k.Verify(v.Context, v.Plaintext, v.Sealed)
	default:
		secret, err := DeriveLookupKey(m)
		if err != nil {
			return err
		}
		l, err := NewLookupKey(v.KeyID, secret)
		if err != nil {
			return err
		}
		if v.Kind == "index" {
			if got, err = l.Index(v.Context, v.Plaintext); err == nil && !bytes.Equal(got, v.Sealed) {
				err = errNotEqual
			}
			return err
		}
		if got, err = l.Open(v.Context, v.Sealed); err != nil {
			return err
		}
	}
	if !bytes.Equal(got, v.Plaintext) {
		return errNotEqual
	}
	return nil
}

func openUnder(w *Wrapper, v *vector) ([]byte, error) {
	if v.Kind == "stream" {
		r, err := NewReader(bytes.NewReader(v.Sealed), v.Context, w.Open)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	if len(v.Sealed) < HeaderSize {
		return nil, ErrDecrypt
	}
	d, err := w.Open(v.Sealed[:HeaderSize])
	if err != nil {
		return nil, err
	}
	return d.Open(v.Context, v.Sealed)
}

func TestVectors(t *testing.T) {
	if *update {
		t.Run("update", writeVectors)
	}
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	valid := 0
	for i, v := range all {
		err := v.open()
		switch {
		case v.Valid && err != nil:
			t.Errorf("%d, %s: %v", i, v.Comment, err)
		case v.Valid:
			valid++
		case err == nil || errors.Is(err, errNotEqual) && v.Kind != "index":
			t.Errorf("%d, %s: %v", i, v.Comment, err)
		}
	}
	t.Logf("%d valid, %d not", valid, len(all)-valid)
}

// TestAnIndependentReaderAgrees runs a reader in another language that knows nothing but docs/FORMAT.md.
func TestAnIndependentReaderAgrees(t *testing.T) {
	if out, err := exec.Command("python3", "-c", "import cryptography").CombinedOutput(); err != nil {
		if os.Getenv("WARD_CI") != "" {
			t.Fatalf("python3 with cryptography is missing; .ci/run must install it: %s", out)
		}
		t.Skip("skipped: python3 with cryptography isn't installed")
	}
	out, err := exec.Command("python3", "testdata/read.py", vectorsFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}

// TestAnIndependentReaderInNodeAgrees runs a second one, which shares nothing with the first but docs/FORMAT.md.
func TestAnIndependentReaderInNodeAgrees(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("WARD_CI") != "" {
			t.Fatalf("node is missing; .ci/run must install it: %v", err)
		}
		t.Skip("skipped: node isn't installed")
	}
	out, err := exec.Command("node", "testdata/read.mjs", vectorsFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}

// maker collects vectors.
type maker struct {
	t   *testing.T
	all []vector
}

// writeVectors makes the file from a fixed stream of randomness.
func writeVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 4)
	m := &maker{t: t}
	m.messages()
	m.streams()
	m.lookups()
	b, err := json.MarshalIndent(m.all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *maker) add(v vector, comment string) {
	v.Comment, v.Valid = comment, true
	m.all = append(m.all, v)
}

// bad adds what edit makes of a valid vector.
func (m *maker) bad(v vector, comment string, edit func(*vector)) {
	v.Comment, v.Valid, v.Sealed, v.Key = comment, false, bytes.Clone(v.Sealed), bytes.Clone(v.Key)
	edit(&v)
	if v.Kind != "index" && v.Kind != "mac" {
		v.Plaintext = nil
	}
	m.all = append(m.all, v)
}

// start draws the keys of a vector.
func (m *maker) start(kind, owner string, c Context, plain []byte) (vector, Key) {
	k := NewKey()
	return vector{Kind: kind, Key: k.Reveal(), KeyID: NewKeyID(), KeyName: "addresses", Owner: owner, Context: c, Plaintext: plain}, k
}

func (m *maker) dataKey(v vector, k Key) *DataKey {
	w, err := NewWrapper(v.KeyID, v.KeyName, v.Owner, k)
	if err != nil {
		m.t.Fatal(err)
	}
	d, err := w.New()
	if err != nil {
		m.t.Fatal(err)
	}
	return d
}

func (m *maker) message(owner string, c Context, plain string) vector {
	v, k := m.start("message", owner, c, []byte(plain))
	var err error
	if v.Sealed, err = m.dataKey(v, k).Seal(c, v.Plaintext); err != nil {
		m.t.Fatal(err)
	}
	return v
}

func (m *maker) messages() {
	m.add(m.message("", testContext, ""), "an empty message")
	m.add(m.message("", Context{Class: "c", Row: "r"}, "x"), "the smallest context")
	m.add(m.message("customer 7", testContext, "1 Main Street"), "under an owner's key")
	m.add(m.message("Überbräu 啤酒", Context{"orders", "addresses", "tenant", "orders", "address", "ключ"}, "1 Main Street"), "all fields, UTF-8")
	m.add(m.message("", Context{Class: strings.Repeat("c", 1024), Table: strings.Repeat("t", 1024)}, strings.Repeat("m", 1000)), "the longest fields")
	v := m.message("customer 7", testContext, "1 Main Street")
	m.add(v, "the base of what follows")
	for name, edit := range map[string]func(*vector){
		"another version":                  func(v *vector) { v.Sealed[0] = 2 },
		"a stream's kind":                  func(v *vector) { v.Sealed[1] = 3 },
		"a lookup's kind":                  func(v *vector) { v.Sealed[1] = 2 },
		"another suite":                    func(v *vector) { v.Sealed[2] = 2 },
		"said to be under the key itself":  func(v *vector) { v.Sealed[3] = 1 },
		"said to be under nothing":         func(v *vector) { v.Sealed[3] = 0 },
		"another key ID":                   func(v *vector) { v.Sealed[4] ^= 1 },
		"the wrap's nonce changed":         func(v *vector) { v.Sealed[12] ^= 1 },
		"the wrapped key changed":          func(v *vector) { v.Sealed[24] ^= 1 },
		"the commitment changed":           func(v *vector) { v.Sealed[72] ^= 1 },
		"the nonce changed":                func(v *vector) { v.Sealed[104] ^= 1 },
		"the ciphertext changed":           func(v *vector) { v.Sealed[116] ^= 1 },
		"the tag changed":                  func(v *vector) { v.Sealed[len(v.Sealed)-1] ^= 1 },
		"cut":                              func(v *vector) { v.Sealed = v.Sealed[:len(v.Sealed)-1] },
		"cut to its header":                func(v *vector) { v.Sealed = v.Sealed[:104] },
		"nothing":                          func(v *vector) { v.Sealed = nil },
		"longer":                           func(v *vector) { v.Sealed = append(v.Sealed, 0) },
		"another service":                  func(v *vector) { v.Context.Service = "web" },
		"another class":                    func(v *vector) { v.Context.Class = "names" },
		"a tenant more":                    func(v *vector) { v.Context.Tenant = "t" },
		"another table":                    func(v *vector) { v.Context.Table = "carts" },
		"another column":                   func(v *vector) { v.Context.Column = "name" },
		"another row":                      func(v *vector) { v.Context.Row = "18" },
		"a byte slips to another field":    func(v *vector) { v.Context.Column, v.Context.Row = "addres", "s17" },
		"another owner":                    func(v *vector) { v.Owner = "customer 8" },
		"no owner":                         func(v *vector) { v.Owner = "" },
		"another key's name":               func(v *vector) { v.KeyName = "names" },
		"the name slips to the owner":      func(v *vector) { v.KeyName, v.Owner = "addresse", "scustomer 7" },
		"another key":                      func(v *vector) { v.Key[0] ^= 1 },
		"another version of the right key": func(v *vector) { v.KeyID[0] ^= 1 },
	} {
		m.bad(v, "message: "+name, edit)
	}
	other := m.message("customer 7", testContext, "1 Main Street")
	m.bad(v, "message: another's header", func(v *vector) { copy(v.Sealed, other.Sealed[:HeaderSize]) })
	m.forged()
	m.sort()
}

// forged is sealed by who has the data key, under a header that commits to another one: all but the commitment is right.
func (m *maker) forged() {
	v, k := m.start("message", "", testContext, []byte("1 Main Street"))
	d := m.dataKey(v, k)
	header := d.Header()
	header[72] ^= 1
	key, err := hkdf.Key(sha256.New, d.Reveal(), nil, "ward seal v1 message", KeySize)
	if err != nil {
		m.t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		m.t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		m.t.Fatal(err)
	}
	ad, err := v.Context.append(bytes.Clone(header))
	if err != nil {
		m.t.Fatal(err)
	}
	m.bad(v, "message: a commitment to another data key, sealed all the same", func(v *vector) { v.Sealed = gcm.Seal(header, nil, v.Plaintext, ad) })
}

// sort brings the order of a map's walk into one that stays.
func (m *maker) sort() {
	slices.SortStableFunc(m.all, func(a, b vector) int {
		if a.Valid || b.Valid || a.Kind != b.Kind {
			return 0
		}
		return strings.Compare(a.Comment, b.Comment)
	})
}

func (m *maker) stream(size int) vector {
	plain := make([]byte, size)
	for i := range plain {
		plain[i] = byte(i % 251)
	}
	v, k := m.start("stream", "", testContext, plain)
	var out bytes.Buffer
	w, err := m.dataKey(v, k).NewWriter(&out, v.Context)
	if err != nil {
		m.t.Fatal(err)
	}
	_, _ = w.Write(plain)
	if err := w.Close(); err != nil {
		m.t.Fatal(err)
	}
	v.Sealed = out.Bytes()
	return v
}

func (m *maker) streams() {
	m.add(m.stream(0), "an empty stream")
	m.add(m.stream(chunked.ChunkSize), "one full chunk and an empty one")
	small, large := m.stream(5), m.stream(2*chunked.ChunkSize+5)
	m.add(small, "a short stream")
	m.add(large, "two full chunks and a short one")
	const first, sealed = HeaderSize + chunked.Prefix, chunked.ChunkSize + tagSize
	for name, edit := range map[string]func(*vector){
		"a message's kind":         func(v *vector) { v.Sealed[1] = 1 },
		"the salt changed":         func(v *vector) { v.Sealed[104] ^= 1 },
		"the commitment changed":   func(v *vector) { v.Sealed[128] ^= 1 },
		"the ciphertext changed":   func(v *vector) { v.Sealed[first] ^= 1 },
		"cut":                      func(v *vector) { v.Sealed = v.Sealed[:len(v.Sealed)-1] },
		"cut before its chunk":     func(v *vector) { v.Sealed = v.Sealed[:first] },
		"longer":                   func(v *vector) { v.Sealed = append(v.Sealed, 0) },
		"another row":              func(v *vector) { v.Context.Row = "18" },
		"its last chunk once more": func(v *vector) { v.Sealed = append(v.Sealed, v.Sealed[first:]...) },
	} {
		m.bad(small, "stream: "+name, edit)
	}
	swap := func(v *vector) {
		copy(v.Sealed[first:], large.Sealed[first+sealed:first+2*sealed])
		copy(v.Sealed[first+sealed:], large.Sealed[first:first+sealed])
	}
	m.bad(large, "stream: two chunks change places", swap)
	m.bad(large, "stream: the second chunk is missing", func(v *vector) {
		v.Sealed = append(v.Sealed[:first+sealed], large.Sealed[first+2*sealed:]...)
	})
	m.bad(large, "stream: cut after a full chunk", func(v *vector) { v.Sealed = v.Sealed[:first+sealed] })
	m.sort()
}

func (m *maker) lookups() {
	c := Context{Service: "orders", Class: "addresses", Table: "orders", Column: "email"}
	one := func(kind, plain string, seal func(*LookupKey, vector) ([]byte, error)) vector {
		v, k := m.start(kind, "", c, []byte(plain))
		secret, err := DeriveLookupKey(k)
		if err != nil {
			m.t.Fatal(err)
		}
		l, err := NewLookupKey(v.KeyID, secret)
		if err != nil {
			m.t.Fatal(err)
		}
		if v.Sealed, err = seal(l, v); err != nil {
			m.t.Fatal(err)
		}
		return v
	}
	sealed := func(l *LookupKey, v vector) ([]byte, error) { return l.Seal(v.Context, v.Plaintext) }
	index := func(l *LookupKey, v vector) ([]byte, error) { return l.Index(v.Context, v.Plaintext) }
	m.add(one("lookup", "", sealed), "an empty lookup")
	lookup, find := one("lookup", "customer@example.com", sealed), one("index", "customer@example.com", index)
	mac, k := m.start("mac", "", testContext, []byte("a message"))
	key, err := NewMACKey(mac.KeyID, k)
	if err != nil {
		m.t.Fatal(err)
	}
	if mac.Sealed, err = key.MAC(mac.Context, mac.Plaintext); err != nil {
		m.t.Fatal(err)
	}
	m.add(lookup, "a lookup")
	m.add(find, "a blind index")
	m.add(mac, "a MAC")
	for name, edit := range map[string]func(*vector){
		"another version": func(v *vector) { v.Sealed[0] = 2 },
		"another kind":    func(v *vector) { v.Sealed[1] = 1 },
		"another suite":   func(v *vector) { v.Sealed[2] = 1 },
		"byte 3 set":      func(v *vector) { v.Sealed[3] = 1 },
		"another key ID":  func(v *vector) { v.Sealed[4] ^= 1 },
		"the tag changed": func(v *vector) { v.Sealed[12] ^= 1 },
		"its end changed": func(v *vector) { v.Sealed[len(v.Sealed)-1] ^= 1 },
		"cut":             func(v *vector) { v.Sealed = v.Sealed[:43] },
		"another column":  func(v *vector) { v.Context.Column = "name" },
		"another key":     func(v *vector) { v.Key[0] ^= 1 },
	} {
		m.bad(lookup, "lookup: "+name, edit)
		m.bad(mac, "mac: "+name, edit)
	}
	m.bad(lookup, "lookup: with a row", func(v *vector) { v.Context.Row = "17" })
	m.bad(mac, "mac: another message", func(v *vector) { v.Plaintext = []byte("a massage") })
	m.bad(find, "index: another column", func(v *vector) { v.Context.Column = "name" })
	m.bad(find, "index: with a row", func(v *vector) { v.Context.Row = "17" })
	m.sort()
}
