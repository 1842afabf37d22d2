package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/proxy"
)

// h2c is a client that speaks HTTP/2 with prior knowledge.
func h2c(t *testing.T) *http.Client {
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, n, a string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, n, a)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestH2ClientOfAnH1Service(t *testing.T) {
	w := front(t, setup{cfg: proxy.Config{Edge: true}}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-End")
		_, _ = fmt.Fprintf(w, "%s %s %s %s %q %s %d", r.Proto, r.Method, r.RequestURI, r.Host, r.Header["X-Ward-Caller"], r.Header.Get("X-Forwarded-For"), len(b))
		w.Header().Set("X-End", "1")
	})
	req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+"/%61|b?c=%2f", strings.NewReader(strings.Repeat("x", 100_000)))
	req.Header.Set("X-Ward-Caller", "evil")
	req.Header.Set("X-Forwarded-For", "6.6.6.6")
	resp, err := h2c(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := fmt.Sprintf("HTTP/1.1 POST /a%%7Cb?c=%%2f %s [\"spiffe://test/a\"] 127.0.0.1 100000", w.addr)
	if got := readAll(t, resp.Body); got != want || resp.Trailer.Get("X-End") != "1" || resp.ProtoMajor != 2 {
		t.Errorf("got %q, trailers %v\nwant %q", got, resp.Trailer, want)
	}
	if r := w.record(); r.Status != 200 || r.In != 100_000 || r.Out == 0 || r.Verdict.Tag != canon.HTTP {
		t.Errorf("record %+v", r)
	}
	resp2, err := h2c(t).Get(w.url + "/denied")
	if err != nil || resp2.StatusCode != 403 || resp2.Header.Get("X-Ward-Denial") != "d-1" {
		t.Errorf("denied: %v, %v", resp2, err)
	}
	_ = resp2.Body.Close()
}

func TestH2OverTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.EnableHTTP2 = true
	srv.StartTLS() // only for its certificate
	defer srv.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: srv.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	w := front(t, setup{listener: ln, info: proxy.ConnInfo{AllowH1: true, AllowH2: true, TLS: true}, cfg: proxy.Config{Edge: true}},
		func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto"))
		})
	for _, h2 := range []bool{true, false} {
		tr := srv.Client().Transport.(*http.Transport).Clone()
		tr.ForceAttemptHTTP2 = h2
		if !h2 {
			tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		tr.TLSClientConfig.ServerName = "example.com"
		resp, err := (&http.Client{Transport: tr}).Get("https://" + w.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp.Body); got != "https" || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("h2 %v: %s %q", h2, resp.Proto, got)
		}
		_ = resp.Body.Close()
		tr.CloseIdleConnections()
	}
}

// echoServer is a gRPC service with a hand-written description: Echo streams both
// ways, and ends with a trailer.
func echoServer(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	hs := health.NewServer()
	hs.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(srv, hs)
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Echo", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(s.Context())
			s.SetTrailer(metadata.Pairs("x-caller", fmt.Sprint(md.Get("x-ward-caller"))))
			for {
				var v structpb.Value
				if err := s.RecvMsg(&v); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if v.GetStringValue() == "fail" {
					return status.Error(codes.DataLoss, "as asked")
				}
				if err := s.SendMsg(&v); err != nil {
					return err
				}
			}
		},
	}}}, struct{}{})
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return ln.Addr().String()
}

func grpcClient(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func openEcho(ctx context.Context, t *testing.T, cc *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Echo")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGRPC(t *testing.T) {
	w := start(t, echoServer(t), setup{protocol: proxy.H2})
	cc := grpcClient(t, w.addr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-ward-caller", "evil")

	t.Run("unary", func(t *testing.T) {
		resp, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
		if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
			t.Fatal(resp, err)
		}
		if r := w.record(); r.Verdict.Tag != canon.GRPC || r.Status != 200 || r.In == 0 || r.Out == 0 {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("status of the service", func(t *testing.T) {
		_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{Service: "none"})
		if status.Code(err) != codes.NotFound {
			t.Error(err)
		}
		w.record()
	})
	t.Run("both ways", func(t *testing.T) {
		s := openEcho(ctx, t, cc)
		for i := range 20 {
			in, out := structpb.NewStringValue(strings.Repeat("x", i*1000)), &structpb.Value{}
			if err := s.SendMsg(in); err != nil {
				t.Fatal(err)
			}
			if err := s.RecvMsg(out); err != nil || out.GetStringValue() != in.GetStringValue() {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		_ = s.CloseSend()
		if err := s.RecvMsg(&structpb.Value{}); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if got := s.Trailer().Get("x-caller"); len(got) != 1 || got[0] != "[spiffe://test/a]" {
			t.Errorf("trailers %v", s.Trailer())
		}
		w.record()
	})
	t.Run("status after messages", func(t *testing.T) {
		s := openEcho(ctx, t, cc)
		_ = s.SendMsg(structpb.NewStringValue("fail"))
		if err := s.RecvMsg(&structpb.Value{}); status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "as asked" {
			t.Error(err)
		}
		w.record()
	})
	t.Run("cancellation", func(t *testing.T) {
		c, cancel := context.WithCancel(ctx)
		s := openEcho(c, t, cc)
		_ = s.SendMsg(structpb.NewStringValue("x"))
		if err := s.RecvMsg(&structpb.Value{}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := s.RecvMsg(&structpb.Value{}); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
		w.record() // comes only when the upstream's stream has ended too
	})
	t.Run("deadline", func(t *testing.T) {
		c, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		s := openEcho(c, t, cc)
		if err := s.RecvMsg(&structpb.Value{}); status.Code(err) != codes.DeadlineExceeded {
			t.Error(err)
		}
		w.record()
	})
}

func TestGRPCDenial(t *testing.T) {
	w := start(t, echoServer(t), setup{protocol: proxy.H2, decide: func(r *proxy.Request, v *proxy.Verdict) {
		if who, n := r.Get("x-deny"); n == 1 && who == "me" {
			*v = proxy.Verdict{DenialID: "d-2", Public: "a may not call this."}
		}
	}})
	cc := grpcClient(t, w.addr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	t.Run("denial", func(t *testing.T) {
		c := metadata.AppendToOutgoingContext(ctx, "x-deny", "me")
		_, err := healthpb.NewHealthClient(cc).Check(c, &healthpb.HealthCheckRequest{})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(status.Convert(err).Message(), "d-2") {
			t.Error(err)
		}
		if r := w.record(); r.Status != 403 {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("HTTP/1 request", func(t *testing.T) {
		resp, err := client(t).Get(w.url + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := readAll(t, resp.Body); resp.StatusCode != 502 || !strings.Contains(got, "HTTP/2 only") {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
	})
}

func TestGRPCUpstreamDown(t *testing.T) {
	w := start(t, "127.0.0.1:1", setup{protocol: proxy.H2})
	_, err := healthpb.NewHealthClient(grpcClient(t, w.addr)).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "127.0.0.1:1 ") {
		t.Error(err)
	}
}

func TestShutdownSendsGoAway(t *testing.T) {
	w := start(t, echoServer(t), setup{protocol: proxy.H2})
	s := openEcho(t.Context(), t, grpcClient(t, w.addr))
	roundTrip := func() error {
		_ = s.SendMsg(structpb.NewStringValue("x"))
		return s.RecvMsg(&structpb.Value{})
	}
	if err := roundTrip(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- w.engine.Shutdown(context.Background()) }()
	if err := roundTrip(); err != nil {
		t.Errorf("the stream in flight: %v", err)
	}
	_ = s.CloseSend()
	if err := s.RecvMsg(&structpb.Value{}); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Requests as raw frames, which the Go client would not send.
func TestH2AmbiguousRequestsAreRefused(t *testing.T) {
	w := front(t, setup{protocol: proxy.Both}, func(w http.ResponseWriter, r *http.Request) { t.Error("the upstream was reached") })
	for name, fields := range map[string][]string{
		"host differs":      {":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/", "host", "y"},
		"no host":           {":method", "GET", ":scheme", "http", ":path", "/"},
		"dots":              {":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/a/../b"},
		"escaped slash":     {":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/a%2fb"},
		"backslash":         {":method", "GET", ":scheme", "http", ":authority", "x", ":path", `/a\b`},
		"absolute":          {":method", "GET", ":scheme", "http", ":authority", "x", ":path", "http://y/"},
		"space":             {":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/a b"},
		"extended CONNECT":  {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "x", ":path", "/"},
		"CONNECT":           {":method", "CONNECT", ":authority", "x:1"},
		"lower-case method": {":method", "get", ":scheme", "http", ":authority", "x", ":path", "/"},
		"transfer-encoding": {":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/", "transfer-encoding", "chunked"},
		"CR LF in a value":  {":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/", "a", "b\r\nc: d"},
		"user in authority": {":method", "GET", ":scheme", "http", ":authority", "u@x", ":path", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.addr)
			_, _ = io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, c)
			fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			_ = fr.WriteSettings()
			var block strings.Builder
			enc := hpack.NewEncoder(&block)
			for i := 0; i < len(fields); i += 2 {
				_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true})
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch f := f.(type) {
				case *http2.MetaHeadersFrame:
					if got := f.PseudoValue("status"); got != "400" {
						t.Errorf("status %s", got)
					}
					return
				case *http2.RSTStreamFrame, *http2.GoAwayFrame:
					return
				}
			}
		})
	}
}
