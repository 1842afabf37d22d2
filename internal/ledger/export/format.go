// Package export writes records of a ledger for other systems: JSON lines, CEF (ArcSight Common Event Format 0.1) and syslog (RFC 5424), to a
// writer, or to a receiver over UDP, TCP or TLS (RFC 6587 octet counting, RFC 5425).
//
// Guarantee: whatever a record holds, one record is one event at the receiver: separators and line ends in values are escaped. Nothing is
// left out, and what a receiver's connection took is never sent again by the same Sender; over a connection that broke some may come twice.
// Not guaranteed: that a receiver over UDP got it, or that one over TCP kept it: syslog has no acknowledgement.
package export

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/ledger"
)

// Format turns a record into an event without its end.
type Format func(host string, r *ledger.Record) []byte

// Formats by their names.
func Formats() map[string]Format {
	return map[string]Format{"jsonl": JSON, "cef": CEF, "syslog": Syslog}
}

// JSON is the record as 'ward audit --json' prints it.
func JSON(_ string, r *ledger.Record) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(r) // a record has no value that JSON hasn't
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// severity of a kind: for CEF 0 to 10, and for syslog (RFC 5424 §6.2.1).
func severity(kind string) (cef, syslog int) {
	switch {
	case strings.HasPrefix(kind, "ledger.") || kind == "token.misused" || strings.HasPrefix(kind, "canary.") || kind == "secret.echo":
		return 8, 2 // critical
	case kind == "request.denied" || kind == "request.malformed" || strings.HasSuffix(kind, ".failed") || strings.HasSuffix(kind, ".refused"):
		return 5, 4 // warning
	case strings.HasPrefix(kind, "plan.") || strings.HasPrefix(kind, "state.") || strings.HasPrefix(kind, "user.") || strings.HasPrefix(kind, "finding."):
		return 3, 5 // notice
	}
	return 1, 6 // informational
}

// product is what CEF and syslog say of who speaks.
const product = "ward"

// CEF is an event of ArcSight's Common Event Format, version 0. In the head \ and | are escaped, in values \ and =, and ends of lines.
func CEF(host string, r *ledger.Record) []byte {
	level, _ := severity(r.Kind)
	b := []byte("CEF:0|wardhq|" + product + "|1|")
	b = append(appendHead(b, r.Kind), '|')
	b = append(appendHead(b, title(r.Kind)), '|')
	b = append(strconv.AppendInt(b, int64(level), 10), '|')
	put := func(key, value string) {
		if value == "" {
			return
		}
		if b[len(b)-1] != '|' {
			b = append(b, ' ')
		}
		b = append(append(b, key...), '=')
		b = appendValue(b, value)
	}
	put("rt", strconv.FormatInt(r.Time.UnixMilli(), 10))
	put("dvchost", host)
	put("externalId", strconv.FormatInt(r.Index, 10))
	put("suser", r.Subject)
	put("duser", r.Object)
	if r.Count > 1 {
		put("cnt", strconv.FormatInt(r.Count, 10))
	}
	put("deviceProcessName", r.Source)
	for _, k := range slices.Sorted(maps.Keys(r.Detail)) {
		switch k {
		case "method":
			put("requestMethod", r.Detail[k])
		case "path":
			put("request", r.Detail[k])
		case "reason":
			put("reason", r.Detail[k])
		default:
			put("ward"+key(k), r.Detail[k])
		}
	}
	return b
}

// title is a kind for people: "request.denied" is "request denied".
func title(kind string) string { return strings.ReplaceAll(kind, ".", " ") }

// key makes a CEF key of a detail's: letters and digits alone.
func key(s string) string {
	var b strings.Builder
	up := true
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z' && up:
			b.WriteByte(c - 'a' + 'A')
			up = false
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
			b.WriteByte(c)
			up = false
		default:
			up = true
		}
	}
	return b.String()
}

// appendHead escapes for CEF's head, which has no line ends.
func appendHead(b []byte, s string) []byte {
	for _, c := range []byte(valid(s)) {
		switch {
		case c == '\\' || c == '|':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendValue escapes for a value of CEF's extension.
func appendValue(b []byte, s string) []byte {
	for _, c := range []byte(valid(s)) {
		switch {
		case c == '\\' || c == '=':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < ' ' || c == 0x7f:
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return b
}

func valid(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// facility is log audit (RFC 5424 §6.2.1).
const facility = 13

// enterprise is the number of structured data that no registry has (RFC 5612: for examples and private use).
const enterprise = "32473"

// Syslog is a message of RFC 5424 with structured data.
func Syslog(host string, r *ledger.Record) []byte {
	_, level := severity(r.Kind)
	b := append([]byte{'<'}, strconv.Itoa(8*facility+level)...)
	b = append(b, ">1 "...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00") // at most six digits of a second (§6.2.3)
	b = appendName(append(b, ' '), host, 255)
	b = append(b, " "+product+" - "...)
	b = appendName(b, r.Kind, 32)
	b = append(b, " [event@"+enterprise...)
	put := func(key, value string) {
		if value == "" {
			return
		}
		b = append(b, ' ')
		b = append(appendName(b, key, 32), `="`...)
		for _, c := range []byte(valid(value)) {
			switch {
			case c == '"' || c == '\\' || c == ']': // §6.3.3
				b = append(b, '\\', c)
			case c == '\n': // receivers cut at it, whatever the count says
				b = append(b, `\\n`...)
			case c < ' ' || c == 0x7f:
				b = append(b, ' ')
			default:
				b = append(b, c)
			}
		}
		b = append(b, '"')
	}
	put("index", strconv.FormatInt(r.Index, 10))
	put("kind", r.Kind)
	put("source", r.Source)
	put("subject", r.Subject)
	put("object", r.Object)
	if r.Count > 1 {
		put("count", strconv.FormatInt(r.Count, 10))
	}
	if len(r.Detail) > 0 {
		b = append(b, "][detail@"+enterprise...)
		for _, k := range slices.Sorted(maps.Keys(r.Detail)) {
			put(k, r.Detail[k])
		}
	}
	b = append(b, "] "...)
	text := title(r.Kind) + ": " + r.Subject + " " + r.Object
	return appendHead(b, strings.TrimRight(strings.ReplaceAll(text, "|", "/"), ": "))
}

// appendName keeps what names of RFC 5424 may have: printable ASCII without space, = ] and ", at most so long; "-" for nothing.
func appendName(b []byte, s string, most int) []byte {
	n := 0
	for _, c := range []byte(s) {
		if n == most {
			break
		}
		if c <= ' ' || c >= 0x7f || c == '=' || c == ']' || c == '"' {
			c = '_'
		}
		b = append(b, c)
		n++
	}
	if n == 0 {
		b = append(b, '-')
	}
	return b
}

// patience is how long a receiver may take for one write.
const patience = 10 * time.Second
