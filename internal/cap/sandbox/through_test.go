package sandbox

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAPlaceIsReachedThroughTheProxyThatIsSet(t *testing.T) {
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "home") }))
	defer home.Close()
	place := strings.TrimPrefix(home.URL, "http://")
	var asked []string
	status := http.StatusOK
	more := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		up, err := net.Dial("tcp", place)
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+more)
		go io.Copy(up, c)
		io.Copy(c, up)
	}))
	defer proxy.Close()
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	via.User = url.UserPassword("ada", "word")
	through := func(*http.Request) (*url.URL, error) { return via, nil }
	get := func() (string, error) {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return connectTo(ctx, through, "registry.example:443")
		}}}
		defer client.CloseIdleConnections()
		r, err := client.Get("http://registry.example/")
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return string(b), err
	}
	if got, err := get(); got != "home" || err != nil || len(asked) != 1 || asked[0] != "CONNECT registry.example:443 Basic YWRhOndvcmQ=" {
		t.Errorf("%q %v %q", got, err, asked)
	}
	more = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	if got, err := get(); err == nil {
		t.Errorf("what the proxy says is taken for the place's: %q", got)
	}
	more, status = "", http.StatusForbidden
	if got, err := get(); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("%q %v", got, err)
	}
	via = &url.URL{Scheme: "socks5", Host: "127.0.0.1:1"}
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "no proxy that can be asked") {
		t.Error(err)
	}
	for port, want := range map[string]string{"443": "https", "8443": "https", "80": "http"} {
		_, _ = connectTo(t.Context(), func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme != want {
				t.Errorf("port %s is asked for by %s", port, r.URL.Scheme)
			}
			return nil, io.EOF
		}, "registry.example:"+port)
	}
}

// halfClosed is a connection that isn't TCP's own, as one to a proxy by TLS.
type halfClosed struct {
	net.Conn
	closed chan struct{}
}

func (h halfClosed) CloseWrite() error {
	close(h.closed)
	return nil
}

func TestTheEndOfOneDirectionIsPassedOnToAProxyToo(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	b.Close()
	h := halfClosed{a, make(chan struct{})}
	copyHalf(h, b)
	select {
	case <-h.closed:
	default:
		t.Error("it isn't")
	}
}
