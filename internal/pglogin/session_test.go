package pglogin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/postgres"
)

func dial(t testing.TB, port int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func roots(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

func TestLoginAtARealServer(t *testing.T) {
	r := postgres.StartRemote(t, "db.example")
	other := postgres.StartRemote(t, "db.example")
	r.Exec(t, "postgres", `CREATE ROLE old LOGIN PASSWORD 'md5`+strings.Repeat("0", 32)+`'; CREATE ROLE barred NOLOGIN PASSWORD 'x'; CREATE ROLE "ü" LOGIN PASSWORD 'pä,=n ''cil'; CREATE ROLE trusted LOGIN PASSWORD 'x'`)
	good := &tls.Config{ServerName: "db.example", RootCAs: roots(r.CA)}
	for name, c := range map[string]struct {
		user, password, database string
		tls                      *tls.Config
		fails                    string
		refused                  bool
	}{
		"without TLS":                {user: "ward", password: "ward admin"},
		"with TLS":                   {user: "ward", password: "ward admin", tls: good},
		"with odd characters":        {user: "ü", password: "pä,=n 'cil", tls: good},
		"another name":               {user: "ward", password: "ward admin", tls: &tls.Config{ServerName: "db2.example", RootCAs: roots(r.CA)}, fails: "certificate"},
		"another authority":          {user: "ward", password: "ward admin", tls: &tls.Config{ServerName: "db.example", RootCAs: roots(other.CA)}, fails: "certificate"},
		"a wrong password":           {user: "ward", password: "ward", tls: good, fails: "28P01", refused: true},
		"nobody":                     {user: "nobody", password: "ward", fails: "28P01", refused: true},
		"an MD5 password":            {user: "old", password: "x", fails: "28P01", refused: true},
		"one who may not":            {user: "barred", password: "x", fails: "28000", refused: true},
		"no such database":           {user: "ward", password: "ward admin", database: "nowhere", fails: "3D000"},
		"a setting that is none":     {user: "ward", password: "ward admin", database: "setting", fails: "22023"},
		"a NUL in the user's name":   {user: "ward\x00database\x00postgres", password: "ward admin", fails: "NUL"},
		"a password of zero length":  {user: "ward", fails: "28P01", refused: true},
		"a very long wrong password": {user: "ward", password: strings.Repeat("x", 5000), fails: "28P01", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := Login{User: c.user, Password: secret.New([]byte(c.password)), Database: "postgres", TLS: c.tls, Parameters: map[string]string{"application_name": "test"}}
			switch c.database {
			case "setting":
				l.Parameters["client_encoding"] = "none"
			case "nowhere":
				l.Database = c.database
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			s, err := Connect(ctx, dial(t, r.Port), l)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || IsRefused(err) != c.refused {
					t.Fatalf("%v, want %s (refused: %t)", err, c.fails, c.refused)
				}
				if c.password != "" && strings.Contains(err.Error(), c.password) && c.password != "ward" && c.password != "x" {
					t.Error("the error holds the password")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, err := s.Run(ctx, "SELECT current_user || ' ' || current_setting('application_name') || ' ' || (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()); SELECT pg_backend_pid()")
			want := fmt.Sprintf("[%s test %t %d]", c.user, c.tls != nil, s.Key.PID)
			if err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s, want %s: %v", got, want, err)
			}
			if _, err := s.Run(ctx, "SELECT 1; nonsense"); Code(err) != "42601" {
				t.Errorf("nonsense: %v", err)
			}
			if got, err := s.Run(ctx, "SELECT 'alive'"); err != nil || got[0] != "alive" {
				t.Errorf("after an error: %v, %v", got, err)
			}
		})
	}
}

func TestCancelEndsAQuery(t *testing.T) {
	r := postgres.StartRemote(t, "db.example")
	config := &tls.Config{ServerName: "db.example", RootCAs: roots(r.CA)}
	s, err := Connect(t.Context(), dial(t, r.Port), Login{User: "ward", Password: secret.New([]byte("ward admin")), Database: "postgres", TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Run(context.Background(), "SELECT pg_sleep(60)")
		ended <- err
	}()
	wrong := Key{PID: s.Key.PID, Secret: bytes.Clone(s.Key.Secret)}
	wrong.Secret[0] ^= 1
	for _, k := range []Key{wrong, s.Key} {
		for { // the query may not have begun
			if err := Cancel(t.Context(), dial(t, r.Port), config, k); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if bytes.Equal(k.Secret, wrong.Secret) || Code(err) != "57014" {
					t.Errorf("the query's end: %v", err)
				}
				return
			case <-time.After(20 * time.Millisecond):
			}
			if bytes.Equal(k.Secret, wrong.Secret) {
				break
			}
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	r := postgres.StartRemote(t, "db.example")
	s, err := Connect(t.Context(), dial(t, r.Port), Login{User: "ward", Password: secret.New([]byte("ward admin")), Database: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Run(ctx, "SELECT pg_sleep(60)"); err == nil || Code(err) != "" {
		t.Errorf("%v", err)
	}
}

// rogue answers a login with a script: each string is written after a message of the client's was read.
func rogue(t *testing.T, script ...string) (c net.Conn, all func() string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var heard bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		in := bufio.NewReader(theirs)
		for i, say := range script {
			skip := 0
			if i > 0 {
				skip = 1 // the type
			}
			head, err := in.Peek(skip + 4)
			if err != nil {
				return
			}
			if _, err := io.CopyN(&heard, in, int64(skip)+int64(binary.BigEndian.Uint32(head[skip:]))); err != nil {
				return
			}
			say = strings.ReplaceAll(say, nonceHere, nonceOf(heard.String()))
			if _, err := io.WriteString(theirs, say); err != nil {
				return
			}
		}
	}()
	return ours, func() string {
		ours.Close()
		<-done
		return heard.String()
	}
}

// nonceHere stands for the client's nonce in a script, and is as long.
const nonceHere = "THE-NONCE-OF-THE-CLIENT-26"

// nonceOf finds a client's nonce in what it said.
func nonceOf(s string) string {
	_, n, ok := strings.Cut(s, "n=,r=")
	if !ok {
		return ""
	}
	return n[:len(nonceHere)]
}

func typed(kind byte, body string) string { return string(message{kind, []byte(body)}.append(nil)) }

func auth(kind uint32, rest string) string {
	return typed('R', string(binary.BigEndian.AppendUint32(nil, kind))+rest)
}

func TestRogueServersAreRefused(t *testing.T) {
	const password = "a very secret password"
	salt := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	sasl := auth(authSASL, "SCRAM-SHA-256\x00\x00")
	next := func(s string) string { return auth(authContinue, s) }
	good := next("r=" + nonceHere + "more,s=" + salt + ",i=4096")
	signature := auth(authFinal, "v="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	ok := auth(authOK, "")
	for name, c := range map[string]struct {
		tls    bool
		script []string
		want   string
	}{
		"asks for the password":             {script: []string{auth(3, "")}, want: "another login"},
		"asks for its MD5":                  {script: []string{auth(5, "salt")}, want: "another login"},
		"asks for nothing":                  {script: []string{ok + typed('Z', "I")}, want: "no password"},
		"offers other mechanisms":           {script: []string{auth(authSASL, "PLAIN\x00OAUTHBEARER\x00\x00")}, want: "no SCRAM"},
		"offers only the bound one":         {script: []string{auth(authSASL, scramPlus+"\x00\x00")}, want: "no SCRAM"},
		"is done before its turn":           {script: []string{sasl, ok}, want: "step 0"},
		"is done before it showed anything": {script: []string{sasl, good, ok}, want: "step 0"},
		"shows a wrong signature":           {script: []string{sasl, good, signature + ok}, want: "verifier"},
		"shows no signature":                {script: []string{sasl, good, auth(authFinal, "v=")}, want: "verifier"},
		"says why not":                      {script: []string{sasl, good, auth(authFinal, "e=other-error")}, want: "verifier"},
		"has another nonce":                 {script: []string{sasl, next("r=othermore,s=" + salt + ",i=4096")}, want: "nonce"},
		"adds nothing to the nonce":         {script: []string{sasl, next("r=" + nonceHere + ",s=" + salt + ",i=4096")}, want: "nonce"},
		"wants few iterations":              {script: []string{sasl, next("r=" + nonceHere + "more,s=" + salt + ",i=1")}, want: "iterations"},
		"wants very many iterations":        {script: []string{sasl, next("r=" + nonceHere + "more,s=" + salt + ",i=1048577")}, want: "iterations"},
		"has no salt":                       {script: []string{sasl, next("r=" + nonceHere + "more,s=,i=4096")}, want: "salt"},
		"has extensions":                    {script: []string{sasl, next("m=x,r=" + nonceHere + "more,s=" + salt + ",i=4096")}, want: "isn't one"},
		"sends a giant":                     {script: []string{"R\x7f\xff\xff\xff"}, want: "message of"},
		"sends less than a length":          {script: []string{"R\x00\x00\x00\x01"}, want: "message of"},
		"sends something else":              {script: []string{typed('T', "")}, want: "instead of how"},
		"negotiates":                        {script: []string{typed('v', "\x00\x00\x00\x00\x00\x00\x00\x00")}, want: "nobody asked"},
		"refuses TLS":                       {tls: true, script: []string{"N"}, want: "speaks no TLS"},
		"is too old for TLS":                {tls: true, script: []string{typed('E', "")}, want: "speaks no TLS"},
		"adds clear text to its yes":        {tls: true, script: []string{"S" + ok + typed('Z', "I")}, want: "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, all := rogue(t, c.script...)
			l := Login{User: "web", Password: secret.New([]byte(password)), Database: "shop"}
			if c.tls {
				l.TLS = &tls.Config{ServerName: "db.example"}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := Connect(ctx, conn, l)
			if err == nil || !strings.Contains(err.Error(), c.want) || IsRefused(err) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if strings.Contains(all(), password) {
				t.Error("the server got the password")
			}
		})
	}
}

func TestTheBestMechanismIsChosenAndADowngradeShows(t *testing.T) {
	binding := []byte("hash of the certificate")
	for name, c := range map[string]struct {
		offered         []string
		binding         []byte
		mechanism, says string
	}{
		"bound":                         {[]string{scramPlus, scram}, binding, scramPlus, "p=tls-server-end-point,,"},
		"the offer was taken away":      {[]string{scram}, binding, scram, "y,,"}, // a server that made it refuses
		"no channel to bind to":         {[]string{scramPlus, scram}, nil, scram, "n,,"},
		"nothing but what is known":     {[]string{"X", scram}, nil, scram, "n,,"},
		"a channel, and only the bound": {[]string{scramPlus}, binding, scramPlus, "p=tls-server-end-point,,"},
	} {
		x, err := newExchange(secret.New(nil), c.offered, c.binding)
		if err != nil || x.mechanism != c.mechanism || !strings.HasPrefix(string(x.first()), c.says+"n=,r=") {
			t.Errorf("%s: %+v, %v", name, x, err)
		}
	}
}

func TestGreetingPassesOnWhatTheServerSaid(t *testing.T) {
	s := Session{greeting: []byte(typed('S', "server_version\x0015\x00") + typed('Z', "I"))}
	var b bytes.Buffer
	if err := s.Greet(&b, &Startup{minor: 2, unsaid: []string{"_pq_.x"}}); err != nil {
		t.Fatal(err)
	}
	front := pgproto3.NewFrontend(&b, io.Discard)
	var kinds []string
	for {
		m, err := front.Receive()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, fmt.Sprintf("%T", m))
	}
	if got := strings.Join(kinds, " "); got != "*pgproto3.NegotiateProtocolVersion *pgproto3.AuthenticationOk *pgproto3.ParameterStatus *pgproto3.ReadyForQuery" {
		t.Error(got)
	}
}

// answers is a connection whose other end says something whatever it hears.
type answers struct {
	net.Conn
	io.Reader
}

func (a answers) Read(b []byte) (int, error)      { return a.Reader.Read(b) }
func (answers) Write(b []byte) (int, error)       { return len(b), nil }
func (answers) SetDeadline(time.Time) error       { return nil }
func (answers) Close() error                      { return nil }
func (a answers) SetReadDeadline(time.Time) error { return nil }

// FuzzServer: nothing that a server says is taken for a login by chance, since nobody knows the verifier.
func FuzzServer(f *testing.F) {
	f.Add([]byte(auth(authSASL, "SCRAM-SHA-256\x00\x00") + auth(authContinue, "r=x,s=eA==,i=4096") + auth(authFinal, "v=eA==") + auth(authOK, "") + typed('Z', "I")))
	f.Add([]byte(typed('E', "SFATAL\x00C28P01\x00Mno\x00\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Connect(context.Background(), answers{Reader: bytes.NewReader(b)}, Login{User: "u", Password: secret.New([]byte("p")), Database: "d"}); err == nil {
			t.Fatal("logged in")
		}
	})
}

func BenchmarkLogin(b *testing.B) {
	r := postgres.StartRemote(b, "db.example")
	for b.Loop() {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port))
		if err != nil {
			b.Fatal(err)
		}
		s, err := Connect(b.Context(), c, Login{User: "ward", Password: secret.New([]byte("ward admin")), Database: "postgres"})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
