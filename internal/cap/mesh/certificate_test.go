package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// clientPEM is a self-signed certificate and its key.
func clientPEM(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
}

func TestCertificateIsShownAndReplaced(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		o := newOutside(t, externalOptions{
			auth: `"certificate secret:key"`, protocol: protocol, values: map[string][]byte{"key": clientPEM(t, "first")},
			server: func(s *httptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} },
		}, nil)
		shown := func() string {
			t.Helper()
			if code, body := o.call("GET", "/", "Client-Cert", "mine"); code != http.StatusOK {
				t.Fatalf("%s: %d %s", protocol, code, body)
			}
			got := o.last()
			if got.Header.Get("Client-Cert") != "" {
				t.Errorf("%s: what the service says went out", protocol)
			}
			return got.TLS.PeerCertificates[0].Subject.CommonName
		}
		if got := shown(); got != "first" {
			t.Errorf("%s: shown %s", protocol, got)
		}
		o.mesh.SetSecrets(map[string][]byte{"key": clientPEM(t, "second")})
		if got := shown(); got != "second" {
			t.Errorf("%s: shown %s", protocol, got)
		}
		for _, value := range []string{"", "nonsense", strings.Replace(string(clientPEM(t, "x")), "PRIVATE KEY", "PUBLIC KEY", 2)} {
			o.mesh.SetSecrets(map[string][]byte{"key": []byte(value)})
			if code, body := o.call("GET", "/"); code != http.StatusServiceUnavailable || o.last() != nil || value != "" && strings.Contains(body, value) {
				t.Errorf("%s: with %.20q: %d %s", protocol, value, code, body)
			}
		}
	}
}
