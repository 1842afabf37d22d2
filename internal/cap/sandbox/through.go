package sandbox

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// proxyOf says through which proxy a request goes; nil for none.
type proxyOf func(*http.Request) (*url.URL, error)

// connectTo opens a connection to a place: through the proxy that is set for it (HTTPS_PROXY, or HTTP_PROXY for port 80, and NO_PROXY), by CONNECT (RFC 9110 §9.3.6).
// The job sees nothing of that, and gets no further than to its place.
func connectTo(ctx context.Context, proxy proxyOf, place string) (net.Conn, error) {
	to := &url.URL{Scheme: "https", Host: place}
	if _, port, _ := net.SplitHostPort(place); port == "80" {
		to.Scheme = "http"
	}
	via, err := proxy(&http.Request{URL: to})
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", place, err)
	}
	if via == nil {
		return dialer().DialContext(ctx, "tcp", place)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := dialProxy(ctx, via)
	if err != nil {
		return nil, fmt.Errorf("reach %s: ask proxy: %w", place, err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: place}, Host: place, Header: http.Header{}}
	if u := via.User; u != nil {
		word, _ := u.Password()
		ask.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+word)))
	}
	in := bufio.NewReaderSize(c, 4096)
	err = ask.Write(c)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(in, ask)
	}
	switch {
	case err != nil:
	case resp.StatusCode != http.StatusOK:
		err = errors.New("it answers " + resp.Status)
	case in.Buffered() > 0:
		err = errors.New("it says more than it was asked")
	case !stop():
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("reach %s: ask proxy: %w", place, err)
	}
	return c, nil
}

func dialProxy(ctx context.Context, via *url.URL) (net.Conn, error) {
	host, port := via.Hostname(), via.Port()
	switch via.Scheme {
	case "http":
		if port == "" {
			port = "80"
		}
		return dialer().DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	case "https":
		if port == "" {
			port = "443"
		}
		d := tls.Dialer{NetDialer: dialer(), Config: &tls.Config{MinVersion: tls.VersionTLS12}}
		return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	}
	return nil, fmt.Errorf("%q is no proxy that can be asked", via.Redacted())
}
