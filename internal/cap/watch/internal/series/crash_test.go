package series

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crashDir names what tells the process that it is to be killed.
const crashDir = "WARD_TEST_SERIES_DIR"

// TestMain is also the process that TestKillLosesNothing kills: it appends as fast as it can, and prints what was appended.
func TestMain(m *testing.M) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := Open(dir, Limits{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var n int
	if _, err := fmt.Sscan(os.Getenv(crashDir+"_FROM"), &n); err != nil {
		os.Exit(1)
	}
	for {
		n++
		if err := s.Append(at(20*n), []Point{counter("c", float64(10*n)), gauge("g", float64(n))}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
		if n%100 == 0 {
			if err := s.Compact(at(20 * n)); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
}

func TestKillLosesNothing(t *testing.T) {
	dir := memory(t)
	n := 0
	for round := range 5 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s_FROM=%d", crashDir, n))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
		lines := bufio.NewScanner(out)
		for told := 0; lines.Scan(); told++ {
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				t.Fatal(lines.Text())
			}
			if told == 150+37*round {
				_ = c.Process.Kill() // and what it printed until it died is still read
			}
		}
		timer.Stop()
		if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatal(err)
		}
		s := open(t, dir, Limits{})
		got := totals(t, s, epoch, at(20*(n+3)), time.Hour)
		if got["c"] < float64(10*(n-1))-1e-6 || got["c"] > float64(10*n)+1e-6 {
			t.Fatalf("of %d, %v", 10*(n-1), got)
		}
		n = int(s.head.by["g"].last / gaugeUnit) // it may have appended one more than it had time to print
	}
}

// TestATornLog cuts the log at every byte, and changes every byte.
func TestATornLog(t *testing.T) {
	from := memory(t)
	s := open(t, from, Limits{})
	var ends []int64
	for i := range 8 {
		sample(t, s, at(1+i), counter("c", float64(10*i)), counter(fmt.Sprint("n", i), 1))
		ends = append(ends, s.log.at)
	}
	whole, err := os.ReadFile(filepath.Join(from, logName))
	if err != nil {
		t.Fatal(err)
	}
	try := func(content []byte, hurt int) {
		dir := memory(t)
		defer os.RemoveAll(dir)
		if err := os.WriteFile(filepath.Join(dir, logName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0 // rows
		for want < len(ends) && ends[want] <= int64(hurt) {
			want++
		}
		reopen := func() *Store {
			s, err := Open(dir, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.head.times) != want {
				t.Fatalf("hurt at %d: %d rows instead of %d", hurt, len(s.head.times), want)
			}
			return s
		}
		s := reopen()
		sample(t, s, at(20), counter("c", 100))
		if want++; want > 1 {
			same(t, 100.0, totals(t, s, at(0), at(40), time.Minute)["c"])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(at(21), nil); err == nil {
			t.Fatal("appended after Close")
		}
		if s = reopen(); s.Stats().Cut != 0 {
			t.Fatalf("hurt at %d: cut twice", hurt)
		}
		_ = s.Close()
	}
	for i := range whole {
		try(whole[:i], i)
		changed := []byte(string(whole))
		changed[i] ^= 0x10
		try(changed, i)
	}
}

// TestACrashBetweenBlockAndLog brings back the log that a block was made of already.
func TestACrashBetweenBlockAndLog(t *testing.T) {
	dir := memory(t)
	s := open(t, dir, Limits{})
	for i := range 10 {
		sample(t, s, at(1+i), counter("c", float64(10*i)))
	}
	old, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	sample(t, s, at(300), counter("c", 200))
	if err := os.WriteFile(filepath.Join(dir, logName), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Limits{})
	same(t, 90.0, totals(t, s, at(0), at(400), time.Minute)["c"])
	sample(t, s, at(301), counter("c", 250))
	same(t, 250.0, totals(t, s, at(0), at(400), time.Minute)["c"])
	s = open(t, dir, Limits{})
	same(t, 250.0, totals(t, s, at(0), at(400), time.Minute)["c"])
}
