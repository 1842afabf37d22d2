package otlp

import (
	"strconv"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/telemetry"
)

// Metrics says a state as OTLP has it, and of how many points it is. Attributes are the labels of package exposition, so that rules and
// dashboards fit either way.
func Metrics(s *exposition.State, o Origin, now time.Time) (m *pb.MetricsData, points int) {
	p := &page{now: nanos(now)}
	p.requests(s.Snapshots)
	p.processes(s.Processes)
	var ends []*pb.NumberDataPoint
	for _, x := range s.Identities {
		ends = append(ends, p.float(time.Time{}, float64(x.Ends.UnixMilli())/1e3, text("service", x.Service)))
	}
	p.gauge("ward_identity_expiry_timestamp_seconds", "s", "When the certificate of a service ends, in Unix time.", ends)
	p.sum("ward_ledger_records", "{record}", "Records in the ledger.", []*pb.NumberDataPoint{p.integer(time.Time{}, s.Events)})
	p.sum("ward_spans_lost", "{span}", "Spans that weren't kept, because too many came at once.", []*pb.NumberDataPoint{p.integer(s.Start, int64(s.SpansLost))})
	p.apps(s)
	var sent, failed, dropped []*pb.NumberDataPoint
	for _, x := range s.Exports {
		to := []*common.KeyValue{text("endpoint", x.Endpoint), text("signal", x.Signal)}
		sent = append(sent, p.integer(s.Start, int64(x.Sent), to...))
		failed = append(failed, p.integer(s.Start, int64(x.Failed), to...))
		dropped = append(dropped, p.integer(s.Start, int64(x.Dropped), to...))
	}
	p.sum("ward_export_sent", "{item}", "Spans and points of metrics that a collector has taken.", sent)
	p.sum("ward_export_failed", "{request}", "Requests to a collector that failed.", failed)
	p.sum("ward_export_dropped", "{item}", "Spans and points of metrics that a collector never got, or refused.", dropped)
	for _, f := range s.Families() {
		p.own(s.Start, f)
	}
	p.gauge("ward_build_info", "1", "The version of Ward, with the value 1.", []*pb.NumberDataPoint{p.integer(time.Time{}, 1, text("version", s.Version))})
	return &pb.MetricsData{ResourceMetrics: []*pb.ResourceMetrics{{
		Resource: o.resource("ward"), ScopeMetrics: []*pb.ScopeMetrics{{Scope: o.scope(), Metrics: p.metrics}},
	}}}, p.points
}

// nanos is OTLP's time, 0 for none.
func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixNano(), 0))
}

// page gathers metrics.
type page struct {
	now     uint64
	metrics []*pb.Metric
	points  int
}

// integer is a point of a count since a start; zero is no start.
func (p *page) integer(start time.Time, v int64, labels ...*common.KeyValue) *pb.NumberDataPoint {
	return &pb.NumberDataPoint{Attributes: labels, StartTimeUnixNano: nanos(start), TimeUnixNano: p.now, Value: &pb.NumberDataPoint_AsInt{AsInt: v}}
}

func (p *page) float(start time.Time, v float64, labels ...*common.KeyValue) *pb.NumberDataPoint {
	return &pb.NumberDataPoint{Attributes: labels, StartTimeUnixNano: nanos(start), TimeUnixNano: p.now, Value: &pb.NumberDataPoint_AsDouble{AsDouble: v}}
}

func (p *page) gauge(name, unit, help string, points []*pb.NumberDataPoint) {
	p.add(&pb.Metric{Name: name, Unit: unit, Description: help, Data: &pb.Metric_Gauge{Gauge: &pb.Gauge{DataPoints: points}}}, len(points))
}

func (p *page) sum(name, unit, help string, points []*pb.NumberDataPoint) {
	p.add(&pb.Metric{Name: name, Unit: unit, Description: help, Data: &pb.Metric_Sum{Sum: &pb.Sum{
		DataPoints: points, AggregationTemporality: pb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, IsMonotonic: true,
	}}}, len(points))
}

func (p *page) own(start time.Time, f exposition.Family) {
	if !f.Counter {
		start = time.Time{}
	}
	var points []*pb.NumberDataPoint
	for _, x := range f.Points {
		var labels []*common.KeyValue
		for i := 0; i+1 < len(x.Labels); i += 2 {
			labels = append(labels, text(x.Labels[i], x.Labels[i+1]))
		}
		points = append(points, p.integer(start, x.Value, labels...))
	}
	if f.Counter {
		p.sum(f.Name, f.Unit, f.Help, points)
		return
	}
	p.gauge(f.Name, f.Unit, f.Help, points)
}

func (p *page) add(m *pb.Metric, points int) {
	if points > 0 {
		p.metrics = append(p.metrics, m)
		p.points += points
	}
}

func labelsOf(source string, l *telemetry.Label) []*common.KeyValue {
	all := []*common.KeyValue{text("source", source), text("caller", l.Caller), text("target", l.Target), text("route", l.Route), text("verdict", l.Verdict.String())}
	return all[:len(all):len(all)]
}

func (p *page) requests(all []telemetry.Snapshot) {
	var requests, in, out, open, lost []*pb.NumberDataPoint
	var took []*pb.HistogramDataPoint
	bounds := bounds()
	for i := range all {
		s := &all[i]
		lost = append(lost, p.integer(s.Start, int64(s.Lost), text("source", s.Source)))
		for j := range s.Samples {
			x := &s.Samples[j]
			labels := labelsOf(s.Source, &x.Label)
			for class, n := range x.Classes {
				if exposition.ShowsClass(x, class) {
					requests = append(requests, p.integer(s.Start, int64(n), append(labels, text("class", exposition.ClassName(class)))...))
				}
			}
			in = append(in, p.integer(s.Start, int64(x.In), labels...))
			out = append(out, p.integer(s.Start, int64(x.Out), labels...))
			open = append(open, p.integer(time.Time{}, x.Open, labels...))
			took = append(took, p.durations(s.Start, &x.Took, bounds, labels))
		}
		for _, l := range exposition.Unfailed(s.Samples) {
			requests = append(requests, p.integer(s.Start, 0, append(labelsOf(s.Source, &l), text("class", exposition.ClassName(5)))...))
		}
	}
	p.sum("ward_requests", "{request}", "Requests that ended, and connections at layer 4.", requests)
	p.sum("ward_request_bytes", "By", "Bytes of request bodies.", in)
	p.sum("ward_response_bytes", "By", "Bytes of response bodies.", out)
	p.gauge("ward_requests_in_progress", "{request}", "Requests under way.", open)
	p.add(&pb.Metric{Name: "ward_request_duration_seconds", Unit: "s", Description: "From a request's first byte to its answer's last.", Data: &pb.Metric_Histogram{
		Histogram: &pb.Histogram{DataPoints: took, AggregationTemporality: pb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE},
	}}, len(took))
	p.sum("ward_records_lost", "{record}", "Requests that were counted and not recorded, for want of room.", lost)
}

// bounds are those that package exposition shows, in seconds. The exponential histograms of OTLP would be off: ours are linear within a doubling.
func bounds() (out []float64) {
	for i := range telemetry.Buckets - 1 {
		if exposition.ShowsBound(i) {
			out = append(out, telemetry.Bound(i).Seconds())
		}
	}
	return out
}

func (p *page) durations(start time.Time, d *telemetry.Durations, bounds []float64, labels []*common.KeyValue) *pb.HistogramDataPoint {
	counts, at := make([]uint64, len(bounds)+1), 0
	for i, n := range d.Counts {
		counts[at] += n
		if i < telemetry.Buckets-1 && exposition.ShowsBound(i) {
			at++
		}
	}
	sum := float64(d.Sum) / 1e6
	return &pb.HistogramDataPoint{Attributes: labels, StartTimeUnixNano: nanos(start), TimeUnixNano: p.now, Count: d.Count(), Sum: &sum, BucketCounts: counts, ExplicitBounds: bounds}
}

func (p *page) apps(s *exposition.State) {
	var taken, lost, refused []*pb.NumberDataPoint
	for i := range s.Snapshots {
		from := &s.Snapshots[i]
		for _, x := range from.Apps {
			of := []*common.KeyValue{text("source", from.Source), text("service", x.Service)}
			taken = append(taken, p.integer(from.Start, int64(x.Taken), of...))
			lost = append(lost, p.integer(from.Start, int64(x.Lost), of...))
			refused = append(refused, p.integer(from.Start, int64(x.Refused), of...))
		}
	}
	for _, x := range s.AppsLost {
		lost = append(lost, p.integer(s.Start, int64(x.Lost), text("source", "control"), text("service", x.Service)))
	}
	p.sum("ward_application_spans", "{span}", "Spans that services sent.", taken)
	p.sum("ward_application_spans_lost", "{span}", "Of those, spans for which the service's own budget had no room.", lost)
	p.sum("ward_application_requests_refused", "{request}", "Requests with spans that were malformed, too large, or too many.", refused)
}

func (p *page) processes(all []exposition.Process) {
	var cpu, memory, start, restarts []*pb.NumberDataPoint
	for i := range all {
		x := &all[i]
		of := []*common.KeyValue{text("service", x.Service), text("replica", strconv.Itoa(x.Replica))}
		cpu = append(cpu, p.float(x.Start, x.CPU.Seconds(), of...))
		memory = append(memory, p.integer(time.Time{}, x.Memory, of...))
		start = append(start, p.float(time.Time{}, float64(x.Start.UnixMilli())/1e3, of...))
		restarts = append(restarts, p.integer(time.Time{}, int64(x.Restarts), of...))
	}
	p.sum("ward_process_cpu_seconds", "s", "Processor time that an instance of a service has used.", cpu)
	p.gauge("ward_process_resident_memory_bytes", "By", "Memory that an instance holds.", memory)
	p.gauge("ward_process_start_time_seconds", "s", "When it started, in Unix time.", start)
	p.sum("ward_service_restarts", "{restart}", "How often it was started again after it ended by itself.", restarts)
}
