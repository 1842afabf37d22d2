package control

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

func testControl(t *testing.T) *Control {
	t.Helper()
	k, err := New(Config{Dir: t.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "test.internal"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	p := &plan.Plan{TrustDomain: "test.internal", CAs: map[string]string{"pay": "authority"}, Services: []plan.Service{{
		Service: model.Service{Name: "web", Run: []string{"serve", "--password=argv-secret"}, Env: []model.EnvVar{{Name: "DB", Value: "env-secret"}}},
		ID:      "spiffe://test.internal/svc/web",
	}}, Rules: []plan.Rule{{Caller: "web", Target: "inner"}, {Caller: plan.Outside, Target: "web"}}}
	if err := k.setPlan(t.Context(), wire.PlanState{Plan: p}); err != nil {
		t.Fatal(err)
	}
	return k
}

func ask(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestRolesDontLearnTheServicesSecrets(t *testing.T) {
	k := testControl(t)
	for name, h := range map[string]http.Handler{"gateway": k.forGateway(), "agent": k.forAgent()} {
		code, plan := ask(h, http.MethodGet, "/v1/plan", "")
		if code != http.StatusOK || strings.Contains(plan, "secret") || !strings.Contains(plan, `"caller":"GATEWAY"`) {
			t.Errorf("%s: %d %s", name, code, plan)
		}
		if inner := strings.Contains(plan, `"target":"inner"`); inner != (name == "agent") {
			t.Errorf("%s: the rules between services are in its plan: %v", name, inner)
		}
	}
	if _, plan := ask(k.forAdmin(), http.MethodGet, "/v1/plan", ""); !strings.Contains(plan, "env-secret") {
		t.Error("the supervisor's plan isn't whole")
	}
}

func TestRolesTellOnlyWhatTheySaw(t *testing.T) {
	k := testControl(t)
	for name, c := range map[string]struct {
		h     http.Handler
		event string
		code  int
	}{
		"the gateway of a refusal":           {k.forGateway(), `{"source":"gateway-1","seq":1,"kind":"request.denied","subject":"GATEWAY"}`, 200},
		"the gateway of lost events":         {k.forGateway(), `{"source":"gateway-1","seq":2,"kind":"ledger.lost","subject":"gateway-1"}`, 200},
		"the gateway of a plan":              {k.forGateway(), `{"source":"gateway-1","seq":3,"kind":"plan.change","subject":"admin"}`, 403},
		"the gateway of a certificate":       {k.forGateway(), `{"source":"gateway-1","seq":4,"kind":"certificate.issued","subject":"control"}`, 403},
		"the gateway of a service's denials": {k.forGateway(), `{"source":"gateway-1","seq":5,"kind":"request.denied","subject":"web"}`, 403},
		"the gateway in the agent's name":    {k.forGateway(), `{"source":"agent-1","seq":6,"kind":"request.denied","subject":"GATEWAY"}`, 403},
		"the agent of a denial":              {k.forAgent(), `{"source":"agent-1","seq":1,"kind":"request.denied","subject":"web"}`, 200},
		"the agent of a start":               {k.forAgent(), `{"source":"agent-1","seq":2,"kind":"service.start","subject":"up"}`, 403},
		"the supervisor of a start":          {k.forAdmin(), `{"source":"up-1","seq":1,"kind":"service.start","subject":"up"}`, 200},
	} {
		if code, body := ask(c.h, http.MethodPost, "/v1/events", "["+c.event+"]"); code != c.code {
			t.Errorf("%s: %d %s, want %d", name, code, body, c.code)
		}
	}
}
