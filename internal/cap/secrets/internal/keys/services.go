package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

const (
	maxRequest = 1 << 20  // bytes of a body
	maxTrusted = 64 << 10 // bytes that there is room for before they come
	maxItems   = 1000
)

// Access is who calls, and what ward.yaml lets that service do with each key: encrypt, decrypt, lookup, mac, sign, verify.
type Access struct {
	Caller Caller
	Keys   map[string][]string
}

func (a Access) allow(name string, uses ...string) error {
	for _, u := range uses {
		if !slices.Contains(a.Keys[name], u) {
			return fault.New(fault.Refused, fmt.Sprintf("ward.yaml doesn't let the service %s %s with the key %s", a.Caller.Service, u, name))
		}
	}
	return nil
}

// Services is the API of services, below /v1/keys/ and at /v1/me. access tells who calls from the connection.
func (r *Ring) Services(access func(*http.Request) (Access, error)) http.Handler {
	mux := http.NewServeMux()
	s := services{ring: r, access: access, mux: mux}
	serve(s, "POST /v1/keys/{name}/encrypt", s.encrypt, "encrypt")
	serve(s, "POST /v1/keys/{name}/decrypt", s.decrypt, "decrypt")
	serve(s, "POST /v1/keys/{name}/rewrap", s.rewrap, "decrypt", "encrypt")
	serve(s, "POST /v1/keys/{name}/data-key", s.dataKey, "encrypt")
	serve(s, "POST /v1/keys/{name}/open-data-key", s.openDataKey, "decrypt")
	serve(s, "GET /v1/keys/{name}/lookup-keys", s.lookupKeys, "lookup")
	serve(s, "POST /v1/keys/{name}/sign", s.sign, "sign")
	serve(s, "POST /v1/keys/{name}/verify", s.verify, "verify")
	serve(s, "POST /v1/keys/{name}/mac", s.mac, "mac")
	serve(s, "POST /v1/keys/{name}/verify-mac", s.verifyMAC, "mac")
	serve(s, "GET /v1/keys/{name}/public", s.public)
	mux.HandleFunc("GET /v1/me", s.me)
	return mux
}

type services struct {
	ring   *Ring
	access func(*http.Request) (Access, error)
	mux    *http.ServeMux
}

// call is one request of a caller who may make it.
type call struct {
	context.Context
	caller Caller
	key    string
}

// serve adds a call that takes JSON (but for GET) and needs all of uses.
func serve[In any](s services, pattern string, f func(call, *In) (any, error), uses ...string) {
	get := strings.HasPrefix(pattern, http.MethodGet)
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a, err := s.access(r)
		name := r.PathValue("name")
		if err == nil {
			err = a.allow(name, uses...)
		}
		if err == nil && len(a.Keys[name]) == 0 {
			err = fault.New(fault.Refused, fmt.Sprintf("ward.yaml doesn't let the service %s use the key %s", a.Caller.Service, name))
		}
		var in In
		if err == nil && !get {
			err = readBody(w, r, &in)
		}
		var out any
		if err == nil {
			out, err = f(call{r.Context(), a.Caller, name}, &in)
		}
		reply(w, out, err)
	})
}

func (s services) me(w http.ResponseWriter, r *http.Request) {
	a, err := s.access(r)
	reply(w, struct {
		Service string              `json:"service"`
		Keys    map[string][]string `json:"keys"`
	}{a.Caller.Service, a.Keys}, err)
}

func reply(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		wire.WriteError(w, err)
		return
	}
	b, ok := out.(json.RawMessage)
	if !ok {
		if b, err = json.Marshal(out); err != nil {
			wire.WriteError(w, fmt.Errorf("encode reply: %w", err))
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // the caller has gone
}

// readBody reads one JSON value, and refuses what it doesn't know: a misspelt field of a context would be lost silently.
func readBody(w http.ResponseWriter, r *http.Request, in any) error {
	var read bytes.Buffer
	read.Grow(int(min(max(r.ContentLength, 0), maxTrusted)) + bytes.MinRead)
	_, err := read.ReadFrom(http.MaxBytesReader(w, r.Body, maxRequest))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.Invalid, "the request is over 1 MiB")
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, "the request broke off", err)
	}
	if b, ok := in.(interface{ read([]byte) error }); ok {
		if err := b.read(read.Bytes()); err != nil {
			return fault.Wrap(fault.Invalid, "the body can't be read: "+err.Error(), err)
		}
		return nil
	}
	d := json.NewDecoder(&read)
	d.DisallowUnknownFields()
	if err = d.Decode(in); err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return fault.Wrap(fault.Invalid, "the body is not the JSON that this call takes", err)
}

// contextFields is an envelope.Context in JSON.
type contextFields struct {
	Service string `json:"service"`
	Class   string `json:"class"`
	Tenant  string `json:"tenant"`
	Table   string `json:"table"`
	Column  string `json:"column"`
	Row     string `json:"row"`
}

// convert is one of Encrypt, Decrypt and Rewrap.
type convert = func(context.Context, Caller, string, []Item) ([]Result, error)

func (s services) encrypt(c call, in *plaintexts) (any, error) {
	for i := range in.items {
		if from := in.items[i].Context.Service; from != "" && from != c.caller.Service {
			return nil, fault.New(fault.Invalid, "a service encrypts in its own name only: leave context.service out")
		}
	}
	return s.convert(c, in.batch, s.ring.Encrypt, "ciphertext")
}

func (s services) decrypt(c call, in *ciphertexts) (any, error) {
	return s.convert(c, in.batch, s.ring.Decrypt, "plaintext")
}

func (s services) rewrap(c call, in *ciphertexts) (any, error) {
	return s.convert(c, in.batch, s.ring.Rewrap, "ciphertext")
}

// ofClass makes sure that a context's class is the key's: what one key encrypts is of one class, in words and in fact.
func (c call) ofClass(at envelope.Context) error {
	if want := strings.TrimSuffix(c.key, lookupSuffix); at.Class != "" && at.Class != want {
		return fault.New(fault.Invalid, fmt.Sprintf("the class %s isn't the key's, which is %s", wire.Clip(at.Class), want))
	}
	return nil
}

// lookupSuffix ends the name of the key that a class's lookups use; see package model.
const lookupSuffix = ".lookup"

func (s services) convert(c call, in batch, do convert, named string) (any, error) {
	for i := range in.items {
		if err := c.ofClass(in.items[i].Context); err != nil {
			return nil, err
		}
	}
	results, err := do(c, c.caller, c.key, in.items)
	if err != nil {
		return nil, err
	}
	if !in.many && results[0].Err != nil {
		return nil, results[0].Err
	}
	return writeBatch(results, named, in.many), nil
}

type ofOwner struct {
	Owner  string `json:"owner"`
	Header []byte `json:"header"`
}

type dataKeyReply struct {
	Header    []byte `json:"header,omitempty"`
	Plaintext []byte `json:"plaintext"`
	MaxAge    int64  `json:"max_age_seconds"`
	MaxUses   int64  `json:"max_uses,omitempty"`
	MaxBytes  int64  `json:"max_bytes,omitempty"`
}

func (s services) dataKey(c call, in *ofOwner) (any, error) {
	if len(in.Header) > 0 {
		return nil, fault.New(fault.Invalid, "a new data key has no header yet")
	}
	d, err := s.ring.DataKey(c, c.caller, c.key, in.Owner)
	if err != nil {
		return nil, err
	}
	return dataKeyReply{Header: d.Header(), Plaintext: d.Reveal(), MaxAge: int64(MaxAge / time.Second), MaxUses: MaxUses, MaxBytes: MaxBytes}, nil
}

func (s services) openDataKey(c call, in *ofOwner) (any, error) {
	d, err := s.ring.OpenDataKey(c, c.caller, c.key, in.Header, in.Owner)
	if err != nil {
		return nil, err
	}
	return dataKeyReply{Plaintext: d.Reveal(), MaxAge: int64(MaxAge / time.Second)}, nil
}

type versionReply struct {
	KeyID string `json:"key_id"`
	Key   []byte `json:"key"`
}

func (s services) lookupKeys(c call, _ *struct{}) (any, error) {
	all, err := s.ring.LookupKeys(c, c.caller, c.key)
	if err != nil {
		return nil, err
	}
	out := struct {
		Versions []versionReply `json:"versions"`
	}{make([]versionReply, len(all))}
	for i, k := range all {
		out.Versions[i] = versionReply{k.KeyID, k.Key.Reveal()}
	}
	return out, nil
}

type signature struct {
	Message   []byte  `json:"message,omitempty"`
	Signature []byte  `json:"signature,omitempty"`
	KeyID     string  `json:"key_id,omitempty"`
	Algorithm Purpose `json:"algorithm,omitempty"`
}

type validity struct {
	Valid bool `json:"valid"`
}

func (s services) sign(c call, in *signature) (any, error) {
	if in.Signature != nil || in.KeyID != "" || in.Algorithm != "" {
		return nil, fault.New(fault.Invalid, "a message alone is signed")
	}
	out, err := s.ring.Sign(c, c.caller, c.key, in.Message)
	return signature{Signature: out.Signature, KeyID: out.KeyID, Algorithm: out.Algorithm}, err
}

// verify doesn't look at an algorithm: the key has one.
func (s services) verify(c call, in *signature) (any, error) {
	valid, err := s.ring.Verify(c, c.caller, c.key, in.Message, Signed{Signature: in.Signature, KeyID: in.KeyID})
	return validity{valid}, err
}

type macRequest struct {
	Context contextFields `json:"context"`
	Message []byte        `json:"message"`
	MAC     []byte        `json:"mac"`
}

func (in *macRequest) item() Item {
	return Item{Context: envelope.Context(in.Context), Data: in.Message}
}

func (s services) mac(c call, in *macRequest) (any, error) {
	if in.MAC != nil || in.Context.Service != "" && in.Context.Service != c.caller.Service {
		return nil, fault.New(fault.Invalid, "a message is authenticated in the caller's own name; there is no mac yet")
	}
	mac, err := s.ring.MAC(c, c.caller, c.key, in.item())
	return struct {
		MAC []byte `json:"mac"`
	}{mac}, err
}

func (s services) verifyMAC(c call, in *macRequest) (any, error) {
	valid, err := s.ring.VerifyMAC(c, c.caller, c.key, in.item(), in.MAC)
	return validity{valid}, err
}

func (s services) public(c call, _ *struct{}) (any, error) { return s.ring.Public(c, c.key) }
