package told

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/store"
)

func open(t *testing.T, path string) *Board {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: path, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b, err := Open(t.Context(), Config{DB: db, Clock: clock.System{}, Issuer: func() string { return "https://id.example" }, TokenKeys: func() json.RawMessage { return json.RawMessage(`{"keys":[]}`) }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFollowersHearOfEndsAtOnceAndAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	b := open(t, path)
	first, err := b.Follow(t.Context(), "", false)
	if err != nil || len(first.Ended) != 0 {
		t.Fatal(first, err)
	}
	heard := make(chan []string, 1)
	go func() {
		s, _ := b.Follow(context.Background(), strconv.FormatUint(first.Sequence, 10), false)
		heard <- s.Ended
	}()
	if err := b.End(t.Context(), "sid-1"); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if len(got) != 1 || got[0] != "sid-1" {
			t.Fatal(got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nobody told")
	}
	if s, _ := open(t, path).Follow(t.Context(), "", false); len(s.Ended) != 1 || s.Sequence <= first.Sequence {
		t.Errorf("after a restart: %+v", s)
	}
}

func TestPublishedKeysReachAgentsFirst(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "db"))
	k, err := jose.GenerateKey(jose.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		have := ""
		for ctx.Err() == nil {
			s, err := b.Follow(ctx, have, true)
			if err != nil {
				return
			}
			have = strconv.FormatUint(s.Sequence, 10)
		}
	}()
	began := time.Now()
	if err := b.Publish(t.Context(), jwk); err != nil {
		t.Fatal(err)
	}
	if time.Since(began) > publishWait {
		t.Error("the agent wasn't waited for, or not noticed")
	}
	set, err := jose.ParseKeySet(b.Keys())
	if err != nil || set.Len() != 1 {
		t.Errorf("%v, %v", set, err)
	}
	stop()
	<-followed
	for name, bad := range map[string]string{"nothing": "{}", "private": `{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"AAAA"}`} {
		if b.Publish(t.Context(), json.RawMessage(bad)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for range 2 * maxKeys {
		k, err := jose.GenerateKey(jose.EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		jwk, _ := json.Marshal(k.Public())
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_ = b.Publish(short, jwk) // nobody follows: it only waits
		cancel()
	}
	if set, err := jose.ParseKeySet(b.Keys()); err != nil || set.Len() > maxKeys {
		t.Errorf("%d keys, %v", set.Len(), err)
	}
}
