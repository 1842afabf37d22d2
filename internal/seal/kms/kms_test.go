package kms

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/base/sigv4"
	"github.com/wardhq/ward/internal/seal"
)

const arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd"

func credentials() (sigv4.Credentials, error) {
	return sigv4.Credentials{ID: "AKIDEXAMPLE", Secret: secret.New([]byte("wJalrXUtnFEMI")), Token: "session"}, nil
}

// cloud is KMS as its documentation has it: it checks each signature by making it again, keeps keys by ARN, binds the context, and throttles
// when it is told to.
type cloud struct {
	*testing.T
	keys     map[string]secret.Bytes
	throttle atomic.Int32 // how many calls to refuse for a moment
	calls    atomic.Int32
}

func newCloud(t *testing.T) (*cloud, *httptest.Server) {
	t.Helper()
	c := &cloud{T: t, keys: map[string]secret.Bytes{}}
	for _, a := range []string{arn, arn + "-other"} {
		b := make([]byte, secret.KeySize)
		_, _ = rand.Read(b)
		c.keys[a] = secret.New(b)
	}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.calls.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.Error(err)
		return
	}
	refuse := func(status int, kind, message string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":%q,"message":%q}`, kind, message)
	}
	if c.throttle.Add(-1) >= 0 {
		refuse(http.StatusBadRequest, "ThrottlingException", "slow down")
		return
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		refuse(http.StatusBadRequest, "InvalidSignatureException", "the date is off")
		return
	}
	own, _ := credentials()
	again := sigv4.Sign(own, sigv4.Request{
		Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Payload: sigv4.HashPayload(body), Region: "eu-west-1", Service: "kms", Time: at,
		Fields: []sigv4.Field{{Name: "Content-Type", Value: r.Header.Get("Content-Type")}, {Name: "X-Amz-Target", Value: r.Header.Get("X-Amz-Target")}},
	})
	if r.Header.Get("Authorization") != again[len(again)-1].Value || r.Header.Get("X-Amz-Security-Token") != own.Token {
		refuse(http.StatusBadRequest, "InvalidSignatureException", "the signature doesn't match")
		return
	}
	c.serve(w, r.Header.Get("X-Amz-Target"), body, refuse)
}

func (c *cloud) serve(w http.ResponseWriter, target string, body []byte, refuse func(int, string, string)) {
	var in struct {
		KeyId                     string //nolint:revive // as in the API
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		refuse(http.StatusBadRequest, "SerializationException", "not JSON")
		return
	}
	key, ok := c.keys[in.KeyId]
	if !ok {
		refuse(http.StatusBadRequest, "NotFoundException", "no such key")
		return
	}
	at, err := json.Marshal(in.EncryptionContext)
	if err != nil {
		c.Error(err)
	}
	out := map[string]any{"KeyId": in.KeyId}
	switch target {
	case "TrentService.Encrypt":
		out["CiphertextBlob"], err = secret.Seal(key, in.Plaintext, string(at))
	case "TrentService.Decrypt":
		out["Plaintext"], err = secret.Open(key, in.CiphertextBlob, string(at))
	default:
		refuse(http.StatusBadRequest, "UnknownOperationException", target)
		return
	}
	if err != nil {
		refuse(http.StatusBadRequest, "InvalidCiphertextException", "")
		return
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		c.Error(err)
	}
}

func (c *cloud) key(s *httptest.Server) *Key {
	return &Key{ARN: arn, App: "shop", Credentials: credentials, Endpoint: s.URL, Wait: func(context.Context, time.Duration) error { return nil }}
}

func TestRootUnderKMS(t *testing.T) {
	ctx := context.Background()
	c, s := newCloud(t)
	k := c.key(s)
	root, st, err := seal.New(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := st.Open(ctx, k); err != nil || string(got.Reveal()) != string(root.Reveal()) {
		t.Fatalf("open: %v", err)
	}
	if named, err := (&Key{Credentials: credentials, Endpoint: s.URL}).Named(st.Wrapped); err != nil || named.ARN != arn || named.App != "shop" {
		t.Errorf("named: %+v, %v", named, err)
	}
	for name, change := range map[string]func(*Key){
		"another application": func(k *Key) { k.App = "bank" },
		"wrong credentials": func(k *Key) {
			k.Credentials = func() (sigv4.Credentials, error) {
				return sigv4.Credentials{ID: "AKIDEXAMPLE", Secret: secret.New([]byte("guess")), Token: "session"}, nil
			}
		},
	} {
		other := c.key(s)
		change(other)
		if _, err := st.Open(ctx, other); fault.KindOf(err) != fault.Refused || strings.Contains(err.Error(), "guess") {
			t.Errorf("%s: %v", name, err)
		}
	}
	moved := *st
	moved.Wrapped = []byte(strings.Replace(string(st.Wrapped), arn, arn+"-other", 1))
	if _, err := moved.Open(ctx, k); err == nil {
		t.Error("a root was opened by another key")
	}
}

func TestThrottlingIsWaitedFor(t *testing.T) {
	ctx := context.Background()
	c, s := newCloud(t)
	c.throttle.Store(tries - 1)
	if _, _, err := seal.New(ctx, c.key(s)); err != nil {
		t.Errorf("throttled %d times: %v", tries-1, err)
	}
	c.throttle.Store(100)
	c.calls.Store(0)
	if _, _, err := seal.New(ctx, c.key(s)); fault.KindOf(err) != fault.Unavailable || c.calls.Load() != tries {
		t.Errorf("throttled for good: %v after %d calls", err, c.calls.Load())
	}
	c.throttle.Store(0)
	s.Close()
	if _, _, err := seal.New(ctx, c.key(s)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

func TestRootNeverGoesInClear(t *testing.T) {
	k := &Key{ARN: arn, Credentials: credentials, Endpoint: "http://kms.example"}
	if _, _, err := seal.New(context.Background(), k); fault.KindOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}

func TestKeysThatAreNoneAreRefused(t *testing.T) {
	for _, bad := range []string{"", "key/1", "arn:aws:s3:eu-west-1:1:key/1", "arn:aws:kms::1:key/1", "arn:aws:kms:evil.example/:1:key/1"} {
		k := &Key{ARN: bad, Credentials: credentials}
		if _, _, err := seal.New(context.Background(), k); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
