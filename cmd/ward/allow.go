package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/model/edit"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/explain"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// newAllowCommand is `ward findings allow`: the change of ward.yaml after which a finding is none.
func newAllowCommand(e cli.Env) *cobra.Command {
	var apply bool
	c := cli.Running("allow ID", "Show the change of ward.yaml that allows what was found, or make it", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return fault.New(fault.Usage, fmt.Sprintf("%.40q is no number of a finding; 'ward findings' lists them", args[0]))
		}
		var f watch.FindingReport
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/finding", wire.FindingAct{ID: id}, &f); err != nil {
			return err
		}
		if f.Call == nil && f.Allow != "" {
			return cli.WriteText(e.Out, "Ward leaves this to a person; in ward.yaml it would be:\n"+f.Allow)
		}
		if f.Call == nil {
			return fault.New(fault.Invalid, strings.TrimSpace(fmt.Sprintf("there is no change to show for finding %d. %s", id, f.Right))+fmt.Sprintf(" 'ward findings silence %d --reason …' hears no more of it", id))
		}
		if strings.ContainsAny(f.Call.Path, "*{}") {
			return fault.New(fault.Invalid, "no line of ward.yaml says this path alone: it holds a character that stands for others")
		}
		file, err := c.Flags().GetString("file")
		if err != nil {
			return err
		}
		src, err := readSource(e, file)
		if err != nil {
			return err
		}
		m, problems := wardfile.Parse(file, strings.NewReader(string(src)))
		if problems.HasErrors() {
			return fault.New(fault.Invalid, file+" has errors; see 'ward check'")
		}
		res, err := explain.Explain(plan.Build(m), cli.Today(), explain.Query{Caller: f.Call.Caller, Target: f.Call.Target, Port: f.Call.Port, Method: f.Call.Method, Path: f.Call.Path})
		switch {
		case err != nil:
			return fault.Wrap(fault.Invalid, "the call isn't of "+file+" any more", err)
		case res.Allowed:
			return cli.WriteText(e.Out, file+" allows it already; 'ward apply' puts it into force\n")
		case res.Fix == nil:
			return fault.New(fault.Invalid, "no line of "+file+" would allow it: "+res.NoFix)
		}
		target := f.Call.Target
		if res.Fix.Port > 0 {
			target += ":" + strconv.Itoa(res.Fix.Port)
		}
		after, err := edit.Add(src, []edit.Grant{{Caller: f.Call.Caller, Target: target, Grant: res.Fix.Grant.String()}})
		if err != nil {
			return fault.Wrap(fault.Invalid, file+" can't be edited by machine; add the line by hand", err)
		}
		return proposeEdit(e, proposal{file: file, before: src, after: after, apply: apply, verb: fmt.Sprintf("ward findings allow %d", id)})
	})
	c.Flags().BoolVar(&apply, "apply", false, "write it into the file")
	return c
}
