package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wardhq/ward/internal/demo/shop"
)

// plain is the shop as it runs without Ward: seven processes on ports of loopback.
type plain struct {
	world   *world
	dir     string
	ports   map[string]int
	secrets map[string]string
	cancel  context.CancelFunc
	owned   sync.WaitGroup
	logs    map[string]*buffer
}

// buffer is a process's output.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startPlain(ctx context.Context, program, dir string, out *outside) (*plain, error) {
	if err := layOut(dir, program); err != nil {
		return nil, err
	}
	m, err := parseModel("shop.yaml", shopModel)
	if err != nil {
		return nil, err
	}
	p := &plain{dir: dir, ports: map[string]int{}, logs: map[string]*buffer{}, secrets: map[string]string{cardsKey: out.cards.Key}}
	p.secrets[sessionSecret], p.secrets[dbPassword] = rand.Text(), rand.Text()
	for _, role := range shop.Names() {
		if p.ports[role], err = freePort(0); err != nil {
			return nil, err
		}
	}
	ctx, p.cancel = context.WithCancel(ctx)
	for i := range m.Services {
		s := &m.Services[i]
		env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LISTEN=" + p.address(string(s.Name)), fmt.Sprintf("CARDS_URL=http://127.0.0.1:%d", out.plainCardsPort)}
		env = append(env, p.passwords(string(s.Name))...)
		for role := range p.ports {
			env = append(env, strings.ToUpper(role)+"_URL=http://"+p.address(role))
		}
		if err := p.start(ctx, string(s.Name), s.Run, env); err != nil {
			p.stop()
			return nil, err
		}
	}
	for role := range p.ports {
		if err := p.await(ctx, role); err != nil {
			p.stop()
			return nil, err
		}
	}
	p.world = &world{
		signIn: byName,
		base:   "http://" + p.address("web"), dir: dir, transport: http.DefaultTransport,
		address: p.address, log: func(role string) string { return p.logs[role].String() }, out: out,
		secrets: p.secrets, erase: eraseRows(p.address("orders")),
	}
	return p, nil
}

// passwords are variables that a service finds its secrets in, as it is usual.
func (p *plain) passwords(role string) []string {
	switch role {
	case "web":
		return []string{"SESSION_SECRET=" + p.secrets[sessionSecret]}
	case "payments":
		return []string{"CARDS_API_KEY=" + p.secrets[cardsKey]}
	case "orders":
		return []string{fmt.Sprintf("DATABASE_URL=postgres://shop:%s@%s/shop", p.secrets[dbPassword], p.address("db"))}
	case "db":
		return []string{"DB_PASSWORD=" + p.secrets[dbPassword]}
	}
	return nil
}

func (p *plain) address(role string) string {
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(p.ports[role]))
}

// start starts one process, exactly as the model's run: says.
func (p *plain) start(ctx context.Context, role string, argv, env []string) error {
	p.logs[role] = &buffer{}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = filepath.Join(p.dir, role), env
	cmd.Stdout, cmd.Stderr = p.logs[role], p.logs[role]
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	p.owned.Go(func() {
		// The kernel ties the death signal to the thread that made the process (prctl(2)).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		if cmd.Process != nil {
			_ = cmd.Wait() // it is ended by the context
		}
	})
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", role, err)
	}
	return nil
}

// await waits until the role accepts connections.
func (p *plain) await(ctx context.Context, role string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address(role))
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w\n%s", role, errors.Join(ctx.Err(), err), p.logs[role].String())
		}
	}
}

// stop ends all processes and waits for them.
func (p *plain) stop() {
	p.cancel()
	p.owned.Wait()
}
