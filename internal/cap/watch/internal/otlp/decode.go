package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/telemetry"
)

// Limits of what is read.
const (
	MaxRequest = 4 << 20 // bytes, not compressed
	maxParts   = 1 << 16 // messages within one: of two bytes each may become hundreds in memory
	maxDepth   = 24
	maxNested  = 3 // arrays and maps within a value
)

var errTooMuch = errors.New("the request has too many parts, or too deep ones")

// DecodeTraces reads an ExportTraceServiceRequest (OTLP 1.x, opentelemetry/proto/collector/trace/v1) of at most MaxRequest. What a resource, a scope, a
// link or an event says is left out, but for an exception's type and message; the rest is cut to the limits of telemetry.App. Whose spans they are isn't
// read from it. What shows that it is a secret or a card's number, and what prints knows (nil: nothing), is asterisks. refused counts spans whose IDs or
// times can't be.
func DecodeTraces(b []byte, f Format, prints *leak.Fingerprints) (all []telemetry.SpanRecord, refused int, err error) {
	var m pb.TracesData
	if len(b) > MaxRequest {
		return nil, 0, errTooMuch
	}
	switch f {
	case Protobuf:
		parts := 0
		if err := countParts(b, traces, 0, &parts); err != nil {
			return nil, 0, err
		}
		err = proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxDepth}.Unmarshal(b, &m)
	case JSON:
		if err := countObjects(b); err != nil {
			return nil, 0, err
		}
		err = protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxDepth}.Unmarshal(b, &m)
	default:
		return nil, 0, errors.New("read spans: no format")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read spans: %w", err)
	}
	d := &reader{format: f, prints: prints}
	for _, r := range m.ResourceSpans {
		for _, s := range r.GetScopeSpans() {
			for _, x := range s.GetSpans() {
				if record, ok := d.received(x); ok {
					all = append(all, record)
				} else {
					refused++
				}
			}
		}
	}
	return all, refused, nil
}

// part is a kind of message.
type part uint8

const (
	notCounted part = iota
	inside          // a message or a text of which no more is counted
	traces
	resourceSpans
	resourceOf
	entity
	scopeSpans
	scopeOf
	spanOf
	event
	link
	keyValue
	anyValue
	array
	pairs
)

// within is the kind of a field, of those that may be there again and again, or that hold such (opentelemetry/proto: trace, common and resource v1).
func within(p part, n protowire.Number) part {
	switch p {
	case traces:
		return pick(n, 1, resourceSpans)
	case resourceSpans:
		return max(pick(n, 1, resourceOf), pick(n, 2, scopeSpans))
	case resourceOf:
		return max(pick(n, 1, keyValue), pick(n, 3, entity))
	case entity:
		return max(pick(n, 3, inside), pick(n, 4, inside))
	case scopeSpans:
		return max(pick(n, 1, scopeOf), pick(n, 2, spanOf))
	case scopeOf:
		return pick(n, 3, keyValue)
	case spanOf:
		return max(pick(n, 9, keyValue), pick(n, 11, event), pick(n, 13, link), pick(n, 15, inside))
	case event:
		return pick(n, 3, keyValue)
	case link:
		return pick(n, 4, keyValue)
	case keyValue:
		return pick(n, 2, anyValue)
	case anyValue:
		return max(pick(n, 5, array), pick(n, 6, pairs))
	case array:
		return pick(n, 1, anyValue)
	case pairs:
		return pick(n, 1, keyValue)
	}
	return notCounted
}

func pick(n, want protowire.Number, p part) part {
	if n == want {
		return p
	}
	return notCounted
}

// countParts counts what is within a message, before memory is taken for it.
func countParts(b []byte, p part, depth int, parts *int) error {
	if depth > maxDepth {
		return errTooMuch
	}
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return fmt.Errorf("read spans: %w", protowire.ParseError(size))
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(n, kind, b); size < 0 {
			return fmt.Errorf("read spans: %w", protowire.ParseError(size))
		}
		if inner := within(p, n); inner != notCounted && kind == protowire.BytesType {
			if *parts++; *parts > maxParts {
				return errTooMuch
			}
			value, _ := protowire.ConsumeBytes(b)
			if inner != inside {
				if err := countParts(value, inner, depth+1, parts); err != nil {
					return err
				}
			}
		}
		b = b[size:]
	}
	return nil
}

// countObjects is countParts for JSON: of objects, and of how deep they and arrays are.
func countObjects(b []byte) error {
	objects, depth, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if c == '{' {
				objects++
			}
			if depth++; depth > 2*maxDepth || objects > maxParts {
				return errTooMuch
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// readID is an ID of a length as a format has it (see id).
func readID(to, b []byte, f Format) bool {
	if f == JSON {
		text := base64.StdEncoding.EncodeToString(b)
		if len(text) != 2*len(to) {
			return false
		}
		_, err := hex.Decode(to, []byte(text))
		return err == nil
	}
	return copy(to, b) == len(b) && len(b) == len(to)
}

// reader cuts and masks what it reads.
type reader struct {
	format Format
	prints *leak.Fingerprints // nil: only what shows by itself
}

func (d *reader) received(s *pb.Span) (telemetry.SpanRecord, bool) {
	var r telemetry.SpanRecord
	f := d.format
	ok := readID(r.Trace[:], s.GetTraceId(), f) && readID(r.ID[:], s.GetSpanId(), f) && (len(s.GetParentSpanId()) == 0 || readID(r.Parent[:], s.GetParentSpanId(), f))
	from, to := s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano()
	if !ok || r.Trace == (telemetry.TraceID{}) || r.ID == (telemetry.SpanID{}) || from > to || to > math.MaxInt64 {
		return r, false
	}
	r.Start, r.Took = int64(from), time.Duration(to-from)
	a := &telemetry.App{Name: d.clip(s.GetName(), telemetry.MaxName), Failed: s.GetStatus().GetCode() == pb.Status_STATUS_CODE_ERROR, Message: d.clip(s.GetStatus().GetMessage(), telemetry.MaxValue)}
	if k := s.GetKind(); k >= 0 && k <= pb.Span_SPAN_KIND_CONSUMER {
		a.Kind = telemetry.Kind(k)
	}
	add := func(kv *common.KeyValue) {
		if len(a.Attributes) >= telemetry.MaxAttributes {
			a.Cut++
			return
		}
		x := telemetry.Attribute{Key: d.clip(kv.GetKey(), telemetry.MaxKey), Value: d.clip(d.words(kv.GetValue(), 0), telemetry.MaxValue)}
		if a.Size()+len(x.Key)+len(x.Value) > telemetry.MaxApp-maxService {
			a.Cut++
			return
		}
		a.Attributes = append(a.Attributes, x)
	}
	for _, e := range s.GetEvents() {
		for _, kv := range e.GetAttributes() {
			if k := kv.GetKey(); k == "exception.type" || k == "exception.message" {
				add(kv)
			}
		}
	}
	for _, kv := range s.GetAttributes() {
		add(kv)
	}
	r.App = a
	return r, true
}

// maxService is room for the name of who sent it.
const maxService = 64

// words are a value as one line.
func (d *reader) words(v *common.AnyValue, depth int) string {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *common.AnyValue_BytesValue:
		return hex.EncodeToString(x.BytesValue[:min(len(x.BytesValue), telemetry.MaxValue)])
	case *common.AnyValue_ArrayValue:
		var all []string
		for _, v := range few(x.ArrayValue.GetValues(), depth) {
			all = append(all, d.clip(d.words(v, depth+1), telemetry.MaxValue))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case *common.AnyValue_KvlistValue:
		var all []string
		for _, kv := range few(x.KvlistValue.GetValues(), depth) {
			all = append(all, d.clip(kv.GetKey(), telemetry.MaxKey)+": "+d.clip(d.words(kv.GetValue(), depth+1), telemetry.MaxValue))
		}
		return "{" + strings.Join(all, ", ") + "}"
	}
	return ""
}

// few are no more of a list than can be shown, and none where it is too deep.
func few[T any](all []T, depth int) []T {
	if depth >= maxNested {
		return nil
	}
	return all[:min(len(all), telemetry.MaxAttributes)]
}

// clip masks what is a secret or a card's number, and cuts a text to a number of bytes, in one line without control characters.
func (d *reader) clip(s string, most int) string {
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = d.mask(s) // before it is cut: half a secret doesn't show that it is one
	if len(s) <= most {
		return s
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func (d *reader) mask(s string) string {
	line := []byte(s)
	var tokens leak.Tokens
	tokens.Mask(line, func(string) {})
	if d.prints != nil && len(line) >= leak.MinValue || digits(line) >= shortestCard {
		f := d.prints.Finder(true, func(leak.Finding) {})
		line = f.Flush(f.Mask(nil, line))
	}
	return string(line)
}

func digits(b []byte) (n int) {
	for _, c := range b {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	return n
}

// shortestCard is how many digits the number of a payment card has at least (ISO/IEC 7812).
const shortestCard = 13
