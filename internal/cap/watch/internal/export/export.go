// Package export makes what other monitoring needs of Ward: rules for Prometheus, and a dashboard for Grafana.
//
// Guarantee: they name only metrics that package exposition writes (a test holds them together), and promtool accepts each expression.
package export

import (
	_ "embed"
	"encoding/json"
)

//go:embed rules.yml
var rules []byte

// Rules are recording and alerting rules for Prometheus, YAML.
func Rules() []byte { return append([]byte(nil), rules...) }

// panel is one graph.
type panel struct {
	title, unit, kind string // kind: "timeseries", "stat" or "heatmap"
	width, height     int    // in Grafana's grid of 24 columns
	queries           []query
}

// query is an expression, and what names its series.
type query struct{ expr, legend string }

// scope narrows an expression to what the dashboard's variables choose.
const scope = `source="agent", caller=~"$caller", target=~"$target"`

func panels() []panel {
	const rate = `sum by (caller, target) (rate(ward_requests_total{` + scope
	return []panel{
		{"Calls let pass", "reqps", "stat", 6, 4, []query{{`sum(rate(ward_requests_total{` + scope + `, verdict="allow"}[$__rate_interval]))`, ""}}},
		{"Refused inside", "reqps", "stat", 6, 4, []query{{`sum(rate(ward_requests_total{` + scope + `, verdict="deny", caller!="GATEWAY"}[$__rate_interval]))`, ""}}},
		{"Refused at the gateway", "reqps", "stat", 6, 4, []query{{`sum(rate(ward_requests_total{source="gateway", verdict="deny"}[$__rate_interval]))`, ""}}},
		{"Errors", "percentunit", "stat", 6, 4, []query{{`sum(rate(ward_requests_total{` + scope + `, verdict=~"allow|fail", class="5xx", route!~"tcp|undeclared"}[$__rate_interval])) / sum(rate(ward_requests_total{` + scope + `, verdict=~"allow|fail", route!~"tcp|undeclared"}[$__rate_interval]))`, ""}}},
		{"Calls by edge", "reqps", "timeseries", 12, 8, []query{{rate + `, verdict="allow"}[$__rate_interval]))`, "{{caller}} → {{target}}"}}},
		{"Refused or failed by edge", "reqps", "timeseries", 12, 8, []query{{`sum by (caller, target, verdict) (rate(ward_requests_total{` + scope + `, verdict!="allow"}[$__rate_interval]))`, "{{caller}} → {{target}}: {{verdict}}"}}},
		{"Errors by service", "percentunit", "timeseries", 12, 8, []query{{`sum by (target) (rate(ward_requests_total{` + scope + `, verdict=~"allow|fail", class="5xx", route!~"tcp|undeclared"}[$__rate_interval])) / sum by (target) (rate(ward_requests_total{` + scope + `, verdict=~"allow|fail", route!~"tcp|undeclared"}[$__rate_interval]))`, "{{target}}"}}},
		{"Duration by service", "s", "timeseries", 12, 8, []query{
			{`histogram_quantile(0.5, sum by (target, le) (rate(ward_request_duration_seconds_bucket{` + scope + `, verdict="allow"}[$__rate_interval])))`, "{{target}} p50"},
			{`histogram_quantile(0.99, sum by (target, le) (rate(ward_request_duration_seconds_bucket{` + scope + `, verdict="allow"}[$__rate_interval])))`, "{{target}} p99"},
		}},
		{"Durations", "s", "heatmap", 12, 8, []query{{`sum by (le) (increase(ward_request_duration_seconds_bucket{` + scope + `, verdict="allow", route!="tcp"}[$__rate_interval]))`, "{{le}}"}}},
		{"Under way", "short", "timeseries", 12, 8, []query{{`sum by (target) (ward_requests_in_progress{` + scope + `})`, "{{target}}"}}},
		{"Processor", "short", "timeseries", 8, 8, []query{{`sum by (service) (rate(ward_process_cpu_seconds_total{service=~"$target"}[$__rate_interval]))`, "{{service}}"}}},
		{"Memory", "bytes", "timeseries", 8, 8, []query{{`sum by (service) (ward_process_resident_memory_bytes{service=~"$target"})`, "{{service}}"}}},
		{"Certificates end in", "s", "timeseries", 8, 8, []query{{`ward_identity_expiry_timestamp_seconds{service=~"$target"} - time()`, "{{service}}"}}},
		{"Restarts", "short", "timeseries", 12, 6, []query{{`increase(ward_service_restarts_total{service=~"$target"}[5m])`, "{{service}} {{replica}}"}}},
		{"Bodies", "Bps", "timeseries", 12, 6, []query{
			{`sum by (target) (rate(ward_request_bytes_total{` + scope + `}[$__rate_interval]))`, "to {{target}}"},
			{`sum by (target) (rate(ward_response_bytes_total{` + scope + `}[$__rate_interval]))`, "from {{target}}"},
		}},
	}
}

// object is JSON's.
type object = map[string]any

// Dashboard is a dashboard for Grafana 10 and later, JSON. It asks for its data source when it is imported.
func Dashboard() []byte {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	variable := func(name, label string) object {
		return object{
			"name": name, "label": name, "type": "query", "datasource": source, "refresh": 2, "multi": true, "includeAll": true, "allValue": ".*",
			"current": object{"text": "All", "value": "$__all"}, "query": object{"qryType": 1, "query": "label_values(ward_requests_total, " + label + ")", "refId": name},
		}
	}
	var all []object
	x, y, row := 0, 0, 0
	for i, p := range panels() {
		if x+p.width > 24 {
			x, y, row = 0, y+row, 0
		}
		var targets []object
		for j, q := range p.queries {
			targets = append(targets, object{"refId": string(rune('A' + j)), "datasource": source, "expr": q.expr, "legendFormat": q.legend, "format": map[bool]string{true: "heatmap", false: "time_series"}[p.kind == "heatmap"]})
		}
		all = append(all, object{
			"id": i + 1, "title": p.title, "type": p.kind, "datasource": source, "targets": targets, "gridPos": object{"x": x, "y": y, "w": p.width, "h": p.height},
			"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []any{}}, "options": object{},
		})
		x, row = x+p.width, max(row, p.height)
	}
	b, err := json.MarshalIndent(object{
		"title": "Ward", "uid": "ward", "schemaVersion": 39, "tags": []string{"ward"}, "timezone": "browser", "refresh": "15s", "time": object{"from": "now-1h", "to": "now"}, "panels": all,
		"templating": object{"list": []object{
			{"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus"}, variable("caller", "caller"), variable("target", "target"),
		}},
	}, "", "  ")
	if err != nil {
		panic(err) // maps, lists and texts only
	}
	return append(b, '\n')
}
