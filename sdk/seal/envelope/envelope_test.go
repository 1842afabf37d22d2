package envelope

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

var (
	testContext = Context{Service: "orders", Class: "addresses", Table: "orders", Column: "address", Row: "17"}
	testID      = KeyID{1, 2, 3, 4, 5, 6, 7, 8}
)

func testWrapper(t testing.TB, owner string, m Key) *Wrapper {
	t.Helper()
	w, err := NewWrapper(testID, "addresses", owner, m)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func testDataKey(t testing.TB) *DataKey {
	t.Helper()
	d, err := testWrapper(t, "", NewKey()).New()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMessagesOpenAsTheyWereSealed(t *testing.T) {
	m := NewKey()
	for _, owner := range []string{"", "customer 7"} {
		w := testWrapper(t, owner, m)
		d, err := w.New()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 15, 16, 1000} {
			plain := bytes.Repeat([]byte{'x'}, n)
			sealed, err := d.Seal(testContext, plain)
			if err != nil || len(sealed) != n+Overhead {
				t.Fatalf("sealed %d bytes as %d, %v", n, len(sealed), err)
			}
			again, err := w.Open(sealed[:HeaderSize])
			if err != nil {
				t.Fatal(err)
			}
			if got, err := again.Open(testContext, sealed); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes: got %q, %v", n, got, err)
			}
		}
	}
}

func TestABitFlippedAnywhereNeverDecrypts(t *testing.T) {
	m := NewKey()
	w := testWrapper(t, "", m)
	d, err := w.New()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := d.Seal(testContext, []byte("1 Main Street"))
	if err != nil {
		t.Fatal(err)
	}
	open := func(b []byte) error {
		_, cached := d.Open(testContext, b)
		if !errors.Is(cached, ErrDecrypt) || len(b) < HeaderSize {
			return cached
		}
		fresh, err := w.Open(b[:HeaderSize])
		if err != nil {
			return err
		}
		_, err = fresh.Open(testContext, b)
		return err
	}
	if err := open(sealed); err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		b := bytes.Clone(sealed)
		b[i/8] ^= 1 << (i % 8)
		if err := open(b); !errors.Is(err, ErrDecrypt) {
			t.Errorf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
	}
	for n := range len(sealed) {
		if err := open(sealed[:n]); !errors.Is(err, ErrDecrypt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if err := open(append(sealed, 0)); !errors.Is(err, ErrDecrypt) {
		t.Errorf("one byte longer: %v", err)
	}
}

func TestStreamsOpenAsTheyWereSealed(t *testing.T) {
	d := testDataKey(t)
	plain := bytes.Repeat([]byte("0123456789"), 5000)
	var sealed bytes.Buffer
	w, err := d.NewWriter(&sealed, testContext)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	find := func([]byte) (*DataKey, error) { return d, nil }
	r, err := NewReader(bytes.NewReader(sealed.Bytes()), testContext, find)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	at, err := NewReaderAt(bytes.NewReader(sealed.Bytes()), int64(sealed.Len()), testContext, find)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 20000)
	if _, err := at.ReadAt(part, 12345); err != nil || !bytes.Equal(part, plain[12345:32345]) {
		t.Fatalf("a part is wrong: %v", err)
	}
}

func TestAStreamsHeaderIsPartOfIt(t *testing.T) {
	d := testDataKey(t)
	var sealed bytes.Buffer
	w, err := d.NewWriter(&sealed, testContext)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range HeaderSize * 8 {
		b := bytes.Clone(sealed.Bytes())
		b[i/8] ^= 1 << (i % 8)
		find := func([]byte) (*DataKey, error) { return d, nil } // one who doesn't look
		if _, err := NewReader(bytes.NewReader(b), testContext, find); !errors.Is(err, ErrDecrypt) {
			t.Errorf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
		if _, err := NewReaderAt(bytes.NewReader(b), int64(len(b)), testContext, find); !errors.Is(err, ErrDecrypt) {
			t.Errorf("bit %d of byte %d flipped, at random: %v", i%8, i/8, err)
		}
	}
}

func TestLookupsAreEqualForEqualValuesAndOpen(t *testing.T) {
	l, err := NewLookupKey(testID, NewKey())
	if err != nil {
		t.Fatal(err)
	}
	c := Context{Service: "orders", Class: "addresses", Column: "email"}
	a, err := l.Seal(c, []byte("a@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := l.Seal(c, []byte("a@example.com"))
	if !bytes.Equal(a, b) {
		t.Error("equal values differ")
	}
	if got, err := l.Open(c, a); err != nil || string(got) != "a@example.com" {
		t.Errorf("got %q, %v", got, err)
	}
	for i := range len(a) * 8 {
		f := bytes.Clone(a)
		f[i/8] ^= 1 << (i % 8)
		if _, err := l.Open(c, f); !errors.Is(err, ErrDecrypt) {
			t.Errorf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
	}
}

func TestAMACIsOfItsMessageAndContext(t *testing.T) {
	k, err := NewMACKey(testID, NewKey())
	if err != nil {
		t.Fatal(err)
	}
	mac, err := k.MAC(testContext, []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Verify(testContext, []byte("m"), mac); err != nil {
		t.Error(err)
	}
	other := testContext
	other.Row = "18"
	if err := k.Verify(other, []byte("m"), mac); !errors.Is(err, ErrDecrypt) {
		t.Errorf("another row: %v", err)
	}
	for i := range len(mac) * 8 {
		f := bytes.Clone(mac)
		f[i/8] ^= 1 << (i % 8)
		if err := k.Verify(testContext, []byte("m"), f); !errors.Is(err, ErrDecrypt) {
			t.Errorf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
	}
}

func TestSealAllocatesTheResultAlone(t *testing.T) {
	d, plain := testDataKey(t), make([]byte, 1024)
	if n := testing.AllocsPerRun(200, func() { _, _ = d.Seal(testContext, plain) }); n != 1 {
		t.Errorf("%v allocations", n)
	}
	sealed, _ := d.Seal(testContext, plain)
	if n := testing.AllocsPerRun(200, func() { _, _ = d.Open(testContext, sealed) }); n != 1 {
		t.Errorf("open: %v allocations", n)
	}
}

func FuzzParseKeyID(f *testing.F) {
	f.Add(testID.String())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseKeyID(s); err == nil && id.String() != s {
			t.Errorf("%q read as %s", s, id)
		}
		var id KeyID
		if err := id.UnmarshalText([]byte(s)); err == nil && id.String() != s {
			t.Errorf("%q unmarshalled as %s", s, id)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	d, plain := testDataKey(b), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = d.Seal(testContext, plain)
	}
}

func BenchmarkOpen(b *testing.B) {
	d := testDataKey(b)
	sealed, _ := d.Seal(testContext, make([]byte, 1024))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = d.Open(testContext, sealed)
	}
}
