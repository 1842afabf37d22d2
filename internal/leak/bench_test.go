package leak

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"testing"
)

func thousand() *Fingerprints {
	var all []Secret
	for i := range 1000 {
		all = append(all, Secret{Name: fmt.Sprintf("secret-%d", i), Value: text(rand.Text() + rand.Text())})
	}
	return Make(all)
}

func someLog() []byte {
	var b bytes.Buffer
	for i := range 4000 {
		var id [16]byte
		_, _ = rand.Read(id[:])
		fmt.Fprintf(&b, "2026-05-04T12:00:%02d.%03dZ level=info msg=\"request done\" method=GET path=/v1/orders/%d status=200 trace=%s took_ms=%d\n", i%60, i%1000, i, hex.EncodeToString(id[:]), i%70)
	}
	return b.Bytes()
}

func BenchmarkMask1000Secrets(b *testing.B) {
	prints, log := thousand(), someLog()
	for _, cards := range []bool{false, true} {
		for _, chunk := range []int{512, 16 << 10} {
			b.Run(fmt.Sprintf("cards=%t/chunk=%d", cards, chunk), func(b *testing.B) {
				b.SetBytes(int64(len(log)))
				b.ReportAllocs()
				finder := prints.Finder(cards, func(Finding) {})
				var out []byte
				for b.Loop() {
					for rest := log; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
						out = finder.Mask(out[:0], rest[:min(chunk, len(rest))])
					}
				}
			})
		}
	}
}

func BenchmarkMake1000Secrets(b *testing.B) {
	for b.Loop() {
		thousand()
	}
}
