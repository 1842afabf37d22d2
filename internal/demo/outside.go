package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/demo/shop"
)

// Where things are unless that is taken.
const (
	gatewayPort = 8443
	cardsPort   = 8090
)

// outside stands for the Internet: the card processor, and a server of the attacker's.
type outside struct {
	cards        *shop.Cards
	cardsPort    int
	attackerPort int
	servers      []*http.Server

	mu   sync.Mutex
	loot map[string]bool // guarded by mu: what came to the attacker's server
}

// cardsKey is what the model gives payments.
func cardsKey() (string, error) {
	m, err := parseModel("shop.yaml", shopModel)
	if err != nil {
		return "", err
	}
	for _, s := range m.Services {
		for _, e := range s.Env {
			if e.Name == "CARDS_API_KEY" {
				return e.Value, nil
			}
		}
	}
	return "", fmt.Errorf("the shop's model has no CARDS_API_KEY")
}

func startOutside() (*outside, error) {
	key, err := cardsKey()
	if err != nil {
		return nil, err
	}
	o := &outside{cards: &shop.Cards{Key: key}, loot: map[string]bool{}}
	if o.cardsPort, err = o.serve(cardsPort, o.cards); err != nil {
		return nil, fmt.Errorf("start the card processor: %w", err)
	}
	if o.attackerPort, err = o.serve(0, http.HandlerFunc(o.take)); err != nil {
		o.Close()
		return nil, fmt.Errorf("start the attacker's server: %w", err)
	}
	return o, nil
}

// listen opens the port on loopback, or any other if that is taken.
func listen(port int) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil && port != 0 {
		return listen(0)
	}
	return ln, err
}

func (o *outside) serve(port int, h http.Handler) (int, error) {
	ln, err := listen(port)
	if err != nil {
		return 0, err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	o.servers = append(o.servers, s)
	go func() { _ = s.Serve(ln) }() // ends with Close
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// Close ends both servers.
func (o *outside) Close() {
	for _, s := range o.servers {
		s.Close()
	}
}

// take keeps what comes to /loot?mark=.
func (o *outside) take(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.loot[r.FormValue("mark")] = true
	_, _ = io.WriteString(w, "thank you\n")
}

// has tells whether the mark came.
func (o *outside) has(mark string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loot[mark]
}

func (o *outside) lootURL(mark string) string {
	return fmt.Sprintf("http://127.0.0.1:%d/loot?mark=%s", o.attackerPort, mark)
}

// freePort is a port on loopback that nobody listens on right now, want if possible.
func freePort(want int) (int, error) {
	ln, err := listen(want)
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// words joins and bounds a text for one line of evidence.
func words(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		return string(r[:160]) + "…"
	}
	return s
}
