package otlp

import (
	"encoding/json"
	"fmt"
	"mime"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// partial reads ExportTraceServiceResponse or ExportMetricsServiceResponse: how many items were refused, and why. Their fields have the same
// numbers: partial_success 1; in it the count 1, and error_message 2. What can't be read says nothing.
func partial(b []byte, contentType string) (refused uint64, why string) {
	if kind, _, err := mime.ParseMediaType(contentType); err == nil && kind == "application/json" {
		return partialJSON(b)
	}
	fields(b, func(n protowire.Number, inner []byte, _ uint64) {
		if n != 1 || inner == nil {
			return
		}
		fields(inner, func(n protowire.Number, text []byte, v uint64) {
			switch {
			case n == 1 && text == nil:
				refused = v
			case n == 2 && text != nil:
				why = string(text)
			}
		})
	})
	return refused, why
}

// fields calls f with each field of a message that is bytes or a varint, until it is at the end or can't be read on.
func fields(b []byte, f func(n protowire.Number, text []byte, v uint64)) {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return
		}
		b = b[size:]
		switch kind {
		case protowire.BytesType:
			text, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return
			}
			f(n, text[:len(text):len(text)], 0)
			b = b[size:]
		case protowire.VarintType:
			v, size := protowire.ConsumeVarint(b)
			if size < 0 {
				return
			}
			f(n, nil, v)
			b = b[size:]
		default:
			size := protowire.ConsumeFieldValue(n, kind, b)
			if size < 0 {
				return
			}
			b = b[size:]
		}
	}
}

func partialJSON(b []byte) (refused uint64, why string) {
	var r struct {
		PartialSuccess struct {
			RejectedSpans      any // a number, or its digits (protobuf's JSON)
			RejectedDataPoints any
			ErrorMessage       string
		}
	}
	if json.Unmarshal(b, &r) != nil {
		return 0, ""
	}
	for _, x := range []any{r.PartialSuccess.RejectedSpans, r.PartialSuccess.RejectedDataPoints} {
		switch x := x.(type) {
		case float64:
			refused += uint64(max(0, min(x, 1<<53)))
		case string:
			n, _ := strconv.ParseUint(x, 10, 63)
			refused += n
		}
	}
	return refused, r.PartialSuccess.ErrorMessage
}

// Answer is an ExportTraceServiceResponse that says how many spans were refused; none is full success.
func Answer(refused int, f Format) []byte {
	const why = "an ID or a time isn't one"
	switch {
	case f == JSON && refused > 0:
		return fmt.Appendf(nil, `{"partialSuccess":{"rejectedSpans":"%d","errorMessage":%q}}`, refused, why)
	case f == JSON:
		return []byte("{}")
	case refused == 0:
		return nil
	}
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(refused))
	inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), why)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
}
