package leak

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCardNumbersAreMaskedButTheLastFour(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"4111111111111111", "************1111"},
		{"pan=4111111111111111&x", "pan=************1111&x"},
		{`{"card":"4111 1111 1111 1111"}`, `{"card":"**** **** **** 1111"}`},
		{"5555-5555-5555-4444.", "****-****-****-4444."},
		{"2223003122003222,", "************3222,"},
		{"(378282246310005)", "(***********0005)"},
		{"3782 822463 10005 ", "**** ****** *0005 "},
		{"30569309025904", "**********5904"},
		{"3056 930902 5904", "**** ****** 5904"},
		{"6011111111111117\n", "************1117\n"},
		{"3530111333300000", "************0000"},
		{"6200000000000005", "************0005"},
		{"4222222222222", "*********2222"},
		{"4000000000000000006", "***************0006"},
		{"4111111111111111 4111111111111111", "************1111 ************1111"},
		{"2 4111 1111 1111 1111", "2 **** **** **** 1111"},
		{"4111 1111 1111 1111 4111 1111 1111 1111", "**** **** **** 1111 **** **** **** 1111"},
		{"4111111111111111 expires 12-27", "************1111 expires 12-27"},
		{"4111111111111111 123", "************1111 123"},
	} {
		for size := range 20 {
			if got, found := mask(nil, true, []byte(c.in), size); got != c.want || len(found) == 0 || found[0].Form != Card {
				t.Errorf("%q in chunks of %d: %q, %+v", c.in, size, got, found)
			}
		}
	}
}

func TestWhatIsNoCard(t *testing.T) {
	for _, s := range []string{
		"4111111111111112",                     // the check digit
		"1111111111111117",                     // no issuer
		"41111111111111113",                    // no length of Visa's
		"411111111111",                         // too short
		"41111111111111111111",                 // too long
		"x4111111111111111",                    // part of a word
		"4111111111111111x",                    // of a word
		"0.4111111111111111",                   // a fraction
		"4111111111111111.5",                   // a number
		"a-4111111111111111",                   // part of a name
		"4111111111111111-9",                   // more digits
		"4111-1111 1111-1111",                  // two separators
		"411 1111 1111 11111",                  // no card's groups
		"4111  1111  1111  1111",               // two spaces
		"550e8400-e29b-41d4-a716-446655440000", // UUID
		"2026-05-04T12:00:00.123456789Z",       // timestamps
		"2026-05-04 12:00:00",
		"1777896000", "1777896000123", "1777896000123456", "1777896000123456789",
		"order 20260504000017", "ORD-4000123412341234", "invoice 2026-000123", "ean 4006381333931",
		"192.168.100.200:54321", "+49 170 1234567", "trace 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
		"3.14159265358979323846", "16777216 4294967296 18446744073709551615",
	} {
		for size := range 8 {
			if got, found := mask(nil, true, []byte(s), size); got != s || len(found) > 0 {
				t.Errorf("%q in chunks of %d: %q, %+v", s, size, got, found)
			}
		}
	}
}

// TestLogsRaiseNoFalseAlarms: what fills logs, at random and much of it.
func TestLogsRaiseNoFalseAlarms(t *testing.T) {
	var b strings.Builder
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for i := range 20_000 {
		var id [16]byte
		_, _ = rand.Read(id[:])
		sum := sha256.Sum256(id[:])
		at = at.Add(time.Duration(sum[0]) * time.Millisecond)
		fmt.Fprintf(&b, "%s level=info msg=done id=%x-%x-%x-%x-%x sum=%s took=%d us=%d order=%08d ip=10.%d.%d.%d:%d\n", at.Format(time.RFC3339Nano),
			id[:4], id[4:6], id[6:8], id[8:10], id[10:], hex.EncodeToString(sum[:]), int(sum[1])*1000, at.UnixNano(), i, sum[2], sum[3], sum[4], 1024+int(sum[5])*64)
	}
	_, found := mask(nil, true, []byte(b.String()), 4096)
	for _, x := range found {
		t.Errorf("line %d: %q", x.Line, b.String()[x.Offset:x.Offset+int64(x.Length)])
	}
}
