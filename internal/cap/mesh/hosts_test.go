package mesh

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wire"
)

// Two hosts are two network namespaces with a cable (veth) between them: web and lonely live on the first, catalog on the
// second. This test binary is the cable's maker and both hosts, told apart by MESH_TEST_ROLE.
const (
	addressA, addressB = "10.77.0.1", "10.77.0.2"
	ingressPort        = "7443"
	hostsModel         = `
app: hosts
services:
  web: {run: [x], listen: "http://:8080", calls: {catalog: GET /books/**}}
  lonely: {run: [x], listen: "http://:8080", calls: {catalog: POST /never}}
  catalog: {run: [x], listen: "http://:8080"}
`
)

func TestMain(m *testing.M) {
	switch os.Getenv("MESH_TEST_ROLE") {
	case "cable":
		exitOn(layCable())
	case "a":
		exitOn(hostA())
	case "b":
		exitOn(hostB())
	}
	os.Exit(m.Run())
}

func exitOn(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestServicesCallEachOtherAcrossHosts(t *testing.T) {
	need.Program(t, "ip") // iproute2
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "MESH_TEST_ROLE=cable", "MESH_TEST_DIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, log.Bytes())
	}
	var got map[string]string
	line := out[bytes.LastIndexByte(bytes.TrimSpace(out), '\n')+1:]
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for name, want := range map[string]string{
		"granted":            "200 catalog answers spiffe://hosts.internal/svc/web",
		"not granted":        "403",
		"peer without grant": "403",
		"no service's SVID":  "403",
		"rogue authority":    "refused",
		"expired SVID":       "refused",
		"other trust domain": "refused",
		"no certificate":     "refused",
	} {
		if !strings.HasPrefix(got[name], want) {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

// layCable starts both hosts in namespaces of their own and joins them.
func layCable() error {
	start := func(role string) (*exec.Cmd, io.WriteCloser, *bufio.Reader, error) {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), "MESH_TEST_ROLE="+role)
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		c.Stderr = os.Stderr
		in, err := c.StdinPipe()
		if err != nil {
			return nil, nil, nil, err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, nil, nil, err
		}
		return c, in, bufio.NewReader(out), c.Start()
	}
	b, bIn, bOut, err := start("b")
	if err != nil {
		return err
	}
	a, aIn, aOut, err := start("a")
	if err != nil {
		return err
	}
	err = ip(fmt.Sprintf("link add eth0 netns %d type veth peer name eth0 netns %d", a.Process.Pid, b.Process.Pid))
	if err != nil {
		return err
	}
	fmt.Fprintln(bIn, "go")
	if _, err := bOut.ReadString('\n'); err != nil {
		return fmt.Errorf("host b: %w", err)
	}
	fmt.Fprintln(aIn, "go")
	if _, err := io.Copy(os.Stdout, aOut); err != nil {
		return err
	}
	bIn.Close()
	_ = b.Wait() // it ends when its input does
	return a.Wait()
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// plugIn waits for the cable and takes the address.
func plugIn(address string) error {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for _, args := range []string{"link set lo up", "addr add " + address + "/24 dev eth0", "link set eth0 up"} {
		if err := ip(args); err != nil {
			return err
		}
	}
	return nil
}

// direct is control without a wire.
type direct struct{ *identity.Authority }

func (d direct) SignX509(_ context.Context, r wire.SignRequest) (wire.SignReply, error) {
	return d.Authority.SignX509(r)
}

func (d direct) SignJWT(_ context.Context, r wire.JWTRequest) (wire.JWTReply, error) {
	return d.Authority.SignJWT(r)
}

func (d direct) Bundle(context.Context, string) (wire.Bundle, error) { return d.Authority.Bundle() }

// world opens the authority of a folder, as both hosts' control would, and returns a maker of identities.
func world(dir, trustDomain string, c clock.Clock) (*identity.Bundles, func(id string) *identity.Source, error) {
	a, err := identity.OpenAuthority(identity.AuthorityConfig{
		Dir: filepath.Join(os.Getenv("MESH_TEST_DIR"), dir), Key: secret.New(make([]byte, secret.KeySize)), TrustDomain: trustDomain, Clock: c,
	})
	if err != nil {
		return nil, nil, err
	}
	b, err := identity.NewBundles(context.Background(), direct{a}, c)
	if err != nil {
		return nil, nil, err
	}
	return b, func(id string) *identity.Source { return identity.NewSource(id, direct{a}, b, c) }, nil
}

func hostMesh(b *identity.Bundles, source func(string) *identity.Source) (*Mesh, error) {
	const td = "hosts.internal"
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(hostsModel))
	if problems.HasErrors() {
		return nil, fmt.Errorf("%s", problems)
	}
	sources := map[string]*identity.Source{}
	for _, s := range []string{"web", "lonely", "catalog"} {
		sources[s] = source("spiffe://" + td + "/svc/" + s)
	}
	x := New(Config{
		ServerTLS: pki.Server(clock.System{}, td, b.Roots, func(name string) (pki.Source, error) {
			s, _, err := pki.ParseTargetName(name, td)
			if err != nil {
				return nil, err
			}
			return sources[s], nil
		}),
		PeerService: func(cs tls.ConnectionState) (string, error) {
			id, err := pki.PeerID(cs)
			return strings.TrimPrefix(id, "spiffe://"+td+"/svc/"), err
		},
		Remote: &Agents{
			TrustDomain: td, Clock: clock.System{},
			Address: func(s string) string { return map[string]string{"catalog": addressB + ":" + ingressPort}[s] },
			Source:  func(s string) (pki.Source, error) { return sources[s], nil },
		},
		Record: func(wire.Event) {},
	})
	return x, x.SetPlan(plan.Build(m), "2026-11-22")
}

// local dials into "a sandbox" that is just this namespace.
type local struct{}

func (local) Dial(ctx context.Context, port int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
}

func hostB() error {
	if err := plugIn(addressB); err != nil {
		return err
	}
	b, source, err := world("authority", "hosts.internal", clock.System{})
	if err != nil {
		return err
	}
	m, err := hostMesh(b, source)
	if err != nil {
		return err
	}
	go http.ListenAndServe("127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "catalog answers ", r.Header.Get("X-Ward-Caller"))
	}))
	m.Attach(wire.Instance{Service: "catalog", Run: 1}, nil, nil, local{})
	ln, err := net.Listen("tcp", addressB+":"+ingressPort)
	if err != nil {
		return err
	}
	go m.ServeIngress(ln)
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func hostA() error {
	if err := plugIn(addressA); err != nil {
		return err
	}
	b, source, err := world("authority", "hosts.internal", clock.System{})
	if err != nil {
		return err
	}
	m, err := hostMesh(b, source)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m.Attach(wire.Instance{Service: "web", Run: 1}, []plan.Upstream{{Target: "catalog", TargetPort: 8080, Protocol: model.HTTP}}, []net.Listener{ln}, local{})
	got := map[string]string{}
	got["granted"] = get(http.DefaultTransport, "http://"+ln.Addr().String()+"/books/1")
	got["not granted"] = get(http.DefaultTransport, "http://"+ln.Addr().String()+"/admin")
	// From here on this host's agent itself is the attacker.
	got["peer without grant"] = raw(source("spiffe://hosts.internal/svc/lonely"), clock.System{})
	got["no service's SVID"] = raw(source("spiffe://hosts.internal/somebody"), clock.System{})
	_, rogue, err := world("rogue", "hosts.internal", clock.System{})
	if err != nil {
		return err
	}
	got["rogue authority"] = raw(rogue("spiffe://hosts.internal/svc/web"), clock.System{})
	past := clock.Func(func() time.Time { return time.Now().Add(-3 * time.Hour) })
	_, old, err := world("authority", "hosts.internal", past)
	if err != nil {
		return err
	}
	got["expired SVID"] = raw(old("spiffe://hosts.internal/svc/web"), past)
	_, other, err := world("other", "other.internal", clock.System{})
	if err != nil {
		return err
	}
	got["other trust domain"] = raw(other("spiffe://other.internal/svc/web"), clock.System{})
	got["no certificate"] = raw(nil, clock.System{})
	return json.NewEncoder(os.Stdout).Encode(got)
}

// raw asks host B for /books/1 as s, which checks nothing of the other side: an attacker wouldn't.
func raw(s *identity.Source, c clock.Clock) string {
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ServerName: pki.TargetName("catalog", 8080, "hosts.internal"), Time: c.Now}
	if s != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.Certificate() }
	}
	return get(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addressB+":"+ingressPort)
		if err != nil {
			return nil, fmt.Errorf("no way to host b: %w", err)
		}
		return tls.Client(conn, cfg), nil
	}}, "http://catalog:8080/books/1")
}

func get(rt http.RoundTripper, url string) string {
	c := http.Client{Transport: rt, Timeout: 5 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		if strings.Contains(err.Error(), "no way") || strings.Contains(err.Error(), "Timeout") {
			return err.Error()
		}
		return "refused: " + err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "refused: " + err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}
