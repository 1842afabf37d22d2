package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/cmd/ward/internal/safe"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/explain"
)

func newExplainCommand(e cli.Env) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain CALLER TARGET METHOD [PATH] | ID | key NAME | secret NAME",
		Short: "Say whether a request is allowed, and by which line, or which line would allow it",
		Long: `Say whether a request is allowed, and by which line of ward.yaml, or which line would allow it.

CALLER is a service, or outside for what comes in through the gateway. TARGET is a
service or an external, with :PORT if one port is meant. METHOD is an HTTP method,
or grpc, ws or tcp; tcp has no PATH. ID is that of a denial, as a 403 and 'ward audit' show it: what
was asked, which end refused, and what the file says about it today. Of a key or a secret: who can, who did, when it
rotates, and what breaks without it.

Exit code 0: allowed. 1: denied.`,
		Example: `  ward explain web catalog GET /books/1
  ward explain orders payments grpc shop.v1.Payments/Charge
  ward explain outside web ws /live
  ward explain cart redis tcp
  ward explain d-4kq7zr2mxa
  ward explain key addresses
  ward explain secret stripe-key`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				return explainDenial(cli.Background(c), e, file, args[0], asJSON)
			case len(args) == 2 && (args[0] == "key" || args[0] == "secret"):
				return safe.Explain(c, e, file, args, asJSON)
			case len(args) == 4, len(args) == 3 && args[2] == "tcp":
				return explainRequest(e, file, asJSON, args)
			}
			return fault.New(fault.Usage, fmt.Sprintf("%s takes CALLER TARGET METHOD PATH; see '%s --help'", c.CommandPath(), c.CommandPath()))
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func explainRequest(e cli.Env, file string, asJSON bool, args []string) error {
	m, err := cli.LoadModel(e, file)
	if err != nil {
		return err
	}
	p := plan.Build(m)
	q := explain.Query{Caller: callerName(p, args[0]), Method: args[2]}
	if q.Target, q.Port, err = targetPort(args[1]); err != nil {
		return err
	}
	if len(args) == 4 {
		q.Path = args[3]
	}
	res, err := explain.Explain(p, cli.Today(), q)
	if bad, ok := errors.AsType[*explain.QueryError](err); ok {
		return fault.New(fault.Usage, bad.Message)
	}
	if err != nil {
		return err
	}
	if asJSON {
		err = cli.WriteJSON(e.Out, res)
	} else {
		err = cli.WriteText(e.Out, res.Text(file))
	}
	if err == nil && !res.Allowed {
		return cli.ErrFindings
	}
	return err
}

// callerName reads "outside" as the gateway, unless a service has that name.
func callerName(p *plan.Plan, name string) string {
	for i := range p.Services {
		if string(p.Services[i].Name) == name {
			return name
		}
	}
	if name == "outside" {
		return plan.Outside
	}
	return name
}

func targetPort(s string) (string, int, error) {
	name, port, ok := strings.Cut(s, ":")
	if !ok {
		return name, 0, nil
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return "", 0, fault.New(fault.Usage, fmt.Sprintf("%q is not a port", port))
	}
	return name, n, nil
}
