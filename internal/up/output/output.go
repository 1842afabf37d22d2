// Package output is what services and Ward's own processes print: each line with the name of who said it, and cleaned before anybody sees or keeps it.
//
// Guarantee: secrets that Ward knows, the numbers of payment cards, and credentials that show what they are become asterisks, also across two
// writes of one line; whoever prints is told of. Lines are bounded. Not guaranteed: that a slow reader slows nobody down: a pipe is as long as
// the kernel makes it.
package output

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
)

// Bounds on what is printed.
const (
	maxLine    = 16 << 10 // bytes; longer lines are cut into several
	maxCleaned = 64 << 10 // bytes of a line that are looked at for credentials at once, before it is cut
)

// Printer writes whole lines with the name of who said them.
type Printer struct {
	mu    sync.Mutex
	out   io.Writer // guarded by mu
	width int       // guarded by mu
	color bool
	leaks *Leaks
}

func NewPrinter(out io.Writer, color bool, l *Leaks) *Printer {
	return &Printer{out: out, width: 10, color: color, leaks: l}
}

// Say prints a line of Ward's own.
func (p *Printer) Say(format string, args ...any) { p.Line("ward", fmt.Sprintf(format, args...)) }

// colors are the terminal's 256-colour numbers that read well on dark and light.
var colors = [...]int{33, 70, 136, 133, 37, 166, 61, 160}

func (p *Printer) Line(who, text string) {
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

// Pipe returns a file whose lines are printed with who's name, and kept by keep
// if not nil; secrets in them become asterisks before. The caller closes it once a process has it.
func (p *Printer) Pipe(who string, keep func(line string)) *os.File {
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
			p.Line(who, string(line))
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
