package sandbox

import (
	"testing"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

func TestServicesFindWhereTheirSpansGo(t *testing.T) {
	for name, x := range map[string]struct {
		change      func(*plan.Service)
		takes, told bool
	}{
		"as it is":                   {func(*plan.Service) {}, true, true},
		"a collector":                {func(s *plan.Service) { s.Listen = []model.Listen{{Port: plan.TracesPort}} }, false, false},
		"who calls one on localhost": {func(s *plan.Service) { s.Upstreams = []plan.Upstream{{Port: plan.TracesPort, Localhost: true}} }, false, false},
		"who calls one by its name":  {func(s *plan.Service) { s.Upstreams = []plan.Upstream{{Port: plan.TracesPort}} }, true, true},
		"settings of its own": {func(s *plan.Service) {
			s.Env = []model.EnvVar{{Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Value: "http://x"}}
		}, true, false},
		"a name of its own": {func(s *plan.Service) { s.Env = []model.EnvVar{{Name: "OTEL_SERVICE_NAME", Value: "shop"}} }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &plan.Service{Service: model.Service{Name: "web"}}
			x.change(s)
			n := 0
			for _, u := range ListenerOrder(s) {
				if u.Target == plan.Self && u.IP == "127.0.0.1" && u.Port == plan.TracesPort {
					n++
				}
			}
			if (n == 1) != x.takes || n > 1 {
				t.Errorf("%d listeners", n)
			}
			b := &builder{}
			b.environment(s)
			env := map[string]bool{}
			for _, e := range b.spec.Env {
				env[e] = true
			}
			if told := env["OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"] && env["OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"] && env["OTEL_TRACES_SAMPLER=always_on"]; told != x.told {
				t.Error(b.spec.Env)
			}
			if name == "a name of its own" && !env["OTEL_SERVICE_NAME=shop"] || name == "as it is" && !env["OTEL_SERVICE_NAME=web"] {
				t.Error(b.spec.Env)
			}
		})
	}
}
