package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wardtest"
)

// TestMemoryIsTheServicesOwn: of the processes in its sandbox one is Ward's.
func TestMemoryIsTheServicesOwn(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	wardtest.Eventually(t, "top shows it", func() bool {
		_, out, _ := say("top", "--once", "-f", w.File)
		return regexp.MustCompile(`(?m)^SERVICE +STATE +SINCE +CPU +MEMORY +RESTARTS *$`).MatchString(out) &&
			regexp.MustCompile(`(?m)^catalog +ready +[0-9ms]+ +[0-9]+% +[1-9][0-9]* MB +0 *$`).MatchString(out)
	})
	wardtest.Eventually(t, "the memory is right", func() bool {
		_, metrics, _ := say("metrics", "-f", w.File)
		_, rest, _ := strings.Cut(metrics, "\nward_process_resident_memory_bytes{service=\"catalog\",replica=\"0\"} ")
		var said int64
		_, _ = fmt.Sscan(rest, &said) // 0 before the first report
		is := below(t, status(w, "catalog").PID)
		return is > 0 && said > is/2 && said < is*3/2
	})
}

// below is the resident memory of the processes that one has started.
func below(t *testing.T, pid int) (bytes int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile("/proc/" + child + "/status")
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		var kb int64
		_, _ = fmt.Sscan(rest, &kb) // 0 if it isn't there
		bytes += kb<<10 + below(t, n)
	}
	return bytes
}
