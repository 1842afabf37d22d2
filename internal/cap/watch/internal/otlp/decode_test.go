package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/telemetry"
)

// request is what an application sends.
func request(all ...*pb.Span) *pb.TracesData {
	return &pb.TracesData{ResourceSpans: []*pb.ResourceSpans{{ScopeSpans: []*pb.ScopeSpans{{Spans: all}}}}}
}

// own is a span whose IDs are as a format has them.
func own(f Format, change func(*pb.Span)) *pb.Span {
	s := &pb.Span{
		TraceId: id([]byte("0123456789abcdef"), f), SpanId: id([]byte("01234567"), f), ParentSpanId: id([]byte("76543210"), f), Name: "SELECT orders", Kind: pb.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: uint64(noon.UnixNano()), EndTimeUnixNano: uint64(noon.UnixNano() + 5),
	}
	if change != nil {
		change(s)
	}
	return s
}

func value(v any) *common.AnyValue {
	switch v := v.(type) {
	case string:
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}
	case int:
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(v)}}
	case float64:
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: v}}
	case bool:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v}}
	case []byte:
		return &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: v}}
	case []*common.AnyValue:
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: v}}}
	case []*common.KeyValue:
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: v}}}
	}
	return nil
}

// both reads the same request in both formats, which must say the same.
func both(t *testing.T, make func(f Format) *pb.TracesData) ([]telemetry.SpanRecord, int) {
	t.Helper()
	var all [2][]telemetry.SpanRecord
	var refused [2]int
	for i, f := range []Format{Protobuf, JSON} {
		b, err := marshal(make(f), f)
		if err != nil {
			t.Fatal(err)
		}
		if all[i], refused[i], err = DecodeTraces(b, f, nil); err != nil {
			t.Fatalf("%v: %v", f, err)
		}
	}
	if d := cmp.Diff(all[0], all[1]); d != "" || refused[0] != refused[1] {
		t.Errorf("JSON says something else: %v %s", refused, d)
	}
	return all[0], refused[0]
}

func TestASpanOfAnApplicationIsRead(t *testing.T) {
	got, refused := both(t, func(f Format) *pb.TracesData {
		return request(own(f, func(s *pb.Span) {
			s.Status = &pb.Status{Code: pb.Status_STATUS_CODE_ERROR, Message: "gone"}
			s.Attributes = []*common.KeyValue{
				{Key: "db.system", Value: value("postgresql")},
				{Key: "n", Value: value(-3)},
				{Key: "f", Value: value(0.5)},
				{Key: "nan", Value: value(math.NaN())},
				{Key: "b", Value: value(true)},
				{Key: "raw", Value: value([]byte{1, 0xab})},
				{Key: "list", Value: value([]*common.AnyValue{value("a"), value(2)})},
				{Key: "map", Value: value([]*common.KeyValue{{Key: "k", Value: value("v")}})},
				{Key: "none"},
				{Key: "deep", Value: value([]*common.AnyValue{value([]*common.AnyValue{value([]*common.AnyValue{value([]*common.AnyValue{value("too deep")})})})})},
			}
			s.Events = []*pb.Span_Event{{Name: "exception", Attributes: []*common.KeyValue{{Key: "exception.type", Value: value("Timeout")}, {Key: "exception.stacktrace", Value: value("long")}}}}
		}))
	})
	want := []telemetry.SpanRecord{{
		Trace: telemetry.TraceID([]byte("0123456789abcdef")), ID: telemetry.SpanID([]byte("01234567")), Parent: telemetry.SpanID([]byte("76543210")), Start: noon.UnixNano(), Took: 5,
		App: &telemetry.App{Name: "SELECT orders", Kind: telemetry.KindClient, Failed: true, Message: "gone", Attributes: []telemetry.Attribute{
			{Key: "exception.type", Value: "Timeout"},
			{Key: "db.system", Value: "postgresql"},
			{Key: "n", Value: "-3"},
			{Key: "f", Value: "0.5"},
			{Key: "nan", Value: "NaN"},
			{Key: "b", Value: "true"},
			{Key: "raw", Value: "01ab"},
			{Key: "list", Value: "[a, 2]"},
			{Key: "map", Value: "{k: v}"},
			{Key: "none"},
			{Key: "deep", Value: "[[[[]]]]"},
		}},
	}}
	if d := cmp.Diff(want, got); d != "" || refused != 0 {
		t.Error(refused, d)
	}
}

func TestHexMayBeUpperCase(t *testing.T) {
	all, refused, err := DecodeTraces([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","name":"x","kind":2,"unknown":{"a":[1]},
		"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"attributes":[{"key":"n","value":{"intValue":"7"}}]}]}]}]}`), JSON, nil)
	if err != nil || refused != 0 || all[0].Trace.String() != "5b8efff798038103d269b633813fc60c" || all[0].ID.String() != "eee19b7ec3c1b174" || all[0].Took != time.Second || all[0].App.Attributes[0].Value != "7" {
		t.Error(all, refused, err)
	}
}

func TestWrongIDsAndTimesAreRefusedAndTheRestIsTaken(t *testing.T) {
	for name, change := range map[string]func(*pb.Span){
		"no trace": func(s *pb.Span) { s.TraceId = nil }, "a short trace": func(s *pb.Span) { s.TraceId = s.TraceId[:12] }, "a long trace": func(s *pb.Span) { s.TraceId = append(s.TraceId[:len(s.TraceId):len(s.TraceId)], s.TraceId...) },
		"no ID": func(s *pb.Span) { s.SpanId = nil }, "a trace of zeroes": func(s *pb.Span) { clear(s.TraceId) }, "a long ID": func(s *pb.Span) { s.SpanId = s.TraceId }, "a long parent": func(s *pb.Span) { s.ParentSpanId = s.TraceId },
		"an end before its start": func(s *pb.Span) { s.EndTimeUnixNano = 1 }, "an end after all time": func(s *pb.Span) { s.EndTimeUnixNano = math.MaxUint64 },
	} {
		t.Run(name, func(t *testing.T) {
			all, refused, err := DecodeTraces(binary(t, request(own(Protobuf, change), own(Protobuf, nil))), Protobuf, nil)
			if err != nil || len(all) != 1 || refused != 1 {
				t.Error(all, refused, err)
			}
			text, err := marshal(request(own(JSON, change), own(JSON, nil)), JSON)
			if err != nil {
				t.Fatal(err)
			}
			if all, refused, err := DecodeTraces(text, JSON, nil); name != "a trace of zeroes" && (err != nil || len(all) != 1 || refused != 1) {
				t.Error(all, refused, err)
			}
		})
	}
	if _, refused, err := DecodeTraces([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"WVhCd2JHVnpZWEJ3YkdWeg==","spanId":"eee19b7ec3c1b174"},{"traceId":"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz","spanId":"eee19b7ec3c1b174"}]}]}]}`), JSON, nil); err != nil || refused != 2 {
		t.Error("IDs that aren't hex:", refused, err)
	}
}

func binary(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wrap puts a message into a field.
func wrap(n protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
}

func TestWhatWouldTakeMuchMemoryIsRefusedBefore(t *testing.T) {
	inSpan := func(n protowire.Number, b []byte) []byte { return wrap(1, wrap(2, wrap(2, wrap(n, b)))) }
	deep := func(levels int) []byte {
		b := wrap(1, []byte("x"))
		for range levels {
			b = wrap(5, wrap(1, b))
		}
		return inSpan(9, append(wrap(1, []byte("k")), wrap(2, b)...))
	}
	many := 1 << 17
	for name, b := range map[string][]byte{
		"empty spans":        wrap(1, wrap(2, []byte(strings.Repeat(string(wrap(2, nil)), many)))),
		"empty resources":    []byte(strings.Repeat(string(wrap(1, nil)), many)),
		"empty attributes":   wrap(1, wrap(2, wrap(2, []byte(strings.Repeat(string(wrap(9, nil)), many))))),
		"empty array values": inSpan(9, wrap(2, wrap(5, []byte(strings.Repeat(string(wrap(1, nil)), many))))),
		"entities' keys":     wrap(1, wrap(1, wrap(3, []byte(strings.Repeat(string(wrap(3, nil)), many))))),
		"depth":              deep(2000),
		"more than 4 MB":     make([]byte, MaxRequest+1),
	} {
		if _, _, err := DecodeTraces(b, Protobuf, nil); err == nil || !strings.Contains(err.Error(), "too many parts") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := DecodeTraces(deep(3), Protobuf, nil); err != nil {
		t.Errorf("a little depth: %v", err)
	}
	for name, text := range map[string]string{
		"empty spans":                            `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat("{},", many) + `{}]}]}]}`,
		"depth":                                  `{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}",
		"objects that are hidden behind a quote": `{"a":"\"","resourceSpans":[` + strings.Repeat("{},", many) + `{}]}`,
	} {
		if _, _, err := DecodeTraces([]byte(text), JSON, nil); err == nil || !strings.Contains(err.Error(), "too many parts") {
			t.Errorf("%s in JSON: %v", name, err)
		}
	}
	if _, _, err := DecodeTraces([]byte(`{"resourceSpans":[{"schemaUrl":"`+strings.Repeat("{[", many)+`"}]}`), JSON, nil); err != nil {
		t.Errorf("braces in a text: %v", err)
	}
}

// TestNothingThatRepeatsIsForgotten: the counting knows each field of the protocol's messages that is repeated or holds others.
func TestNothingThatRepeatsIsForgotten(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var look func(m protoreflect.MessageDescriptor, p part)
	look = func(m protoreflect.MessageDescriptor, p part) {
		if seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if f.Message() == nil && !f.IsList() {
				continue
			}
			inner := within(p, f.Number())
			if inner == notCounted {
				t.Errorf("%s isn't counted", f.FullName())
			}
			if f.Message() != nil && inner != inside {
				look(f.Message(), inner)
			}
		}
	}
	look((&pb.TracesData{}).ProtoReflect().Descriptor(), traces)
	if len(seen) < 11 {
		t.Errorf("only %v", seen)
	}
}

func TestTextsAreCutAndPlain(t *testing.T) {
	got, _ := both(t, func(f Format) *pb.TracesData {
		return request(own(f, func(s *pb.Span) {
			s.Name, s.Status = "a\x1b[31m\nb\u202e"+strings.Repeat("ä", 5000), &pb.Status{Message: strings.Repeat("m", 5000)}
			for i := range 100 {
				s.Attributes = append(s.Attributes, &common.KeyValue{Key: fmt.Sprint(i) + strings.Repeat("k", 5000), Value: value(strings.Repeat("<", 5000))})
			}
		}))
	})
	a := got[0].App
	if !a.IsPlain() || !strings.HasPrefix(a.Name, "a [31m b ää") || !strings.HasSuffix(a.Name, "…") || len(a.Name) > telemetry.MaxName {
		t.Errorf("%q %d", a.Name, a.Size())
	}
	if len(a.Attributes) == 0 || len(a.Attributes)+a.Cut != 100 {
		t.Error(len(a.Attributes), a.Cut)
	}
}

func TestSecretsAreMaskedBeforeTheyAreCut(t *testing.T) {
	const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	pad := strings.Repeat("p ", telemetry.MaxValue/2-8)
	got, _ := both(t, func(f Format) *pb.TracesData {
		return request(own(f, func(s *pb.Span) {
			s.Name, s.Status = "GET "+token, &pb.Status{Message: "card 4111 1111 1111 1111"}
			for i, v := range []any{token, pad + token, "x " + token + " y", 4111111111111111, []*common.AnyValue{value(token)}, []*common.KeyValue{{Key: token, Value: value(token)}}, []*common.KeyValue{{Key: "k", Value: value([]*common.AnyValue{value("5555555555554444")})}}} {
				s.Attributes = append(s.Attributes, &common.KeyValue{Key: fmt.Sprint(i), Value: value(v)})
			}
			s.Attributes = append(s.Attributes, &common.KeyValue{Key: token, Value: value("by key")})
		}))
	})
	all := fmt.Sprintf("%+v", *got[0].App)
	for _, bad := range []string{"01234567", "4111 1111", "411111111111", "555555555555"} {
		if strings.Contains(all, bad) {
			t.Errorf("%s is in %s", bad, all)
		}
	}
	if !strings.Contains(all, "by key") || !strings.Contains(all, "****") {
		t.Error(all)
	}
}

// TestKnownSecretsAreMasked in whatever form they stand, of whichever service they are.
func TestKnownSecretsAreMasked(t *testing.T) {
	const known = "correct-horse-9-battery" // has no form that shows what it is
	b, err := marshal(request(own(JSON, func(s *pb.Span) {
		s.Name, s.Status = "login "+known, &pb.Status{Message: url.QueryEscape(known + "/+")}
		s.Attributes = []*common.KeyValue{{Key: known, Value: value("of " + known)}, {Key: "b", Value: value(base64.StdEncoding.EncodeToString([]byte(known)))}, {Key: "l", Value: value([]*common.AnyValue{value(known)})}}
	})), JSON)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(prints *leak.Fingerprints) string {
		got, _, err := DecodeTraces(b, JSON, prints)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		return fmt.Sprintf("%+v", *got[0].App)
	}
	if all := shown(leak.Make([]leak.Secret{{Name: "db", Value: secret.New([]byte(known))}})); strings.Contains(all, "horse") || strings.Contains(all, "Y29ycmVjd") || !strings.Contains(all, "login ****") {
		t.Error(all)
	}
	if all := shown(nil); !strings.Contains(all, "login "+known) {
		t.Error("without prints nothing is known:", all)
	}
}

// TestAnswersAreRead is what a client written by the same rules makes of them.
func TestAnswersAreRead(t *testing.T) {
	for _, f := range []Format{Protobuf, JSON} {
		if n, why := partial(Answer(3, f), f.ContentType()); n != 3 || why == "" {
			t.Error(f, n, why)
		}
		if n, why := partial(Answer(0, f), f.ContentType()); n != 0 || why != "" {
			t.Error(f, n, why)
		}
	}
}

func FuzzDecodeTraces(f *testing.F) {
	text, err := marshal(request(own(JSON, nil)), JSON)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, true)
	f.Add(binary(f, request(own(Protobuf, func(s *pb.Span) {
		s.Attributes = []*common.KeyValue{{Key: "k", Value: value([]*common.AnyValue{value("ghp_0123456789abcdefghijABCDEFGHIJ012345")})}}
	}))), false)
	prints := leak.Make([]leak.Secret{{Name: "s", Value: secret.New([]byte("correct-horse-9-battery"))}})
	hexed, _ := hex.DecodeString("0a02120a")
	f.Add(hexed, false)
	f.Fuzz(func(t *testing.T, b []byte, isJSON bool) {
		format := Protobuf
		if isJSON {
			format = JSON
		}
		all, _, err := DecodeTraces(b, format, prints)
		if err != nil && all != nil {
			t.Error("spans and an error")
		}
		for i := range all {
			x := &all[i]
			if x.App == nil || !x.App.IsPlain() || x.Took < 0 || x.Start < 0 || x.Trace == (telemetry.TraceID{}) {
				t.Errorf("%+v", x)
			}
		}
	})
}

// BenchmarkDecodeTraces is a batch as libraries send it: 512 spans with 10 attributes.
func BenchmarkDecodeTraces(b *testing.B) {
	for name, f := range map[string]Format{"protobuf": Protobuf, "JSON": JSON} {
		var all []*pb.Span
		for range 512 {
			all = append(all, own(f, func(s *pb.Span) {
				for i := range 10 {
					s.Attributes = append(s.Attributes, &common.KeyValue{Key: fmt.Sprint("http.request.header.", i), Value: value("the value of a header, or what it may be")})
				}
			}))
		}
		text, err := marshal(request(all...), f)
		if err != nil {
			b.Fatal(err)
		}
		var secrets []leak.Secret
		for i := range 100 {
			secrets = append(secrets, leak.Secret{Name: fmt.Sprint(i), Value: secret.New([]byte(fmt.Sprint("correct-horse-battery-", i)))})
		}
		for of, prints := range map[string]*leak.Fingerprints{"": nil, ", 100 secrets known": leak.Make(secrets)} {
			b.Run(name+of, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := DecodeTraces(text, f, prints); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
