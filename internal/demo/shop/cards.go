package shop

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// Cards is a mock of the card processor that the shop pays through: a company outside,
// behind POST /v1/charges. It takes any charge that shows the key.
type Cards struct {
	Key     string
	charges atomic.Int64
}

// Charges is how many were taken.
func (c *Cards) Charges() int64 { return c.charges.Load() }

// ServeHTTP implements http.Handler.
func (c *Cards) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/charges" {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+c.Key {
		http.Error(w, "unknown key", http.StatusUnauthorized)
		return
	}
	respond(w, map[string]string{"id": fmt.Sprintf("ch_%06d", c.charges.Add(1))})
}
