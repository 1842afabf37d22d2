package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"

	aead "github.com/tink-crypto/tink-go/v2/aead/subtle"
	mac "github.com/tink-crypto/tink-go/v2/mac/subtle"
	"github.com/tink-crypto/tink-go/v2/subtle"

	"github.com/wardhq/ward/sdk/seal"
)

// TestTinkOpensWhatWeSeal reads the format with Tink's primitives, and has them write what we open.
func TestTinkOpensWhatWeSeal(t *testing.T) {
	master, value := random(32), []byte("1 Main Street")
	k, err := seal.ParseKeyset(fmt.Appendf(nil, `{"service":"orders","keys":[{"name":"addresses","key_id":"0102030405060708","key":%[1]q},
		{"name":"addresses.lookup","key_id":"0102030405060709","key":%[1]q}]}`, base64.StdEncoding.EncodeToString(master)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := seal.New(t.Context(), seal.Config{Provider: k})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := c.Seal(t.Context(), value, place)
	if err != nil {
		t.Fatal(err)
	}
	header := sealed[:104]
	id := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	wrap := append(append([]byte("ward data key v1\x01"), id...), "\x00\x09addresses\x00\x00"...)
	d := open(t, hkdf(t, master, "ward seal v1 wrap"), header[12:72], wrap)
	if !bytes.Equal(hkdf(t, d, "ward seal v1 commitment"), header[72:]) {
		t.Error("the commitment differs")
	}
	key, ad := hkdf(t, d, "ward seal v1 message"), append(bytes.Clone(header), encode("orders", place)...)
	if got := open(t, key, sealed[104:], ad); !bytes.Equal(got, value) {
		t.Errorf("Tink reads %q", got)
	}
	a, err := aead.NewAESGCM(key)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := a.Encrypt(value, ad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Unseal(t.Context(), append(bytes.Clone(header), theirs...), place); err != nil || !bytes.Equal(got, value) {
		t.Errorf("we read Tink's as %q, %v", got, err)
	}

	at := place
	at.Row = ""
	h, err := mac.NewHMAC("SHA256", hkdf(t, hkdf(t, master, "ward lookup v1 key"), "ward lookup v1 index"), 16)
	if err != nil {
		t.Fatal(err)
	}
	want, err := h.ComputeMAC(append(encode("orders", at), value...))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Index(t.Context(), value, at); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the index is %x, Tink says %x, %v", got, want, err)
	}
}

func hkdf(t *testing.T, secret []byte, info string) []byte {
	t.Helper()
	b, err := subtle.ComputeHKDF("SHA256", secret, nil, []byte(info), 32)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t *testing.T, key, sealed, ad []byte) []byte {
	t.Helper()
	a, err := aead.NewAESGCM(key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := a.Decrypt(sealed, ad)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func encode(service string, c seal.Context) []byte {
	b := []byte("ward context v1")
	for _, f := range []string{service, c.Class, c.Tenant, c.Table, c.Column, c.Row} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
	}
	return b
}
