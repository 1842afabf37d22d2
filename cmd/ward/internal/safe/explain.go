package safe

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// keyExplained is what 'ward explain key' says.
type keyExplained struct {
	Key  *wire.ManagedKey `json:"key,omitempty"` // absent when nothing runs
	Plan *plan.Key        `json:"plan,omitempty"`
}

// secretExplained is what 'ward explain secret' says.
type secretExplained struct {
	Secret  *wire.Secret `json:"secret,omitempty"` // absent when nothing runs
	Readers []reader     `json:"readers"`
	Used    string       `json:"used,omitempty"` // what breaks without it, in words
}

// Explain says of a key or a secret who can, who did, when it rotates and what breaks without it. Who can is of the file; the rest is
// of the application that runs, if it does.
func Explain(c *cobra.Command, e cli.Env, file string, args []string, asJSON bool) error {
	m, err := cli.LoadModel(e, file)
	if err != nil {
		return err
	}
	p := plan.Build(m)
	paths, err := up.FindPaths(file)
	if err != nil {
		return err
	}
	q := safeQuery{ctx: cli.Background(c), plan: p, paths: paths, name: args[1], asJSON: asJSON}
	if args[0] == "key" {
		return explainKey(e, q)
	}
	return explainSecret(e, q)
}

// safeQuery is one question about a key or a secret.
type safeQuery struct {
	ctx    context.Context
	plan   *plan.Plan
	paths  up.Paths
	name   string
	asJSON bool
}

func explainKey(e cli.Env, q safeQuery) error {
	p, name := q.plan, q.name
	var x keyExplained
	if i := slices.IndexFunc(p.Keys, func(k plan.Key) bool { return k.Name == name }); i >= 0 {
		x.Plan = &p.Keys[i]
	}
	var k wire.ManagedKey
	err := q.paths.Admin().Call(q.ctx, http.MethodGet, "/v1/keys/"+url.PathEscape(name), nil, &k)
	switch {
	case err == nil:
		x.Key = &k
	case x.Plan == nil && fault.KindOf(err) == fault.NotFound:
		return err
	case x.Plan == nil:
		return fault.New(fault.NotFound, fmt.Sprintf("ward.yaml has no key %s, and nothing runs that could know it", name))
	}
	if q.asJSON {
		return cli.WriteJSON(e.Out, x)
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	if x.Plan != nil {
		fmt.Fprintf(w, "key %s, for %s\n", name, x.Plan.Purpose)
		for _, g := range x.Plan.Grants {
			fmt.Fprintf(w, "  may\t%s\t%s\tline %d\n", g.Service, strings.Join(g.Uses, ", "), g.Pos.Line)
		}
	} else {
		fmt.Fprintf(w, "key %s isn't in ward.yaml any more: nobody may use it\n", name)
	}
	if x.Key == nil {
		fmt.Fprintln(w, "  nothing runs for this file: who used it, and what breaks without it, isn't known now")
		return w.Flush()
	}
	fmt.Fprintf(w, "  is\t%s\tversion %d\tmade %s\n", keyState(&k), k.Current, date(k.Created))
	fmt.Fprintf(w, "  rotates\t%s\n", date(k.NextRotation))
	for _, u := range k.Uses {
		fmt.Fprintf(w, "  did\t%s\t%s\t%d times, last %s\n", u.Service, u.Op, u.Count, u.Last.UTC().Format(time.RFC3339))
	}
	fmt.Fprint(w, lossText(&k))
	return w.Flush()
}

func explainSecret(e cli.Env, q safeQuery) error {
	p, name := q.plan, q.name
	declared := slices.ContainsFunc(p.Secrets, func(s model.Secret) bool { return s.Name == name })
	x := secretExplained{Readers: []reader{}}
	for _, r := range p.Readers(name) {
		x.Readers = append(x.Readers, reader{r.Kind, r.Name, r.How, r.Pos.Line})
	}
	s, err := q.paths.Admin().Secret(q.ctx, name)
	switch {
	case err == nil:
		x.Secret = &s
	case !declared && fault.KindOf(err) == fault.NotFound:
		return err
	case !declared:
		return fault.New(fault.NotFound, fmt.Sprintf("ward.yaml has no secret %s, and nothing runs that could know it", name))
	}
	x.Used = breaks(x.Readers)
	if q.asJSON {
		return cli.WriteJSON(e.Out, x)
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "secret %s\n", name)
	for _, r := range x.Readers {
		fmt.Fprintf(w, "  to\t%s %s\t%s\tline %d\n", r.Kind, r.Name, r.How, r.Line)
	}
	if x.Secret == nil {
		fmt.Fprintln(w, "  nothing runs for this file: whether it has a value isn't known now")
	} else if s.Current == 0 {
		fmt.Fprintf(w, "  has no value: 'ward secrets set %s'\n", name)
	} else {
		fmt.Fprintf(w, "  is\tversion %d\tsince %s\n", s.Current, day(s.Since))
	}
	for _, n := range secretNotes(&s) {
		fmt.Fprintf(w, "  %s\n", n)
	}
	fmt.Fprintf(w, "without it: %s\n", x.Used)
	fmt.Fprintln(w, "who read it, and when: 'ward audit' has each time")
	return w.Flush()
}

// breaks says what stops without a secret.
func breaks(readers []reader) string {
	var out []string
	for _, r := range readers {
		switch r.Kind {
		case "service":
			out = append(out, "service "+r.Name+" doesn't start")
		case "external":
			out = append(out, "calls to "+r.Name+" are refused")
		default:
			out = append(out, "Ward can't log in to database "+r.Name)
		}
	}
	if len(out) == 0 {
		return "nothing stops"
	}
	return strings.Join(out, "; ")
}
