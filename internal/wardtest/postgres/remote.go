package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Remote is a server as at a provider's: on loopback's TCP, where it asks for passwords by SCRAM and offers TLS.
type Remote struct {
	*Server
	Port int
	CA   []byte // PEM
}

// StartRemote starts a server that ends with the test; host is the name of its certificate. The account ward, a superuser, has the
// password "ward admin".
func StartRemote(t testing.TB, host string) *Remote {
	t.Helper()
	r := &Remote{Port: freePort(t)}
	r.Server = start(t, func(dir string) []string {
		r.CA = certify(t, filepath.Join(dir, "data"), host)
		// Over the socket, which is the test's alone, there is no password.
		hba := "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
		if err := os.WriteFile(filepath.Join(dir, "data/pg_hba.conf"), []byte(hba), 0o644); err != nil {
			t.Fatal(err)
		}
		return []string{"-c", "listen_addresses=127.0.0.1", "-p", fmt.Sprint(r.Port), "-c", "ssl=on", "-c", "password_encryption=scram-sha-256"}
	})
	r.Exec(t, "postgres", "ALTER ROLE ward PASSWORD 'ward admin'")
	return r
}

// Exec runs statements as the superuser, over the socket.
func (r *Remote) Exec(t testing.TB, database, statements string) {
	t.Helper()
	ctx := context.Background()
	c := r.Connect(t, database)
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// Connect connects as the superuser, over the socket.
func (r *Remote) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), fmt.Sprintf("%s&port=%d", r.url(database), r.Port))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Ask returns the first column of a query's only row, as text.
func (r *Remote) Ask(t testing.TB, database, query string) string {
	t.Helper()
	ctx := context.Background()
	c := r.Connect(t, database)
	defer c.Close(ctx)
	var v any
	if err := c.QueryRow(ctx, query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return fmt.Sprint(v)
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// certify puts a certificate into a data folder, and returns it as the authority that it is, too.
func certify(t testing.TB, data, host string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	owner, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"server.crt": cert, "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		own(t, path, owner)
	}
	return cert
}

// own gives a file to the owner of another one: PostgreSQL reads only keys of its own.
func own(t testing.TB, path string, like os.FileInfo) {
	t.Helper()
	if st, ok := like.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		if err := os.Chown(path, int(st.Uid), int(st.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
