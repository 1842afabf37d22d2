// Package search finds records of a ledger by kind, who, whom, time, identifier and text.
//
// Guarantee: it finds exactly what reading every record would find: the segments are the truth, and an index only says which blocks of 256
// records needn't be read. An index carries a MAC under the ledger's key; one that is missing, stale or forged is made anew from its segment,
// so nobody hides a record by it. Not guaranteed: that records are as they were written; that is ledger.Verify's. A text alone reads
// everything that the other conditions leave: about 0.1 s for each million of records in the page cache.
package search

import (
	"bytes"
	"encoding/json"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
)

// Query says which records are wanted. Zero fields want every one.
type Query struct {
	Kind    string // this kind, or those that begin so: "request.denied", "service"
	Service string // who or whom: by the service's name, its replica's or its SPIFFE ID
	Subject string
	Object  string
	Since   time.Time // not before
	Until   time.Time // not after
	ID      string    // of a denial, or of a trace
	Text    string    // in kind, source, who, whom or a detail, as it is written
	From    int64     // index
	Limit   int       // at most so many; 0 is all
	Newest  bool      // the newest first
}

// Values is the query as a URL has it; ParseQuery reads it.
func (q *Query) Values() url.Values {
	v := url.Values{}
	put := func(key, value string) {
		if value != "" {
			v.Set(key, value)
		}
	}
	number := func(key string, n int64) {
		if n != 0 {
			v.Set(key, strconv.FormatInt(n, 10))
		}
	}
	moment := func(key string, t time.Time) {
		if !t.IsZero() {
			v.Set(key, t.UTC().Format(time.RFC3339Nano))
		}
	}
	for key, to := range q.texts() {
		put(key, *to)
	}
	moment("since", q.Since)
	moment("until", q.Until)
	number("from", q.From)
	number("limit", int64(q.Limit))
	if q.Newest {
		v.Set("newest", "1")
	}
	return v
}

func (q *Query) texts() map[string]*string {
	return map[string]*string{"kind": &q.Kind, "service": &q.Service, "subject": &q.Subject, "object": &q.Object, "id": &q.ID, "text": &q.Text}
}

// maxText bounds what is asked for, in bytes.
const maxText = 4096

// ParseQuery reads a query from a URL. What it doesn't know is none of its own; what it can't read is fault.Invalid, never left out.
func ParseQuery(v url.Values) (Query, error) {
	var q Query
	bad := func(key string) (Query, error) {
		return Query{}, fault.New(fault.Invalid, key+" can't be read")
	}
	for key, to := range q.texts() {
		if *to = v.Get(key); len(*to) > maxText {
			return bad(key)
		}
	}
	for key, to := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		s := v.Get(key)
		t, err := time.Parse(time.RFC3339Nano, s)
		if s != "" && err != nil {
			return bad(key)
		}
		if s != "" {
			*to = t
		}
	}
	for key, most := range map[string]int64{"from": math.MaxInt64, "limit": 1 << 30} {
		s := v.Get(key)
		if s == "" {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || n > most {
			return bad(key)
		}
		if key == "from" {
			q.From = n
		} else {
			q.Limit = int(n)
		}
	}
	switch v.Get("newest") {
	case "", "0":
	case "1":
		q.Newest = true
	default:
		return bad("newest")
	}
	return q, nil
}

// Match tells whether a record is wanted; Limit and Newest aside.
func (q *Query) Match(r *ledger.Record) bool {
	return r.Index >= q.From && q.matchWho(who{r.Kind, r.Subject, r.Object}) && !r.Time.Before(q.Since) && (q.Until.IsZero() || !r.Time.After(q.Until)) &&
		(q.ID == "" || r.Detail["id"] == q.ID || r.Detail["trace"] == q.ID) && (q.Text == "" || hasText(r, q.Text))
}

// who is what an index tells apart.
type who struct{ kind, subject, object string }

func (q *Query) matchWho(w who) bool {
	return (q.Kind == "" || w.kind == q.Kind || strings.HasPrefix(w.kind, q.Kind+".")) &&
		(q.Service == "" || concerns(w.subject, q.Service) || concerns(w.object, q.Service)) &&
		(q.Subject == "" || concerns(w.subject, q.Subject)) && (q.Object == "" || concerns(w.object, q.Object))
}

// concerns tells whether an event's name is what was asked for: by its name, its replica's or its SPIFFE ID.
func concerns(name, asked string) bool {
	return name == asked || strings.HasPrefix(name, asked+".") || strings.HasSuffix(name, "/svc/"+asked)
}

func hasText(r *ledger.Record, text string) bool {
	for _, s := range []string{r.Kind, r.Source, r.Subject, r.Object} {
		if strings.Contains(s, text) {
			return true
		}
	}
	for k, v := range r.Detail {
		if strings.Contains(k, text) || strings.Contains(v, text) {
			return true
		}
	}
	return false
}

// quoted is how a line has a text: what doesn't hold it needn't be decoded.
func quoted(text string) []byte {
	b, _ := json.Marshal(text) // a string has no error
	return b[1 : len(b)-1]
}

// head is what is read of a line without decoding all of it.
type head struct {
	who
	time time.Time
}

// readHead reads a line as the ledger writes it; ok is false for one that is written otherwise, which takes a decoder. The strings alias the
// line.
func readHead(line []byte) (h head, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(`,"time":"`))
	if !ok || bytes.IndexByte(line[:len(line)-len(rest)], '\\') >= 0 {
		return head{}, false
	}
	at, rest, ok := bytes.Cut(rest, []byte(`","kind":"`))
	if !ok {
		return head{}, false
	}
	if h.time, ok = readTime(at); !ok {
		return head{}, false
	}
	for i, to := range []*string{&h.kind, &h.subject, &h.object} {
		if i > 0 {
			key := [...]string{"", `,"subject":"`, `,"object":"`}[i]
			if !bytes.HasPrefix(rest, []byte(key)) {
				continue
			}
			rest = rest[len(key):]
		}
		end := bytes.IndexByte(rest, '"')
		if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
			return head{}, false
		}
		*to, rest = string(rest[:end]), rest[end+1:]
	}
	return h, true
}

func readTime(b []byte) (t time.Time, ok bool) {
	return t, t.UnmarshalText(b) == nil
}
