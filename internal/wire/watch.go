package wire

import (
	"context"
	"net/http"
	"strconv"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/telemetry"
)

// Window asks for what happened in the last seconds: 1 to 60, 30 if it isn't said.
type Window struct{ Seconds int }

func (w *Window) readQuery(get func(string) string) error {
	w.Seconds = 30
	if s := get("window"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 60 {
			return fault.New(fault.Invalid, "window is a number of seconds from 1 to 60")
		}
		w.Seconds = n
	}
	return nil
}

// Report tells control what was counted (agents and the gateway only).
func (c *Client) Report(ctx context.Context, s telemetry.Snapshot) error {
	return c.Call(ctx, http.MethodPost, "/v1/telemetry", s, nil)
}

// Spans are what a role tells of traces, and Wanted are those that are of interest now.
type (
	Spans struct {
		Spans telemetry.SpanRecords `json:"spans,omitempty"`
		Fresh telemetry.TraceIDs    `json:"fresh,omitempty"` // that have become of interest
	}
	Wanted struct {
		Traces []telemetry.TraceID `json:"traces,omitempty"`
	}
)

// ReportSpans tells control of spans, and learns which traces are of interest elsewhere (agents and the gateway only).
func (c *Client) ReportSpans(ctx context.Context, s Spans) (Wanted, error) {
	var out Wanted
	return out, c.Call(ctx, http.MethodPost, "/v1/spans", s, &out)
}
