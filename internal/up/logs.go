package up

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Bounds on what services print.
const (
	maxLogFile = 8 << 20 // bytes; then the file becomes <name>.log.1
)

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
