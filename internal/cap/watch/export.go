package watch

import "github.com/wardhq/ward/internal/cap/watch/internal/export"

// PrometheusRules are recording and alerting rules, YAML.
func PrometheusRules() []byte { return export.Rules() }

// GrafanaDashboard is a dashboard for Grafana 10 and later, JSON.
func GrafanaDashboard() []byte { return export.Dashboard() }
