package forge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is a forge as its documentation describes it: it refuses what the real one refuses.
type fake struct {
	t       *testing.T
	mu      sync.Mutex
	pulls   []map[string]any // guarded by mu
	heads   map[string]string
	checks  string // "success", "pending", "failure", "none"
	merged  []int  // guarded by mu
	seen    []string
	nextIID int
}

const token = "tok-123"

func (f *fake) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (f *fake) body(r *http.Request) map[string]any {
	var v map[string]any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		f.t.Errorf("%s %s: no JSON: %v", r.Method, r.URL, err)
	}
	return v
}

// page is a part of a list, as ?page and ?per_page say.
func (f *fake) page(w http.ResponseWriter, r *http.Request, all []map[string]any) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	page, per = max(page, 1), max(per, 30)
	from := min((page-1)*per, len(all))
	out := all[from:min(from+per, len(all))]
	if out == nil {
		out = []map[string]any{}
	}
	f.answer(w, http.StatusOK, out)
}

// newGitHubFake follows docs.github.com/rest/pulls, /checks and /commits/statuses.
func newGitHubFake(t *testing.T) (*fake, *httptest.Server) {
	f := &fake{t: t, heads: map[string]string{}, checks: "success", nextIID: 7}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/o/r/pulls", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		var out []map[string]any
		for _, p := range f.pulls {
			head := p["head"].(map[string]any)
			if want := r.URL.Query().Get("head"); want == "" || want == "o:"+head["ref"].(string) {
				out = append(out, p)
			}
		}
		f.page(w, r, out)
	})
	mux.HandleFunc("POST /repos/o/r/pulls", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		b := f.body(r)
		for _, p := range f.pulls {
			if p["head"].(map[string]any)["ref"] == b["head"] {
				f.answer(w, 422, map[string]any{"message": "Validation Failed", "errors": []map[string]any{{"message": "A pull request already exists for o:" + b["head"].(string) + "."}}})
				return
			}
		}
		if b["title"] == "" || b["base"] == "" || f.heads[b["head"].(string)] == "" {
			f.answer(w, 422, map[string]any{"message": "Validation Failed", "errors": []map[string]any{{"message": "head is invalid"}}})
			return
		}
		p := map[string]any{
			"number": f.nextIID, "html_url": "https://github.example/o/r/pull/" + strconv.Itoa(f.nextIID), "title": b["title"], "body": b["body"],
			"head": map[string]any{"ref": b["head"], "sha": f.heads[b["head"].(string)], "repo": map[string]any{"full_name": "o/r"}},
		}
		f.nextIID++
		f.pulls = append(f.pulls, p)
		f.answer(w, 201, p)
	})
	mux.HandleFunc("PATCH /repos/o/r/pulls/{n}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.pulls {
			if fmt.Sprint(p["number"]) == r.PathValue("n") {
				for k, v := range f.body(r) {
					p[k] = v
				}
				f.answer(w, 200, p)
				return
			}
		}
		f.answer(w, 404, map[string]any{"message": "Not Found"})
	})
	mux.HandleFunc("PUT /repos/o/r/pulls/{n}/merge", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		n, _ := strconv.Atoi(r.PathValue("n"))
		for _, p := range f.pulls {
			if p["number"] == n {
				if f.heads[p["head"].(map[string]any)["ref"].(string)] != f.body(r)["sha"] {
					f.answer(w, 409, map[string]any{"message": "Head branch was modified. Review and try the merge again."})
					return
				}
				f.merged = append(f.merged, n)
				f.answer(w, 200, map[string]any{"merged": true})
				return
			}
		}
		f.answer(w, 404, map[string]any{"message": "Not Found"})
	})
	mux.HandleFunc("GET /repos/o/r/commits/{sha}/check-runs", func(w http.ResponseWriter, r *http.Request) {
		run := map[string]any{"name": "test", "status": "completed", "conclusion": f.checks}
		if f.checks == "pending" {
			run = map[string]any{"name": "test", "status": "in_progress", "conclusion": nil}
		}
		runs := []map[string]any{run}
		if f.checks == "none" {
			runs = []map[string]any{}
		}
		f.answer(w, 200, map[string]any{"total_count": len(runs), "check_runs": runs})
	})
	mux.HandleFunc("GET /repos/o/r/commits/{sha}/status", func(w http.ResponseWriter, r *http.Request) {
		f.answer(w, 200, map[string]any{"state": "pending", "total_count": 0}) // GitHub says pending where there is none
	})
	return f, f.serve(mux, "Authorization", "Bearer "+token)
}

// newGitLabFake follows docs.gitlab.com/api/merge_requests.
func newGitLabFake(t *testing.T) (*fake, *httptest.Server) {
	f := &fake{t: t, heads: map[string]string{}, checks: "success", nextIID: 3}
	mux := http.NewServeMux()
	const at = "/projects/{project}/merge_requests"
	mux.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		var out []map[string]any
		for _, p := range f.pulls {
			if want := r.URL.Query().Get("source_branch"); want == "" || want == p["source_branch"] {
				out = append(out, p)
			}
		}
		f.page(w, r, out)
	})
	mux.HandleFunc("POST "+at, func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		b := f.body(r)
		for _, p := range f.pulls {
			if p["source_branch"] == b["source_branch"] && p["source_project_id"] == 1 {
				f.answer(w, 409, map[string]any{"message": []string{"Another open merge request already exists for this source branch: !3"}})
				return
			}
		}
		p := map[string]any{"iid": f.nextIID, "web_url": "https://gitlab.example/g/s/r/-/merge_requests/3", "title": b["title"], "description": b["description"], "source_branch": b["source_branch"], "source_project_id": 1, "project_id": 1}
		f.nextIID++
		f.pulls = append(f.pulls, p)
		f.answer(w, 201, p)
	})
	one := func(h func(http.ResponseWriter, *http.Request, map[string]any)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, p := range f.pulls {
				if fmt.Sprint(p["iid"]) == r.PathValue("n") {
					h(w, r, p)
					return
				}
			}
			f.answer(w, 404, map[string]any{"message": "404 Not found"})
		}
	}
	mux.HandleFunc("GET "+at+"/{n}", one(func(w http.ResponseWriter, _ *http.Request, p map[string]any) {
		out := map[string]any{"iid": p["iid"], "sha": f.heads[p["source_branch"].(string)]}
		if f.checks != "none" {
			status := map[string]string{"success": "success", "pending": "running", "failure": "failed"}[f.checks]
			out["head_pipeline"] = map[string]any{"status": status, "sha": out["sha"]}
		}
		f.answer(w, 200, out)
	}))
	mux.HandleFunc("PUT "+at+"/{n}", one(func(w http.ResponseWriter, r *http.Request, p map[string]any) {
		for k, v := range f.body(r) {
			p[k] = v
		}
		f.answer(w, 200, p)
	}))
	mux.HandleFunc("PUT "+at+"/{n}/merge", one(func(w http.ResponseWriter, r *http.Request, p map[string]any) {
		if f.body(r)["sha"] != f.heads[p["source_branch"].(string)] {
			f.answer(w, 409, map[string]any{"message": "SHA does not match HEAD of source branch"})
			return
		}
		f.merged = append(f.merged, p["iid"].(int))
		f.answer(w, 200, p)
	}))
	return f, f.serve(mux, "PRIVATE-TOKEN", token)
}

// serve lets in only who has the token, and only to the project.
func (f *fake) serve(mux *http.ServeMux, header, want string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header) != want {
			f.answer(w, 401, map[string]any{"message": "Bad credentials"})
			return
		}
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.EscapedPath())
		f.mu.Unlock()
		if strings.HasPrefix(r.URL.EscapedPath(), "/projects/") && !strings.HasPrefix(r.URL.EscapedPath(), "/projects/"+url.PathEscape("g/s/r")+"/") {
			f.answer(w, 404, map[string]any{"message": "404 Project Not Found"})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	f.t.Cleanup(s.Close)
	return s
}
