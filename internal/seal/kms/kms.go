// Package kms seals a root key with a key at AWS KMS, over its HTTP API (TrentService, Encrypt and Decrypt): no SDK of a cloud comes along
// for two calls.
//
// Guarantee: every request is signed (Signature Version 4); the application is in the encryption context, so that one application's root
// isn't opened as another's; answers are bounded. Tested against a server that checks signatures, not against the real cloud.
package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/base/sigv4"
	"github.com/wardhq/ward/internal/seal"
)

// Key is a key at KMS, as a seal.
type Key struct {
	ARN         string // "arn:aws:kms:REGION:ACCOUNT:key/ID"
	App         string // the application, for the encryption context
	Credentials func() (sigv4.Credentials, error)
	Endpoint    string       // "" for AWS's own of the region
	Client      *http.Client // nil for one with a timeout of ten seconds
	Clock       clock.Clock  // nil for the system's
	// Wait waits before another try; nil for real time.
	Wait func(context.Context, time.Duration) error
}

// Kind is seal.AWSKMS.
func (*Key) Kind() seal.Kind { return seal.AWSKMS }

// wrapped is what lies on disk.
type wrapped struct {
	ARN        string `json:"arn"`
	App        string `json:"app"`
	Ciphertext []byte `json:"ciphertext"`
}

// Named returns the key that a sealed root names, for the same environment.
func (k *Key) Named(sealed json.RawMessage) (*Key, error) {
	var w wrapped
	if err := json.Unmarshal(sealed, &w); err != nil {
		return nil, fault.Wrap(fault.Invalid, "the file of the root key is damaged", err)
	}
	out := *k
	out.ARN, out.App = w.ARN, w.App
	return &out, nil
}

// Wrap implements seal.Seal.
func (k *Key) Wrap(ctx context.Context, root secret.Bytes) (json.RawMessage, error) {
	var out struct {
		CiphertextBlob []byte
	}
	if err := k.call(ctx, "Encrypt", map[string]any{"KeyId": k.ARN, "Plaintext": root.Reveal(), "EncryptionContext": k.context()}, &out); err != nil {
		return nil, err
	}
	if len(out.CiphertextBlob) == 0 {
		return nil, errors.New("kms: it encrypted, and answered nothing")
	}
	return json.Marshal(wrapped{k.ARN, k.App, out.CiphertextBlob})
}

// Unwrap implements seal.Seal.
func (k *Key) Unwrap(ctx context.Context, sealed json.RawMessage) (secret.Bytes, error) {
	var w wrapped
	if err := json.Unmarshal(sealed, &w); err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Invalid, "the file of the root key is damaged", err)
	}
	var out struct {
		Plaintext []byte
		KeyID     string `json:"KeyId"`
	}
	if err := k.call(ctx, "Decrypt", map[string]any{"KeyId": w.ARN, "CiphertextBlob": w.Ciphertext, "EncryptionContext": k.context()}, &out); err != nil {
		return secret.Bytes{}, err
	}
	if len(out.Plaintext) != secret.KeySize {
		return secret.Bytes{}, fault.New(fault.Refused, "what KMS opened isn't a root key")
	}
	return secret.New(out.Plaintext), nil
}

func (k *Key) context() map[string]string { return map[string]string{"ward-app": k.App} }

// region is the fourth part of an ARN.
func (k *Key) region() (string, error) {
	parts := strings.Split(k.ARN, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kms" || parts[3] == "" || strings.Trim(parts[3], "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fault.New(fault.Usage, fmt.Sprintf("%q isn't the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID", k.ARN))
	}
	return parts[3], nil
}

const (
	tries     = 5
	firstWait = 200 * time.Millisecond
	maxAnswer = 1 << 20 // bytes
)

// call makes a call, and again where KMS throttles or fails for a moment.
func (k *Key) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("kms: %w", err)
	}
	defer clear(body)
	wait := k.Wait
	if wait == nil {
		wait = sleep
	}
	pause := firstWait
	for n := 1; ; n++ {
		again, err := k.once(ctx, operation, body, out)
		if err == nil || !again || n == tries {
			return err
		}
		if werr := wait(ctx, pause); werr != nil {
			return errors.Join(err, werr)
		}
		pause *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Key) once(ctx context.Context, operation string, body []byte, out any) (again bool, err error) {
	req, err := k.request(ctx, operation, body)
	if err != nil {
		return false, err
	}
	client := k.Client
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	resp, err := client.Do(req)
	if err != nil {
		return true, fault.Wrap(fault.Unavailable, "AWS KMS doesn't answer", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return true, fault.Wrap(fault.Unavailable, "AWS KMS broke its answer off", err)
	}
	defer clear(answer)
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(answer, out); err != nil {
			return false, errors.New("kms: the answer isn't JSON") // err might hold some of it
		}
		return false, nil
	}
	var said struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(answer, &said) // the status says enough
	kind := fault.Refused
	if resp.StatusCode >= 500 || strings.HasSuffix(said.Type, "ThrottlingException") {
		kind, again = fault.Unavailable, true
	}
	return again, fault.New(kind, fmt.Sprintf("AWS KMS refused to %s: %s %s", strings.ToLower(operation), said.Type, said.Message))
}

func (k *Key) request(ctx context.Context, operation string, body []byte) (*http.Request, error) {
	region, err := k.region()
	if err != nil {
		return nil, err
	}
	endpoint := k.Endpoint
	if endpoint == "" {
		endpoint = "https://kms." + region + ".amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme != "https" && (err != nil || !ip.IsLoopback()) {
		return nil, fault.New(fault.Usage, "the root key would cross the network in clear: the endpoint of AWS KMS has to be https://")
	}
	c, err := k.Credentials()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	fields := []sigv4.Field{{Name: "Content-Type", Value: "application/x-amz-json-1.1"}, {Name: "X-Amz-Target", Value: "TrentService." + operation}}
	now := clock.Clock(clock.System{})
	if k.Clock != nil {
		now = k.Clock
	}
	signed := sigv4.Sign(c, sigv4.Request{
		Method: http.MethodPost, Host: u.Host, Path: "/", Fields: fields, Payload: sigv4.HashPayload(body), Region: region, Service: "kms", Time: now.Now(),
	})
	for _, f := range append(fields, signed...) {
		req.Header.Set(f.Name, f.Value)
	}
	return req, nil
}

// Environment reads credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, as AWS's own tools do first. Roles of
// machines and containers aren't asked for.
func Environment() (sigv4.Credentials, error) {
	c := sigv4.Credentials{ID: os.Getenv("AWS_ACCESS_KEY_ID"), Secret: secret.New([]byte(os.Getenv("AWS_SECRET_ACCESS_KEY"))), Token: os.Getenv("AWS_SESSION_TOKEN")}
	if c.ID == "" || len(c.Secret.Reveal()) == 0 {
		return c, fault.New(fault.Invalid, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY aren't set: the root key is sealed by a key at AWS KMS")
	}
	return c, nil
}
