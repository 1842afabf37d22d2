package identity

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func client(t testing.TB, socket string) *workloadapi.Client {
	t.Helper()
	c, err := workloadapi.New(t.Context(), workloadapi.WithAddr("unix://"+socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestGoSpiffeClientGetsAllOfBothProfiles(t *testing.T) {
	k := newControl(t, clock.System{}, 0)
	s := newTestSource(t, k, clock.System{}, "orders")
	c := client(t, serve(t, s))
	ctx, td := t.Context(), spiffeid.RequireTrustDomainFromString(testDomain)
	svid, err := c.FetchX509SVID(ctx)
	if err != nil || svid.ID.String() != s.ID() {
		t.Fatalf("FetchX509SVID: %v, %v", svid, err)
	}
	all, err := c.FetchX509SVIDs(ctx)
	if err != nil || len(all) != 1 {
		t.Fatalf("FetchX509SVIDs: %d, %v", len(all), err)
	}
	x, err := c.FetchX509Context(ctx)
	if err != nil || x.DefaultSVID().ID != svid.ID {
		t.Fatalf("FetchX509Context: %v", err)
	}
	bundles, err := c.FetchX509Bundles(ctx)
	if err != nil || !bundles.Has(td) {
		t.Fatalf("FetchX509Bundles: %v", err)
	}
	if id, _, err := x509svid.Verify(svid.Certificates, bundles); err != nil || id != svid.ID {
		t.Errorf("the SVID under the bundle: %s, %v", id, err)
	}
	keys, err := c.FetchJWTBundles(ctx)
	if err != nil || !keys.Has(td) {
		t.Fatalf("FetchJWTBundles: %v", err)
	}
	for _, ask := range []spiffeid.ID{{}, svid.ID} {
		token, err := c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "payments", ExtraAudiences: []string{"mailer"}, Subject: ask})
		if err != nil || token.ID != svid.ID {
			t.Fatalf("FetchJWTSVID of %q: %v", ask, err)
		}
		if _, err := jwtsvid.ParseAndValidate(token.Marshal(), keys, []string{"mailer"}); err != nil {
			t.Errorf("a JWT-SVID under the bundle: %v", err)
		}
		if got, err := c.ValidateJWTSVID(ctx, token.Marshal(), "payments"); err != nil || got.ID != svid.ID || len(got.Audience) != 2 {
			t.Errorf("ValidateJWTSVID: %v, %v", got, err)
		}
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	k, other := newControl(t, clock.System{}, 0), newControl(t, clock.System{}, 0)
	s := newTestSource(t, k, clock.System{}, "orders")
	socket := serve(t, s)
	c, ctx := client(t, socket), t.Context()
	token := jwtFor(t, k.Authority, "payments")
	refused := func(name string, want codes.Code, err error) {
		t.Helper()
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	validate := func(token, audience string) error {
		_, err := c.ValidateJWTSVID(ctx, token, audience)
		return err
	}
	refused("wrong audience", codes.InvalidArgument, validate(token, "mailer"))
	refused("no audience", codes.InvalidArgument, validate(token, ""))
	refused("another authority's token", codes.InvalidArgument, validate(jwtFor(t, other.Authority, "payments"), "payments"))
	refused("changed signature", codes.InvalidArgument, validate(token[:len(token)-6]+"AAAAAA", "payments"))
	refused("changed claims", codes.InvalidArgument, validate(strings.Replace(token, ".ey", ".fy", 1), "payments"))
	parts := strings.Split(token, ".")
	refused("without algorithm", codes.InvalidArgument, validate("eyJhbGciOiJub25lIn0."+parts[1]+".", "payments"))
	refused("no token", codes.InvalidArgument, validate("", "payments"))
	_, err := c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "x", Subject: spiffeid.RequireFromString("spiffe://" + testDomain + "/svc/payments")})
	refused("another service's JWT-SVID", codes.PermissionDenied, err)
	_, err = c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: strings.Repeat("x", 257)})
	refused("an audience too long", codes.InvalidArgument, err)
	_, err = c.FetchWITSVID(ctx, "")
	refused("WIT-SVID", codes.Unimplemented, err)
	_, err = c.FetchWITBundles(ctx)
	refused("WIT bundles", codes.Unimplemented, err)

	raw, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	api := workload.NewSpiffeWorkloadAPIClient(raw)
	for name, ctx := range map[string]context.Context{
		"no header":    ctx,
		"header false": metadata.AppendToOutgoingContext(ctx, securityHeader, "false"),
		"header twice": metadata.AppendToOutgoingContext(ctx, securityHeader, "true", securityHeader, "true"),
	} {
		x509, err := api.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err == nil {
			_, err = x509.Recv()
		}
		refused(name+", stream", codes.InvalidArgument, err)
		_, err = api.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{"x"}})
		refused(name, codes.InvalidArgument, err)
	}
	k.away.Store(true)
	fresh := newAwaySource(t, k)
	_, err = client(t, serve(t, fresh)).FetchX509SVID(ctx)
	refused("control away before the first SVID", codes.Unavailable, err)
}

func newAwaySource(t testing.TB, k *control) *Source {
	t.Helper()
	k.away.Store(false)
	s := newTestSource(t, k, clock.System{}, "late")
	k.away.Store(true)
	return s
}

// TestClientsSeeRotation runs with lives of two seconds: sources see new certificates, and connections that they make at
// any moment come about.
func TestClientsSeeRotation(t *testing.T) {
	k := newControl(t, clock.System{}, 2*time.Second)
	sources := map[string]*workloadapi.X509Source{}
	for _, name := range []string{"a", "b"} {
		s := newTestSource(t, k, clock.System{}, name)
		keep(t, s)
		x, err := workloadapi.NewX509Source(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+serve(t, s))))
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		sources[name] = x
	}
	id := func(name string) spiffeid.ID {
		return spiffeid.RequireFromString("spiffe://" + testDomain + "/svc/" + name)
	}
	ln, err := spiffetls.ListenWithMode(t.Context(), "tcp", "127.0.0.1:0", spiffetls.MTLSServerWithSource(tlsconfig.AuthorizeID(id("a")), sources["b"]))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	serials, connections := map[string]bool{}, 0
	for end := time.Now().Add(6 * time.Second); len(serials) < 4; connections++ {
		if time.Now().After(end) {
			t.Fatalf("%d different SVIDs seen in 6 s", len(serials))
		}
		svid, err := sources["a"].GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		serials[svid.Certificates[0].SerialNumber.String()] = true
		if err := echo(t.Context(), ln.Addr().String(), id("b"), sources["a"]); err != nil {
			t.Fatalf("connection %d: %v", connections, err)
		}
	}
	if err := echo(t.Context(), ln.Addr().String(), id("c"), sources["a"]); err == nil {
		t.Error("connected to another service than asked for")
	}
	if err := echo(t.Context(), ln.Addr().String(), id("b"), sources["b"]); err == nil {
		t.Error("a service that isn't authorized was let in")
	}
	t.Logf("%d connections over %d SVIDs", connections, len(serials))
}

func echo(ctx context.Context, address string, want spiffeid.ID, self *workloadapi.X509Source) error {
	c, err := spiffetls.DialWithMode(ctx, "tcp", address, spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(want), self))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

func TestJWTSourceSeesNewKeys(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	s := newTestSource(t, k, now, "a")
	keep(t, s)
	src, err := workloadapi.NewJWTSource(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+serve(t, s))))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	old := jwtFor(t, k.Authority, "x")
	updated := src.Updated()
	now.add(jwtKeyLife - jwtKeyNotice + time.Minute)
	select {
	case <-updated:
	case <-time.After(10 * time.Second):
		t.Fatal("the client never heard of the new key")
	}
	b, err := src.GetJWTBundleForTrustDomain(spiffeid.RequireTrustDomainFromString(testDomain))
	if err != nil || len(b.JWTAuthorities()) != 2 {
		t.Fatalf("%v, %v; want the old key and the new one", b, err)
	}
	now.add(jwtKeyNotice)
	fresh := jwtFor(t, k.Authority, "x")
	if kidOf(t, fresh) == kidOf(t, old) {
		t.Error("the new key doesn't sign when its time has come")
	}
	if _, ok := b.FindJWTAuthority(kidOf(t, fresh)); !ok {
		t.Error("it signs with a key that clients haven't got")
	}
}

// TestOneServiceCannotExhaustTheAgent opens more connections and streams than one service may have.
func TestOneServiceCannotExhaustTheAgent(t *testing.T) {
	k := newControl(t, clock.System{}, 0)
	socket := serve(t, newTestSource(t, k, clock.System{}, "greedy"))
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), securityHeader, "true"))
	defer cancel()
	streams, refused := 0, 0
	for range 4 {
		raw, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		for range maxStreamsAConn - 8 { // beyond the limit of a connection a client waits
			st, err := workload.NewSpiffeWorkloadAPIClient(raw).FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
			if err == nil {
				_, err = st.Recv()
			}
			if status.Code(err) == codes.ResourceExhausted {
				refused++
			} else if err != nil {
				t.Fatal(err)
			} else {
				streams++
			}
		}
	}
	if streams != maxWorkloadStreams || refused != 4*(maxStreamsAConn-8)-maxWorkloadStreams {
		t.Errorf("%d streams, %d refused", streams, refused)
	}
	var idle []net.Conn
	for range 2 * maxWorkloadConns {
		c, err := net.Dial("unix", socket)
		if err != nil {
			break // the kernel's queue is full: the service's own affair
		}
		idle = append(idle, c)
	}
	for _, c := range idle {
		c.Close()
	}
	cancel()
	deadline, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if _, err := client(t, socket).FetchX509SVID(deadline); err != nil {
		t.Errorf("after all is closed: %v", err)
	}
}

func TestOpenSSLVerifiesTheChain(t *testing.T) {
	openssl := need.Program(t, "openssl")
	k := newControl(t, clock.System{}, 0)
	dir := t.TempDir()
	write := func(name string, der ...[]byte) string {
		t.Helper()
		var b bytes.Buffer
		for _, d := range der {
			if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: d}); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chain := sign1(t, k.Authority, "orders")
	leaf, between := write("leaf.pem", chain[0].Raw), write("between.pem", chain[1].Raw)
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, k.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func(extra ...string) (string, error) {
		args := append([]string{"verify", "-x509_strict", "-check_ss_sig", "-no-CApath", "-no-CAstore"}, extra...)
		out, err := exec.Command(openssl, args...).CombinedOutput()
		return string(out), err
	}
	for _, purpose := range []string{"sslserver", "sslclient"} {
		if out, err := verify("-purpose", purpose, "-CAfile", root, "-untrusted", between, leaf); err != nil {
			t.Errorf("%s: %v\n%s", purpose, err, out)
		}
	}
	if out, err := verify("-CAfile", root, leaf); err == nil {
		t.Errorf("without the intermediate: %s", out)
	}
	rogue := newControl(t, clock.System{}, 0)
	other := filepath.Join(dir, "other.pem")
	if err := os.WriteFile(other, rogue.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := verify("-CAfile", other, "-untrusted", between, leaf); err == nil {
		t.Errorf("under another root: %s", out)
	}
}

// TestGRPCurl speaks the Workload API with a client that knows only the standard's description.
func TestGRPCurl(t *testing.T) {
	grpcurl := need.Program(t, "grpcurl") // github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4
	protoset := filepath.Join(t.TempDir(), "workload.protoset")
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(structpb.File_google_protobuf_struct_proto), protodesc.ToFileDescriptorProto(workload.File_workload_proto),
	}}
	b, err := proto.Marshal(set)
	if err == nil {
		err = os.WriteFile(protoset, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	k := newControl(t, clock.System{}, 0)
	s := newTestSource(t, k, clock.System{}, "orders")
	socket := serve(t, s)
	call := func(extra ...string) (string, error) {
		args := []string{"-plaintext", "-unix", "-max-time", "2", "-protoset", protoset}
		out, err := exec.Command(grpcurl, append(args, extra...)...).CombinedOutput()
		return string(out), err
	}
	header := []string{"-H", "workload.spiffe.io: true"}
	// The stream has no end; grpcurl's time limit ends it after the first answer.
	if out, _ := call(append(header, socket, "SpiffeWorkloadAPI/FetchX509SVID")...); !strings.Contains(out, s.ID()) || !strings.Contains(out, "x509SvidKey") {
		t.Errorf("FetchX509SVID:\n%s", out)
	}
	out, err := call(append(header, "-d", `{"audience":["payments"]}`, socket, "SpiffeWorkloadAPI/FetchJWTSVID")...)
	if err != nil || !strings.Contains(out, s.ID()) {
		t.Errorf("FetchJWTSVID: %v\n%s", err, out)
	}
	if out, err := call("-d", `{"audience":["payments"]}`, socket, "SpiffeWorkloadAPI/FetchJWTSVID"); err == nil || !strings.Contains(out, "InvalidArgument") {
		t.Errorf("without the security header: %v\n%s", err, out)
	}
	if out, err := call(append(header, socket, "SpiffeWorkloadAPI/FetchWITSVID")...); err == nil || !strings.Contains(out, "Unimplemented") {
		t.Errorf("FetchWITSVID: %v\n%s", err, out)
	}
}
