package forge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

type world struct {
	fake  *fake
	forge Forge
	url   string
}

func worlds(t *testing.T) map[string]world {
	t.Helper()
	hub, hubServer := newGitHubFake(t)
	lab, labServer := newGitLabFake(t)
	g, err := NewGitHub(Config{API: hubServer.URL, Project: "o/r", Token: secret.New([]byte(token))})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewGitLab(Config{API: labServer.URL, Project: "g/s/r", Token: secret.New([]byte(token))})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]world{"github": {hub, g, hubServer.URL}, "gitlab": {lab, l, labServer.URL}}
}

func TestAProposalIsOpenedOnceAndThenRefreshed(t *testing.T) {
	for name, w := range worlds(t) {
		w.fake.heads["ward/x"] = "abc"
		first, err := w.forge.Propose(t.Context(), Proposal{Branch: "ward/x", Base: "main", Title: "one", Body: "b"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		second, err := w.forge.Propose(t.Context(), Proposal{Branch: "ward/x", Base: "main", Title: "two", Body: "c"})
		if err != nil || second.Number != first.Number || len(w.fake.pulls) != 1 || w.fake.pulls[0]["title"] != "two" || first.URL == "" {
			t.Errorf("%s: %+v %+v %v", name, first, second, err)
		}
		w.fake.heads["other"] = "x"
		if _, err := w.forge.Propose(t.Context(), Proposal{Branch: "other", Base: "main", Title: "t"}); err != nil {
			t.Fatal(err)
		}
		list, err := w.forge.List(t.Context(), "ward/")
		if err != nil || len(list) != 1 || list[0].Branch != "ward/x" {
			t.Errorf("%s: %+v %v", name, list, err)
		}
	}
}

func TestAListIsReadToItsEnd(t *testing.T) {
	for name, w := range worlds(t) {
		for i := range 230 {
			b := fmt.Sprintf("ward/%d", i)
			w.fake.heads[b] = "x"
			if _, err := w.forge.Propose(t.Context(), Proposal{Branch: b, Base: "main", Title: "t"}); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := w.forge.List(t.Context(), "ward/"); err != nil || len(list) != 230 {
			t.Errorf("%s: %d %v", name, len(list), err)
		}
	}
}

func TestOnlyWhatWasTriedAndCheckedIsMerged(t *testing.T) {
	for _, c := range []struct {
		name, checks, commit string
		want                 fault.Kind
		merged               bool
	}{
		{"all passed", "success", "abc", 0, true},
		{"still running", "pending", "abc", fault.Unavailable, false},
		{"failed", "failure", "abc", fault.Refused, false},
		{"nobody checks", "none", "abc", fault.Unavailable, false},
		{"somebody pushed since", "success", "old", fault.Refused, false},
	} {
		for name, w := range worlds(t) {
			w.fake.heads["ward/x"], w.fake.checks = "abc", c.checks
			r, err := w.forge.Propose(t.Context(), Proposal{Branch: "ward/x", Base: "main", Title: "t"})
			if err != nil {
				t.Fatal(err)
			}
			err = w.forge.Merge(t.Context(), r, c.commit)
			if (err == nil) != c.merged || err != nil && fault.KindOf(err) != c.want || (len(w.fake.merged) == 1) != c.merged {
				t.Errorf("%s, %s: %v, merged %v", name, c.name, err, w.fake.merged)
			}
		}
	}
}

func TestForksAreNobodysProposals(t *testing.T) {
	for name, w := range worlds(t) {
		if name == "github" {
			w.fake.pulls = append(w.fake.pulls, map[string]any{"number": 1, "title": "theirs", "head": map[string]any{"ref": "ward/x", "repo": map[string]any{"full_name": "evil/r"}}},
				map[string]any{"number": 2, "title": "gone", "head": map[string]any{"ref": "ward/x", "repo": nil}})
		} else {
			w.fake.pulls = append(w.fake.pulls, map[string]any{"iid": 1, "title": "theirs", "source_branch": "ward/x", "source_project_id": 2, "project_id": 1})
		}
		if list, err := w.forge.List(t.Context(), "ward/"); err != nil || len(list) != 0 {
			t.Errorf("%s: %+v %v", name, list, err)
		}
	}
}

func TestTheTokenStaysWhereItBelongs(t *testing.T) {
	var got []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization")+r.Header.Get("PRIVATE-TOKEN"))
	}))
	defer elsewhere.Close()
	redirects := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer redirects.Close()
	for name, make := range map[string]func(Config) (Forge, error){"github": NewGitHub, "gitlab": NewGitLab} {
		f, err := make(Config{API: redirects.URL, Project: "o/r", Token: secret.New([]byte(token))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.List(t.Context(), ""); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
		for _, bad := range []Config{
			{API: "http://forge.example", Project: "o/r", Token: secret.New([]byte(token))},
			{API: "https://u:p@forge.example", Project: "o/r", Token: secret.New([]byte(token))},
			{Project: "nothing", Token: secret.New([]byte(token))},
			{Project: "o/r"},
		} {
			if _, err := make(bad); err == nil {
				t.Errorf("%s: taken: %+v", name, bad)
			}
		}
	}
	if len(got) != 0 {
		t.Errorf("the token went elsewhere: %v", got)
	}
	for name, w := range worlds(t) {
		make := map[string]func(Config) (Forge, error){"github": NewGitHub, "gitlab": NewGitLab}[name]
		f, err := make(Config{API: w.url, Project: "o/r", Token: secret.New([]byte("wrong"))})
		if err != nil {
			continue
		}
		if _, err := f.List(t.Context(), ""); fault.KindOf(err) != fault.Refused {
			t.Errorf("%s: a wrong token: %v", name, err)
		}
	}
}

func TestProjectOf(t *testing.T) {
	for remote, want := range map[string]string{
		"https://github.com/o/r.git": "github.com o/r", "git@github.com:o/r.git": "github.com o/r", "ssh://git@gitlab.example:2222/g/s/r": "gitlab.example g/s/r",
		"https://user:pw@gitlab.com/g/r": "gitlab.com g/r", "/srv/git/r": "", "https://github.com/o": "", "https://github.com/o/../r": "", "file:///x/y": "", "": "", "git@host": "", "https://h/a/b?c": "h a/b",
	} {
		host, project, err := ProjectOf(remote)
		if got := strings.TrimSpace(host + " " + project); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", remote, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Error("a password in an error")
		}
	}
}

func FuzzProjectOf(f *testing.F) {
	f.Add("git@github.com:o/r.git")
	f.Fuzz(func(t *testing.T, s string) {
		if host, project, err := ProjectOf(s); err == nil && (host == "" || !strings.Contains(project, "/") || strings.Contains(project, "..") && strings.Contains("/"+project+"/", "/../")) {
			t.Errorf("%q: %q %q", s, host, project)
		}
	})
}
