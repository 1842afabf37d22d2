// Package pglogin stands between a client of PostgreSQL and its server while a connection begins (protocol version 3.0): the client
// says nothing of who it is, and Ward logs in for it, so that the client needs no password.
//
// Guarantee: what the client says of user, password, options and replication reaches no server; a login is by SCRAM-SHA-256 alone
// (RFC 5802, RFC 7677), bound to the channel where there is TLS and the server can (RFC 5929, tls-server-end-point), so that a server
// that doesn't know the password's verifier is refused; no byte is read beyond the message that it belongs to. Every message, and
// their number, is bounded; time is bounded by the caller's deadlines. Not guaranteed: what is said after the login.
package pglogin

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Codes of errors, PostgreSQL's appendix A.
const (
	CodeProtocol      = "08P01"
	CodeConnection    = "08006"
	CodeAuthorization = "28000"
	CodeDatabase      = "3D000"
	CodeUnsupported   = "0A000"
	CodeTooMany       = "53300"
)

// Error is what one end tells the other before it gives up.
type Error struct {
	Code    string // SQLSTATE
	Message string // one sentence; of the server's, nothing that it said of users and passwords reaches clients
	server  bool
}

func (e *Error) Error() string {
	if e.server {
		return fmt.Sprintf("the server says: %s (%s)", e.Message, e.Code)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// IsRefused tells that the server doesn't take the user with this password: it may have another one by now, or be gone.
func IsRefused(err error) bool {
	return strings.HasPrefix(Code(err), "28")
}

// Refuse tells a client why it gets no connection: Error's sentence, but the server's only if it isn't about the login, and nothing
// else, for other errors are the log's.
func Refuse(c io.Writer, err error) {
	say := Error{Code: CodeConnection, Message: "Ward doesn't reach the database; its ledger says why"}
	var e *Error
	switch {
	case IsRefused(err):
		say = Error{Code: CodeAuthorization, Message: "Ward couldn't log in to the database; its ledger says why"}
	case errors.As(err, &e):
		say = *e
	}
	b, err := (&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: say.Code, Message: say.Message}).Encode(nil)
	if err == nil {
		_, _ = c.Write(b) // the client has gone
	}
}

// TLS is how Ward speaks TLS to a database of a plan; nil for not at all.
func TLS(p *plan.Plan, d *model.Database) (*tls.Config, error) {
	if d.TLS != model.TLSVerify {
		return nil, nil
	}
	c := &tls.Config{ServerName: d.Target, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}}
	for i := range p.Externals {
		if string(p.Externals[i].Name) == d.Target {
			c.ServerName = p.Externals[i].Host
		}
	}
	if d.CAFile != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(p.CAs[plan.DatabaseCA(d.Name)])) {
			return nil, fmt.Errorf("database %s: ca: %s holds no certificate", d.Name, d.CAFile)
		}
	}
	return c, nil
}

// maxMessage bounds a message of a server's, before it is ready, in bytes.
const maxMessage = 64 << 10

// message is a server's: its type, and its body behind the length.
type message struct {
	kind byte
	body []byte
}

// readMessage reads exactly one.
func readMessage(r io.Reader) (message, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, fmt.Errorf("read from the server: %w", err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > maxMessage {
		return message{}, fmt.Errorf("read from the server: a message of %d bytes", n)
	}
	m := message{kind: head[0], body: make([]byte, n-4)}
	if _, err := io.ReadFull(r, m.body); err != nil {
		return message{}, fmt.Errorf("read from the server: %w", err)
	}
	return m, nil
}

// bytes are the message as it came.
func (m message) append(b []byte) []byte {
	b = append(b, m.kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.body))+4)
	return append(b, m.body...)
}
