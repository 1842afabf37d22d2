// Package exposition writes what was counted as Prometheus text (version 0.0.4) and as OpenMetrics 1.0.
//
// Guarantee: the same counts give the same bytes; label values are escaped, so that no name can begin a line; a histogram's buckets grow, and
// its last one is its count. Not guaranteed: that all buckets of telemetry are shown: those below a millisecond are one doubling in two.
package exposition

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/telemetry"
)

// Process is what a running instance of a service uses.
type Process struct {
	Service  string
	Replica  int
	CPU      time.Duration // used since it started
	Memory   int64         // resident, bytes
	Restarts int
	Start    time.Time
}

// Identity is a service's certificate.
type Identity struct {
	Service string
	Ends    time.Time
}

// State is all that is shown.
type State struct {
	Version    string // of Ward
	Snapshots  []telemetry.Snapshot
	Processes  []Process
	Identities []Identity
	// Events counts the ledger's records.
	Events int64
	// SpansLost counts spans that weren't kept, because they came in too quick a succession.
	SpansLost uint64
	AppsLost  []telemetry.AppCount // of spans that services sent, at control
	Exports   []Export
	Own       Own
	Start     time.Time // when control began to count what it counts itself
}

// Export is what went to a collector.
type Export struct {
	Endpoint      string // its host
	Signal        string // metrics or traces
	Sent, Dropped uint64 // spans, or points of metrics
	Failed        uint64 // requests
	Queued        int    // spans or points that wait
}

// Content types of the two forms.
const (
	Text        = "text/plain; version=0.0.4; charset=utf-8"
	OpenMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// Negotiate is the form that an Accept field asks for: OpenMetrics where it is named, with no lower weight than text.
func Negotiate(accept string) string {
	weights := map[string]float64{}
	for _, part := range strings.Split(accept, ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		if v := params["version"]; kind == "application/openmetrics-text" && v != "" && v != "1.0.0" {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		weights[kind] = max(weights[kind], q)
	}
	if q := weights["application/openmetrics-text"]; q > 0 && q >= weights["text/plain"] {
		return OpenMetrics
	}
	return Text
}

// Write writes a state in one of the two forms.
func Write(w io.Writer, s *State, form string) error {
	p := &page{out: bufio.NewWriterSize(w, 64<<10), open: form == OpenMetrics}
	p.requests(s.Snapshots)
	p.processes(s.Processes)
	p.family("ward_identity_expiry_timestamp_seconds", "gauge", "seconds", "When the certificate of a service ends, in Unix time.")
	for _, x := range s.Identities {
		p.sample("ward_identity_expiry_timestamp_seconds", []string{"service", x.Service}, seconds(x.Ends))
	}
	p.family("ward_ledger_records_total", "counter", "", "Records in the ledger.")
	p.sample("ward_ledger_records_total", nil, strconv.FormatInt(s.Events, 10))
	p.family("ward_spans_lost_total", "counter", "", "Spans that weren't kept, because too many came at once.")
	p.sample("ward_spans_lost_total", nil, strconv.FormatUint(s.SpansLost, 10))
	p.apps(s)
	p.exports(s.Exports)
	p.own(s.Families())
	p.family("ward_build_info", "gauge", "", "The version of Ward, with the value 1.")
	p.sample("ward_build_info", []string{"version", s.Version}, "1")
	if p.open {
		p.out.WriteString("# EOF\n")
	}
	return p.out.Flush()
}

// page writes families. Errors of the writer stay in it until Flush.
type page struct {
	out  *bufio.Writer
	open bool // OpenMetrics
}

func (p *page) family(name, kind, unit, help string) {
	if p.open && kind == "counter" {
		name = strings.TrimSuffix(name, "_total") // a family of counters is named without it
	}
	fmt.Fprintf(p.out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	if p.open && unit != "" {
		fmt.Fprintf(p.out, "# UNIT %s %s\n", name, unit)
	}
}

// sample writes one line; labels are names and values in turn.
func (p *page) sample(name string, labels []string, value string) {
	p.out.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		p.out.WriteString([2]string{"{", ","}[min(i, 1)])
		p.out.WriteString(labels[i])
		p.out.WriteString(`="`)
		_, _ = escaper().WriteString(p.out, labels[i+1]) // as above
		p.out.WriteByte('"')
	}
	if len(labels) > 0 {
		p.out.WriteByte('}')
	}
	p.out.WriteByte(' ')
	p.out.WriteString(value)
	p.out.WriteByte('\n')
}

func escaper() *strings.Replacer { return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`) }

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', -1, 64)
}

func (p *page) requests(all []telemetry.Snapshot) {
	each := func(f func(x *telemetry.Sample, labels []string)) {
		for i := range all {
			samples := slices.Clone(all[i].Samples)
			slices.SortFunc(samples, func(a, b telemetry.Sample) int { return compare(&a.Label, &b.Label) })
			for j := range samples {
				f(&samples[j], labelsOf(all[i].Source, &samples[j].Label))
			}
		}
	}
	p.family("ward_requests_total", "counter", "", "Requests that ended, and connections at layer 4.")
	each(func(x *telemetry.Sample, labels []string) {
		for class, n := range x.Classes {
			if ShowsClass(x, class) {
				p.sample("ward_requests_total", append(labels[:len(labels):len(labels)], "class", ClassName(class)), strconv.FormatUint(n, 10))
			}
		}
	})
	for i := range all {
		for _, l := range Unfailed(all[i].Samples) {
			p.sample("ward_requests_total", append(labelsOf(all[i].Source, &l), "class", ClassName(5)), "0")
		}
	}
	p.family("ward_request_bytes_total", "counter", "bytes", "Bytes of request bodies.")
	each(func(x *telemetry.Sample, labels []string) {
		p.sample("ward_request_bytes_total", labels, strconv.FormatUint(x.In, 10))
	})
	p.family("ward_response_bytes_total", "counter", "bytes", "Bytes of response bodies.")
	each(func(x *telemetry.Sample, labels []string) {
		p.sample("ward_response_bytes_total", labels, strconv.FormatUint(x.Out, 10))
	})
	p.family("ward_requests_in_progress", "gauge", "", "Requests under way.")
	each(func(x *telemetry.Sample, labels []string) {
		p.sample("ward_requests_in_progress", labels, strconv.FormatInt(x.Open, 10))
	})
	p.family("ward_request_duration_seconds", "histogram", "seconds", "From a request's first byte to its answer's last.")
	each(p.durations)
	p.family("ward_records_lost_total", "counter", "", "Requests that were counted and not recorded, for want of room.")
	for i := range all {
		p.sample("ward_records_lost_total", []string{"source", all[i].Source}, strconv.FormatUint(all[i].Lost, 10))
	}
}

func labelsOf(source string, l *telemetry.Label) []string {
	return []string{"source", source, "caller", l.Caller, "target", l.Target, "route", l.Route, "verdict", l.Verdict.String()}
}

// Unfailed are the labels of failures that didn't happen yet, where something was let pass: of a series that begins with its first failures, a
// rate shows none of them.
func Unfailed(samples []telemetry.Sample) []telemetry.Label {
	failed := map[telemetry.Label]bool{}
	for i := range samples {
		failed[samples[i].Label] = samples[i].Verdict == telemetry.Failed
	}
	var out []telemetry.Label
	for i := range samples {
		if l := samples[i].Label; l.Verdict == telemetry.Allowed {
			if l.Verdict = telemetry.Failed; !failed[l] {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, func(a, b telemetry.Label) int { return compare(&a, &b) })
	return out
}

// ShowsClass tells whether a class of answers is shown: those that there were, and from 0 on those of refusals (see telemetry.Meter.Read) and of
// failures.
func ShowsClass(x *telemetry.Sample, class int) bool {
	switch x.Verdict {
	case telemetry.Denied:
		return x.Classes[class] > 0 || class == 4
	case telemetry.Allowed, telemetry.Failed:
		return x.Classes[class] > 0 || class == 5
	}
	return x.Classes[class] > 0
}

// ShowsBound tells whether the bound of a bucket of telemetry is shown: each doubling, below a millisecond every other.
func ShowsBound(i int) bool {
	const millisecond = 6 // doublings from the lowest bound to 1.024 ms, less one
	octet, part := i/4, i%4
	return part == 0 && (octet >= millisecond-1 || octet%2 == 1)
}

func (p *page) durations(x *telemetry.Sample, labels []string) {
	const name = "ward_request_duration_seconds"
	var n uint64
	for i := range telemetry.Buckets - 1 {
		if i < len(x.Took.Counts) {
			n += x.Took.Counts[i]
		}
		if ShowsBound(i) {
			le := strconv.FormatFloat(telemetry.Bound(i).Seconds(), 'g', -1, 64)
			if p.open && !strings.ContainsAny(le, ".e") {
				le += ".0" // OpenMetrics writes bounds as floats
			}
			p.sample(name+"_bucket", append(labels[:len(labels):len(labels)], "le", le), strconv.FormatUint(n, 10))
		}
	}
	all := strconv.FormatUint(x.Took.Count(), 10)
	p.sample(name+"_bucket", append(labels[:len(labels):len(labels)], "le", "+Inf"), all)
	p.sample(name+"_sum", labels, strconv.FormatFloat(float64(x.Took.Sum)/1e6, 'f', -1, 64))
	p.sample(name+"_count", labels, all)
}

func compare(a, b *telemetry.Label) int {
	return slices.Compare([]string{a.Caller, a.Target, a.Route, a.Verdict.String()}, []string{b.Caller, b.Target, b.Route, b.Verdict.String()})
}

// ClassName is the label of a class of answers.
func ClassName(class int) string {
	if class == 0 {
		return "none"
	}
	return strconv.Itoa(class) + "xx"
}

func (p *page) apps(s *State) {
	for _, f := range []struct {
		name, help string
		value      func(*telemetry.AppCount) uint64
		more       []telemetry.AppCount
	}{
		{"ward_application_spans_total", "Spans that services sent.", func(x *telemetry.AppCount) uint64 { return x.Taken }, nil},
		{"ward_application_spans_lost_total", "Of those, spans for which the service's own budget had no room.", func(x *telemetry.AppCount) uint64 { return x.Lost }, s.AppsLost},
		{"ward_application_requests_refused_total", "Requests with spans that were malformed, too large, or too many.", func(x *telemetry.AppCount) uint64 { return x.Refused }, nil},
	} {
		p.family(f.name, "counter", "", f.help)
		for i := range s.Snapshots {
			for j := range s.Snapshots[i].Apps {
				x := &s.Snapshots[i].Apps[j]
				p.sample(f.name, []string{"source", s.Snapshots[i].Source, "service", x.Service}, strconv.FormatUint(f.value(x), 10))
			}
		}
		for i := range f.more {
			p.sample(f.name, []string{"source", "control", "service", f.more[i].Service}, strconv.FormatUint(f.value(&f.more[i]), 10))
		}
	}
}

func (p *page) exports(all []Export) {
	for _, f := range []struct {
		name, help string
		value      func(*Export) uint64
	}{
		{"ward_export_sent_total", "Spans and points of metrics that a collector has taken.", func(x *Export) uint64 { return x.Sent }},
		{"ward_export_failed_total", "Requests to a collector that failed.", func(x *Export) uint64 { return x.Failed }},
		{"ward_export_dropped_total", "Spans and points of metrics that a collector never got, or refused.", func(x *Export) uint64 { return x.Dropped }},
	} {
		p.family(f.name, "counter", "", f.help)
		for i := range all {
			p.sample(f.name, []string{"endpoint", all[i].Endpoint, "signal", all[i].Signal}, strconv.FormatUint(f.value(&all[i]), 10))
		}
	}
}

func (p *page) processes(all []Process) {
	for _, f := range []struct {
		name, kind, unit, help string
		value                  func(*Process) string
	}{
		{"ward_process_cpu_seconds_total", "counter", "seconds", "Processor time that an instance of a service has used.", func(x *Process) string {
			return strconv.FormatFloat(x.CPU.Seconds(), 'f', -1, 64)
		}},
		{"ward_process_resident_memory_bytes", "gauge", "bytes", "Memory that an instance holds.", func(x *Process) string { return strconv.FormatInt(x.Memory, 10) }},
		{"ward_process_start_time_seconds", "gauge", "seconds", "When it started, in Unix time.", func(x *Process) string { return seconds(x.Start) }},
		{"ward_service_restarts_total", "counter", "", "How often it was started again after it ended by itself.", func(x *Process) string { return strconv.Itoa(x.Restarts) }},
	} {
		p.family(f.name, f.kind, f.unit, f.help)
		for i := range all {
			p.sample(f.name, []string{"service", all[i].Service, "replica", strconv.Itoa(all[i].Replica)}, f.value(&all[i]))
		}
	}
}
