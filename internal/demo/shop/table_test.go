package shop

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardhq/ward/sdk/seal"
)

type keysetKey struct {
	Name  string `json:"name"`
	ID    string `json:"key_id"`
	Key   string `json:"key"`
	Owner string `json:"owner,omitempty"`
}

// sealedTable is a table whose keys are those of a keyset.
func sealedTable(t *testing.T, pool *pgxpool.Pool, keys ...keysetKey) *table {
	t.Helper()
	b, err := json.Marshal(map[string]any{"service": "orders", "keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	set, err := seal.ParseKeyset(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := seal.New(t.Context(), seal.Config{Provider: set})
	if err != nil {
		t.Fatal(err)
	}
	return &table{pool: pool, keys: c}
}

func newKey(owner string) keysetKey {
	id, key := make([]byte, 8), make([]byte, 32)
	_, _ = rand.Read(id) // never returns an error (crypto/rand)
	_, _ = rand.Read(key)
	return keysetKey{"addresses", hex.EncodeToString(id), base64.StdEncoding.EncodeToString(key), owner}
}

// TestOnlyTheErasedCustomersAddressesAreGone: the others' stay, and no sealed address opens in another order.
func TestOnlyTheErasedCustomersAddressesAreGone(t *testing.T) {
	w := newWorld(t)
	plain, err := openTable(t.Context(), &site{env: w.env})
	if err != nil {
		t.Fatal(err)
	}
	ada, bob := newKey("ada"), newKey("bob")
	before := sealedTable(t, plain.pool, ada, bob)
	for _, o := range []Order{{ID: "1", User: "ada", Address: "Quay 1"}, {ID: "2", User: "bob", Address: "Elm 2"}, {ID: "3", User: "ada", Address: "Quay 3"}} {
		if err := before.put(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	addresses := func(t *testing.T, in *table) []string {
		t.Helper()
		all, err := in.all(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range all {
			out = append(out, o.Address)
		}
		return out
	}
	if diff := cmp.Diff([]string{"Quay 1", "Elm 2", "Quay 3"}, addresses(t, before)); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	lying := addresses(t, plain)
	if all := strings.Join(lying, " "); strings.Contains(all, "Quay") || strings.Contains(all, "Elm") {
		t.Errorf("in the database lies %s", all)
	}
	if diff := cmp.Diff([]string{"Quay 1", Erased, "Quay 3"}, addresses(t, sealedTable(t, plain.pool, ada))); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	if err := plain.put(t.Context(), Order{ID: "3", User: "ada", Address: lying[0]}); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, before)[2]; got != Erased {
		t.Errorf("another order's address opens: %s", got)
	}
}
