package export

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

// nasty is what an attacker can write into a ledger.
func nasty() ledger.Record {
	return ledger.Record{Index: 7, Event: wire.Event{
		Source: "agent-1", Time: time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC), Kind: "request.denied", Subject: "web|a=b", Object: `p\ay]"ments`, Count: 3,
		Detail: map[string]string{"path": "/a=b\n<13>1 - forged\r|CEF:0|x", "method": "GET", "reason": `un"decl]ared\`, "odd key=]\"": "ü\x00\xff"},
	}}
}

func TestCEFEscapesWhatSeparates(t *testing.T) {
	r := nasty()
	want := `CEF:0|wardhq|ward|1|request.denied|request denied|5|rt=1795348800123 dvchost=host externalId=7 suser=web|a\=b duser=p\\ay]"ments cnt=3 deviceProcessName=agent-1 ` +
		`requestMethod=GET wardOddKey=ü ` + "\ufffd" + ` request=/a\=b\n<13>1 - forged\r|CEF:0|x reason=un"decl]ared\\`
	if d := cmp.Diff(want, string(CEF("host", &r))); d != "" {
		t.Error(d)
	}
	r = ledger.Record{Event: wire.Event{Kind: "a|b\\c\nd"}}
	if got := string(CEF("", &r)); !strings.HasPrefix(got, `CEF:0|wardhq|ward|1|a\|b\\c d|a\|b\\c d|1|rt=`) {
		t.Error(got)
	}
}

// rfc5424 is the grammar of §6 as far as Ward's messages use it.
var rfc5424 = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ward - ([!-~]{1,32}) ((?:\[[!-~]{1,32}(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\])+) ([^\n]*)$`)

// param is a parameter of structured data.
var param = regexp.MustCompile(` ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"`)

// parse reads a message as a receiver does.
func parse(t *testing.T, message string) map[string]string {
	t.Helper()
	m := rfc5424.FindStringSubmatch(message)
	if m == nil {
		t.Fatalf("not RFC 5424: %q", message)
	}
	out := map[string]string{"pri": m[1], "time": m[2]}
	for _, p := range param.FindAllStringSubmatch(m[5], -1) {
		out[p[1]] = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\]`, `]`).Replace(p[2])
	}
	return out
}

func TestSyslogIsRFC5424(t *testing.T) {
	r := nasty()
	want := map[string]string{
		"pri": "108", "time": "2026-11-22T12:00:00.123456Z", "index": "7", "kind": "request.denied", "source": "agent-1", "subject": "web|a=b", "object": `p\ay]"ments`, "count": "3",
		"path": `/a=b\n<13>1 - forged |CEF:0|x`, "method": "GET", "reason": `un"decl]ared\`, "odd_key___": "ü \ufffd",
	}
	if d := cmp.Diff(want, parse(t, string(Syslog("host", &r)))); d != "" {
		t.Error(d)
	}
	parse(t, string(Syslog("", &ledger.Record{}))) // nothing at all is a message too
}

func FuzzFormats(f *testing.F) {
	f.Add("request.denied", "web", "payments", "path", "/x")
	f.Add("a|\\", "\n", "=]", "\"", "\\]")
	f.Fuzz(func(t *testing.T, kind, subject, object, key, value string) {
		r := ledger.Record{Event: wire.Event{Kind: kind, Subject: subject, Object: object, Detail: map[string]string{key: value}}}
		for name, format := range Formats() {
			if b := format("host", &r); bytes.ContainsAny(b, "\n\r\x00") && name != "jsonl" || bytes.ContainsRune(b, '\n') {
				t.Errorf("%s of %+v has an end of a line: %q", name, r, b)
			}
		}
		parse(t, string(Syslog("host", &r)))
		var again ledger.Record
		if err := json.Unmarshal(JSON("", &r), &again); err != nil {
			t.Error(err)
		}
	})
}

// receiver takes octet-counted events from one connection.
func receiver(t *testing.T, ln net.Listener) <-chan string {
	t.Helper()
	out := make(chan string, 100)
	go func() {
		defer close(out)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			n, err := r.ReadString(' ')
			if err != nil {
				return
			}
			size, err := strconv.Atoi(strings.TrimSuffix(n, " "))
			if err != nil {
				out <- "bad count " + n
				return
			}
			b := make([]byte, size)
			if _, err := io.ReadFull(r, b); err != nil {
				out <- "cut"
				return
			}
			out <- string(b)
		}
	}()
	return out
}

func TestReceiversGetEachRecordOnce(t *testing.T) {
	cert, roots := selfSigned(t)
	for network, listen := range map[string]func() (net.Listener, error){
		"tcp": func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		"tls": func() (net.Listener, error) {
			return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		},
	} {
		t.Run(network, func(t *testing.T) {
			ln, err := listen()
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			got := receiver(t, ln)
			var pem []byte
			if network == "tls" {
				pem = roots
			}
			target, err := ParseTarget(network+"://"+ln.Addr().String(), pem)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Dial(t.Context(), target, Syslog)
			if err != nil {
				t.Fatal(err)
			}
			r := nasty()
			for i := range 50 {
				r.Index = int64(i)
				if err := s.Send(&r); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			n := 0
			for m := range got {
				if parse(t, m)["index"] != fmt.Sprint(n) {
					t.Fatalf("event %d: %s", n, m)
				}
				n++
			}
			if n != 50 {
				t.Errorf("%d events", n)
			}
		})
	}
	t.Run("tls with a stranger", func(t *testing.T) {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		receiver(t, ln)
		target, err := ParseTarget("tls://"+ln.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Dial(t.Context(), target, CEF); err == nil {
			s.Close()
			t.Error("a receiver that nobody vouches for got the ledger")
		}
	})
	t.Run("udp", func(t *testing.T) {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		target, err := ParseTarget("udp://"+c.LocalAddr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Dial(t.Context(), target, Syslog)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range 3 {
			r := nasty()
			r.Index = int64(i)
			if err := s.Send(&r); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1<<16)
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := c.ReadFrom(b)
			if err != nil || parse(t, string(b[:n]))["index"] != fmt.Sprint(i) {
				t.Errorf("%q, %v", b[:n], err)
			}
		}
	})
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"tls://siem.example.com:6514", "udp://[::1]:514", "tcp://x", "http://x:1", "tcp://u:p@x:1", "tcp://x:1/a", "tls://:1", "tcp://x:99999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s, nil)
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(target.address); err != nil || target.network != "udp" && target.network != "tcp" && target.network != "tls" {
			t.Errorf("%q: %+v", s, target)
		}
	})
}

func TestParseTargetRefuses(t *testing.T) {
	for _, s := range []string{"", "siem:514", "tcp://x", "http://x:1", "tcp://u:p@x:1", "tcp://x:1/a", "tls://:1", "tcp://x:99999", "tcp:x:1"} {
		if target, err := ParseTarget(s, nil); err == nil {
			t.Errorf("%q: %+v", s, target)
		}
	}
}
