package up

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/up/output"
	"github.com/wardhq/ward/internal/wire"
)

// BenchmarkPrinting is how fast a service may print lines of 200 bytes: they are masked, kept in a file, brought to control, and shown.
func BenchmarkPrinting(b *testing.B) {
	l := &output.Leaks{Found: func(string, leak.Finding) {}, Shown: func(string, string) {}}
	p := output.NewPrinter(io.Discard, false, l)
	log, err := openLog(b.TempDir(), "web")
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	shipped := 0
	sender := wire.NewLogSender(func(_ context.Context, all []wire.LogLine) error {
		shipped += len(all)
		return nil
	})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); sender.Run(ctx) }()
	lines := 0
	end := make(chan struct{})
	w := p.Pipe("web", func(line string) {
		if line == "end" {
			close(end)
		}
		log.write(line)
		sender.Add("web", 0, time.Now(), line)
		lines++
	})
	text := []byte(strings.Repeat(strings.Repeat("x", 90)+" path=/books/12 "+strings.Repeat("y", 93)+"\n", 20))
	b.ResetTimer()
	for b.Loop() {
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.WriteString("end\n"); err != nil {
		b.Fatal(err)
	}
	<-end
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	w.Close()
	stop()
	<-done
}
