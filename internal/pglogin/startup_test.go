package pglogin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// client is what a client has written, and what it is answered.
type client struct {
	io.Reader
	bytes.Buffer
}

func (c *client) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func untyped(code uint32, rest string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(rest))+8)
	return string(binary.BigEndian.AppendUint32(b, code)) + rest
}

const v3 = 3 << 16

func TestReadStartup(t *testing.T) {
	tls, gss := untyped(codeTLS, ""), untyped(codeGSS, "")
	for name, c := range map[string]struct {
		in       string
		want     *Startup
		answered string
		refused  string // part of the sentence
		left     string // what nobody may have read
	}{
		"who it is doesn't matter": {
			in:   untyped(v3, "user\x00postgres\x00database\x00shop\x00application_name\x00psql\x00TimeZone\x00UTC\x00\x00"),
			want: &Startup{User: "postgres", Database: "shop", Parameters: map[string]string{"application_name": "psql", "TimeZone": "UTC"}},
		},
		"nothing at all":                      {in: untyped(v3, "\x00"), want: &Startup{Parameters: map[string]string{}}},
		"encryption is declined":              {in: gss + tls + untyped(v3, "user\x00a\x00\x00"), want: &Startup{User: "a", Parameters: map[string]string{}}, answered: "NN"},
		"what follows stays where it is":      {in: untyped(v3, "user\x00a\x00\x00") + "Q\x00\x00", want: &Startup{User: "a", Parameters: map[string]string{}}, left: "Q\x00\x00"},
		"a second startup is left unread":     {in: untyped(v3, "\x00") + untyped(v3, "user\x00postgres\x00\x00"), want: &Startup{Parameters: map[string]string{}}, left: untyped(v3, "user\x00postgres\x00\x00")},
		"a newer minor version":               {in: untyped(v3+2, "user\x00a\x00_pq_.x\x001\x00\x00"), want: &Startup{User: "a", Parameters: map[string]string{}, minor: 2, unsaid: []string{"_pq_.x"}}},
		"cancel":                              {in: untyped(codeCancel, "\x00\x00\x00\x07abcd"), want: &Startup{Cancel: &Key{PID: 7, Secret: []byte("abcd")}}},
		"cancel after encryption":             {in: tls + untyped(codeCancel, "\x00\x00\x00\x07abcd"), want: &Startup{Cancel: &Key{PID: 7, Secret: []byte("abcd")}}, answered: "N"},
		"cancel without key":                  {in: untyped(codeCancel, "\x00\x00\x00\x07"), refused: "key"},
		"replication":                         {in: untyped(v3, "user\x00a\x00replication\x00true\x00\x00"), refused: `"replication"`},
		"replication in capitals":             {in: untyped(v3, "user\x00a\x00Replication\x00database\x00\x00"), refused: `"Replication"`},
		"options":                             {in: untyped(v3, "user\x00a\x00options\x00-c role=postgres\x00\x00"), refused: `"options"`},
		"a role":                              {in: untyped(v3, "user\x00a\x00role\x00postgres\x00\x00"), refused: `"role"`},
		"another identity":                    {in: untyped(v3, "user\x00a\x00session_authorization\x00postgres\x00\x00"), refused: `"session_authorization"`},
		"a library":                           {in: untyped(v3, "user\x00a\x00local_preload_libraries\x00x\x00\x00"), refused: `"local_preload_libraries"`},
		"two users":                           {in: untyped(v3, "user\x00a\x00user\x00b\x00\x00"), refused: "no one reading"},
		"a name without value":                {in: untyped(v3, "user\x00a\x00x\x00"), refused: "no one reading"},
		"no end":                              {in: untyped(v3, "user\x00a"), refused: "no one reading"},
		"more behind the end":                 {in: untyped(v3, "user\x00a\x00\x00b\x00c\x00\x00"), refused: "no one reading"},
		"version 2":                           {in: untyped(2<<16, strings.Repeat("\x00", 288)), refused: "version 3"},
		"TLS from the first byte":             {in: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refused: "sslnegotiation"},
		"a giant":                             {in: "\x7f\xff\xff\xff" + "\x00\x03\x00\x00", refused: "isn't how"},
		"one byte more than PostgreSQL takes": {in: "\x00\x00\x27\x11" + "\x00\x03\x00\x00", refused: "isn't how"},
		"too short":                           {in: "\x00\x00\x00\x04", refused: "isn't how"},
		"encryption asked for again":          {in: tls + tls, answered: "N", refused: "twice"},
		"encryption with more":                {in: untyped(codeTLS, "x"), refused: "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.NewReader(c.in)
			conn := &client{Reader: in}
			got, err := ReadStartup(conn)
			var wrong *Error
			if c.refused != "" {
				if !errors.As(err, &wrong) || !strings.Contains(wrong.Message, c.refused) || IsRefused(err) {
					t.Fatalf("%v, want a refusal with %q", err, c.refused)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(Startup{})); d != "" {
				t.Error(d)
			}
			if conn.String() != c.answered {
				t.Errorf("answered %q", conn.String())
			}
			if left, _ := io.ReadAll(in); c.left != "" && string(left) != c.left {
				t.Errorf("left unread: %q", left)
			}
		})
	}
	if _, err := ReadStartup(&client{Reader: strings.NewReader("\x00\x00\x00\x20\x00\x03")}); err == nil {
		t.Error("half a message is read")
	}
}

func TestRefuseTellsClientsNothingOfAccounts(t *testing.T) {
	for err, want := range map[error]string{
		&Error{Code: "28P01", Message: "password authentication failed for user \"ward_shop\"", server: true}: "28000 Ward couldn't log in",
		&Error{Code: "53300", Message: "sorry, too many clients already", server: true}:                       "53300 sorry, too many",
		&Error{Code: CodeProtocol, Message: "no one reading"}:                                                 "08P01 no one reading",
		errors.New("dial 10.0.0.7:5432"):                                                                      "08006 Ward doesn't reach",
	} {
		var b bytes.Buffer
		Refuse(&b, err)
		got := strings.ReplaceAll(b.String(), "\x00", " ")
		for _, part := range strings.SplitN(want, " ", 2) {
			if !strings.Contains(got, part) {
				t.Errorf("%v: %q", err, got)
			}
		}
		if b.Bytes()[0] != 'E' || strings.Contains(got, "ward_shop") || strings.Contains(got, "10.0.0.7") {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// FuzzReadStartup: what is read says one thing, and nothing of what Ward says itself.
func FuzzReadStartup(f *testing.F) {
	f.Add([]byte(untyped(codeTLS, "") + untyped(v3, "user\x00a\x00database\x00b\x00application_name\x00c\x00\x00")))
	f.Add([]byte(untyped(codeCancel, "\x00\x00\x00\x07abcd")))
	f.Add([]byte(untyped(v3, "options\x00-c role=x\x00\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		conn := &client{Reader: bytes.NewReader(b)}
		s, err := ReadStartup(conn)
		if err != nil {
			return
		}
		if len(conn.Bytes()) > 2 {
			t.Errorf("answered %q", conn.String())
		}
		for name, value := range s.Parameters {
			switch strings.ToLower(name) {
			case "user", "database", "options", "replication", "role", "session_authorization", "":
				t.Errorf("%q would be passed on", name)
			}
			if strings.ContainsRune(name+value, 0) {
				t.Errorf("%q=%q", name, value)
			}
		}
	})
}
