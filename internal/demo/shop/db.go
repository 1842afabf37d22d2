package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// db is a toy of a database, so that the demo needs none: it speaks as much of PostgreSQL's protocol (version 3.0) as an ordinary
// client needs to log in by SCRAM-SHA-256 and say the statements below. It has one user and one table, in a file.
type db struct {
	*site
	rows     *store[row]
	verifier *verifier
}

// row is one of the table's.
type row struct {
	Owner string          `json:"owner"`
	Value json.RawMessage `json:"value"`
}

// dbUser is the user's and the database's name.
const dbUser = "shop"

// All that the toy understands: a parser of SQL it isn't.
const (
	sqlGet    = "SELECT value FROM orders WHERE id = $1"
	sqlAll    = "SELECT value FROM orders ORDER BY id"
	sqlCount  = "SELECT count(*) FROM orders"
	sqlPut    = "INSERT INTO orders (id, owner, value) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET value = excluded.value"
	sqlForget = "DELETE FROM orders WHERE owner = $1"
)

func serveDB(ctx context.Context, ln net.Listener, s *site) error {
	password, err := s.secret("DB_PASSWORD")
	if err != nil {
		return err
	}
	d := &db{site: s}
	if d.verifier, err = newVerifier(password); err != nil {
		return err
	}
	if d.rows, err = openStore[row](s.dir, "orders"); err != nil {
		return err
	}
	var owned sync.WaitGroup
	defer owned.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		owned.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			d.serve(c)
		})
	}
}

// serve answers one client until it has gone.
func (d *db) serve(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // a broken connection shows in what follows
	b := pgproto3.NewBackend(c, c)
	b.SetMaxBodyLen(maxAnswer)
	if err := d.logIn(c, b); err != nil {
		d.log.Printf("login: %v", err)
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01", Message: errProof.Error()})
		_ = b.Flush() // the client may have gone
		return
	}
	_ = c.SetDeadline(time.Time{}) // as above
	s := dbSession{db: d, Backend: b}
	for {
		m, err := b.Receive()
		if err != nil {
			return // the client has gone
		}
		if s.take(m); b.Flush() != nil {
			return
		}
	}
}

func (d *db) logIn(c net.Conn, b *pgproto3.Backend) error {
	first, err := b.ReceiveStartupMessage()
	for err == nil {
		if s, ok := first.(*pgproto3.StartupMessage); ok {
			if s.Parameters["user"] != dbUser {
				return fmt.Errorf("no user %q", s.Parameters["user"])
			}
			break
		}
		if _, err = c.Write([]byte{'N'}); err == nil { // no TLS here
			first, err = b.ReceiveStartupMessage()
		}
	}
	if err != nil {
		return err
	}
	answer, err := ask[*pgproto3.SASLInitialResponse](b, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, pgproto3.AuthTypeSASL)
	if err != nil {
		return err
	}
	final, err := d.verifier.check(string(answer.Data), func(challenge string) (string, error) {
		last, err := ask[*pgproto3.SASLResponse](b, &pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)}, pgproto3.AuthTypeSASLContinue)
		if err != nil {
			return "", err
		}
		return string(last.Data), nil
	})
	if err != nil {
		return err
	}
	b.Send(&pgproto3.AuthenticationSASLFinal{Data: []byte(final)})
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return b.Flush()
}

// ask sends a step of the login and returns the client's answer.
func ask[T pgproto3.FrontendMessage](b *pgproto3.Backend, m pgproto3.BackendMessage, kind uint32) (answer T, err error) {
	b.Send(m)
	if err = b.Flush(); err != nil {
		return answer, err
	}
	if err = b.SetAuthType(kind); err != nil {
		return answer, err
	}
	got, err := b.Receive()
	if err != nil {
		return answer, err
	}
	answer, ok := got.(T)
	if !ok {
		err = fmt.Errorf("the client says %T while it logs in", got)
	}
	return answer, err
}

// dbSession is a client that is logged in, with the one statement that it has prepared.
type dbSession struct {
	*pgproto3.Backend
	db     *db
	sql    string
	args   []string
	failed bool // until the client synchronises
}

func (s *dbSession) take(m pgproto3.FrontendMessage) {
	switch m := m.(type) {
	case *pgproto3.Sync:
		s.failed = false
		s.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return
	case *pgproto3.Query: // a ping, or what has no parameters
		if strings.HasPrefix(m.String, "--") {
			s.Send(&pgproto3.EmptyQueryResponse{})
		} else {
			s.fail(fmt.Errorf("this toy doesn't understand %.100q", m.String))
		}
		s.failed = false
		s.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return
	}
	if s.failed {
		return
	}
	switch m := m.(type) {
	case *pgproto3.Parse:
		s.sql = m.Query
		s.Send(&pgproto3.ParseComplete{})
	case *pgproto3.Bind:
		s.args = nil
		for _, p := range m.Parameters {
			s.args = append(s.args, string(p))
		}
		s.Send(&pgproto3.BindComplete{})
	case *pgproto3.Describe:
		if s.sql == sqlPut || s.sql == sqlForget {
			s.Send(&pgproto3.NoData{})
			return
		}
		const text = 25 // pg_type.oid
		s.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("value"), DataTypeOID: text, DataTypeSize: -1, TypeModifier: -1}}})
	case *pgproto3.Execute:
		values, err := s.db.run(s.sql, s.args)
		if err != nil {
			s.fail(err)
			return
		}
		for _, v := range values {
			s.Send(&pgproto3.DataRow{Values: [][]byte{v}})
		}
		s.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT " + strconv.Itoa(len(values)))})
	}
}

func (s *dbSession) fail(err error) {
	s.failed = true
	s.Send(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42601", Message: err.Error()})
}

// run does a statement, and returns the rows' only column.
func (d *db) run(sql string, args []string) ([][]byte, error) {
	switch {
	case sql == sqlGet && len(args) == 1:
		if r, ok := d.rows.get(args[0]); ok {
			return [][]byte{r.Value}, nil
		}
		return nil, nil
	case sql == sqlAll:
		var out [][]byte
		for _, r := range d.rows.all() {
			out = append(out, r.Value)
		}
		return out, nil
	case sql == sqlCount:
		return [][]byte{[]byte(strconv.Itoa(len(d.rows.all())))}, nil
	case sql == sqlPut && len(args) == 3:
		return nil, d.rows.put(args[0], row{Owner: args[1], Value: json.RawMessage(args[2])})
	case sql == sqlForget && len(args) == 1:
		return nil, d.rows.remove(func(r row) bool { return r.Owner == args[0] })
	}
	return nil, fmt.Errorf("this toy doesn't understand %.100q", sql)
}
