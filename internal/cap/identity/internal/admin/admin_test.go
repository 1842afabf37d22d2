package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
)

type nowhere struct{}

func (nowhere) Put(message.Message) error { return nil }

func newAccounts(t testing.TB) *account.Service {
	t.Helper()
	noon := clock.Func(func() time.Time { return time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC) })
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "ward.db"), Clock: noon})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	users := &model.Users{Name: "Demo Shop", Passwords: true}
	s, err := account.New(t.Context(), account.Config{
		DB: db, Key: secret.New([]byte(strings.Repeat("k", 32))), Clock: noon, Origin: "https://id.example.com",
		Users: func() *model.Users { return users }, Mail: nowhere{}, AllowOrigin: func(string) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAdministration(t *testing.T) {
	h := Handler(newAccounts(t), slog.New(slog.DiscardHandler))
	call := func(method, path, body string, status int) map[string]any {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		if w.Code != status {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "$2b$") || strings.Contains(w.Body.String(), "argon2") {
			t.Errorf("%s %s: a hash in %s", method, path, w.Body)
		}
		var out map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	ada := call("POST", "/v1/users", `{"email":"ada@example.org","name":"Ada","groups":["staff"]}`, 200)
	if !strings.HasPrefix(ada["link"].(string), "https://id.example.com/invite?token=") {
		t.Errorf("link %v", ada["link"])
	}
	call("POST", "/v1/users", `{"email":"ADA@example.org"}`, 409)
	call("POST", "/v1/users", `{"email":"not an address"}`, 400)
	call("POST", "/v1/users", `{"email":"x@example.org","password":"x"}`, 400)
	call("POST", "/v1/users", `{"email":"x@example.org"}{}`, 400)
	id := ada["id"].(string)
	changed := call("PATCH", "/v1/users/"+id, `{"roles":["buyer","buyer"],"disabled":true}`, 200)
	if fmt.Sprint(changed["roles"], changed["groups"], changed["disabled"]) != "[buyer] [staff] true" {
		t.Errorf("changed to %v", changed)
	}
	lines := `{"email":"b@example.org","password_hash":"$2b$04$abcdefghijklmnopqrstuuu5G5p1iBu6Bm0Fz0zPyJUWJ3Zgqo3a6"}
{"email":"c@example.org","name":"C"}

{"email":"ada@example.org"}
{"email":"d@example.org","password_hash":"plain"}
nonsense
`
	got := call("POST", "/v1/users/import", lines, 200)
	if got["made"] != 2.0 || len(got["refused"].([]any)) != 3 {
		t.Errorf("imported %v", got)
	}
	page := call("GET", "/v1/users?limit=2", "", 200)
	next := call("GET", "/v1/users?limit=2&after="+page["after"].(string), "", 200)
	if len(page["users"].([]any)) != 2 || len(next["users"].([]any)) != 1 || next["after"] != nil {
		t.Errorf("pages %v, %v", page, next)
	}
	call("GET", "/v1/users?limit=-1", "", 400)
	call("GET", "/v1/users/"+id+"/sessions", "", 200)
	call("DELETE", "/v1/users/"+id+"/sessions", "", 200)
	call("POST", "/v1/users/"+id+"/reset-factors", "", 200)
	call("POST", "/v1/recoveries/"+id, `{"approve":true}`, 404)
	call("POST", "/v1/recoveries/"+id, `{}`, 400)
	call("DELETE", "/v1/users/"+id, "", 200)
	call("GET", "/v1/users/"+id, "", 404)
	call("DELETE", "/v1/users/"+id, "", 404)
}

// TestTheDescriptionIsOfWhatIsServed: every operation described is served, and there are no others.
func TestTheDescriptionIsOfWhatIsServed(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(Description(), &doc); err != nil {
		t.Fatal(err)
	}
	var described []string
	for path, operations := range doc.Paths {
		for method := range operations {
			if method != "parameters" && path != "/v1/openapi.json" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(described)
	if diff := cmp.Diff(slices.Sorted(maps.Keys((&api{}).routes())), described); diff != "" {
		t.Errorf("served and described differ:\n%s", diff)
	}
}
