package demo

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// readyIn is how long the guarded shop may take to start.
const readyIn = 60 * time.Second

// guarded is the shop under `ward up`.
type guarded struct {
	world *world
	file  string
	log   *buffer // what `ward up` says
	stop  func()
	done  chan struct{}
	err   error // of up.Run; valid when done is closed
}

func startGuarded(ctx context.Context, c *Config, dir string, out *outside) (*guarded, error) {
	if err := layOut(dir, c.Program); err != nil {
		return nil, err
	}
	port, err := freePort(gatewayPort)
	if err != nil {
		return nil, err
	}
	text := Model(port, out.cardsPort)
	if c.Change != nil {
		text = c.Change(text)
	}
	file := filepath.Join(dir, "ward.yaml")
	if err := os.WriteFile(filepath.Join(dir, "cards-ca.pem"), out.cardsCA, 0o644); err != nil {
		return nil, fmt.Errorf("write the card processor's certificate: %w", err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("write the shop's model: %w", err)
	}
	paths, err := up.FindPaths(file)
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	g := &guarded{file: file, log: &buffer{}, done: make(chan struct{})}
	g.stop = func() {
		cancel()
		<-g.done
		// Nobody will start this application again.
		_ = os.RemoveAll(paths.Run)
	}
	go func() {
		defer close(g.done)
		g.err = up.Run(ctx, up.Config{File: file, Out: g.log, Ready: ready, Off: c.Off, Load: func() (*plan.Plan, error) { return loadPlan(file) }})
	}()
	if err := g.awaitReady(ctx, ready); err != nil {
		g.stop()
		return nil, fmt.Errorf("start the guarded shop: %w", err)
	}
	if g.world, err = guardedWorld(ctx, paths, port, out); err != nil {
		g.stop()
		return nil, err
	}
	if !strings.Contains(text, "\nusers:") {
		g.world.signIn = byName
	}
	return g, nil
}

func loadPlan(file string) (*plan.Plan, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := parseModel(file, string(b))
	if err != nil {
		return nil, err
	}
	p := plan.Build(m)
	p.CAs = map[string]string{}
	for _, x := range m.Externals {
		ca, err := os.ReadFile(filepath.Join(filepath.Dir(file), x.CAFile))
		if err != nil {
			return nil, fmt.Errorf("read the card processor's certificate: %w", err)
		}
		p.CAs[string(x.Name)] = string(ca)
	}
	return p, nil
}

// exchangeSecrets gives Ward the card processor's key, as 'ward secrets set' does, and takes the values that Ward made, as
// 'ward secrets reveal' does: the attacks have to know what they are looking for.
func exchangeSecrets(ctx context.Context, admin *wire.Client, key string) (map[string]string, error) {
	out := map[string]string{cardsKey: key}
	if _, err := admin.SetSecret(ctx, cardsKey, wire.SecretSet{Value: []byte(key)}); err != nil {
		return nil, fmt.Errorf("set secret %s: %w", cardsKey, err)
	}
	for _, name := range []string{sessionSecret, dbPassword} {
		v, err := admin.RevealSecret(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("reveal secret %s: %w", name, err)
		}
		out[name] = string(v.Value)
	}
	return out, nil
}

// shred is 'ward keys shred addresses CUSTOMER'.
func shred(admin *wire.Client) func(context.Context, string) error {
	return func(ctx context.Context, customer string) error {
		var k wire.ManagedKey
		if err := admin.Call(ctx, http.MethodPost, "/v1/keys/addresses/shred", wire.ManagedKeyOwner{Owner: customer}, &k); err != nil {
			return fmt.Errorf("shred a customer's keys: %w", err)
		}
		return nil
	}
}

func (g *guarded) awaitReady(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-g.done:
		return fmt.Errorf("ward up ended: %w\n%s", g.err, g.log.String())
	case <-time.After(readyIn):
		return fmt.Errorf("it isn't ready after %s\n%s", readyIn, g.log.String())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guardedWorld knows the guarded shop from outside, and as a service inside knows its neighbours:
// by name.
func guardedWorld(ctx context.Context, paths up.Paths, port int, out *outside) (*world, error) {
	bundle, err := paths.Admin().Bundle(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("ask for the certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	for _, der := range bundle.X509 {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority: %w", err)
		}
		roots.AddCert(cert)
	}
	secrets, err := exchangeSecrets(ctx, paths.Admin(), out.cards.Key)
	if err != nil {
		return nil, err
	}
	transport := visitor.Transport(roots)
	return &world{
		signIn:    atWard(paths.Mail),
		base:      fmt.Sprintf("https://localhost:%d", port),
		dir:       paths.Base,
		transport: transport,
		address: func(role string) string {
			switch role {
			case "payments":
				return "payments:9090"
			case "db":
				return "db:5432"
			}
			return net.JoinHostPort(role, "8080")
		},
		log: func(role string) string {
			b, err := os.ReadFile(filepath.Join(paths.Logs, role+".log"))
			if err != nil {
				return err.Error()
			}
			return string(b)
		},
		out:     out,
		secrets: secrets,
		erase:   shred(paths.Admin()),
	}, nil
}

// await leaves the guarded shop running until ctx ends, and says what to look at.
func (g *guarded) await(ctx context.Context, notes io.Writer) {
	fmt.Fprintf(notes, `
The guarded shop runs at %[1]s
  (your browser warns of its certificate, which Ward's own authority signed)
Sign in as %[3]s with the password "%[4]s", or make an account: its code lies in %[5]s.
The administrators' page asks for staff, and for a second factor:
  ward users set %[3]s --group staff -f %[2]s, then open %[1]s/admin
With the role ward-admin and a second factor the console is theirs, at %[6]s:
  ward users set %[3]s --role ward-admin -f %[2]s

In another terminal, with ward or 'go run ./cmd/ward':
  ward console -f %[2]s   (a map of what passes, in your browser; leave it open, and see 'ward attack' in it)
  ward findings -f %[2]s
  ward reach  -f %[2]s
  ward status -f %[2]s
  ward attack -f %[2]s
  ward audit  -f %[2]s
  ward secrets list -f %[2]s
  ward keys shred addresses %[3]s -f %[2]s   (then look at the order again; readmit lets them buy again)

Ctrl-C ends it.
`, g.world.base, g.file, victim, password, filepath.Join(filepath.Dir(g.file), ".ward", "mail"), strings.Replace(g.world.base, "//", "//console.", 1))
	select {
	case <-ctx.Done():
	case <-g.done:
		fmt.Fprintln(notes, "ward up has ended:", g.err)
	}
	fmt.Fprintln(notes, "stopping …")
}
