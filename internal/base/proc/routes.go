package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// NoRoutes is how often the kernel found no way to an address in the network namespace of a process (OutNoRoutes of RFC 4293, in IPv4 and IPv6): since
// the namespace was made, and by all processes in it. Which addresses these were isn't told.
func NoRoutes(pid int) (int64, error) { return noRoutes(fmt.Sprintf("/proc/%d/net", pid)) }

func noRoutes(dir string) (int64, error) {
	four, err := os.ReadFile(dir + "/snmp")
	if err != nil {
		return 0, fmt.Errorf("look at routes: %w", err)
	}
	n, ok := outNoRoutes(four)
	if !ok {
		return 0, fmt.Errorf("look at routes: %s/snmp can't be read", dir)
	}
	six, err := os.ReadFile(dir + "/snmp6")
	if os.IsNotExist(err) { // a kernel without IPv6
		return n, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at routes: %w", err)
	}
	_, rest, ok := bytes.Cut(six, []byte("Ip6OutNoRoutes"))
	f := bytes.Fields(rest)
	if !ok || len(f) == 0 {
		return 0, fmt.Errorf("look at routes: %s/snmp6 can't be read", dir)
	}
	m, err := strconv.ParseInt(string(f[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("look at routes: %w", err)
	}
	return n + m, nil
}

// outNoRoutes reads snmp: a line of names, and below it one of numbers.
func outNoRoutes(b []byte) (int64, bool) {
	names, rest, _ := bytes.Cut(b, []byte("\n"))
	numbers, _, _ := bytes.Cut(rest, []byte("\n"))
	n, v := bytes.Fields(names), bytes.Fields(numbers)
	for i := range min(len(n), len(v)) {
		if string(n[i]) == "OutNoRoutes" {
			x, err := strconv.ParseInt(string(v[i]), 10, 64)
			return x, err == nil
		}
	}
	return 0, false
}
