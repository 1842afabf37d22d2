package breach

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/ccojocar/zxcvbn-go/frequency"

	"github.com/wardhq/ward/internal/base/secret"
)

func pw(s string) secret.Bytes { return secret.New([]byte(s)) }

func build(t testing.TB, list string) *Filter {
	t.Helper()
	f, _, err := Build(strings.NewReader(list), 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func written(t testing.TB, f *Filter) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEmbeddedFilterIsThatOfTheListAndSmall(t *testing.T) {
	want := written(t, build(t, strings.Join(frequency.Lists["Passwords"].List, "\n")))
	if os.Getenv("UPDATE_COMMON_FILTER") != "" {
		if err := os.WriteFile("common.filter", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(embedded, want) || len(embedded) > 200<<10 {
		t.Errorf("common.filter has %d bytes; make it anew with UPDATE_COMMON_FILTER=1", len(embedded))
	}
	f, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for password, known := range map[string]bool{"password1": true, "Password1": true, "iloveyou": true, "baseball": true, "tangled-umbrella-frost-71": false, "": false} {
		if f.Contains(pw(password)) != known {
			t.Errorf("%q", password)
		}
	}
	t.Logf("%d passwords, %d bytes, %.1f bits each", f.Entries(), len(embedded), float64(8*len(embedded))/float64(f.Entries()))
}

func TestEmbeddedWordsAreThoseOfTheLists(t *testing.T) {
	var list strings.Builder
	for name, l := range frequency.Lists {
		words := l.List
		if name == "Surname" {
			words = words[:10_000] // the rest are as rare as any letters
		}
		for i, w := range words {
			if w = strings.ToLower(w); len(w) < 3 {
				continue
			}
			fmt.Fprintf(&list, "%x\n", sha1.Sum([]byte(w)))
			if i < firstWords {
				fmt.Fprintf(&list, "%x\n", sha1.Sum([]byte(w+firstMark)))
			}
		}
	}
	want := written(t, build(t, list.String()))
	if os.Getenv("UPDATE_COMMON_FILTER") != "" {
		if err := os.WriteFile("words.filter", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(embeddedWords, want) || len(embeddedWords) > 200<<10 {
		t.Errorf("words.filter has %d bytes; make it anew with UPDATE_COMMON_FILTER=1", len(embeddedWords))
	}
	w, err := EmbeddedWords()
	if err != nil {
		t.Fatal(err)
	}
	for word, guesses := range map[string]int{"dragon": firstWords, "umbrella": allWords, "xqzvkjw": 0} {
		if got := w.Guesses(word); got != guesses {
			t.Errorf("%s: %d guesses", word, got)
		}
	}
}

func TestListForms(t *testing.T) {
	sum := sha1.Sum([]byte("hunter2"))
	upper := strings.ToUpper(hex.EncodeToString(sum[:]))
	for name, list := range map[string]string{
		"plain":             "correct horse\nbattery staple\n",
		"plain, CRLF":       "correct horse\r\nbattery staple\r\n",
		"without last end":  "battery staple\ncorrect horse",
		"hash and count":    upper + ":17043\ncorrect horse\n",
		"hash":              upper + "\ncorrect horse\n",
		"lower-case hash":   strings.ToLower(upper) + ":1\ncorrect horse\n",
		"with empty lines":  "\n\n\ncorrect horse\n\n",
		"twice":             "correct horse\ncorrect horse\n",
		"with a long line":  strings.Repeat("x", 200_000) + "\ncorrect horse\n",
		"not UTF-8":         "correct horse\n\xff\xfe\xff\xfe\xff\xfe\xff\xfe\n",
		"looks like a hash": upper + ":many\ncorrect horse\n",
	} {
		f := build(t, list)
		if !f.Contains(pw("correct horse")) {
			t.Errorf("%s: not found", name)
		}
		if f.Contains(pw("hunter2")) != (strings.Contains(name, "hash") && !strings.Contains(name, "looks")) {
			t.Errorf("%s: hunter2", name)
		}
		if f.Contains(pw("staple battery")) {
			t.Errorf("%s: found what isn't there", name)
		}
	}
	for name, list := range map[string]string{"empty": "", "only short ones": "a\nb\nc\n", "too many": "12345678\n23456789\n3456789a\n456789ab\n"} {
		if _, _, err := Build(strings.NewReader(list), 3); err == nil {
			t.Errorf("%s: built", name)
		}
	}
	if _, skipped, err := Build(strings.NewReader("short\n"+strings.Repeat("y", 257)+"\ncorrect horse\n"), 1); err != nil || skipped != (Skipped{Long: 1, Short: 1}) {
		t.Errorf("%+v %v", skipped, err)
	}
}

func many(n int, what string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s-%d\n", what, i)
	}
	return b.String()
}

func TestNoKnownPasswordIsMissedAndFewOthersFound(t *testing.T) {
	f := build(t, many(200_000, "password"))
	f, err := Open(bytes.NewReader(written(t, f)))
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range 200_000 {
		if !f.Contains(pw(fmt.Sprintf("password-%d", i))) {
			t.Fatalf("%d is missed", i)
		}
		if f.Contains(pw(fmt.Sprintf("other-one-%d", i))) {
			wrong++
		}
	}
	if expected := 200_000.0 / 65536; float64(wrong) > expected+8*math.Sqrt(expected) {
		t.Errorf("%d of 200,000 found that aren't there", wrong)
	}
}

// sealed gives a changed file the right checksum, as who attacks would.
func sealed(b []byte) []byte {
	body := b[:len(b)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestDamagedAndHostileFilesAreRefused(t *testing.T) {
	good := written(t, build(t, many(1000, "password")))
	if _, err := Open(bytes.NewReader(sealed(good))); err != nil {
		t.Fatal(err)
	}
	number := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return sealed(b)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{
		"empty":                 nil,
		"only a header":         good[:32],
		"cut":                   good[:len(good)-1],
		"longer":                append(bytes.Clone(good), 0),
		"a bit changed":         flipped,
		"other magic":           sealed(append([]byte("WARDBF08"), good[8:]...)),
		"no segment":            number(24, 0),
		"segment of three":      number(24, 3),
		"huge segment":          number(24, 1<<31),
		"more places than data": number(28, 1<<27),
		"all places":            number(28, math.MaxUint32),
		"no places":             number(28, 0),
		"uneven places":         number(28, 33),
		"no entries":            number(8, 0),
		"too many entries":      number(12, 1),
	} {
		if _, err := Open(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func api(t *testing.T, status int, body string) (*Range, *[]*http.Request) {
	t.Helper()
	var asked []*http.Request
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	r, err := NewRange(srv.URL, srv.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	return r, &asked
}

func TestRangeLearnsFiveDigits(t *testing.T) {
	// SHA-1 of "hunter2" is F3BBBD66A63D4BF1747940578EC3D0103530E21D.
	const known = "D66A63D4BF1747940578EC3D0103530E21D"
	other := strings.Repeat("A", 35)
	for _, c := range []struct {
		name, body    string
		status        int
		found, failed bool
	}{
		{"known", other + ":3\r\n" + known + ":17043\r\n", 200, true, false},
		{"lower case", strings.ToLower(known) + ":1", 200, true, false},
		{"unknown", other + ":3\r\n", 200, false, false},
		{"only padding", known + ":0\r\n" + other + ":0\r\n", 200, false, false},
		{"nothing", "", 200, false, false},
		{"a page", "<html>captcha</html>", 200, false, true},
		{"huge", strings.Repeat(other+":3\r\n", 40_000), 200, false, true},
		{"one endless line", strings.Repeat("A", 200_000), 200, false, true},
		{"busy", "", 503, false, true},
		{"moved", "", 302, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, asked := api(t, c.status, c.body)
			found, err := r.Contains(t.Context(), pw("hunter2"))
			if found != c.found || (err != nil) != c.failed {
				t.Errorf("%v %v", found, err)
			}
			if got := (*asked)[0]; len(*asked) != 1 || got.URL.String() != "/range/F3BBB" || got.Header.Get("Add-Padding") != "true" {
				t.Errorf("asked %s", got.URL)
			}
		})
	}
	for _, base := range []string{"http://api.example", "https://", "https://a:b@api.example", "https://api.example?x=1", "ftp://x"} {
		if _, err := NewRange(base, nil); err == nil {
			t.Errorf("%s taken", base)
		}
	}
}

type remote func(context.Context) (bool, error)

func (r remote) Contains(ctx context.Context, _ secret.Bytes) (bool, error) { return r(ctx) }

func TestAFailureOfTheRemoteLocksNobodyOut(t *testing.T) {
	var log bytes.Buffer
	asked := 0
	c := &Checker{Filter: build(t, "correct horse\n"), Log: slog.New(slog.NewTextHandler(&log, nil)), Remote: remote(func(ctx context.Context) (bool, error) {
		asked++
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		return true, errors.New("down")
	})}
	if c.Breached(t.Context(), pw("battery staple")) || c.Unanswered() != 1 {
		t.Errorf("%d unanswered", c.Unanswered())
	}
	if !c.Breached(t.Context(), pw("correct horse")) || asked != 1 {
		t.Error("the filter's answer doesn't stand, or the API is asked without need")
	}
	if strings.Contains(log.String(), "staple") || !strings.Contains(log.String(), "breach api not answered") {
		t.Errorf("log %s", log.String())
	}
	c.Remote = remote(func(context.Context) (bool, error) { return true, nil })
	if !c.Breached(t.Context(), pw("battery staple")) {
		t.Error("the remote's answer is ignored")
	}
	c.Remote = nil
	if c.Breached(t.Context(), pw("battery staple")) {
		t.Error("found without a remote")
	}
}

func FuzzOpen(f *testing.F) {
	good := written(f, build(f, many(50, "password")))
	f.Add(good)
	f.Add(good[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > sha256.Size {
			b = sealed(b) // else the checksum would hide the rest
		}
		filter, err := Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		filter.Contains(pw("a")) // doesn't panic
		if !bytes.Equal(written(t, filter), b) {
			t.Error("written otherwise than read")
		}
	})
}

func FuzzBuild(f *testing.F) {
	f.Add([]byte("correct horse\nF3BBBD66A63D4BF1747940578EC3D0103530E21D:3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		filter, _, err := Build(bytes.NewReader(b), 1000)
		if err == nil && (filter.Entries() < 1 || filter.Entries() > 1000) {
			t.Error(filter.Entries())
		}
	})
}

func FuzzFindSuffix(f *testing.F) {
	f.Add([]byte(strings.Repeat("A", 35) + ":3\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if found, err := findSuffix(bytes.NewReader(b), strings.Repeat("A", 35)); found && (err != nil || !bytes.Contains(bytes.ToUpper(b), []byte(strings.Repeat("A", 35)))) {
			t.Error("found what isn't there")
		}
	})
}

func BenchmarkContains(b *testing.B) {
	f := build(b, many(500_000, "password"))
	p := pw("tangled-umbrella-frost-71")
	b.Run("password", func(b *testing.B) {
		for b.Loop() {
			f.Contains(p)
		}
	})
	b.Run("filter alone", func(b *testing.B) {
		k := uint64(1)
		for b.Loop() {
			k = k*6364136223846793005 + 1442695040888963407
			f.fuse.Contains(k)
		}
	})
	b.ReportMetric(float64(8*len(written(b, f)))/500_000, "bits/entry")
}
