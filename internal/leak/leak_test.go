package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
)

const (
	stripe = "sk_test_4eC39HqLyjWDarjtT1zdp7dcXo9vB2Kq"
	odd    = "p&ss\"w<rd>\\/?+é ~x\ny%zQ7!k2Lm9#pR4"
)

func text(s string) secret.Bytes { return secret.New([]byte(s)) }

func twoSecrets() *Fingerprints {
	return Make([]Secret{{Name: "stripe-key", Value: text(stripe)}, {Name: "bait", Value: text(odd), Canary: true}, {Name: "short", Value: text("1234567")}})
}

// mask runs a stream through a Finder in chunks of a size, 0 for random ones.
func mask(f *Fingerprints, cards bool, stream []byte, size int) (string, []Finding) {
	var found []Finding
	finder := f.Finder(cards, func(x Finding) { found = append(found, x) })
	var out []byte
	for rest := stream; len(rest) > 0; {
		n := size
		if n == 0 {
			n = 1 + rand.IntN(40)
		}
		n = min(n, len(rest))
		out = finder.Mask(out, rest[:n])
		rest = rest[n:]
	}
	return string(finder.Flush(out)), found
}

// written is how a value appears, and in which form it is to be found.
func appearances(value string) map[string]Form {
	quoted, _ := json.Marshal(value)
	out := map[string]Form{
		value: Raw, hex.EncodeToString([]byte(value)): Hex, strings.ToUpper(hex.EncodeToString([]byte(value))): Hex,
		url.QueryEscape(value): Escaped, url.PathEscape(value): Escaped, string(quoted): JSON,
	}
	for _, before := range []string{"", "u", "us"} {
		for _, after := range []string{"", ":", "::"} {
			out[base64.StdEncoding.EncodeToString([]byte(before+value+after))] = Base64
			out[base64.RawURLEncoding.EncodeToString([]byte(before+value+after))] = Base64URL
		}
	}
	return out
}

func TestEveryFormIsFoundInEveryCut(t *testing.T) {
	f := twoSecrets()
	for name, value := range map[string]string{"stripe-key": stripe, "bait": odd} {
		for shown, form := range appearances(value) {
			stream := []byte("GET /x HTTP/1.1\nauthorization: " + shown + "\r\nnext: line\n")
			for size := range len(stream) + 1 {
				got, found := mask(f, true, stream, size)
				if len(found) != 1 {
					t.Fatalf("%s of %s in chunks of %d: %+v", form, name, size, found)
				}
				x := found[0]
				formOK := x.Form == form || form == Base64URL && x.Form == Base64 || x.Form == Raw || form == JSON && x.Form == JSON
				if x.Secret != name || x.Canary != (name == "bait") || !formOK || x.Line != 2 {
					t.Errorf("%s of %s: %+v", form, name, x)
				}
				want := string(stream[:x.Offset]) + strings.Repeat("*", x.Length) + string(stream[int(x.Offset)+x.Length:])
				if got != want || x.Length < len(shown)-9 {
					t.Errorf("%s of %s in chunks of %d:\n%q\n%q", form, name, size, got, want)
				}
			}
		}
	}
}

func TestNothingElseIsTouched(t *testing.T) {
	f := twoSecrets()
	for name, s := range map[string]string{
		"empty": "", "one byte": "s", "its beginning": stripe[:len(stripe)-1], "its end": stripe[1:],
		"one byte other": strings.Replace(stripe, "zdp", "zdq", 1), "its beginning again and again": strings.Repeat(stripe[:9], 300),
		"a short one": "1234567", "split": stripe[:20] + " " + stripe[20:],
	} {
		if got, found := mask(f, true, []byte(s), 0); got != s || len(found) > 0 {
			t.Errorf("%s: %q, %+v", name, got, found)
		}
	}
}

func TestNeighboursAndOverlaps(t *testing.T) {
	f := Make([]Secret{{Name: "outer", Value: text("AAAA-inner-secret-BBBB")}, {Name: "inner", Value: text("inner-secret")}, {Name: "twin", Value: text("inner-secret-B2")}})
	for _, c := range []struct{ in, want, names string }{
		{"x inner-secretinner-secret y", "x ************************ y", "inner inner"},
		{"AAAA-inner-secret-BBBB", "**********************", "inner outer"},
		{"AAAA-inner-secret-B2", "AAAA-***************", "inner twin"},
		{"AAAA-inner-secret-BBB", "AAAA-************-BBB", "inner"},
	} {
		for size := range 30 {
			got, found := mask(f, false, []byte(c.in), size)
			var names []string
			for _, x := range found {
				names = append(names, x.Secret)
			}
			if d := cmp.Diff(strings.Fields(c.names), names, cmp.Transformer("sorted", sorted)); got != c.want || d != "" {
				t.Errorf("chunks of %d: %q, want %q; %s", size, got, c.want, d)
			}
		}
	}
}

func sorted(in []string) string {
	counts := map[string]int{}
	for _, s := range in {
		counts[s]++
	}
	return fmt.Sprint(counts)
}

// TestStreamsDontStall: what can't be the beginning of a secret goes on at once.
func TestStreamsDontStall(t *testing.T) {
	f := twoSecrets()
	for name, chunk := range map[string]string{"a line of a log": "request done status=200\n", "an event": "data: {\"n\":1}\n\n", "a card's line": "paid 4111 1111 1111 1111 today\n", "a number at the end": "count=5\n"} {
		finder := f.Finder(true, func(Finding) {})
		if got := finder.Mask(nil, []byte(chunk)); len(got) != len(chunk) {
			t.Errorf("%s: %d of %d bytes go on", name, len(got), len(chunk))
		}
	}
	finder := f.Finder(false, func(Finding) { t.Error("found") })
	if got := finder.Mask(nil, []byte("key="+stripe[:30])); string(got) != "key=" {
		t.Errorf("%q goes on", got)
	}
	if got := finder.Flush(nil); string(got) != stripe[:30] {
		t.Errorf("%q is left", got)
	}
}

func TestMemoryStaysConstant(t *testing.T) {
	f := twoSecrets()
	finder := f.Finder(true, func(Finding) {})
	chunk := bytes.Repeat([]byte(stripe[:12]+" 4111 "), 60_000)
	for range 20 {
		if _, err := finder.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if cap(finder.held) > 4*piece || len(finder.waiting) > maxForm || len(finder.masks) > maxForm {
		t.Errorf("%d bytes, %d candidates, %d masks are held", cap(finder.held), len(finder.waiting), len(finder.masks))
	}
}

func TestManySecretsOfOneBeginning(t *testing.T) {
	var all []Secret
	for i := range 500 {
		all = append(all, Secret{Name: fmt.Sprintf("url-%d", i), Value: text(fmt.Sprintf("postgres://user:%032x@db/%d", rand.Uint64(), i))})
	}
	f := Make(all)
	stream := append([]byte("postgres postgres://nobody@db/ "), all[123].Value.Reveal()...)
	if _, found := mask(f, false, stream, 0); len(found) != 1 || found[0].Secret != "url-123" {
		t.Errorf("%+v", found)
	}
}

func TestPrivateKeyLines(t *testing.T) {
	const line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2"
	const public = "MIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn+dNuaTAKBggqhkjOPQQDAjASMRAw"
	pem := "-----BEGIN CERTIFICATE-----\n" + public + "\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n" + line + "\nAAAA\n-----END PRIVATE KEY-----\n"
	f := Make([]Secret{{Name: "cert", Value: text(pem)}})
	if _, found := mask(f, false, []byte("  "+line+"\n"), 7); len(found) != 1 || found[0].Form != KeyLine {
		t.Errorf("%+v", found)
	}
	if _, found := mask(f, false, []byte(public+"\n"), 7); len(found) != 0 {
		t.Errorf("the certificate is public: %+v", found)
	}
}

func TestLargeValuesAreFoundByTheirBeginning(t *testing.T) {
	large := make([]byte, 60_000)
	for i := range large {
		large[i] = byte(33 + rand.IntN(90))
	}
	f := Make([]Secret{{Name: "large", Value: secret.New(large)}})
	got, found := mask(f, false, large, 0)
	if len(found) != 1 || found[0].Length != maxForm || strings.Contains(got, string(large[:20])) {
		t.Errorf("%+v", found)
	}
}

func TestWhatCouldBeGuessedStaysLocal(t *testing.T) {
	f := Make([]Secret{
		{Name: "strong", Value: text(stripe)},
		{Name: "password", Value: text("production")},
		{Name: "sixteen", Value: text("Zx9cVb3nMq7wErTy")},
		{Name: "monotone", Value: text(strings.Repeat("ab", 40))},
		{Name: "long-word", Value: text("correct horse battery staple")},
	})
	if d := cmp.Diff([]string{"long-word", "monotone", "password", "sixteen"}, f.Local()); d != "" {
		t.Error(d)
	}
	shared := f.Shared()
	if len(shared.Local()) > 0 {
		t.Errorf("%q are shared", shared.Local())
	}
	stream := []byte("production Zx9cVb3nMq7wErTy " + stripe)
	if _, found := mask(f, false, stream, 0); len(found) != 3 {
		t.Errorf("here: %+v", found)
	}
	if _, found := mask(shared, false, stream, 0); len(found) != 1 || found[0].Secret != "strong" {
		t.Errorf("there: %+v", found)
	}
	if len(shared.Marshal()) >= len(f.Marshal()) {
		t.Error("nothing was left out")
	}
}

func TestFingerprintsHoldNoValue(t *testing.T) {
	b := twoSecrets().Marshal()
	for shown := range appearances(stripe) {
		for i := range len(shown) - 4 {
			if bytes.Contains(b, []byte(shown[i:i+5])) {
				t.Errorf("%q is in the fingerprints", shown[i:i+5])
			}
		}
	}
	if bytes.Equal(b, twoSecrets().Marshal()) {
		t.Error("two sets have one key")
	}
}

func TestMarshalComesBack(t *testing.T) {
	f := twoSecrets()
	again, err := Unmarshal(f.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Marshal(), f.Marshal()) {
		t.Error("not the same")
	}
	if _, found := mask(again, false, []byte(stripe+odd), 0); len(found) != 2 || !found[1].Canary {
		t.Errorf("%+v", found)
	}
	b := f.Marshal()
	for n := range len(b) {
		if _, err := Unmarshal(b[:n]); err == nil {
			t.Fatalf("cut at %d it is taken", n)
		}
	}
	if _, err := Unmarshal(append(b, 0)); err == nil {
		t.Error("with something behind it is taken")
	}
	if none, err := Unmarshal(Make(nil).Marshal()); err != nil {
		t.Error(err)
	} else if got, found := mask(none, false, []byte(stripe), 0); got != stripe || len(found) > 0 {
		t.Error("an empty set finds something")
	}
	if got, found := mask(nil, true, []byte("4111111111111111"), 0); got != "************1111" || len(found) != 1 {
		t.Errorf("no set: %q, %+v", got, found)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(twoSecrets().Marshal())
	f.Add(Make(nil).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		fp, err := Unmarshal(b)
		if err != nil {
			return
		}
		if again, err := Unmarshal(fp.Marshal()); err != nil || !bytes.Equal(again.Marshal(), fp.Marshal()) {
			t.Errorf("doesn't come back: %v", err)
		}
		if got, _ := mask(fp, true, []byte(stripe), 5); len(got) != len(stripe) {
			t.Error("bytes are lost")
		}
	})
}

// FuzzFinder: however a stream is cut, what comes out and what is found are the same, and as a plain search says.
func FuzzFinder(f *testing.F) {
	f.Add([]byte("x"+stripe+"y 4111-1111-1111-1111 "+stripe[:10]), uint8(3))
	f.Add([]byte(odd+odd), uint8(1))
	f.Add([]byte("4111 1111 1111 1111 4111111111111111. 30569309025904-1"), uint8(2))
	prints := twoSecrets()
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		whole, all := mask(prints, true, stream, len(stream)+1)
		cut, some := mask(prints, true, stream, int(size)+1)
		if whole != cut || len(whole) != len(stream) || len(all) != len(some) {
			t.Errorf("%q\n%q\n%+v\n%+v", whole, cut, all, some)
		}
		for _, value := range []string{stripe, odd} {
			if strings.Contains(whole, value) {
				t.Error("a value came through")
			}
		}
	})
}

// TestPausesPassOnWhatIsNoSecretYet: in every cut, and what a pause let go on doesn't hide the rest.
func TestPausesPassOnWhatIsNoSecretYet(t *testing.T) {
	const value, stream = "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "before=sk_live_4eC39HqLyjWDarjtT1zdp7dc;behind"
	at := strings.Index(stream, value)
	prints := Make([]Secret{{Name: "key", Value: text(value)}})
	for cut := range len(stream) {
		found := 0
		f := prints.Finder(false, func(Finding) { found++ })
		first := f.Pause(f.Mask(nil, []byte(stream[:cut])))
		first = f.Pause(first) // another pause brings nothing more
		out := string(f.Flush(f.Mask(bytes.Clone(first), []byte(stream[cut:]))))
		shown := 0 // of the value, in clear
		if cut > at && cut < at+8 {
			shown = cut - at
		}
		want := stream[:at+shown] + strings.Repeat("*", len(value)-shown) + stream[at+len(value):]
		if out != want || found != 1 {
			t.Errorf("cut at %d: %q, found %d times", cut, out, found)
		}
		held := 0
		if cut >= at+8 && cut < at+len(value) {
			held = cut - at
		}
		if len(first) != cut-held {
			t.Errorf("cut at %d: the pause let %d bytes go on", cut, len(first))
		}
	}
}
