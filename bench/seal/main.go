// Command seal measures what the SDK's envelope encryption costs, beside AES-GCM alone and Tink, in interleaved rounds of one run: CPU time of the
// process (with its garbage collection) per operation, medians, and the ratio to AES-GCM alone in the same round.
package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"log"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/wardhq/ward/sdk/seal"
)

func main() {
	rounds := flag.Int("rounds", 9, "how often each is measured")
	span := flag.Duration("span", 100*time.Millisecond, "how long at a time")
	flag.Parse()
	fmt.Printf("%s, %d CPUs, %d rounds of %v\n", runtime.Version(), runtime.NumCPU(), *rounds, *span)
	for _, size := range []int{64, 1024, 16384} {
		report(fmt.Sprintf("a value of %d bytes", size), values(size), *rounds, *span)
	}
	report(fmt.Sprintf("a file of %d MiB", fileSize>>20), files(), *rounds, *span)
}

// subject is something to be measured.
type subject struct {
	name  string
	bytes int
	do    func()
}

// report measures the subjects in turns.
func report(title string, all []subject, rounds int, span time.Duration) {
	times, ratios := make([][]float64, len(all)), make([][]float64, len(all))
	for range rounds {
		var floor [2]float64
		for i, s := range all {
			ns := measure(s.do, span)
			if i < 2 {
				floor[i] = ns
			}
			times[i], ratios[i] = append(times[i], ns), append(ratios[i], ns/floor[i%2])
		}
	}
	fmt.Printf("\n%-44s %10s %10s %8s %7s %6s\n", title, "best ns", "median ns", "GB/s", "ratio", "allocs")
	for i, s := range all {
		slices.Sort(times[i])
		slices.Sort(ratios[i])
		m := times[i][rounds/2]
		fmt.Printf("%-44s %10.0f %10.0f %8.2f %7.2f %6.0f\n", s.name, times[i][0], m, float64(s.bytes)/m, ratios[i][rounds/2], testing.AllocsPerRun(5, s.do))
	}
}

func measure(do func(), span time.Duration) float64 {
	runtime.GC()
	n, began, used := 0, time.Now(), cpu()
	for time.Since(began) < span {
		for range 8 {
			do()
		}
		n += 8
	}
	return float64(cpu()-used) / float64(n)
}

// cpu is what the process has used, in nanoseconds.
func cpu() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

var place = seal.Context{Class: "addresses", Table: "orders", Column: "address", Row: "c3f1a2b0-1f0e-4c1b-9a53-0d3a1f1b7a11"}

func client() *seal.Client {
	k := must(seal.ParseKeyset(fmt.Appendf(nil, `{"service":"orders","keys":[{"name":"addresses","key_id":"0102030405060708","key":%[1]q},
		{"name":"addresses.lookup","key_id":"0102030405060709","key":%[1]q}]}`, base64.StdEncoding.EncodeToString(random(32)))))
	return must(seal.New(context.Background(), seal.Config{Provider: k, MaxMessages: 1 << 32, MaxBytes: 1 << 50}))
}

// values are pairs of sealing and opening; AES-GCM alone, with its nonces drawn and the context as a string, comes first.
func values(size int) []subject {
	ctx, value := context.Background(), random(size)
	ad := []byte("orders/addresses/orders/address/" + place.Row)
	raw := must(cipher.NewGCM(must(aes.NewCipher(random(32)))))
	rawSeal := func() []byte {
		out := make([]byte, 12, 12+size+16)
		_, _ = rand.Read(out)
		return raw.Seal(out, out, value, ad)
	}
	rawSealed := rawSeal()
	t := must(aead.New(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))
	tinkSealed := must(t.Encrypt(value, ad))
	c := client()
	sealed := must(c.Seal(ctx, value, place))
	lookup := place
	lookup.Row = ""
	buf := make([]byte, 0, 12+size+16)
	return []subject{
		{"AES-256-GCM alone: seal", size, func() { rawSeal() }},
		{"AES-256-GCM alone: open", size, func() { must(raw.Open(nil, rawSealed[:12], rawSealed[12:], ad)) }},
		{"the same, same nonce, into a buffer: seal", size, func() { raw.Seal(buf, rawSealed[:12], value, ad) }},
		{"the same, into a buffer: open", size, func() { must(raw.Open(buf, rawSealed[:12], rawSealed[12:], ad)) }},
		{"ward: seal", size, func() { must(c.Seal(ctx, value, place)) }},
		{"ward: open", size, func() { must(c.Unseal(ctx, sealed, place)) }},
		{"Tink AES-256-GCM: seal", size, func() { must(t.Encrypt(value, ad)) }},
		{"Tink AES-256-GCM: open", size, func() { must(t.Decrypt(tinkSealed, ad)) }},
		{"ward: index (no peer)", size, func() { must(c.Index(ctx, value, lookup)) }},
		{"ward: deterministic seal (no peer)", size, func() { must(c.SealLookup(ctx, value, lookup)) }},
	}
}

const fileSize = 16 << 20

// files are pairs of writing and reading through memory; AES-GCM alone on chunks of 16 KiB comes first.
func files() []subject {
	const chunk = 16 << 10
	ctx, file := context.Background(), random(fileSize)
	raw := must(cipher.NewGCM(must(aes.NewCipher(random(32)))))
	nonce, out := make([]byte, 12), make([]byte, 0, chunk+16)
	var chunks []byte
	for i := 0; i < fileSize; i += chunk {
		chunks = raw.Seal(chunks, nonce, file[i:i+chunk], nil)
	}
	c := client()
	write := func(w io.Writer) {
		e := must(c.NewWriter(ctx, w, place))
		must(e.Write(file))
		if err := e.Close(); err != nil {
			log.Fatal(err)
		}
	}
	var sealed bytes.Buffer
	write(&sealed)
	t := must(streamingaead.New(must(keyset.NewHandle(streamingaead.AES256GCMHKDF1MBKeyTemplate()))))
	tinkSealed := tinkWrite(t, file)
	part := make([]byte, 4096)
	at := must(c.NewReaderAt(ctx, bytes.NewReader(sealed.Bytes()), int64(sealed.Len()), place))
	var i int64
	return []subject{
		{"AES-256-GCM alone, 16 KiB chunks: write", fileSize, func() {
			for i := 0; i < fileSize; i += chunk {
				raw.Seal(out, nonce, file[i:i+chunk], nil)
			}
		}},
		{"AES-256-GCM alone, 16 KiB chunks: read", fileSize, func() {
			for i := 0; i < len(chunks); i += chunk + 16 {
				must(raw.Open(out, nonce, chunks[i:i+chunk+16], nil))
			}
		}},
		{"ward (Cobblestone-256): write", fileSize, func() { write(io.Discard) }},
		{"ward (Cobblestone-256): read", fileSize, func() {
			must(io.Copy(io.Discard, must(c.NewReader(ctx, bytes.NewReader(sealed.Bytes()), place))))
		}},
		{"Tink AES-256-GCM-HKDF, 1 MiB segments: write", fileSize, func() {
			w := must(t.NewEncryptingWriter(io.Discard, []byte("context")))
			must(w.Write(file))
			_ = w.Close()
		}},
		{"Tink AES-256-GCM-HKDF, 1 MiB segments: read", fileSize, func() {
			must(io.Copy(io.Discard, must(t.NewDecryptingReader(bytes.NewReader(tinkSealed), []byte("context")))))
		}},
		{"ward: 4 KiB from anywhere", len(part), func() {
			i += 7919 * 4099
			must(at.ReadAt(part, i%(fileSize-4096)))
		}},
	}
}

func tinkWrite(t tink.StreamingAEAD, file []byte) []byte {
	var out bytes.Buffer
	w := must(t.NewEncryptingWriter(&out, []byte("context")))
	must(w.Write(file))
	_ = w.Close()
	return out.Bytes()
}
