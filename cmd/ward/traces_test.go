package main

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/telemetry"
)

// A gateway that was taken over reports a span as the parent of its own parent, so that none is at the top.
func TestACircleOfSpansHidesNothing(t *testing.T) {
	t.Parallel()
	span := func(id, parent byte, target string) telemetry.SpanRecord {
		return telemetry.SpanRecord{ID: telemetry.SpanID{id}, Parent: telemetry.SpanID{parent}, Label: telemetry.Label{Caller: "web", Target: target, Route: "GET /"}, Took: 1}
	}
	var out strings.Builder
	if err := printTrace(&out, []telemetry.SpanRecord{span(0, 0, "nobody"), span(1, 9, "top"), span(2, 1, "below"), span(3, 4, "orders"), span(4, 3, "catalog"), span(4, 4, "self")}); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"nobody", "top", "below", "orders", "catalog", "self"} {
		if strings.Count(out.String(), " "+target+" ") != 1 {
			t.Errorf("%s isn't shown once:\n%s", target, out.String())
		}
	}
}
