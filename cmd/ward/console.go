package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

func newConsoleCommand(e cli.Env) *cobra.Command {
	var listen, role string
	var noOpen bool
	c := cli.Running("console", "Open the web console, as long as this command runs", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		ctx := cli.Background(c)
		if listen == "" {
			listen = ownAddress()
		}
		if host, _, err := net.SplitHostPort(listen); err != nil || !isHere(host) {
			return fault.New(fault.Usage, fmt.Sprintf("--listen %s: an address of this machine alone, such as 127.0.0.1:9465", listen))
		}
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			return fault.Wrap(fault.Unavailable, "choose another address with --listen", err)
		}
		defer ln.Close()
		if !noOpen {
			defer func() { _ = os.Remove(browserFile(p.State)) }() // it may never have been there
		}
		invite := func() error {
			var link wire.ConsoleLink
			if err := p.Admin().Call(ctx, http.MethodPost, "/v1/console", wire.ConsoleAsk{By: whoAsks(), Role: role}, &link); err != nil {
				return err
			}
			address := "http://" + ln.Addr().String() + link.Path
			fmt.Fprintf(e.Out, "%s\n", address)
			fmt.Fprintf(e.Err, "good for one browser, once, within %d s; Enter makes another; the console is there until this command ends\n", link.Seconds)
			if !noOpen {
				openBrowser(p.State, address)
			}
			return nil
		}
		if err := invite(); err != nil {
			return err
		}
		stop := onEnter(e.In, func() {
			if err := invite(); err != nil && ctx.Err() == nil {
				fmt.Fprintf(e.Err, "no link: %s\n", fault.PublicText(err))
			}
		})
		defer stop()
		return serveConsole(ctx, ln, p.Admin().Dial)
	})
	c.Flags().StringVar(&listen, "listen", "", "the address of this machine to serve at; otherwise one of its own below 127.0.0.0/8")
	c.Flags().StringVar(&role, "role", "administrator", "viewer (sees), operator (acts on findings, blocks) or administrator")
	c.Flags().BoolVar(&noOpen, "no-open", false, "don't open a browser")
	return c
}

// onEnter calls f after each line that is typed, until stop is called, which waits for a call that is under way. Who waits for a line may do so until
// this program ends: a terminal's read can't be taken back.
func onEnter(in io.Reader, f func()) (stop func()) {
	signal.Ignore(unix.SIGTTIN) // in the background nobody types, and reading would stop the program
	var mu sync.Mutex
	var over bool // guarded by mu
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			mu.Lock()
			if !over {
				f()
			}
			mu.Unlock()
		}
	}()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// ownAddress is one that no other program of this machine is likely to have: browsers give a host's cookies to all of its ports.
func ownAddress() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return fmt.Sprintf("127.%d.%d.%d:0", 1+b[0]%254, b[1], 1+b[2]%254)
}

// whoAsks is the user of this machine who runs the command.
func whoAsks() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return admin + ":" + u.Username
	}
	return admin
}

// admin is who the command line acts as.
const admin = "admin"

// openBrowser opens an address if this machine can; it is printed in any case. Everybody here can read programs' arguments, so the browser gets it in a
// file that only this user can read, browserFile, which the caller removes in the end.
func openBrowser(dir, address string) {
	file := browserFile(dir)
	program, err := exec.LookPath("xdg-open")
	if err != nil {
		return
	}
	page := `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0;url=` + html.EscapeString(address) + `"><title>Ward</title>`
	_ = os.Remove(file) // a file keeps the rights that it had
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		return
	}
	c := exec.Command(program, file)
	if c.Start() == nil {
		go func() { _ = c.Wait() }() // it may last as long as the browser
	}
}

func browserFile(dir string) string { return filepath.Join(dir, "console.html") }

// serveConsole passes requests on to control's console, and to nothing else of its API.
func serveConsole(ctx context.Context, ln net.Listener, dial func(context.Context) (net.Conn, error)) error {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "ward"
			r.Out.URL.Path, r.Out.URL.RawPath = wire.ConsolePath+r.In.URL.Path, ""
		},
		FlushInterval: -1,
		Transport: &http.Transport{
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			DisableCompression: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second,
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "the console doesn't answer: does ward up run?", http.StatusServiceUnavailable)
		},
	}
	s := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// A page in a browser on this machine may have a name of its own lead here (DNS rebinding), and read along.
			if !isHere((&url.URL{Host: r.Host}).Hostname()) {
				http.Error(w, "the console is for this machine, by its own name", http.StatusMisdirectedRequest)
				return
			}
			if !isPlainPath(r.URL.Path) {
				http.NotFound(w, r)
				return
			}
			proxy.ServeHTTP(w, r)
		}),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(ln); err != nil && ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
		return fault.Wrap(fault.Unavailable, "serve the console", err)
	}
	return nil
}

// isPlainPath tells whether a path has one reading, which stays below where it is put.
func isPlainPath(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.Contains(p, "\\") && (path.Clean(p) == p || path.Clean(p)+"/" == p)
}
