package gateway

import (
	"net/http"
	"testing"
)

// A client's own token (client_credentials) stands for no person, however "signed-in" its sub may look.
func TestClientsOwnTokenIsNobodys(t *testing.T) {
	e := newEdge(t)
	own := e.access(func(c map[string]any) {
		c["sub"], c["client_id"] = "reports", "reports"
		delete(c, "sid")
		delete(c, "groups")
	})
	if a := e.ask("localhost", "GET", "/own/x", "Authorization", "Bearer "+own); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a program passes for a person: %d %v", a.StatusCode, a.sent)
	}
	if a := e.ask("localhost", "GET", "/open/x", "Authorization", "Bearer "+own); a.StatusCode != http.StatusOK || a.sent.Get("Txn-Token") != "" {
		t.Errorf("open: %d %v", a.StatusCode, a.sent)
	}
}
