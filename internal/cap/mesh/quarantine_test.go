package mesh

import (
	"net"
	"testing"

	"github.com/wardhq/ward/internal/wire"
)

// stuck is a connection whose other end doesn't let it be closed.
type stuck struct {
	net.Conn
	closing chan struct{} // has a place for the sign that it is being closed
	release chan struct{}
}

func (s stuck) Close() error {
	s.closing <- struct{}{}
	<-s.release
	return nil
}

// TestWhoDoesntLetGoKeepsNobodyWaiting: a service that is cut off can't hold up the others by connections that take long to close.
func TestWhoDoesntLetGoKeepsNobodyWaiting(t *testing.T) {
	m := &Mesh{}
	s := []stuck{{closing: make(chan struct{}, 1), release: make(chan struct{})}, {closing: make(chan struct{}, 1), release: make(chan struct{})}}
	for _, c := range s {
		defer m.quarantine.enter(c, &link{caller: "web", target: "api"})()
	}
	m.SetRestrictions(wire.Restrictions{All: []wire.Restriction{{Service: "web"}}})
	other := stuck{closing: make(chan struct{}, 1)}
	m.quarantine.enter(other, &link{caller: "shop", target: "api"})()
	for _, c := range s {
		<-c.closing
	}
	if len(other.closing) > 0 || !m.quarantine.holds(&link{caller: "shop", target: "web"}) || m.quarantine.holds(&link{caller: "shop", target: "api"}) {
		t.Error("another service's connection is broken off, or its own isn't")
	}
	for _, c := range s {
		close(c.release)
	}
	m.wg.Wait()
}
