package pglogin

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/secure/precis"

	"github.com/wardhq/ward/internal/base/secret"
)

const (
	scram     = "SCRAM-SHA-256"
	scramPlus = "SCRAM-SHA-256-PLUS"
	// RFC 7677 §4 asks for 4,096 at least; a server that asks for very many only wants to keep us busy.
	minIterations = 4096
	maxIterations = 1 << 20
)

// Verifier is what PostgreSQL keeps of a password (pg_authid.rolpassword), as ALTER ROLE takes it: the password itself needn't cross.
func Verifier(password secret.Bytes) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never returns an error (crypto/rand)
	return verifier(password, salt, minIterations)
}

func verifier(password secret.Bytes, salt []byte, iterations int) (string, error) {
	salted, err := saltedPassword(password, salt, iterations)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scram, iterations, b64(salt), b64(stored[:]), b64(mac(salted, "Server Key"))), nil
}

func saltedPassword(password secret.Bytes, salt []byte, iterations int) ([]byte, error) {
	b := string(password.Reveal())
	if p, err := precis.OpaqueString.String(b); err == nil {
		b = p // SASLprep's successor; PostgreSQL, too, takes as it is what can't be prepared
	}
	salted, err := pbkdf2.Key(sha256.New, b, salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("salt password: %w", err)
	}
	return salted, nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// exchange is one login by SCRAM (RFC 5802 §5).
type exchange struct {
	password  secret.Bytes
	mechanism string
	header    string // GS2
	binding   []byte // of the channel
	nonce     string
	signature []byte // that the server has to show
}

// newExchange chooses among the mechanisms that the server offers. binding is nil for a channel that has none.
func newExchange(password secret.Bytes, offered []string, binding []byte) (*exchange, error) {
	x := &exchange{password: password, mechanism: scram, header: "n,,", nonce: rand.Text()}
	switch {
	case binding != nil && slices.Contains(offered, scramPlus):
		x.mechanism, x.header, x.binding = scramPlus, "p=tls-server-end-point,,", binding
	case !slices.Contains(offered, scram):
		return nil, errors.New("the server offers no SCRAM-SHA-256")
	case binding != nil:
		x.header = "y,," // a server that did offer the binding notices that somebody took it away
	}
	return x, nil
}

func (x *exchange) firstBare() string { return "n=,r=" + x.nonce }

// first is the client's first message; PostgreSQL takes the user's name from the startup.
func (x *exchange) first() []byte { return []byte(x.header + x.firstBare()) }

// final answers the server's first message with the proof.
func (x *exchange) final(serverFirst []byte) ([]byte, error) {
	nonce, salt, iterations, err := parseServerFirst(string(serverFirst))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(nonce, x.nonce) || len(nonce) == len(x.nonce) {
		return nil, errors.New("the server's nonce isn't made of ours")
	}
	salted, err := saltedPassword(x.password, salt, iterations)
	if err != nil {
		return nil, err
	}
	bare := "c=" + base64.StdEncoding.EncodeToString(append([]byte(x.header), x.binding...)) + ",r=" + nonce
	message := x.firstBare() + "," + string(serverFirst) + "," + bare
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := make([]byte, len(key))
	subtle.XORBytes(proof, key, mac(stored[:], message))
	x.signature = mac(mac(salted, "Server Key"), message)
	return []byte(bare + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// parseServerFirst reads "r=NONCE,s=SALT,i=COUNT".
func parseServerFirst(s string) (nonce string, salt []byte, iterations int, err error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "r=") || !strings.HasPrefix(parts[1], "s=") || !strings.HasPrefix(parts[2], "i=") {
		return "", nil, 0, errors.New("the server's first message of SCRAM isn't one")
	}
	salt, err = base64.StdEncoding.Strict().DecodeString(parts[1][2:])
	if err != nil || len(salt) == 0 {
		return "", nil, 0, errors.New("the server's salt isn't one")
	}
	iterations, err = strconv.Atoi(parts[2][2:])
	if err != nil || iterations < minIterations || iterations > maxIterations {
		return "", nil, 0, fmt.Errorf("the server wants fewer than %d or more than %d iterations of the password's hash", minIterations, maxIterations)
	}
	return parts[0][2:], salt, iterations, nil
}

// verify checks that the server knows the password's verifier.
func (x *exchange) verify(serverFinal []byte) error {
	text, ok := bytes.CutPrefix(serverFinal, []byte("v="))
	signature, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if !ok || err != nil || !hmac.Equal(signature, x.signature) {
		return errors.New("the server doesn't know the password's verifier: it isn't the right one")
	}
	return nil
}

// channelBinding is the hash of the server's certificate (RFC 5929 §4.1); nil without TLS, or where it isn't defined: servers
// before version 16 have none for RSA-PSS.
func channelBinding(c net.Conn) []byte {
	t, ok := c.(*tls.Conn)
	if !ok || len(t.ConnectionState().PeerCertificates) == 0 {
		return nil
	}
	cert := t.ConnectionState().PeerCertificates[0]
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.ECDSAWithSHA256:
		h := sha256.Sum256(cert.Raw)
		return h[:]
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384:
		h := sha512.Sum384(cert.Raw)
		return h[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512:
		h := sha512.Sum512(cert.Raw)
		return h[:]
	}
	return nil
}
