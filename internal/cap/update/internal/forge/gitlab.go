package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// gitlab speaks version 4 of GitLab's REST API (docs.gitlab.com/api/merge_requests).
type gitlab struct {
	*client
	project string
}

// NewGitLab opens merge requests.
func NewGitLab(c Config) (Forge, error) {
	cl, err := newClient(c, "https://gitlab.com/api/v4", func(h http.Header) { h.Set("PRIVATE-TOKEN", string(c.Token.Reveal())) })
	if err != nil {
		return nil, err
	}
	if !strings.Contains(c.Project, "/") {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%q is no project of GitLab: group/name", c.Project))
	}
	return &gitlab{client: cl, project: "/projects/" + url.PathEscape(c.Project)}, nil
}

type mergeRequest struct {
	Number  int    `json:"iid"`
	URL     string `json:"web_url"`
	Title   string `json:"title"`
	Branch  string `json:"source_branch"`
	Source  int    `json:"source_project_id"`
	Project int    `json:"project_id"`
}

func (m *mergeRequest) request() Request { return Request{m.Number, m.URL, m.Branch, m.Title} }

func (g *gitlab) List(ctx context.Context, prefix string) ([]Request, error) {
	var out []Request
	for page := 1; page <= maxPages; page++ {
		var all []mergeRequest
		if _, err := g.call(ctx, http.MethodGet, fmt.Sprintf("%s/merge_requests?state=opened&per_page=100&page=%d", g.project, page), nil, &all); err != nil {
			return nil, fmt.Errorf("list merge requests: %w", err)
		}
		for i := range all {
			if all[i].Source == all[i].Project && strings.HasPrefix(all[i].Branch, prefix) { // not a fork's
				out = append(out, all[i].request())
			}
		}
		if len(all) < 100 {
			return out, nil
		}
	}
	return nil, fault.New(fault.Unavailable, fmt.Sprintf("there are more than %d open merge requests", maxPages*100))
}

func (g *gitlab) Propose(ctx context.Context, p Proposal) (Request, error) {
	var made mergeRequest
	body := map[string]any{"source_branch": p.Branch, "target_branch": p.Base, "title": p.Title, "description": p.Body, "remove_source_branch": true}
	_, err := g.call(ctx, http.MethodPost, g.project+"/merge_requests", body, &made)
	if err == nil {
		return made.request(), nil
	}
	if !is(err, http.StatusConflict) { // 409: there is one already
		return Request{}, fmt.Errorf("open merge request: %w", err)
	}
	var there []mergeRequest
	query := url.Values{"state": {"opened"}, "source_branch": {p.Branch}, "target_branch": {p.Base}}
	if _, listErr := g.call(ctx, http.MethodGet, g.project+"/merge_requests?"+query.Encode(), nil, &there); listErr != nil {
		return Request{}, fmt.Errorf("open merge request: %w", listErr)
	}
	for i := range there {
		if there[i].Source == there[i].Project {
			if _, err := g.call(ctx, http.MethodPut, fmt.Sprintf("%s/merge_requests/%d", g.project, there[i].Number), map[string]any{"title": p.Title, "description": p.Body}, &made); err != nil {
				return Request{}, fmt.Errorf("refresh merge request: %w", err)
			}
			return made.request(), nil
		}
	}
	return Request{}, fmt.Errorf("open merge request: %w", err)
}

func (g *gitlab) Merge(ctx context.Context, r Request, commit string) error {
	at := fmt.Sprintf("%s/merge_requests/%d", g.project, r.Number)
	var state struct {
		SHA      string `json:"sha"`
		Pipeline *struct {
			Status string `json:"status"`
			SHA    string `json:"sha"`
		} `json:"head_pipeline"`
	}
	if _, err := g.call(ctx, http.MethodGet, at, nil, &state); err != nil {
		return fmt.Errorf("read merge request: %w", err)
	}
	switch {
	case state.SHA != commit:
		return fault.New(fault.Refused, "the branch has another commit than the one that was tried")
	case state.Pipeline == nil || state.Pipeline.SHA != commit:
		return fault.New(fault.Unavailable, "no pipeline on GitLab has checked the commit: it isn't merged by itself")
	case state.Pipeline.Status == "failed" || state.Pipeline.Status == "canceled":
		return fault.New(fault.Refused, "the pipeline ended with "+state.Pipeline.Status)
	case state.Pipeline.Status != "success":
		return fault.New(fault.Unavailable, "the pipeline is "+state.Pipeline.Status)
	}
	_, err := g.call(ctx, http.MethodPut, at+"/merge", map[string]any{"sha": commit, "squash": true, "should_remove_source_branch": true}, nil)
	switch {
	case is(err, http.StatusConflict):
		return fault.Wrap(fault.Refused, "the branch has another commit than the one that was tried", err)
	case is(err, http.StatusMethodNotAllowed) || is(err, http.StatusUnprocessableEntity):
		return fault.Wrap(fault.Unavailable, "GitLab doesn't merge it yet: an approval is missing, or it conflicts", err)
	case err != nil:
		return fmt.Errorf("merge merge request: %w", err)
	}
	return nil
}
