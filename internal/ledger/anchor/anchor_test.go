package anchor

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wire"
)

var key = secret.New(bytes.Repeat([]byte{7}, secret.KeySize))

// fakeClock stands until it is told to go on.
type fakeClock struct{ now time.Time }

func newClock(t time.Time) *fakeClock         { return &fakeClock{t} }
func (c *fakeClock) Now() time.Time           { return c.now }
func (c *fakeClock) Advance(by time.Duration) { c.now = c.now.Add(by) }

// grow adds records to a ledger.
func grow(t *testing.T, dir string, n int) {
	t.Helper()
	l, err := ledger.Open(dir, "test.ward", key)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := l.Append(t.Context(), []wire.Event{{Source: "test", Kind: "x", Time: time.Now()}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func keeper(t *testing.T, dir string, now *fakeClock, failed func(State)) *Keeper {
	t.Helper()
	k, err := Open(Config{Dir: filepath.Join(dir, "anchors"), Ledger: filepath.Join(dir, "ledger"), Transport: http.DefaultTransport, Clock: now, Failed: failed})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWebhookGetsCheckpointsWhenTheyAreDue(t *testing.T) {
	dir := t.TempDir()
	grow(t, filepath.Join(dir, "ledger"), 3)
	status, got := 204, []string{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, string(b))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer hook.Close()
	now := newClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	var told []string
	k := keeper(t, dir, now, func(s State) { told = append(told, s.Error) })
	k.SetTargets([]model.Anchor{{Webhook: hook.URL, Every: 600}})
	round := func(name string, after time.Duration, answer, want int) {
		t.Helper()
		now.Advance(after)
		got, status = nil, answer
		k.Round(t.Context())
		if len(got) != want {
			t.Errorf("%s: %d checkpoints", name, len(got))
		}
	}
	round("at once", 0, 204, 1)
	signed, tree, err := ledger.ReadCheckpoint(filepath.Join(dir, "ledger"))
	if err != nil || got[0] != string(signed) {
		t.Errorf("%q, %v", got, err)
	}
	if s := k.States()[0]; s.Records != tree.N || s.Root != tree.Hash.String() || !s.Time.Equal(now.Now()) {
		t.Errorf("%+v", s)
	}
	round("not yet", 599*time.Second, 204, 0)
	k = keeper(t, dir, now, func(s State) { told = append(told, s.Error) }) // control begins anew
	k.SetTargets([]model.Anchor{{Webhook: hook.URL, Every: 600}})
	round("not yet, for what was before counts", 0, 204, 0)
	round("due, and it fails", time.Second, 500, 1)
	round("a minute later", 59*time.Second, 500, 0)
	round("again", time.Second, 307, 1)
	if s := k.States()[0]; !strings.Contains(s.Error, "307") || s.Records != tree.N || now.Now().Sub(s.Time) < time.Minute {
		t.Errorf("%+v", s)
	}
	round("and it works", time.Minute, 200, 1)
	round("the clock is set back", -24*time.Hour, 200, 1)
	if len(told) != 2 || told[0] == "" || told[1] != "" {
		t.Errorf("told: %q", told)
	}
	k.SetTargets(nil)
	round("no longer wanted", 24*time.Hour, 200, 0)
}

// TestFileIsOnlyWrittenByTheLedgerThatGoesOn: a ledger that was put back, or another one, is found, and the evidence stays.
func TestFileIsOnlyWrittenByTheLedgerThatGoesOn(t *testing.T) {
	dir := t.TempDir()
	mine, older, other := filepath.Join(dir, "ledger"), filepath.Join(dir, "older"), filepath.Join(dir, "other")
	file := filepath.Join(dir, "mount", "ward.checkpoint")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	grow(t, mine, 3)
	nowhere := filepath.Join(dir, "nowhere")
	if _, err := WriteFile(filepath.Join(nowhere, "ward.checkpoint"), mine); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "there is no folder "+nowhere) {
		t.Errorf("into a folder that isn't there: %v", err)
	}
	if err := os.CopyFS(older, os.DirFS(mine)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := WriteFile(file, mine); err != nil {
			t.Fatal(err)
		}
		grow(t, mine, 5)
	}
	grow(t, other, 100)
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]string{"an older copy": older, "another ledger": other} {
		if _, err := WriteFile(file, d); err == nil || fault.KindOf(err) != fault.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	grow(t, older, 50) // and goes on from there
	if _, err := WriteFile(file, older); err == nil || fault.KindOf(err) != fault.Refused {
		t.Errorf("an older copy that goes on: %v", err)
	}
	if b, _ := os.ReadFile(file); !bytes.Equal(b, kept) {
		t.Error("the evidence was overwritten")
	}
	if tree, err := WriteFile(file, mine); err != nil || tree.N != 13 {
		t.Errorf("%+v, %v", tree, err)
	}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, bytes.Repeat([]byte("x"), 20_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFile(precious, mine); err == nil {
		t.Error("another file was overwritten")
	}
}

// authority makes a time-stamp server of openssl's.
func authority(t *testing.T) (dir string, stamp http.HandlerFunc) {
	t.Helper()
	openssl := need.Program(t, "openssl")
	dir = t.TempDir()
	run := func(args ...string) {
		t.Helper()
		c := exec.Command(openssl, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	conf := `
[tsa]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1, millisecs:500
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
[ext]
extendedKeyUsage = critical,timeStamping
`
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=CA", "-days", "2")
	run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=TSA")
	run("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem", "-days", "2", "-extfile", "conf", "-extensions", "ext")
	return dir, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Type") != "application/timestamp-query" {
			t.Errorf("content type %q", r.Header.Get("Content-Type"))
		}
		if err := os.WriteFile(filepath.Join(dir, "query"), b, 0o600); err != nil {
			t.Error(err)
		}
		run("ts", "-reply", "-config", "conf", "-section", "tsa", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply")
		b, err := os.ReadFile(filepath.Join(dir, "reply"))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(b)
	}
}

// TestTimeStamps gets one from a real server; openssl says whether it holds.
func TestTimeStamps(t *testing.T) {
	dir := t.TempDir()
	grow(t, filepath.Join(dir, "ledger"), 3)
	ca, stamp := authority(t)
	replay := []byte(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if replay != nil {
			_, _ = w.Write(replay)
			return
		}
		stamp(w, r)
	}))
	defer server.Close()
	now := newClock(time.Now())
	k := keeper(t, dir, now, nil)
	k.SetTargets([]model.Anchor{{RFC3161: server.URL}})
	k.Round(t.Context())
	s := k.States()[0]
	if s.Error != "" || s.Records != 3 || time.Since(s.Stamp).Abs() > time.Minute {
		t.Fatalf("%+v", s)
	}
	checkpoint, token := filepath.Join(dir, "anchors", s.Kept+".checkpoint"), filepath.Join(dir, "anchors", s.Kept+".tsr")
	verify := func(data string) error {
		return exec.Command("openssl", "ts", "-verify", "-data", data, "-in", token, "-CAfile", filepath.Join(ca, "ca.pem"), "-untrusted", filepath.Join(ca, "tsa.pem")).Run()
	}
	if err := verify(checkpoint); err != nil {
		t.Errorf("openssl doesn't take the token: %v", err)
	}
	changed := filepath.Join(dir, "changed")
	signed, err := os.ReadFile(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, append(signed, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if verify(changed) == nil {
		t.Error("openssl takes the token for something else")
	}
	if replay, err = os.ReadFile(token); err != nil {
		t.Fatal(err)
	}
	now.Advance(2 * time.Hour)
	k.Round(t.Context())
	if s := k.States()[0]; !strings.Contains(s.Error, "old one") {
		t.Errorf("an old token: %+v", s)
	}
	grow(t, filepath.Join(dir, "ledger"), 1)
	now.Advance(2 * time.Hour)
	k.Round(t.Context())
	if s := k.States()[0]; !strings.Contains(s.Error, "something else") || s.Records != 3 {
		t.Errorf("a token of another checkpoint: %+v", s)
	}
	if at, err := ParseToken(replay, signed, nil); err != nil || !at.Equal(s.Stamp) {
		t.Errorf("the kept token: %v, %v", at, err)
	}
}

func TestRefusalsOfTimeStampServers(t *testing.T) {
	refused, err := asn1.Marshal(struct{ Status struct{ Status int } }{struct{ Status int }{2}})
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{"rejection": refused, "nothing": nil, "a page": []byte("<html>"), "long": make([]byte, maxToken+1)} {
		if _, err := ParseToken(der, []byte("x"), nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := ParseToken(refused, nil, nil); err == nil || !strings.Contains(err.Error(), "refused: status 2") {
		t.Error(err)
	}
}

func FuzzParseToken(f *testing.F) {
	content := []byte("x")
	sum := sha256.Sum256(content)
	info, err := asn1.Marshal(tstInfo{Version: 1, Policy: asn1.ObjectIdentifier{1, 2}, Imprint: imprint{Digest: sum[:]}, Serial: big.NewInt(1), Time: asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte("20261122120000Z")}})
	if err == nil {
		f.Add(info)
	}
	f.Add([]byte{0x30, 3, 2, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) { // it must end, and take nothing that isn't of this content
		if at, err := ParseToken(b, content, big.NewInt(5)); err == nil && !bytes.Contains(b, sum[:]) {
			t.Fatalf("took %x: %s", b, at)
		}
	})
}

func FuzzReadFile(f *testing.F) {
	dir := f.TempDir()
	l, err := ledger.Open(filepath.Join(dir, "ledger"), "test.ward", key)
	if err != nil {
		f.Fatal(err)
	}
	l.Close()
	good, _, err := ledger.ReadCheckpoint(filepath.Join(dir, "ledger"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := ReadFile(path)
		if err != nil {
			return
		}
		if _, err := ledger.Prove(filepath.Join(dir, "ledger"), ledger.Nothing, read); err == nil && !bytes.Equal(read, good) {
			t.Fatalf("took %q", read)
		}
	})
}

func TestStatesSurviveNonsense(t *testing.T) {
	dir := t.TempDir()
	for _, b := range []string{"", "{", "[{}]", "null"} {
		if err := os.MkdirAll(filepath.Join(dir, "anchors"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "anchors", statesFile), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		k := keeper(t, dir, newClock(time.Now()), nil)
		k.SetTargets([]model.Anchor{{File: "/x"}})
		if due := k.Due(File); len(due) != 1 || due[0].Every != 3600 {
			t.Errorf("%q: %+v", b, due)
		}
		k.Done(State{Kind: File, To: "/gone"}, tlog.Tree{}, fmt.Errorf("of another plan"))
		if len(k.States()) != 1 {
			t.Errorf("%+v", k.States())
		}
	}
}

func TestAnAnchorIsOverdue(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		state   State
		overdue bool
	}{
		"just taken":             {State{Every: 3600, Time: now.Add(-time.Minute)}, false},
		"one was missed":         {State{Every: 3600, Time: now.Add(-119 * time.Minute)}, false},
		"two were missed":        {State{Every: 3600, Time: now.Add(-126 * time.Minute)}, true},
		"never, but it is new":   {State{Every: 3600, Since: now.Add(-time.Minute)}, false},
		"never, for a long time": {State{Every: 3600, Since: now.Add(-3 * time.Hour)}, true},
		"nobody knows":           {State{Every: 3600}, true},
	} {
		if got := c.state.Overdue(now); got != c.overdue {
			t.Errorf("%s: %v", name, got)
		}
	}
}
