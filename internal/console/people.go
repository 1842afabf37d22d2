package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// person, factor and session are as the administration of users says them.
type person struct {
	ID       string    `json:"id"`
	Email    string    `json:"email"`
	Verified bool      `json:"verified"`
	Name     string    `json:"name"`
	Groups   []string  `json:"groups"`
	Roles    []string  `json:"roles"`
	Disabled bool      `json:"disabled"`
	Updated  time.Time `json:"updated"`
	Factors  []struct {
		Kind  string    `json:"kind"`
		Label string    `json:"label"`
		Added time.Time `json:"added"`
		Used  time.Time `json:"used"`
	} `json:"factors"`
}

type session struct {
	ID      string    `json:"id"`
	Device  string    `json:"device"`
	Place   string    `json:"place"`
	Methods []string  `json:"methods"`
	Started time.Time `json:"started"`
	Seen    time.Time `json:"seen"`
	Expires time.Time `json:"expires"`
}

// answer is what a handler of this process says.
type answer struct {
	header http.Header
	status int
	bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// people asks the administration of users, and decodes what it says into out, unless that is nil.
func (c *Console) people(ctx context.Context, method, path string, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://ward"+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask for people: %w", err)
	}
	a := &answer{header: http.Header{}}
	c.config.People.ServeHTTP(a, r)
	if a.status == 0 || a.status/100 == 2 {
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(a.Bytes(), out); err != nil {
			return fmt.Errorf("ask for people: %w", err)
		}
		return nil
	}
	var said struct{ Message string }
	_ = json.Unmarshal(a.Bytes(), &said) // without a sentence the status says enough
	if said.Message == "" {
		said.Message = "the administration of users doesn't answer"
	}
	kind := fault.Unavailable
	for k := fault.Usage; k <= fault.Unsupported; k++ {
		if k.Status() == a.status {
			kind = k
		}
	}
	return fault.New(kind, said.Message)
}

// peopleData is what the list of people shows.
type peopleData struct {
	Email string
	Users []person
	Next  string
}

func (c *Console) peoplePage(v *visit) (view, error) {
	if p := c.config.Plan(); p == nil || !p.Users.On() {
		return view{}, errNoPage
	}
	q := v.URL.Query()
	var said struct {
		Users []person `json:"users"`
		After string   `json:"after"`
	}
	err := c.people(v.Context(), http.MethodGet, "/v1/users?"+url.Values{"email": {q.Get("email")}, "after": {q.Get("after")}, "limit": {"100"}}.Encode(), &said)
	d := peopleData{Email: q.Get("email"), Users: said.Users}
	if said.After != "" {
		d.Next = "/people?" + url.Values{"email": {d.Email}, "after": {said.After}}.Encode()
	}
	return view{Page: "people", Title: "People", Here: "people", Topic: "people", Data: d}, err
}

// personData is what the page of a person shows.
type personData struct {
	person
	Sessions []session
}

func (c *Console) personPage(v *visit) (view, error) {
	var d personData
	path := "/v1/users/" + url.PathEscape(v.PathValue("id"))
	if err := c.people(v.Context(), http.MethodGet, path, &d.person); err != nil {
		return view{}, err
	}
	var said struct {
		Sessions []session `json:"sessions"`
	}
	err := c.people(v.Context(), http.MethodGet, path+"/sessions", &said)
	d.Sessions = said.Sessions
	return view{Page: "person", Title: d.Email, Here: "people", Topic: "people", Data: d}, err
}

// endSessions ends a person's sessions: all of them, or the one that the form names.
func (c *Console) endSessions(v *visit) (to, done string, err error) {
	id := url.PathEscape(v.PathValue("id"))
	path := "/v1/users/" + id + "/sessions"
	if s := v.PostForm.Get("session"); s != "" {
		path += "/" + url.PathEscape(s)
	}
	to = "/people/" + id
	if f, err := strconv.ParseInt(v.PostForm.Get("finding"), 10, 64); err == nil {
		to = findingLink(f)
	}
	return to, "revoked", c.people(v.Context(), http.MethodDelete, path, nil)
}
