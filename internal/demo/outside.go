package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
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
	cardsHost   = "cards.example"
)

// outside stands for the Internet: the card processor, and a server of the attacker's.
type outside struct {
	cards          *shop.Cards
	cardsPort      int    // over TLS
	cardsCA        []byte // PEM
	plainCardsPort int
	attackerPort   int
	servers        []*http.Server

	mu   sync.Mutex
	loot map[string]bool // guarded by mu: what came to the attacker's server
}

func startOutside() (*outside, error) {
	cert, pem, err := certify(cardsHost)
	if err != nil {
		return nil, fmt.Errorf("certify the card processor: %w", err)
	}
	o := &outside{cards: &shop.Cards{Key: "sk-demo-" + rand.Text()}, cardsCA: pem, loot: map[string]bool{}}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	for _, s := range []struct {
		who  string
		port *int
		want int
		h    http.Handler
		tls  *tls.Config
	}{
		{"the card processor", &o.cardsPort, cardsPort, o.cards, secure},
		{"the card processor", &o.plainCardsPort, 0, o.cards, nil},
		{"the attacker's server", &o.attackerPort, 0, http.HandlerFunc(o.take), nil},
	} {
		if *s.port, err = o.serve(s.want, s.h, s.tls); err != nil {
			o.Close()
			return nil, fmt.Errorf("start %s: %w", s.who, err)
		}
	}
	return o, nil
}

// certify makes a certificate that is its own authority, for a day.
func certify(host string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
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

// serve answers over TLS unless t is nil.
func (o *outside) serve(port int, h http.Handler, t *tls.Config) (int, error) {
	ln, err := listen(port)
	if err != nil {
		return 0, err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	o.servers = append(o.servers, s)
	at := ln.Addr().(*net.TCPAddr).Port
	if t != nil {
		ln = tls.NewListener(ln, t)
	}
	go func() { _ = s.Serve(ln) }() // ends with Close
	return at, nil
}

// Close ends the servers.
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

// freePort is a port on loopback that nobody listens on right now, want if possible. Else it is one that the kernel gives no connection of its own
// accord (ip_local_port_range begins at 32768): until a service listens there, nobody takes it away.
func freePort(want int) (int, error) {
	for range 50 {
		if want != 0 {
			break
		}
		port := 20000 + mathrand.IntN(12000)
		if ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = ln.Close()
			return port, nil
		}
	}
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
