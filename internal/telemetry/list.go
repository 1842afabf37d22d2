package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Lists of a report. What is read has at most as many items as their limits say: an item of two bytes must not become hundreds in memory.
type (
	Samples     []Sample
	SpanRecords []SpanRecord
	TraceIDs    []TraceID
	AppCounts   []AppCount
)

// Limits of lists.
const (
	MaxSamples = 20_000
	MaxSpans   = 8000
)

// UnmarshalJSON reads a list of at most MaxSamples.
func (s *Samples) UnmarshalJSON(b []byte) error { return readList(b, MaxSamples, (*[]Sample)(s)) }

// UnmarshalJSON reads a list of at most MaxSpans.
func (s *SpanRecords) UnmarshalJSON(b []byte) error {
	return readList(b, MaxSpans, (*[]SpanRecord)(s))
}

// UnmarshalJSON reads a list of at most MaxSpans.
func (s *TraceIDs) UnmarshalJSON(b []byte) error { return readList(b, MaxSpans, (*[]TraceID)(s)) }

// UnmarshalJSON reads a list of at most MaxSpans.
func (a *AppCounts) UnmarshalJSON(b []byte) error { return readList(b, MaxSpans, (*[]AppCount)(a)) }

func readList[T any](b []byte, most int, to *[]T) error {
	d := json.NewDecoder(bytes.NewReader(b))
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t == nil:
		*to = nil
		return nil
	case t != json.Delim('['):
		return fmt.Errorf("%v is no list", t)
	}
	var out []T
	for d.More() {
		if len(out) >= most {
			return fmt.Errorf("a report has at most %d of a kind", most)
		}
		var x T
		if err := d.Decode(&x); err != nil {
			return err
		}
		out = append(out, x)
	}
	*to = out
	return nil
}
