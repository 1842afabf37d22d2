// Package browser lets tests use pages as people do, in Debian's Chromium, through chromedp.
//
// Guarantee: each test has a browser process of its own, whose files lie in the test's folder, and when the test ends no process of it is left. Each
// page is in a context of its own (cookies, cache, permissions), looks as asked for, has the focus, and keeps what Chromium complains of: errors and
// warnings of the console, broken policies among them, exceptions, dialogs (which are dismissed). Clicks are those of a mouse, at what a person would
// hit. Whatever can't be done within half a minute fails the test. Without Chromium a test skips, or fails in CI.
// Not guaranteed: Chromium's own sandbox (it is off, so that it runs as root and in containers); one page is used by one goroutine.
package browser

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/wardhq/ward/internal/wardtest/need"
)

// patience is how long one step may take.
const patience = 30 * time.Second

// Browser is a running Chromium.
type Browser struct {
	t     testing.TB
	ctx   context.Context // chromedp's, which says which browser; it ends with the test
	cmd   *exec.Cmd       // the leader of its process group
	home  string
	pages sync.WaitGroup
}

// Start starts Chromium, which ends with the test.
func Start(t testing.TB) *Browser {
	t.Helper()
	b := &Browser{t: t}
	b.home = filepath.Join(t.TempDir(), "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium")), chromedp.NoSandbox, chromedp.UserDataDir(b.home), chromedp.Env("HOME="+b.home, "XDG_CONFIG_HOME="+b.home, "XDG_CACHE_HOME="+b.home),
		chromedp.Flag("disable-features", "Translate,HttpsUpgrades"),
		// A group of its own can be ended as a whole, and ends with the test's process at the latest.
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			b.cmd, cmd.SysProcAttr = cmd, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		}))
	allocator, release := chromedp.NewExecAllocator(context.Background(), options...)
	// chromedp says here what it doesn't know of the tree of nodes, which nothing here uses.
	ctx, stop := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	b.ctx = ctx
	t.Cleanup(func() {
		limit, reached := context.WithTimeout(ctx, patience)
		defer reached()
		_ = chromedp.Cancel(limit) // Chromium takes its own files away; whatever it doesn't do is done below
		stop()
		release()
		b.pages.Wait()
		b.end()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return b
}

// end ends what is left of the process group, and waits for it: what still writes would keep the folder from being removed.
func (b *Browser) end() {
	if b.cmd == nil || b.cmd.Process == nil {
		return // it never began
	}
	group := b.cmd.Process.Pid
	for end := time.Now().Add(patience); len(running(group)) > 0; time.Sleep(time.Millisecond) {
		_ = syscall.Kill(-group, syscall.SIGKILL)
		if time.Now().After(end) {
			b.t.Errorf("Chromium's processes %v don't end", running(group))
			return
		}
	}
}

// running returns the processes of a group that aren't dead.
func running(group int) (ids []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): the name in parentheses, then state, parent and group.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			ids = append(ids, filepath.Base(filepath.Dir(path)))
		}
	}
	return ids
}

// Open opens an empty page for somebody new: in a context of its own, with that look. What fails there fails t, which ends before the browser does.
func (b *Browser) Open(t testing.TB, look Look) *Page {
	t.Helper()
	p := &Page{t: t, answering: &b.pages, changed: make(chan struct{})}
	p.ctx, p.leave = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	if err := chromedp.Do(p.ctx); err != nil { // without a limit: the page lives as long as this context
		t.Fatalf("open a page: %v", err)
	}
	dialogs := chromedp.Events(p.ctx, page.JavascriptDialogOpening)
	b.pages.Go(func() {
		for _, err := range dialogs {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{})
		}
	})
	p.Wear(look)
	return p
}
