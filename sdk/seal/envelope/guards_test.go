package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestKeysNeverPrint(t *testing.T) {
	k, err := KeyFrom([]byte("hunter2-hunter2-hunter2-hunter2-"))
	if err != nil {
		t.Fatal(err)
	}
	w := testWrapper(t, "", k)
	d, _ := w.New()
	l, _ := NewLookupKey(testID, k)
	m, _ := NewMACKey(testID, k)
	for _, v := range []any{k, &k, w, d, l, m, *l, *m, struct{ K Key }{k}, struct{ k Key }{k}, struct{ k *LookupKey }{l}, struct{ k *DataKey }{d}, struct{ k *Wrapper }{w}, struct{ k *MACKey }{m}, []Key{k}, map[string]Key{"k": k}} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		j, _ := json.Marshal(v)
		all := fmt.Sprint(v) + fmt.Sprintf("%v %+v %#v %s %x %X %q %d %c", v, v, v, v, v, v, v, v, v) + string(j) + log.String()
		for _, form := range []string{"hunter2", "68756e746572", "68756E746572", "104 117 110", "0x68, 0x75", "aHVudGVy", "h u n"} {
			if strings.Contains(all, form) {
				t.Errorf("%T printed: %s", v, all)
			}
		}
	}
}

func TestAContextIsCheckedAndEncodedWithoutAmbiguity(t *testing.T) {
	long := strings.Repeat("x", maxField+1)
	for name, c := range map[string]Context{
		"no class":     {Row: "1"},
		"class alone":  {Service: "orders", Class: "addresses"},
		"long service": {Service: long, Class: "a", Row: "1"},
		"long class":   {Class: long, Row: "1"},
		"long tenant":  {Class: "a", Tenant: long},
		"long table":   {Class: "a", Table: long},
		"long column":  {Class: "a", Column: long},
		"long row":     {Class: "a", Row: long},
		"no UTF-8":     {Class: "a", Row: "\xff"},
		"half a rune":  {Class: "a", Column: "\xc3", Row: "\xbc"},
		"long, and no": {Class: "a", Column: strings.Repeat("x", 200), Row: "\xff"},
	} {
		if c.Check() == nil {
			t.Errorf("%s: allowed", name)
		}
		if _, err := testDataKey(t).Seal(c, nil); err == nil {
			t.Errorf("%s: sealed", name)
		}
		if _, err := testDataKey(t).NewWriter(io.Discard, c); err == nil {
			t.Errorf("%s: streamed", name)
		}
	}
	seen := map[string]Context{}
	values := []string{"", "a", "aa", "a\x00", "\x00\x01a"}
	for i := range 5 * 5 * 5 * 5 {
		c := Context{values[i%5], "c" + values[i/5%5], "", values[i/25%5], values[i/125%5], ""}
		b, err := c.append(nil)
		if allowed := c.Check() == nil; allowed != (err == nil) {
			t.Errorf("%q is allowed: %v; encoded: %v", c, allowed, err)
		}
		e := string(b)
		if other, ok := seen[e]; ok {
			t.Errorf("%q and %q are one", c, other)
		}
		seen[e] = c
	}
}

func TestAWrapperOpensItsOwnOnly(t *testing.T) {
	m := NewKey()
	d, err := testWrapper(t, "a", m).New()
	if err != nil {
		t.Fatal(err)
	}
	open := func(id KeyID, name, owner string, k Key) error {
		w, err := NewWrapper(id, name, owner, k)
		if err == nil {
			_, err = w.Open(d.Header())
		}
		return err
	}
	if err := open(testID, "addresses", "a", m); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another version":   open(KeyID{9}, "addresses", "a", m),
		"another name":      open(testID, "names", "a", m),
		"a name that slips": open(testID, "address", "esa", m),
		"another owner":     open(testID, "addresses", "b", m),
		"no owner":          open(testID, "addresses", "", m),
		"another key":       open(testID, "addresses", "a", NewKey()),
	} {
		if !errors.Is(err, ErrDecrypt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unowned := d.Header()
	unowned[3] = byVersion
	if _, err := testWrapper(t, "a", m).Open(unowned); !errors.Is(err, ErrDecrypt) {
		t.Errorf("said to have no owner: %v", err)
	}
	for i := range HeaderSize * 8 {
		if i/8 == kindAt && i%8 == 1 {
			continue // a stream's header
		}
		h := d.Header()
		h[i/8] ^= 1 << (i % 8)
		if _, err := testWrapper(t, "a", m).Open(h); !errors.Is(err, ErrDecrypt) {
			t.Errorf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
	}
	for name, err := range map[string]error{
		"no name":    open(testID, "", "a", m),
		"long name":  open(testID, strings.Repeat("x", 1025), "", m),
		"long owner": open(testID, "a", strings.Repeat("x", 1025), m),
		"no key":     open(testID, "a", "", Key{}),
	} {
		if err == nil || errors.Is(err, ErrDecrypt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADataKeyIsItsHeadersOwn(t *testing.T) {
	d, other := testDataKey(t), testDataKey(t)
	if _, err := NewDataKey(d.Header(), d.Reveal()); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another key":    second(NewDataKey(d.Header(), other.Reveal())),
		"a short key":    second(NewDataKey(d.Header(), d.Reveal()[:31])),
		"a short header": second(NewDataKey(d.Header()[:103], d.Reveal())),
		"a long header":  second(NewDataKey(append(d.Header(), 0), d.Reveal())),
	} {
		if !errors.Is(err, ErrDecrypt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sealed, err := other.Seal(testContext, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(testContext, sealed); !errors.Is(err, ErrDecrypt) {
		t.Errorf("another's message: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestFIPSOnly runs this package's tests where Go's FIPS 140-3 mode refuses all else. Streams can't: chunked encryption counts its nonces, and there
// crypto/cipher gives AES-GCM with nonces of its own only.
func TestFIPSOnly(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		t.Skip("this is it")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^Test(Messages|ABit|Lookups|AMAC|AWrapper|ADataKey|Keys|AContext)", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if passed := bytes.Count(out, []byte("--- PASS: ")); err != nil || passed != 8 {
		t.Errorf("%d passed, %v:\n%s", passed, err, out)
	}
}

func FuzzOpen(f *testing.F) {
	w := testWrapper(f, "", NewKey())
	d, err := w.New()
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := d.Seal(testContext, []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	l, err := NewLookupKey(testID, NewKey())
	if err != nil {
		f.Fatal(err)
	}
	c := Context{Class: "a", Column: "b"}
	found, err := l.Seal(c, []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(found)
	f.Add(d.Header())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, inspected := Inspect(b)
		for name, try := range map[string]func() ([]byte, error){
			"message": func() ([]byte, error) { return d.Open(testContext, b) },
			"lookup":  func() ([]byte, error) { return l.Open(c, b) },
			"header":  func() ([]byte, error) { d, err := w.Open(b); _ = d; return nil, err },
			"stream": func() ([]byte, error) {
				r, err := NewReader(bytes.NewReader(b), testContext, w.Open)
				if err != nil {
					return nil, err
				}
				return io.ReadAll(r)
			},
		} {
			switch got, err := try(); {
			case err == nil && (inspected != nil || (!bytes.Equal(b, sealed) && !bytes.Equal(b, found) && name != "header")):
				t.Errorf("%s: opened %x as %q", name, b, got)
			case err != nil && !errors.Is(err, ErrDecrypt):
				t.Errorf("%s: the error says more: %v", name, err)
			}
		}
	})
}

// The low byte of a long field's length must not pass as the beginning of a rune that the field ends.
func TestEveryFieldIsUTF8ByItself(t *testing.T) {
	d := testDataKey(t)
	for n := 1; n <= maxField; n++ {
		at := Context{Class: "c", Row: "\x80" + strings.Repeat("a", n-1)}
		if _, err := d.Seal(at, nil); err == nil {
			t.Fatalf("a row of %d bytes that isn't UTF-8 was taken", n)
		}
		at.Row = strings.Repeat("é", n/2)
		if _, err := d.Seal(at, nil); err != nil && n >= 2 {
			t.Fatalf("a row of %d bytes: %v", len(at.Row), err)
		}
	}
}
