package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

type object = map[string]any

// api is both APIs, called by orders, which may do everything with some keys.
type api struct {
	*world
	services, admin http.Handler
}

func newAPI(t *testing.T) *api {
	w := newWorld(t)
	r := w.open()
	defineAll(w, r)
	w.define(r, "hidden", Encrypt)
	return &api{w, r.Services(func(q *http.Request) (Access, error) {
		if q.Header.Get("Nobody") != "" {
			return Access{}, fault.New(fault.Refused, "nobody calls")
		}
		return Access{Caller: orders, Keys: map[string][]string{
			"encrypt": {"encrypt", "decrypt"}, "lookup": {"encrypt", "decrypt", "lookup"}, "mac": {"mac"}, "es": {"sign", "verify"}, "ed": {"verify"},
		}}, nil
	}), r.Admin()}
}

// call sends a body (a string as it is, anything else as JSON) and returns the status and the reply.
func (a *api) call(h http.Handler, method, path string, body any) (int, object) {
	a.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		a.do(err)
		text = string(b)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(text)))
	out := object{}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		a.Fatalf("%s: %v: %s", path, err, w.Body)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		a.Errorf("%s may be stored", path)
	}
	return w.Code, out
}

// ask is a call of a service that must succeed.
func (a *api) ask(path string, body any) object {
	a.Helper()
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	status, out := a.call(a.services, method, "/v1/"+path, body)
	if status != http.StatusOK {
		a.Fatalf("%s: %d %v", path, status, out)
	}
	return out
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestServicesAPI(t *testing.T) {
	a := newAPI(t)
	c := object{"class": "encrypt", "table": "orders", "row": "7"}
	one := a.ask("keys/encrypt/encrypt", object{"context": c, "owner": "ann", "plaintext": b64("x")})
	if got := a.ask("keys/encrypt/decrypt", object{"context": c, "owner": "ann", "ciphertext": one["ciphertext"]}); got["plaintext"] != b64("x") {
		t.Errorf("%v", got)
	}
	if got := a.ask("keys/encrypt/rewrap", object{"context": c, "owner": "ann", "ciphertext": one["ciphertext"]}); got["ciphertext"] != one["ciphertext"] {
		t.Errorf("%v", got)
	}
	if empty := a.ask("keys/encrypt/encrypt", object{"context": c, "plaintext": ""}); a.ask("keys/encrypt/decrypt", object{"context": c, "ciphertext": empty["ciphertext"]})["plaintext"] != "" {
		t.Error("an empty plaintext is lost")
	}
	many := a.ask("keys/encrypt/decrypt", object{"items": []object{{"context": c, "owner": "ann", "ciphertext": one["ciphertext"]}, {"context": c, "ciphertext": one["ciphertext"]}}})
	items := many["items"].([]any)
	if got := items[0].(object)["plaintext"]; got != b64("x") {
		t.Errorf("%v", many)
	}
	if got := items[1].(object); got["error"] != "it can't be decrypted" || got["plaintext"] != nil {
		t.Errorf("%v", many)
	}
	if got := a.ask("keys/encrypt/encrypt", object{"items": []object{}}); len(got["items"].([]any)) != 0 {
		t.Errorf("%v", got)
	}

	d := a.ask("keys/encrypt/data-key", object{"owner": "ann"})
	if header, err := base64.StdEncoding.DecodeString(d["header"].(string)); err != nil || len(header) != envelope.HeaderSize || d["max_age_seconds"] != 300.0 || d["max_uses"] != float64(MaxUses) || d["max_bytes"] != float64(MaxBytes) {
		t.Errorf("%v", d)
	}
	if got := a.ask("keys/encrypt/open-data-key", object{"header": d["header"], "owner": "ann"}); got["plaintext"] != d["plaintext"] {
		t.Errorf("%v", got)
	}
	if got := a.ask("keys/lookup/lookup-keys", nil)["versions"].([]any); len(got) != 1 || len(got[0].(object)["key_id"].(string)) != 16 {
		t.Errorf("%v", got)
	}
	s := a.ask("keys/es/sign", object{"message": b64("m")})
	if got := a.ask("keys/es/verify", object{"message": b64("m"), "signature": s["signature"], "key_id": s["key_id"]}); got["valid"] != true || s["algorithm"] != "ES256" {
		t.Errorf("%v, %v", s, got)
	}
	if got := a.ask("keys/es/verify", object{"message": b64("M"), "signature": s["signature"], "key_id": s["key_id"]}); got["valid"] != false {
		t.Errorf("%v", got)
	}
	m := a.ask("keys/mac/mac", object{"context": c, "message": b64("m")})
	if got := a.ask("keys/mac/verify-mac", object{"context": c, "message": b64("m"), "mac": m["mac"]}); got["valid"] != true {
		t.Errorf("%v", got)
	}
	if got := a.ask("keys/mac/verify-mac", object{"context": c, "message": b64("M"), "mac": m["mac"]}); got["valid"] != false {
		t.Errorf("%v", got)
	}
	if got := a.ask("keys/es/public", nil)["keys"].([]any); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if got := a.ask("me", nil); got["service"] != "orders" || len(got["keys"].(object)) != 5 {
		t.Errorf("%v", got)
	}
}

func TestServicesAPIKeepsClassAndKeyTogether(t *testing.T) {
	a := newAPI(t)
	status, out := a.call(a.services, http.MethodPost, "/v1/keys/encrypt/encrypt", object{"context": object{"class": "cards", "table": "t"}, "plaintext": b64("x")})
	if status != http.StatusBadRequest {
		t.Errorf("a class that isn't the key's: %d %v", status, out)
	}
}

func TestServicesAPIRefuses(t *testing.T) {
	a := newAPI(t)
	c := object{"class": "encrypt", "table": "orders"}
	many := make([]object, maxItems+1)
	for i := range many {
		many[i] = object{"context": c, "plaintext": ""}
	}
	for name, q := range map[string]struct {
		method, path string
		body         any
		status       int
	}{
		"a key that isn't granted":     {"POST", "hidden/encrypt", object{"context": c, "plaintext": ""}, 403},
		"a key that isn't there":       {"POST", "none/encrypt", object{"context": c, "plaintext": ""}, 403},
		"a use that isn't granted":     {"POST", "ed/sign", object{"message": ""}, 403},
		"open without decrypt":         {"POST", "mac/open-data-key", object{"header": ""}, 403},
		"lookup keys without lookup":   {"GET", "encrypt/lookup-keys", nil, 403},
		"key set that isn't granted":   {"GET", "hidden/public", nil, 403},
		"another purpose":              {"POST", "lookup/data-key", object{}, 400},
		"a misspelt field":             {"POST", "encrypt/encrypt", object{"context": object{"class": "c", "tabel": "t"}, "plaintext": ""}, 400},
		"no plaintext":                 {"POST", "encrypt/encrypt", object{"context": c}, 400},
		"null for plaintext":           {"POST", "encrypt/encrypt", object{"context": c, "plaintext": nil}, 400},
		"ciphertext to encrypt":        {"POST", "encrypt/encrypt", object{"context": c, "plaintext": "", "ciphertext": ""}, 400},
		"plaintext to decrypt":         {"POST", "encrypt/decrypt", object{"context": c, "plaintext": "", "ciphertext": ""}, 400},
		"no context":                   {"POST", "encrypt/encrypt", object{"plaintext": ""}, 400},
		"another's name":               {"POST", "encrypt/encrypt", object{"context": object{"class": "c", "table": "t", "service": "web"}, "plaintext": ""}, 400},
		"another's name for a MAC":     {"POST", "mac/mac", object{"context": object{"class": "c", "table": "t", "service": "web"}, "message": ""}, 400},
		"one and many":                 {"POST", "encrypt/encrypt", object{"context": c, "plaintext": "", "items": many[:1]}, 400},
		"an owner beside many":         {"POST", "encrypt/encrypt", object{"owner": "ann", "items": many[:1]}, 400},
		"too many":                     {"POST", "encrypt/encrypt", object{"items": many}, 400},
		"too large":                    {"POST", "encrypt/encrypt", `{"context":{"class":"c","table":"t"},"plaintext":"` + strings.Repeat("A", maxRequest) + `"}`, 400},
		"two values":                   {"POST", "encrypt/encrypt", `{"context":{"class":"c","table":"t"},"plaintext":""} {}`, 400},
		"no JSON":                      {"POST", "encrypt/encrypt", "plaintext", 400},
		"nothing":                      {"POST", "encrypt/encrypt", "", 400},
		"bad base64":                   {"POST", "encrypt/encrypt", object{"context": c, "plaintext": "!"}, 400},
		"a header for a new data key":  {"POST", "encrypt/data-key", object{"header": b64("x")}, 400},
		"a signature to sign":          {"POST", "es/sign", object{"message": "", "signature": b64("x")}, 400},
		"what can't be decrypted":      {"POST", "encrypt/decrypt", object{"context": c, "ciphertext": b64("x")}, 403},
		"what no data key's header is": {"POST", "encrypt/open-data-key", object{"header": b64("x")}, 403},
	} {
		if status, out := a.call(a.services, q.method, "/v1/keys/"+q.path, q.body); status != q.status || out["error"] == "" {
			t.Errorf("%s: %d %v, want %d", name, status, out, q.status)
		}
	}
	w, q := httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/me", nil)
	q.Header.Set("Nobody", "1")
	if a.services.ServeHTTP(w, q); w.Code != http.StatusForbidden {
		t.Errorf("nobody: %d", w.Code)
	}
}

func TestAdminAPI(t *testing.T) {
	a := newAPI(t)
	change := func(path string, body any, want int) wire.ManagedKey {
		t.Helper()
		status, out := a.call(a.admin, "POST", "/v1/keys/"+path, body)
		if status != want {
			t.Fatalf("%s: %d %v", path, status, out)
		}
		b, err := json.Marshal(out)
		a.do(err)
		var k wire.ManagedKey
		if want == http.StatusOK {
			a.do(json.Unmarshal(b, &k))
		}
		return k
	}
	c := object{"class": "encrypt", "table": "orders", "row": "7"}
	a.ask("keys/encrypt/encrypt", object{"context": c, "owner": "ann", "plaintext": b64("x")})
	if k := change("encrypt/rotate", nil, 200); k.Current != 2 || len(k.Versions) != 2 || k.Versions[0].State != wire.KeyOlder || k.Loss.Messages != 1 || k.Loss.Owners != 1 {
		t.Errorf("%+v", k)
	}
	if k := change("encrypt/min-version", object{"version": 2}, 200); k.MinVersion != 2 || k.Versions[0].State != wire.KeyRetired {
		t.Errorf("%+v", k)
	}
	if k := change("encrypt/disable", object{"version": 1}, 200); k.State != wire.KeyEnabled || k.Versions[0].State != wire.KeyDisabled {
		t.Errorf("%+v", k)
	}
	if k := change("encrypt/disable", object{}, 200); k.State != wire.KeyDisabled {
		t.Errorf("%+v", k)
	}
	change("encrypt/enable", nil, 200)
	if k := change("encrypt/import", object{"material": random()}, 200); k.Current != 3 || !k.Versions[2].Imported {
		t.Errorf("%+v", k)
	}
	change("encrypt/shred", object{"owner": "ann"}, 200)
	if status, out := a.call(a.services, "POST", "/v1/keys/encrypt/encrypt", object{"context": c, "owner": "ann", "plaintext": ""}); status != 403 || !strings.Contains(out["error"].(string), "destroyed") {
		t.Errorf("%d %v", status, out)
	}
	change("encrypt/readmit", object{"owner": "ann"}, 200)
	change("encrypt/readmit", object{"owner": "ann"}, 404)
	change("encrypt/delete", object{}, 400)
	change("encrypt/delete", object{"confirm": "mac"}, 400)
	change("encrypt/delete", object{"confirm": "encrypt", "wait_days": 213512}, 400)
	change("encrypt/delete", object{"confirm": "encrypt", "wait_days": 6}, 400)
	if k := change("encrypt/delete", object{"confirm": "encrypt"}, 200); k.State != wire.KeyPending || !k.DeleteAt.Equal(a.now.Add(DefaultWait)) {
		t.Errorf("%+v", k)
	}
	if k := change("encrypt/undelete", nil, 200); k.State != wire.KeyEnabled {
		t.Errorf("%+v", k)
	}
	change("none/rotate", nil, 404)
	change("encrypt/rotate", `{"at_onec": true}`, 400)
	if status, out := a.call(a.admin, "GET", "/v1/keys", nil); status != 200 || len(out["keys"].([]any)) != 6 {
		t.Errorf("%d %v", status, out)
	}
	if status, out := a.call(a.admin, "GET", "/v1/keys/encrypt", nil); status != 200 || out["name"] != "encrypt" {
		t.Errorf("%d %v", status, out)
	}
	if b, err := json.Marshal(a.uses); err != nil || bytes.Contains(b, []byte("ann")) {
		t.Errorf("an owner is recorded: %s, %v", b, err)
	}
}
