package up

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/wardhq/ward/internal/wire"
)

// Bounds on what services print.
const (
	maxLine    = 16 << 10 // bytes; longer lines are cut into several
	maxCleaned = 64 << 10 // bytes of a line that are looked at for credentials at once, before it is cut
	maxLogFile = 8 << 20  // bytes; then the file becomes <name>.log.1
)

// printer writes whole lines with the name of who said them.
type printer struct {
	mu    sync.Mutex
	out   io.Writer // guarded by mu
	width int       // guarded by mu
	color bool
	leaks *leaks
}

func newPrinter(out io.Writer, color bool, l *leaks) *printer {
	return &printer{out: out, width: 10, color: color, leaks: l}
}

// say prints a line of Ward's own.
func (p *printer) say(format string, args ...any) { p.line("ward", fmt.Sprintf(format, args...)) }

// colors are the terminal's 256-colour numbers that read well on dark and light.
var colors = [...]int{33, 70, 136, 133, 37, 166, 61, 160}

func (p *printer) line(who, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.width = max(p.width, len(who))
	text = Printable(text)
	if !p.color {
		fmt.Fprintf(p.out, "%-*s | %s\n", p.width, who, text)
		return
	}
	sum := 0
	for _, b := range []byte(who) {
		sum += int(b)
	}
	fmt.Fprintf(p.out, "\x1b[38;5;%dm%-*s |\x1b[0m %s\n", colors[sum%len(colors)], p.width, who, text)
}

// Printable takes away what would steer the reader's terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return '�'
		}
		return r
	}, s)
}

// pipe returns a file whose lines are printed with who's name, and kept by keep
// if not nil; secrets in them become asterisks before. The caller closes it once a process has it.
func (p *printer) pipe(who string, keep func(line string)) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		// Out of descriptors: the service runs on without its log.
		null, _ := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		return null
	}
	go func() {
		defer r.Close()
		b := bufio.NewReaderSize(r, maxCleaned)
		c := p.leaks.cleaner(who)
		say := func(line []byte) {
			if keep != nil {
				keep(string(line))
			}
			p.line(who, string(line))
		}
		for {
			line, more, err := b.ReadLine()
			line = c.clean(line, more)
			for ; len(line) > maxLine; line = line[maxLine:] {
				say(line[:maxLine])
			}
			if err == nil && !more || len(line) > 0 {
				say(line)
			}
			if err != nil {
				return
			}
		}
	}()
	return w
}

// logFile keeps a service's output, bounded to twice maxLogFile.
type logFile struct {
	path string

	mu      sync.Mutex
	f       *os.File             // guarded by mu
	size    int64                // guarded by mu
	follows map[chan string]bool // guarded by mu
}

func openLog(dir, name string) (*logFile, error) {
	l := &logFile{path: filepath.Join(dir, name+".log"), follows: map[chan string]bool{}}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := openOwn(l.path, os.O_APPEND|os.O_WRONLY)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, st.Size()
	return nil
}

// write appends a line. A full disk loses log lines, not the service.
func (l *logFile) write(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return
	}
	if l.size > maxLogFile {
		l.f.Close()
		_ = os.Rename(l.path, l.path+".1") // at worst the file grows on
		if err := l.open(); err != nil {
			l.f = nil
			return
		}
	}
	text := time.Now().UTC().Format("2006-01-02T15:04:05.000Z ") + line + "\n"
	n, _ := l.f.WriteString(text)
	l.size += int64(n)
	for c := range l.follows {
		select {
		case c <- text:
		default: // a slow reader misses lines; the file has them
		}
	}
}

// follow returns the lines from now on, until cancel is called.
func (l *logFile) follow() (lines <-chan string, cancel func()) {
	c := make(chan string, 256)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follows[c] = true
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.follows, c)
	}
}

// Close closes the file; later lines are dropped.
func (l *logFile) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// flagged is one kind of sign from inside a sandbox.
type flagged struct{ service, kind, what string }

// newFlags brings signs to the ledger; a service that makes ever new ones fills a count, not the disk.
func newFlags(record func(wire.Event)) *wire.Tally[flagged] {
	return &wire.Tally[flagged]{
		Prefix: "f-", Most: 256, Record: record,
		Rest: func(f flagged) flagged { return flagged{f.service, f.kind, "*"} },
		Event: func(f flagged, id string, count int64) wire.Event {
			return wire.Event{Kind: "flag." + f.kind, Subject: f.service, Count: count, Detail: map[string]string{"what": f.what, "id": id}}
		},
	}
}
