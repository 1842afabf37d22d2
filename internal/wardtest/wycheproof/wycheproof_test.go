package wycheproof

import (
	"bytes"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/wardhq/ward/sdk/seal/chunked"
)

// vector of chunked encryption; the module's doc/c2sp_chunked_encryption.md says how to read it.
type vector struct {
	TcID      int
	Comment   string
	Key, Ctx  Hex
	Ct        Hex // zlib
	MsgLength int // of the message, or of the beginning that a stream may give before it finds out
	MsgSha512 Hex
	Result    string
	Flags     []string
}

func (v *vector) is(flag string) bool { return slices.Contains(v.Flags, flag) }

// TestChunkedEncryption holds sdk/seal/chunked to every vector of Cobblestone-256, as a stream and with random access.
func TestChunkedEncryption(t *testing.T) {
	n, valid := 0, 0
	for _, g := range Groups[struct{ Tests []vector }](t, "c2sp_chunked_encryption_aes_256_gcm_test.json") {
		for _, v := range g.Tests {
			n++
			z, err := zlib.NewReader(bytes.NewReader(v.Ct))
			if err != nil {
				t.Fatal(err)
			}
			if v.Ct, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
			t.Run(fmt.Sprint(v.TcID, " ", v.Comment), func(t *testing.T) {
				if v.Result == "valid" {
					valid++
					opens(t, &v)
					return
				}
				refusesAsAStream(t, &v)
				refusesAtRandom(t, &v)
			})
		}
	}
	t.Logf("%d vectors, %d of them valid, each read in two ways", n, valid)
	if valid == 0 {
		t.Error("none is valid")
	}
}

func opens(t *testing.T, v *vector) {
	r, err := chunked.NewReader(bytes.NewReader(v.Ct), v.Key, v.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	message, err := io.ReadAll(r)
	if sum := sha512.Sum512(message); err != nil || len(message) != v.MsgLength || !bytes.Equal(sum[:], v.MsgSha512) {
		t.Fatalf("as a stream: %d bytes instead of %d, %v", len(message), v.MsgLength, err)
	}
	at, err := chunked.NewReaderAt(bytes.NewReader(v.Ct), int64(len(v.Ct)), v.Key, v.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := backwards(at); err != nil || !bytes.Equal(got, message) {
		t.Errorf("with random access: %d bytes of %d, %v", len(got), len(message), err)
	}
	var sealed, again bytes.Buffer
	w, err := chunked.NewWriter(&sealed, v.Key, v.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(message)
	if err := w.Close(); err != nil || sealed.Len() != len(v.Ct) {
		t.Errorf("encrypted to %d bytes instead of %d, %v", sealed.Len(), len(v.Ct), err)
	}
	if r, err = chunked.NewReader(&sealed, v.Key, v.Ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&again, r); err != nil || !bytes.Equal(again.Bytes(), message) {
		t.Errorf("our own encryption opens as %d bytes, %v", again.Len(), err)
	}
}

func refusesAsAStream(t *testing.T, v *vector) {
	r, err := chunked.NewReader(bytes.NewReader(v.Ct), v.Key, v.Ctx)
	if v.is("HeaderFailure") != (err != nil) {
		t.Fatalf("the header: %v", err)
	}
	if err != nil {
		return
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, chunked.ErrDecrypt) {
		t.Errorf("ended with %v", err)
	}
	if v.is("PartialPlaintext") {
		if sum := sha512.Sum512(got); len(got) != v.MsgLength || !bytes.Equal(sum[:], v.MsgSha512) {
			t.Errorf("gave %d bytes before, instead of %d", len(got), v.MsgLength)
		}
	} else if len(got) > 0 {
		t.Errorf("gave %d bytes", len(got))
	}
	for range 3 {
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, chunked.ErrDecrypt) {
			t.Errorf("went on with %d bytes, %v", n, err)
		}
	}
}

func refusesAtRandom(t *testing.T, v *vector) {
	r, err := chunked.NewReaderAt(bytes.NewReader(v.Ct), int64(len(v.Ct)), v.Key, v.Ctx)
	if v.is("ValidFinalChunk") != (err == nil) {
		t.Fatalf("the length: %v", err)
	}
	if err != nil {
		return
	}
	if got, err := backwards(r); !errors.Is(err, chunked.ErrDecrypt) {
		t.Errorf("gave %d bytes, %v", len(got), err)
	}
}

// backwards reads from the end to the beginning, in parts that no chunk begins with.
func backwards(r *chunked.ReaderAt) ([]byte, error) {
	out := make([]byte, r.Size())
	const part = 20_011
	for end := len(out); end > 0; end -= part {
		start := max(0, end-part)
		if n, err := r.ReadAt(out[start:end], int64(start)); n < end-start {
			return nil, err
		}
	}
	return out, nil
}

// TestAESGCM holds the cipher that seals messages and data keys to the vectors of its sizes.
func TestAESGCM(t *testing.T) {
	type group struct {
		IvSize, KeySize, TagSize int
		Tests                    []struct {
			TcID                       int
			Key, Iv, Aad, Msg, Ct, Tag Hex
			Result                     string
		}
	}
	n := 0
	for _, g := range Groups[group](t, "aes_gcm_test.json") {
		if g.IvSize != 96 || g.KeySize != 256 || g.TagSize != 128 {
			continue
		}
		for _, v := range g.Tests {
			n++
			block, err := aes.NewCipher(v.Key)
			if err != nil {
				t.Fatal(err)
			}
			aead, err := cipher.NewGCMWithRandomNonce(block)
			if err != nil {
				t.Fatal(err)
			}
			sealed := append(append(bytes.Clone(v.Iv), v.Ct...), v.Tag...)
			got, err := aead.Open(nil, nil, sealed, v.Aad)
			if valid := v.Result == "valid"; valid != (err == nil) || (valid && !bytes.Equal(got, v.Msg)) {
				t.Errorf("%d (%s): %v", v.TcID, v.Result, err)
			}
		}
	}
	if n == 0 {
		t.Error("no vector has the right sizes")
	}
	t.Logf("%d vectors", n)
}

// TestHMACSHA256 holds MACs, blind indexes and synthetic IVs to the vectors of the whole tag.
func TestHMACSHA256(t *testing.T) {
	type group struct {
		TagSize int
		Tests   []struct {
			TcID          int
			Key, Msg, Tag Hex
			Result        string
		}
	}
	n := 0
	for _, g := range Groups[group](t, "hmac_sha256_test.json") {
		if g.TagSize != 256 {
			continue
		}
		for _, v := range g.Tests {
			n++
			h := hmac.New(sha256.New, v.Key)
			h.Write(v.Msg)
			if equal := hmac.Equal(h.Sum(nil), v.Tag); equal != (v.Result == "valid") {
				t.Errorf("%d (%s): equal is %v", v.TcID, v.Result, equal)
			}
		}
	}
	if n == 0 {
		t.Error("no vector has the right size")
	}
	t.Logf("%d vectors", n)
}

// TestHKDFSHA256 holds every derived key to the vectors.
func TestHKDFSHA256(t *testing.T) {
	type group struct {
		Tests []struct {
			TcID            int
			Ikm, Salt, Info Hex
			Size            int
			Okm             Hex
			Result          string
		}
	}
	n := 0
	for _, g := range Groups[group](t, "hkdf_sha256_test.json") {
		for _, v := range g.Tests {
			n++
			got, err := hkdf.Key(sha256.New, v.Ikm, v.Salt, string(v.Info), v.Size)
			if valid := v.Result == "valid"; valid != (err == nil) || (valid && !bytes.Equal(got, v.Okm)) {
				t.Errorf("%d (%s): %v", v.TcID, v.Result, err)
			}
		}
	}
	t.Logf("%d vectors", n)
}

func FuzzHexUnmarshalText(f *testing.F) {
	f.Add([]byte("00ff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var h Hex
		if h.UnmarshalText(text) == nil && hex.EncodeToString(h) != string(bytes.ToLower(text)) {
			t.Errorf("%q read as %x", text, []byte(h))
		}
	})
}
