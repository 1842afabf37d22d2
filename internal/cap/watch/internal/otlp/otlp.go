// Package otlp speaks OTLP over HTTP (the OpenTelemetry protocol 1.x), in protobuf and in JSON: it says what was counted and which spans are
// kept as collectors understand it, and sends that.
//
// Guarantee: the names, labels and bounds are those of package exposition, without "_total"; counts are cumulative, so that a message which is
// lost loses no count; who sends never waits, what is queued is bounded, and what is dropped is counted; headers, which hold keys, go to the
// endpoint alone: no redirect is followed, and no error or log holds one. Not guaranteed: that a collector keeps what it was sent.
package otlp

import (
	"encoding/base64"
	"encoding/hex"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Format is how a message is written.
type Format uint8

// The formats.
const (
	Unknown Format = iota
	Protobuf
	JSON
)

// ContentType is the media type of a format.
func (f Format) ContentType() string {
	if f == JSON {
		return "application/json"
	}
	return "application/x-protobuf"
}

// marshal writes a message whose IDs were made by id for the same format.
func marshal(m proto.Message, f Format) ([]byte, error) {
	if f == JSON {
		return protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m) // OTLP has no names of enums in JSON
	}
	return proto.Marshal(m)
}

// id is an ID as the message has it. In JSON OTLP wants hex where protobuf writes base64: then it is the bytes whose base64 reads as the hex.
// Both lengths of IDs leave nothing to pad.
func id(b []byte, f Format) []byte {
	if f != JSON {
		return b
	}
	out, _ := base64.StdEncoding.DecodeString(hex.EncodeToString(b)) // digits of hex are digits of base64
	return out
}

// Origin is the application that is watched, as all that is sent names it.
type Origin struct {
	Namespace string // service.namespace
	Version   string // of Ward
}

func (o Origin) resource(service string) *resource.Resource {
	return &resource.Resource{Attributes: []*common.KeyValue{
		text("service.name", service), text("service.namespace", o.Namespace), text("telemetry.sdk.name", "ward"),
	}}
}

func (o Origin) scope() *common.InstrumentationScope {
	return &common.InstrumentationScope{Name: "ward", Version: o.Version}
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}
