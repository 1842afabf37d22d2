package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/cmd/ward/internal/auditing"
	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/explain"
	"github.com/wardhq/ward/internal/up"
)

// denial is what the ledger knows of one kind of denied request.
type denial struct {
	ID          string            `json:"id"`
	Record      ledger.Record     `json:"record"` // the first
	First       time.Time         `json:"first"`
	Last        time.Time         `json:"last"`
	Count       int64             `json:"count"`
	Now         []*explain.Result `json:"now,omitempty"` // what ward.yaml says today
	AllowedNow  bool              `json:"allowed_now"`
	Explanation string            `json:"-"`
}

// explainDenial turns the id of a denial that gateway or agent recorded into the request that it was about.
func explainDenial(ctx context.Context, e cli.Env, file, id string, asJSON bool) error {
	if strings.HasPrefix(id, "f-") {
		return fault.New(fault.Usage, fmt.Sprintf("%q is a flag of a sandbox, no denial; 'ward audit --id %s' shows its record", id, id))
	}
	if !isDenialID(id) {
		return fault.New(fault.Usage, fmt.Sprintf("%q is no id of a denial (d-… or g-…); or say CALLER TARGET METHOD PATH", id))
	}
	p, err := up.FindPaths(file)
	if err != nil {
		return err
	}
	d := denial{ID: id}
	if err := auditing.Read(ctx, p, search.Query{Kind: "request", ID: id}, false, func(r ledger.Record) error {
		if r.Detail["id"] == id { // and not its trace
			d.take(&r)
		}
		return nil
	}); err != nil {
		return err
	}
	if d.Count == 0 {
		return fault.New(fault.NotFound, fmt.Sprintf("no denial %s is in the ledger of %s; see 'ward audit --kind request'", id, file))
	}
	m, err := cli.LoadModel(e, file)
	if err != nil {
		return err
	}
	d.explain(plan.Build(m), file)
	if asJSON {
		err = cli.WriteJSON(e.Out, &d)
	} else {
		err = cli.WriteText(e.Out, d.text())
	}
	if err == nil && !d.AllowedNow {
		return cli.ErrFindings
	}
	return err
}

func isDenialID(s string) bool {
	rest, ok := strings.CutPrefix(s, "d-")
	if !ok {
		rest, ok = strings.CutPrefix(s, "g-")
	}
	return ok && len(rest) == 10 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func (d *denial) take(r *ledger.Record) {
	if d.Count == 0 {
		d.Record, d.First = *r, r.Time
	}
	d.Last = r.Time
	d.Count += max(r.Count, 1)
}

// explain asks the rules of today about the request of then.
func (d *denial) explain(p *plan.Plan, file string) {
	r := &d.Record
	detail := r.Detail
	var targets []string
	switch {
	case r.Kind == "request.malformed":
		d.Explanation = "Refused before any rule was asked, because the request could be read in more than one way: " + cli.Clean(detail["malformed"]) + ".\nNo line of " + file + " would allow it; the caller has to send it in one clear form.\n"
		return
	case r.Kind == "request.observed":
		d.Explanation = "It was let pass, by an observe rule, which ends on its date.\n"
	case detail["host"] != "" && r.Object != "":
		d.Explanation = "The request named the host " + cli.Clean(detail["host"]) + ", which isn't the external's: Ward would have sent it astray.\n"
		return
	case detail["method"] == "*" || detail["path"] == "" && detail["method"] != "TCP":
		d.Explanation = "Too many different requests were denied at that moment to keep each one's path.\n"
		return
	case detail["status"] == "421":
		d.Explanation = "The request was for the host " + cli.Clean(detail["host"]) + "; the gateway of " + file + " is " + p.Gateway.Host + ".\n"
		return
	}
	if r.Object != "" {
		targets = []string{r.Object}
	} else {
		targets = exposing(p)
		d.Explanation = "The gateway has no route for it. What each service that is exposed would need:\n"
	}
	port, _ := strconv.Atoi(detail["port"]) // absent: any
	method := detail["method"]
	if lower := strings.ToLower(method); lower == "ws" || lower == "grpc" || lower == "tcp" {
		method = lower
	}
	for _, target := range targets {
		res, err := explain.Explain(p, cli.Today(), explain.Query{Caller: r.Subject, Target: target, Port: port, Method: method, Path: strings.TrimSuffix(detail["path"], "…")})
		if err != nil {
			d.Explanation += cli.Clean(err.Error()) + "\n"
			continue
		}
		d.Now = append(d.Now, res)
		d.AllowedNow = d.AllowedNow || res.Allowed
		d.Explanation += res.Text(file)
	}
	if d.AllowedNow {
		d.Explanation += "So " + file + " as it is now allows it.\n"
	}
}

// exposing names the services that have a route to the outside.
func exposing(p *plan.Plan) []string {
	var out []string
	for i := range p.Services {
		if len(p.Services[i].Expose) > 0 {
			out = append(out, string(p.Services[i].Name))
		}
	}
	return out
}

func (d *denial) text() string {
	r := &d.Record
	end := map[string]string{
		"outbound": "at the caller's end, by its own rules", "inbound": "at the target's end, by its own rules",
		"gateway": "at the gateway", "parse": "when it was read",
	}[r.Detail["end"]]
	when := d.First.UTC().Format(time.DateTime)
	if d.Count > 1 {
		when = fmt.Sprintf("%d times, from %s to %s", d.Count, when, d.Last.UTC().Format(time.DateTime))
	}
	text := fmt.Sprintf("%s  %s\n  when   %s UTC\n", d.ID, strings.TrimSuffix(auditing.RequestText(r), "  "+d.ID), when)
	if end != "" {
		text += "  where  " + end + "\n"
	}
	return text + "\n" + d.Explanation
}
