package otlp

import (
	pb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/wardhq/ward/internal/telemetry"
)

// Traces says spans as OTLP has them, for a format. A hop is a span of the service that was asked, as if it had told of it; what reached none, and
// what the gateway saw, is of ward-agent and ward-gateway.
func Traces(all []telemetry.SpanRecord, o Origin, f Format) *pb.TracesData {
	by := map[string]*pb.ScopeSpans{}
	out := &pb.TracesData{}
	for i := range all {
		r := &all[i]
		of := owner(r)
		group := by[of]
		if group == nil {
			group = &pb.ScopeSpans{Scope: o.scope()}
			by[of] = group
			out.ResourceSpans = append(out.ResourceSpans, &pb.ResourceSpans{Resource: o.resource(of), ScopeSpans: []*pb.ScopeSpans{group}})
		}
		group.Spans = append(group.Spans, span(r, f))
	}
	return out
}

// owner is the service.name of a span.
func owner(r *telemetry.SpanRecord) string {
	if r.App != nil {
		return r.App.Service
	}
	if r.Source != "agent" || r.Label.Target == "" {
		return "ward-" + r.Source
	}
	return r.Label.Target
}

func span(r *telemetry.SpanRecord, f Format) *pb.Span {
	s := &pb.Span{
		TraceId: id(r.Trace[:], f), SpanId: id(r.ID[:], f), Name: r.Label.Route, Kind: pb.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: uint64(max(r.Start, 0)), EndTimeUnixNano: uint64(max(r.Start+int64(r.Took), 0)), Status: &pb.Status{},
	}
	if r.Parent != (telemetry.SpanID{}) {
		s.ParentSpanId = id(r.Parent[:], f)
	}
	if r.App != nil {
		s.Name, s.Kind, s.Status.Message = r.App.Name, pb.Span_SpanKind(r.App.Kind), r.App.Message
		for _, a := range r.App.Attributes {
			s.Attributes = append(s.Attributes, text(a.Key, a.Value))
		}
		if s.DroppedAttributesCount = uint32(r.App.Cut); r.App.Failed {
			s.Status.Code = pb.Status_STATUS_CODE_ERROR
		}
		return s
	}
	s.Attributes = append(s.Attributes, text("http.route", r.Label.Route), text("ward.caller", r.Label.Caller), text("ward.target", r.Label.Target),
		text("ward.verdict", r.Label.Verdict.String()), text("ward.source", r.Source), number("http.request.body.size", r.In), number("http.response.body.size", r.Out))
	if r.Status > 0 {
		s.Attributes = append(s.Attributes, number("http.response.status_code", int64(r.Status)))
	}
	if r.Status >= 500 || r.Label.Verdict == telemetry.Failed { // of a server's span, 4xx is no error (semantic conventions for HTTP)
		s.Status.Code = pb.Status_STATUS_CODE_ERROR
	}
	return s
}
