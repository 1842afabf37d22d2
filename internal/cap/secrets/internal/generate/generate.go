// Package generate makes the values of secrets that nobody has to think up: passwords, keys and
// certificates.
//
// Guarantee: everything secret is drawn evenly from crypto/rand; a password has at least 95 bits. Not
// guaranteed: that a certificate is trusted by anybody, for it signs itself.
package generate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Kind is what to make. The zero Kind makes nothing.
type Kind string

// The kinds, as ward.yaml says them.
const (
	None        Kind = ""
	Password    Kind = "password"    // letters, digits, - and _: safe in URLs, shells and connection strings
	Key         Kind = "key"         // 32 bytes in standard base64
	Certificate Kind = "certificate" // self-signed, ECDSA P-256: certificate and PKCS #8 key in PEM
)

// Valid tells whether it is one of the kinds, None too.
func (k Kind) Valid() bool {
	return k == None || k == Password || k == Key || k == Certificate
}

// Options refine what is made. Zero values are the defaults.
type Options struct {
	Length   int           // of a password in characters: 16 to 1024; 0 means 32
	DNSNames []string      // of a certificate; at least one
	Now      time.Time     // a certificate begins a little before it, for clocks that are behind
	Life     time.Duration // of a certificate; 0 means a year
}

const (
	alphabet      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" // 64, so that six random bits are one evenly drawn character
	passwordChars = 32
	minPassword   = 16
	maxPassword   = 1024
	keyBytes      = 32
	year          = 365 * 24 * time.Hour
	clockSkew     = 5 * time.Minute
)

// Value makes one.
func Value(k Kind, o Options) (secret.Bytes, error) {
	switch k {
	case Password:
		return password(o.Length)
	case Key:
		b := make([]byte, keyBytes)
		_, _ = rand.Read(b) // never returns an error (crypto/rand)
		return secret.New(base64.StdEncoding.AppendEncode(nil, b)), nil
	case Certificate:
		return certificate(o)
	default:
		return secret.Bytes{}, fault.New(fault.Invalid, "only a password, a key or a certificate can be generated")
	}
}

func password(length int) (secret.Bytes, error) {
	if length == 0 {
		length = passwordChars
	}
	if length < minPassword || length > maxPassword {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("a generated password has %d to %d characters", minPassword, maxPassword))
	}
	b := make([]byte, length)
	_, _ = rand.Read(b)            // never returns an error (crypto/rand)
	for alphabet[b[0]&63] == '-' { // programs would take it for an option
		_, _ = rand.Read(b[:1])
	}
	for i, c := range b {
		b[i] = alphabet[c&63]
	}
	return secret.New(b), nil
}

func certificate(o Options) (secret.Bytes, error) {
	if len(o.DNSNames) == 0 {
		return secret.Bytes{}, fault.New(fault.Invalid, "a generated certificate needs a DNS name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("generate certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("generate certificate: %w", err)
	}
	life := o.Life
	if life == 0 {
		life = year
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: o.DNSNames[0]}, DNSNames: o.DNSNames,
		NotBefore: o.Now.Add(-clockSkew), NotAfter: o.Now.Add(life), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("generate certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("generate certificate: %w", err)
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := pem.Encode(&b, block); err != nil {
			return secret.Bytes{}, fmt.Errorf("generate certificate: %w", err)
		}
	}
	return secret.New(b.Bytes()), nil
}
