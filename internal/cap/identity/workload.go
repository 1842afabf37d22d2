package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// securityHeader must come with every call, so that a program can't be tricked into making one
// (SPIFFE Workload API §6.2).
const securityHeader = "workload.spiffe.io"

// Bounds of one service's use of its Workload API: what it can make the agent hold.
const (
	maxWorkloadConns   = 32
	maxWorkloadStreams = 128 // over all connections
	maxStreamsAConn    = 64
	maxWorkloadMessage = 64 << 10
	maxWorkloadHeaders = 16 << 10
	workloadBuffer     = 4 << 10 // of a connection, each way
	workloadHello      = 10 * time.Second
	workloadIdle       = 10 * time.Minute
)

// ServeWorkload answers the SPIFFE Workload API on a service's own listener until
// ctx ends: X.509 and JWT profiles complete, WIT not implemented. Who asks is known from the listener.
func ServeWorkload(ctx context.Context, ln net.Listener, src *Source) error {
	slots := make(chan struct{}, maxWorkloadStreams)
	admit := func(ctx context.Context) (leave func(), err error) {
		if err := checkHeader(ctx); err != nil {
			return nil, err
		}
		select {
		case slots <- struct{}{}:
			return func() { <-slots }, nil
		default:
			return nil, status.Errorf(codes.ResourceExhausted, "more than %d calls at once", maxWorkloadStreams)
		}
	}
	s := grpc.NewServer(
		grpc.MaxConcurrentStreams(maxStreamsAConn), grpc.MaxRecvMsgSize(maxWorkloadMessage), grpc.MaxHeaderListSize(maxWorkloadHeaders),
		grpc.ReadBufferSize(workloadBuffer), grpc.WriteBufferSize(workloadBuffer), grpc.ConnectionTimeout(workloadHello),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: workloadIdle}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			leave, err := admit(ctx)
			if err != nil {
				return nil, err
			}
			defer leave()
			return h(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			leave, err := admit(ss.Context())
			if err != nil {
				return err
			}
			defer leave()
			return h(srv, ss)
		}),
	)
	workload.RegisterSpiffeWorkloadAPIServer(s, &workloadAPI{src: src})
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(newBounded(ln, maxWorkloadConns)); err != nil && ctx.Err() == nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve Workload API: %w", err)
	}
	return nil
}

func checkHeader(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(securityHeader); len(v) != 1 || v[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	return nil
}

type workloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	src *Source
}

// FetchX509SVID streams the SVID, again at each renewal or change of bundle.
func (w *workloadAPI) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return w.stream(stream.Context(), func(cert *tls.Certificate, b wire.Bundle) error {
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			return rpcError(err)
		}
		return stream.Send(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
			SpiffeId: w.src.ID(), X509Svid: bytes.Join(cert.Certificate, nil), X509SvidKey: key, Bundle: bytes.Join(b.X509, nil),
		}}})
	})
}

// FetchX509Bundles streams the trust bundle.
func (w *workloadAPI) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return w.streamBundle(stream.Context(), func(b wire.Bundle) error {
		return stream.Send(&workload.X509BundlesResponse{Bundles: map[string][]byte{w.trustDomainID(): bytes.Join(b.X509, nil)}})
	})
}

// FetchJWTBundles streams the keys that verify JWT-SVIDs.
func (w *workloadAPI) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return w.streamBundle(stream.Context(), func(b wire.Bundle) error {
		return stream.Send(&workload.JWTBundlesResponse{Bundles: map[string][]byte{w.trustDomainID(): b.JWKS}})
	})
}

// FetchJWTSVID issues a JWT-SVID for an audience.
func (w *workloadAPI) FetchJWTSVID(ctx context.Context, r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	if len(r.Audience) == 0 {
		return nil, status.Error(codes.InvalidArgument, "audience must be specified")
	}
	if r.SpiffeId != "" && r.SpiffeId != w.src.ID() {
		return nil, status.Error(codes.PermissionDenied, "not an identity of this workload")
	}
	token, err := w.src.JWT(ctx, r.Audience)
	if err != nil {
		return nil, rpcError(err)
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: w.src.ID(), Svid: token}}}, nil
}

// ValidateJWTSVID checks a JWT-SVID against the bundle and an audience.
func (w *workloadAPI) ValidateJWTSVID(_ context.Context, r *workload.ValidateJWTSVIDRequest) (*workload.ValidateJWTSVIDResponse, error) {
	if r.Audience == "" || r.Svid == "" {
		return nil, status.Error(codes.InvalidArgument, "audience and svid must be specified")
	}
	td, err := spiffeid.TrustDomainFromString(w.trustDomainID())
	if err != nil {
		return nil, rpcError(err)
	}
	b, _ := w.src.Current()
	keys, err := jwtbundle.Parse(td, b.JWKS)
	if err != nil {
		return nil, rpcError(err)
	}
	svid, err := jwtsvid.ParseAndValidate(r.Svid, keys, []string{r.Audience})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	claims, err := claimsOf(svid.Claims)
	if err != nil {
		return nil, rpcError(err)
	}
	return &workload.ValidateJWTSVIDResponse{SpiffeId: svid.ID.String(), Claims: claims}, nil
}

func claimsOf(m map[string]any) (*structpb.Struct, error) {
	// Through JSON: the map holds types that structpb doesn't know.
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	out := new(structpb.Struct)
	return out, out.UnmarshalJSON(b)
}

func (w *workloadAPI) trustDomainID() string {
	rest := strings.TrimPrefix(w.src.ID(), "spiffe://")
	td, _, _ := strings.Cut(rest, "/")
	return "spiffe://" + td
}

// stream calls send with the current SVID and bundle, and again whenever one changes.
func (w *workloadAPI) stream(ctx context.Context, send func(*tls.Certificate, wire.Bundle) error) error {
	for {
		renewed := w.src.Updated() // before the certificate, so that no renewal is missed
		cert, err := w.src.Certificate()
		if err != nil {
			return rpcError(err)
		}
		b, changed := w.src.Current()
		if err := send(cert, b); err != nil {
			return err
		}
		select {
		case <-renewed:
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *workloadAPI) streamBundle(ctx context.Context, send func(wire.Bundle) error) error {
	for {
		b, changed := w.src.Current()
		if err := send(b); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func rpcError(err error) error {
	code := codes.Internal
	switch fault.KindOf(err) {
	case fault.Unavailable:
		code = codes.Unavailable
	case fault.Invalid:
		code = codes.InvalidArgument
	case fault.Refused:
		code = codes.PermissionDenied
	case fault.Exhausted:
		code = codes.ResourceExhausted
	}
	return status.Error(code, fault.PublicText(err))
}

// bounded is a listener that serves so many connections at once; further ones wait.
type bounded struct {
	net.Listener
	slots chan struct{}
}

func newBounded(ln net.Listener, n int) *bounded {
	return &bounded{Listener: ln, slots: make(chan struct{}, n)}
}

// Accept waits for a free place, then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	b.slots <- struct{}{}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &boundedConn{Conn: c, leave: func() { <-b.slots }}, nil
}

type boundedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close gives the place back, once.
func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}
