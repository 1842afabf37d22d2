package proc

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatHasNoRouteIsCounted(t *testing.T) {
	const four = "Ip: Forwarding OutDiscards OutNoRoutes ReasmTimeout\nIp: 2 9 3 8\nIcmp: InMsgs\nIcmp: 0\n"
	for name, tt := range map[string]struct {
		four, six string
		want      int64
		ok        bool
	}{
		"both":                   {four, "Ip6InNoRoutes   \t7\nIp6OutNoRoutes   \t4\nIp6X \t1\n", 7, true},
		"without IPv6":           {four, "", 3, true},
		"another file":           {"Ip: A\nIp: 1\n", "", 0, false},
		"no number":              {"Ip: OutNoRoutes\nIp: x\n", "", 0, false},
		"cut off":                {"Ip: OutNoRoutes\n", "", 0, false},
		"IPv6 without the count": {four, "Ip6InNoRoutes 7\n", 0, false},
		"IPv6 cut off":           {four, "Ip6OutNoRoutes", 0, false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "snmp"), []byte(tt.four), 0o600); err != nil {
			t.Fatal(err)
		}
		if tt.six != "" {
			if err := os.WriteFile(filepath.Join(dir, "snmp6"), []byte(tt.six), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := noRoutes(dir); n != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if _, err := NoRoutes(os.Getpid()); err != nil {
		t.Error(err)
	}
}

func BenchmarkNoRoutes(b *testing.B) {
	for b.Loop() {
		if _, err := NoRoutes(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
