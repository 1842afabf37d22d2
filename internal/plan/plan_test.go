package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

func listen(p model.Protocol, port int) model.Listen { return model.Listen{Protocol: p, Port: port} }

func service(name string, calls []string, listens ...model.Listen) model.Service {
	s := model.Service{Name: model.ServiceName(name), Listen: listens}
	for _, c := range calls {
		s.Calls = append(s.Calls, model.Call{Target: c, Grants: []model.Grant{{Kind: model.GrantAny}}})
	}
	return s
}

func TestAGrantOpensThePortsThatSpeakIt(t *testing.T) {
	all := []model.Listen{listen(model.TCP, 5), listen(model.HTTP, 1), listen(model.H2C, 2), listen(model.GRPC, 3)}
	for _, tt := range []struct {
		name string
		kind model.GrantKind
		port int
		want []int
	}{
		{"http", model.GrantHTTP, 0, []int{1, 2}},
		{"ws", model.GrantWS, 0, []int{1, 2}},
		{"grpc", model.GrantGRPC, 0, []int{2, 3}},
		{"tcp", model.GrantTCP, 0, []int{5}},
		{"any", model.GrantAny, 0, []int{1, 2, 3, 5}},
		{"one port", model.GrantAny, 3, []int{3}},
		{"one port that doesn't fit", model.GrantHTTP, 3, nil},
		{"none", model.GrantNone, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.Build(&model.Model{Services: []model.Service{
				{Name: "a", Calls: []model.Call{{Target: "b", Port: tt.port, Grants: []model.Grant{{Kind: tt.kind, Pattern: "/x"}}}}},
				{Name: "b", Listen: all},
			}})
			var got []int
			for _, r := range p.Rules {
				got = append(got, r.Ports...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingOpensATCPPortToTheOutside(t *testing.T) {
	p := plan.Build(&model.Model{Services: []model.Service{{
		Name: "a", Listen: []model.Listen{listen(model.TCP, 1), listen(model.HTTP, 2)},
		Expose: []model.Expose{{To: "anyone", Routes: []model.Grant{{Kind: model.GrantAny}, {Kind: model.GrantTCP}}}},
	}}})
	if len(p.Rules) != 1 || !slices.Equal(p.Rules[0].Ports, []int{2}) || p.Rules[0].Caller != plan.Outside {
		t.Errorf("rules %+v, want any on port 2 alone", p.Rules)
	}
}

func TestUpstreams(t *testing.T) {
	a := service("a", []string{"b", "api", "c", "api2", "ip", "api3"}, listen(model.HTTP, 80))
	m := &model.Model{
		Services: []model.Service{
			a,
			service("b", nil, listen(model.HTTP, 80), listen(model.TCP, 90)),
			service("c", nil, listen(model.GRPC, 70)),
			service("d", nil, listen(model.TCP, 6379)),
		},
		Externals: []model.External{
			{Name: "api", Host: "api.example.com", Port: 443, TLS: model.TLSPassthrough},
			{Name: "api2", Host: "api.example.com", Port: 8443, LocalPort: 90, TLS: model.TLSOriginate, Protocol: model.HTTP},
			{Name: "ip", Host: "192.0.2.1", Port: 25, Protocol: model.TCP},
			{Name: "api3", Host: "api.example.com", Port: 443},
		},
		Observe: []model.Observe{{From: "a", To: "d", Grants: []model.Grant{{Kind: model.GrantTCP}}, Until: "2026-12-31"}},
	}
	want := []plan.Upstream{
		{Target: "b", Hosts: []string{"b"}, IP: "127.64.0.1", Port: 80, TargetPort: 80, Protocol: model.HTTP},
		{Target: "b", Hosts: []string{"b"}, IP: "127.64.0.1", Port: 90, TargetPort: 90, Protocol: model.TCP},
		{Target: "api", External: true, Hosts: []string{"api.example.com", "api"}, IP: "127.64.0.2", Port: 443, TargetPort: 443, Protocol: model.TCP},
		{Target: "c", Hosts: []string{"c"}, IP: "127.64.0.3", Port: 70, TargetPort: 70, Protocol: model.GRPC, Localhost: true},
		{Target: "api2", External: true, Hosts: []string{"api.example.com", "api2"}, IP: "127.64.0.2", Port: 90, TargetPort: 8443, Protocol: model.HTTP},
		{Target: "ip", External: true, Hosts: []string{"ip"}, IP: "127.64.0.4", Port: 25, TargetPort: 25, Protocol: model.TCP, Localhost: true},
		{Target: "api3", External: true, Hosts: []string{"api3"}, IP: "127.64.0.5", Port: 443, TargetPort: 443, Protocol: model.TCP},
		{Target: "d", Hosts: []string{"d"}, IP: "127.64.0.6", Port: 6379, TargetPort: 6379, Protocol: model.TCP, Localhost: true},
	}
	if diff := cmp.Diff(want, plan.Build(m).Services[0].Upstreams); diff != "" {
		t.Error(diff)
	}
}

func TestManyUpstreamsHaveDistinctAddresses(t *testing.T) {
	m := &model.Model{Services: []model.Service{{Name: "a"}}}
	for i := range 700 {
		name := fmt.Sprintf("s%d", i)
		m.Services[0].Calls = append(m.Services[0].Calls, model.Call{Target: name, Grants: []model.Grant{{Kind: model.GrantAny}}})
		m.Services = append(m.Services, service(name, nil, listen(model.HTTP, 80)))
	}
	seen := map[string]bool{}
	for _, u := range plan.Build(m).Services[0].Upstreams {
		seen[u.IP] = true
	}
	if len(seen) != 700 || !seen["127.64.0.255"] || !seen["127.64.1.0"] || !seen["127.64.2.188"] {
		t.Errorf("%d addresses for 700 targets", len(seen))
	}
}

func TestStartAfterHasNoCycle(t *testing.T) {
	m := &model.Model{Services: []model.Service{
		service("a", []string{"b", "c"}, listen(model.HTTP, 1)),
		service("b", []string{"c", "b"}, listen(model.HTTP, 1)),
		service("c", []string{"a", "d"}, listen(model.HTTP, 1)),
		service("d", nil, listen(model.HTTP, 1)),
	}}
	got := map[string][]string{}
	for _, s := range plan.Build(m).Services {
		got[string(s.Name)] = s.StartAfter
	}
	want := map[string][]string{"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// full fills every field that JSON has to carry.
func full() *model.Model {
	pos := model.Pos{Line: 3, Col: 4}
	return &model.Model{
		App: "shop", TrustDomain: "shop.internal", Gateway: model.Gateway{Pos: pos, Listen: "127.0.0.1:8443", Host: "localhost", TLS: "internal"},
		Services: []model.Service{
			{
				Pos: pos, Name: "web", Run: []string{"web", "-x"}, Workdir: ".", Env: []model.EnvVar{{Name: "A", Value: "b", Pos: pos}},
				Listen: []model.Listen{listen(model.H2C, 80)}, Runtime: model.RuntimeNode, Sensitivity: model.Critical, Data: []string{"pii"},
				Files: model.Files{Read: []model.Path{{Path: "/srv"}}}, Limits: model.Limits{MemoryBytes: 1 << 20, CPU: 0.5, PIDs: 3, OpenFiles: 4},
				Expose:   []model.Expose{{To: "anyone", Pos: pos, Routes: []model.Grant{{Kind: model.GrantWS, Pattern: "/live"}}}},
				Replicas: 2, Ready: model.Ready{Kind: model.ReadyHTTP, Path: "/ok"}, Restart: model.RestartOnFailure,
				Calls: []model.Call{{Target: "pay", Grants: []model.Grant{{Kind: model.GrantHTTP, Methods: []string{"GET", "POST"}, Pattern: "/v1/<&>"}}}},
			},
			{Name: "idle"},
		},
		Externals: []model.External{{Name: "pay", Host: "pay.example.com", Port: 443, LocalPort: 80, TLS: model.TLSOriginate, Protocol: model.HTTP, Addresses: []string{"192.0.2.0/24"}}},
		Observe:   []model.Observe{{From: "idle", To: "web", Grants: []model.Grant{{Kind: model.GrantGRPC, Pattern: "/a.B/*"}}, Until: "2026-12-31"}},
	}
}

func TestAPlanSurvivesJSON(t *testing.T) {
	p := plan.Build(full())
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back plan.Plan
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, &back) {
		t.Error(cmp.Diff(p, &back))
	}
	if p.Revision() != back.Revision() {
		t.Error("another revision after JSON")
	}
	for _, word := range []string{`"observe"`, `"enforce"`, `"h2c"`, `"ws"`, `"critical"`, `"on-failure"`, `"originate"`, `"node"`} {
		if !strings.Contains(string(b), word) {
			t.Errorf("no word %s in %s", word, b)
		}
	}
}

func TestRevisionIsOfTheContent(t *testing.T) {
	a, b := plan.Build(full()), plan.Build(full())
	if a.Revision() != b.Revision() || len(a.Revision()) != 64 {
		t.Errorf("equal models: %s and %s", a.Revision(), b.Revision())
	}
	b.Rules[0].Ports = []int{81}
	if a.Revision() == b.Revision() {
		t.Error("another port, but the same revision")
	}
}

func TestEnumsAreWordsAndNothingElse(t *testing.T) {
	var m plan.Mode
	for _, bad := range []string{"", "Enforce", "3", "allow"} {
		if err := m.UnmarshalText([]byte(bad)); err == nil || m != plan.ModeUnset {
			t.Errorf("mode %q: %v", bad, m)
		}
	}
	if _, err := plan.Mode(9).MarshalText(); err == nil {
		t.Error("mode 9 has a word")
	}
	var k model.GrantKind
	if err := k.UnmarshalText([]byte("gRPC")); err == nil {
		t.Error("gRPC is read as a grant kind")
	}
	if _, err := model.Protocol(9).MarshalText(); err == nil {
		t.Error("protocol 9 has a word")
	}
}

func TestBuildIsAFunction(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := &model.Model{App: "x", TrustDomain: "x.internal"}
	for i := range 40 {
		var calls []string
		for range 6 {
			calls = append(calls, fmt.Sprintf("s%d", r.IntN(40)))
		}
		m.Services = append(m.Services, service(fmt.Sprintf("s%d", i), calls, listen(model.HTTP, 80), listen(model.TCP, 81)))
	}
	want := plan.Build(m).Revision()
	for range 20 {
		if got := plan.Build(m).Revision(); got != want {
			t.Fatal("two plans of one model")
		}
	}
}

func FuzzModeUnmarshalText(f *testing.F) {
	f.Add("observe")
	f.Fuzz(func(t *testing.T, s string) {
		var m plan.Mode
		if err := m.UnmarshalText([]byte(s)); err != nil {
			return
		}
		if b, err := m.MarshalText(); err != nil || string(b) != s {
			t.Errorf("%q became %q", s, b)
		}
	})
}
