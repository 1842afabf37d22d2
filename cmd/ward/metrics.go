package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
)

func newMetricsCommand(e cli.Env) *cobra.Command {
	var listen string
	c := cli.Running("metrics", "Print the metrics for Prometheus, or serve them to one", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		ctx := cli.Background(c)
		if listen == "" {
			return copyMetrics(ctx, p, "", func(string) io.Writer { return e.Out })
		}
		return serveMetrics(ctx, e, p, listen)
	})
	c.Flags().StringVar(&listen, "listen", "", "serve /metrics at this address of this machine, such as 127.0.0.1:9464, until it is stopped")
	return c
}

// copyMetrics asks control; begin gets the content type and says where to write.
func copyMetrics(ctx context.Context, p up.Paths, accept string, begin func(kind string) io.Writer) error {
	resp, err := p.Admin().Do(ctx, http.MethodGet, "/v1/metrics?accept="+url.QueryEscape(accept), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(begin(resp.Header.Get("Content-Type")), resp.Body)
	return err
}

// serveMetrics is for a Prometheus on this machine: metrics name services and routes, and whoever reads them needs no password.
func serveMetrics(ctx context.Context, e cli.Env, p up.Paths, address string) error {
	if host, _, err := net.SplitHostPort(address); err != nil || !isHere(host) {
		return fault.New(fault.Usage, fmt.Sprintf("--listen %s: an address of this machine alone, such as 127.0.0.1:9464; who scrapes from elsewhere does it through a proxy that asks who they are", address))
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "choose another address with --listen", err)
	}
	s := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/metrics" || r.Method != http.MethodGet {
				http.NotFound(w, r)
				return
			}
			// A page in a browser on this machine may have a name of its own lead here (DNS rebinding), and read along.
			if !isHere((&url.URL{Host: r.Host}).Hostname()) {
				http.Error(w, "metrics are for this machine, by its own name", http.StatusMisdirectedRequest)
				return
			}
			err := copyMetrics(r.Context(), p, r.Header.Get("Accept"), func(kind string) io.Writer {
				w.Header().Set("Content-Type", kind)
				return w
			})
			if err != nil {
				http.Error(w, "no metrics: does ward up run?", http.StatusServiceUnavailable)
			}
		}),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	fmt.Fprintf(e.Err, "metrics at http://%s/metrics\n", ln.Addr())
	if err := s.Serve(ln); err != nil && ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
		return fault.Wrap(fault.Unavailable, "serve metrics", err)
	}
	return nil
}

// isHere tells whether a host is this machine alone.
func isHere(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
