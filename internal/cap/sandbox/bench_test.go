package sandbox

import (
	"strconv"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
)

// BenchmarkCalls is what system calls take in a sandbox, in µs each: watched, as services' are, and not, as jobs' are. Python's own share is in both.
func BenchmarkCalls(b *testing.B) {
	l := NewLauncher()
	defer l.Close()
	for name, watched := range map[string]bool{"watched": true, "unwatched": false} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for line := range strings.Lines(callsTook(b, l, watched)) {
					what, took, _ := strings.Cut(strings.TrimSpace(line), " ")
					us, err := strconv.ParseFloat(took, 64)
					if err != nil {
						b.Fatal(line)
					}
					b.ReportMetric(us, what+"-µs")
				}
			}
		})
	}
}

func callsTook(b *testing.B, l *Launcher, watched bool) string {
	svc := service("busy", python(`
import os, socket, time
def per(name, f, n):
    best = 1e9
    for _ in range(5):
        t = time.perf_counter()
        for _ in range(n): f()
        best = min(best, (time.perf_counter() - t) / n * 1e6)
    print(name, "%.2f" % best)
def op(path, flags):
    def f(): os.close(os.open(path, flags))
    return f
os.makedirs("/tmp/a/b"); open("/tmp/a/b/x", "w").close()
server = socket.socket(); server.bind(("127.0.0.1", 8080)); server.listen(100)
def connect():
    c = socket.create_connection(("127.0.0.1", 8080)); a, _ = server.accept(); c.close(); a.close()
def folder(): os.mkdir("/tmp/d"); os.rmdir("/tmp/d")
per("open-to-read", op("/tmp/a/b/x", os.O_RDONLY), 5000)
per("open-to-write", op("/tmp/a/b/x", os.O_WRONLY), 5000)
per("mkdir-rmdir", folder, 5000)
per("connect", connect, 1000)
`))
	svc.Listen = []model.Listen{{Protocol: model.HTTP, Port: 8080}}
	sp, err := Prepare(&svc, testHost(b, workdir(b), 3))
	if err != nil {
		b.Fatal(err)
	}
	sp.Watched = watched
	s := startSpec(b, l, sp)
	text := s.text(b)
	<-s.Done()
	return text
}
