package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// github speaks version 2022-11-28 of GitHub's REST API (docs.github.com/rest/pulls).
type github struct {
	*client
	project string
	owner   string
}

// NewGitHub opens pull requests.
func NewGitHub(c Config) (Forge, error) {
	cl, err := newClient(c, "https://api.github.com", func(h http.Header) {
		h.Set("Accept", "application/vnd.github+json")
		h.Set("X-GitHub-Api-Version", "2022-11-28")
		h.Set("Authorization", "Bearer "+string(c.Token.Reveal()))
	})
	if err != nil {
		return nil, err
	}
	owner, name, ok := strings.Cut(c.Project, "/")
	if !ok || strings.Contains(name, "/") {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%q is no project of GitHub: owner/name", c.Project))
	}
	return &github{client: cl, project: "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(name), owner: owner}, nil
}

type pull struct {
	Number int    `json:"number"`
	URL    string `json:"html_url"`
	Title  string `json:"title"`
	Head   struct {
		Ref  string `json:"ref"`
		SHA  string `json:"sha"`
		Repo *struct {
			Name string `json:"full_name"`
		} `json:"repo"`
	} `json:"head"`
}

func (p *pull) request() Request { return Request{p.Number, p.URL, p.Head.Ref, p.Title} }

func (g *github) List(ctx context.Context, prefix string) ([]Request, error) {
	var out []Request
	for page := 1; page <= maxPages; page++ {
		var all []pull
		if _, err := g.call(ctx, http.MethodGet, fmt.Sprintf("%s/pulls?state=open&per_page=100&page=%d", g.project, page), nil, &all); err != nil {
			return nil, fmt.Errorf("list pull requests: %w", err)
		}
		for i := range all {
			// A fork's branch may have any name.
			own := all[i].Head.Repo != nil && strings.EqualFold("/repos/"+all[i].Head.Repo.Name, g.project)
			if own && strings.HasPrefix(all[i].Head.Ref, prefix) {
				out = append(out, all[i].request())
			}
		}
		if len(all) < 100 {
			return out, nil
		}
	}
	return nil, fault.New(fault.Unavailable, fmt.Sprintf("there are more than %d open pull requests", maxPages*100))
}

func (g *github) Propose(ctx context.Context, p Proposal) (Request, error) {
	body := map[string]any{"title": p.Title, "head": p.Branch, "base": p.Base, "body": p.Body, "maintainer_can_modify": true}
	var made pull
	_, err := g.call(ctx, http.MethodPost, g.project+"/pulls", body, &made)
	if err == nil {
		return made.request(), nil
	}
	if !is(err, http.StatusUnprocessableEntity) { // 422: there is one already
		return Request{}, fmt.Errorf("open pull request: %w", err)
	}
	var there []pull
	query := url.Values{"state": {"open"}, "head": {g.owner + ":" + p.Branch}, "base": {p.Base}}
	if _, listErr := g.call(ctx, http.MethodGet, g.project+"/pulls?"+query.Encode(), nil, &there); listErr != nil {
		return Request{}, fmt.Errorf("open pull request: %w", listErr)
	}
	if len(there) != 1 || there[0].Head.Ref != p.Branch {
		return Request{}, fmt.Errorf("open pull request: %w", err)
	}
	if _, err := g.call(ctx, http.MethodPatch, fmt.Sprintf("%s/pulls/%d", g.project, there[0].Number), map[string]any{"title": p.Title, "body": p.Body}, &made); err != nil {
		return Request{}, fmt.Errorf("refresh pull request: %w", err)
	}
	return made.request(), nil
}

func (g *github) Merge(ctx context.Context, r Request, commit string) error {
	if err := g.passed(ctx, commit); err != nil {
		return err
	}
	_, err := g.call(ctx, http.MethodPut, fmt.Sprintf("%s/pulls/%d/merge", g.project, r.Number), map[string]any{"sha": commit, "merge_method": "squash"}, nil)
	switch {
	case is(err, http.StatusConflict):
		return fault.Wrap(fault.Refused, "the branch has another commit than the one that was tried", err)
	case is(err, http.StatusMethodNotAllowed):
		return fault.Wrap(fault.Unavailable, "GitHub doesn't merge it yet: a review or check is missing", err)
	case err != nil:
		return fmt.Errorf("merge pull request: %w", err)
	}
	return nil
}

// passed tells whether everything that watches a commit is content: check runs, and the older statuses. Nobody watching isn't enough.
func (g *github) passed(ctx context.Context, commit string) error {
	var runs struct {
		Total int `json:"total_count"`
		Runs  []struct {
			Name       string `json:"name"`
			Status     string `json:"status"`
			Conclusion string `json:"conclusion"`
		} `json:"check_runs"`
	}
	var status struct {
		State string `json:"state"`
		Total int    `json:"total_count"`
	}
	at := g.project + "/commits/" + url.PathEscape(commit)
	if _, err := g.call(ctx, http.MethodGet, at+"/check-runs?per_page=100", nil, &runs); err != nil {
		return fmt.Errorf("read checks: %w", err)
	}
	if _, err := g.call(ctx, http.MethodGet, at+"/status", nil, &status); err != nil {
		return fmt.Errorf("read checks: %w", err)
	}
	if runs.Total+status.Total == 0 || runs.Total > len(runs.Runs) {
		return fault.New(fault.Unavailable, "nothing on GitHub has checked the commit, or too much: it isn't merged by itself")
	}
	if status.Total > 0 && status.State != "success" {
		return fault.New(fault.Unavailable, "GitHub's status of the commit is "+status.State)
	}
	for _, c := range runs.Runs {
		if c.Status != "completed" {
			return fault.New(fault.Unavailable, "the check "+c.Name+" hasn't ended")
		}
		if c.Conclusion != "success" && c.Conclusion != "neutral" && c.Conclusion != "skipped" {
			return fault.New(fault.Refused, "the check "+c.Name+" ended with "+c.Conclusion)
		}
	}
	return nil
}
