package shop

import (
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestToyDatabaseTakesItsPasswordAndNoOther(t *testing.T) {
	w := newWorld(t)
	at := strings.TrimPrefix(w.urls[dbName], "http://")
	for _, tt := range []struct {
		name, user, password string
		in                   bool
	}{
		{"the password", dbUser, dbPassword, true},
		{"another password", dbUser, dbPassword + "x", false},
		{"no password", dbUser, "", false},
		{"another user", "postgres", dbPassword, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := pgx.Connect(t.Context(), "postgres://"+tt.user+":"+tt.password+"@"+at+"/shop?default_query_exec_mode=exec")
			if (err == nil) != tt.in {
				t.Fatalf("in %v: %v", err == nil, err)
			}
			if err != nil {
				return
			}
			defer c.Close(t.Context())
			if _, err := c.Exec(t.Context(), "DROP TABLE orders"); err == nil {
				t.Error("it does what it doesn't understand")
			}
			var n string
			if err := c.QueryRow(t.Context(), sqlCount).Scan(&n); err != nil || n != "0" {
				t.Errorf("after an error: %q %v", n, err)
			}
		})
	}
	t.Run("what isn't its protocol", func(t *testing.T) {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if n, _ := c.Read(b); n == 1 && b[0] != 'E' {
			t.Errorf("it says %q", b)
		}
	})
}

func TestOrdersAreForgotten(t *testing.T) {
	w := newWorld(t)
	table, err := openTable(t.Context(), &site{env: w.env})
	if err != nil {
		t.Fatal(err)
	}
	for id, user := range map[string]string{"1": "ada", "2": "bob", "3": "ada"} {
		if err := table.put(t.Context(), Order{ID: id, User: user, Address: "Quay"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.forget(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	all, err := table.all(t.Context())
	if err != nil || len(all) != 1 || all[0].User != "bob" {
		t.Errorf("left: %v %v", all, err)
	}
	if n, err := table.count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d orders, %v", n, err)
	}
}

// TestLoginNeedsTheProof asks nothing of the client's own checks: pgx would refuse a server that lets everybody in.
func TestLoginNeedsTheProof(t *testing.T) {
	v, err := newVerifier(dbPassword)
	if err != nil {
		t.Fatal(err)
	}
	proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, tt := range map[string]struct{ first, last string }{
		"another proof":        {"n,,n=,r=abc", "c=biws,r=%s,p=" + proof},
		"a short proof":        {"n,,n=,r=abc", "c=biws,r=%s,p=AAAA"},
		"no proof":             {"n,,n=,r=abc", "c=biws,r=%s"},
		"a binding":            {"p=tls-unique,,n=,r=abc", "c=biws,r=%s,p=" + proof},
		"no nonce":             {"n,,n=", "c=biws,r=%s,p=" + proof},
		"nothing":              {"", ""},
		"another client nonce": {"n,,n=,r=abc", "c=biws,r=x%s,p=" + proof},
	} {
		final, err := v.check(tt.first, func(challenge string) (string, error) {
			nonce, _, _ := strings.Cut(strings.TrimPrefix(challenge, "r="), ",")
			return strings.Replace(tt.last, "%s", nonce, 1), nil
		})
		if !errors.Is(err, errProof) || final != "" {
			t.Errorf("%s: %q %v", name, final, err)
		}
	}
}
