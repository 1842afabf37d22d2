package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/auditing"
	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/cmd/ward/internal/scanning"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/learn"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/edit"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
)

// maxLearn is the longest time that services may be open to each other.
const maxLearn = 7 * 24 * time.Hour

func newLearnCommand(e cli.Env) *cobra.Command {
	var file string
	var length time.Duration
	var last, apply bool
	c := &cobra.Command{
		Use:   "learn",
		Short: "Run the services open to each other for a while, and propose the grants that they used",
		Long: `Run the services as 'ward up' does, each in its sandbox, but let any service call any other of the
model for a stated time. Each call that ward.yaml doesn't grant is recorded. Then everything ends (Ctrl-C ends it
sooner), and the grants that were used are shown as a change of ward.yaml: comments and order stay, ids in paths
become {id}, three or more siblings {name}.

Use the application meanwhile, or run its tests: what isn't called isn't learnt. Do it where nobody attacks you:
what an attacker calls is learnt too. The outside, externals and files stay as closed as ward.yaml says.

Nothing is written without --apply. With --last, nothing runs, and the last learning is shown again.`,
		Example: `  ward learn --for 10m
  ward learn --last --apply`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			if !last {
				if length < time.Second || length > maxLearn {
					return fault.New(fault.Usage, "--for takes 1s to 168h, as in 'ward learn --for 10m'")
				}
				ctx, stop := signal.NotifyContext(cli.Background(c), os.Interrupt, syscall.SIGTERM)
				defer stop()
				if err := runLearning(ctx, e, file, time.Now().Add(length)); err != nil {
					return err
				}
			}
			return proposeLearnt(cli.Background(c), e, file, p, apply)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	c.Flags().DurationVar(&length, "for", 0, "how long to learn")
	c.Flags().BoolVar(&last, "last", false, "run nothing; show what the last learning found")
	c.Flags().BoolVar(&apply, "apply", false, "write the grants into the file")
	return c
}

// runLearning runs the application until the end, and reminds people every minute that it is open.
func runLearning(ctx context.Context, e cli.Env, file string, until time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	out := &lockedWriter{w: e.Out}
	say := func(text string) { fmt.Fprintf(out, "LEARNING   | %s\n", text) }
	say("until " + until.UTC().Format(time.DateTime) + " UTC every service may call every other one; such calls are recorded.")
	say("The outside, externals and files stay closed. Ctrl-C ends it sooner.")
	var owned sync.WaitGroup
	owned.Go(func() {
		t := time.NewTicker(time.Minute)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				say("services are open to each other for another " + time.Until(until).Round(time.Second).String())
			case <-ctx.Done():
				return
			}
		}
	})
	var refuse scanning.Refusals
	err := up.Run(ctx, up.Config{
		File: file, Out: out, Color: cli.IsTerminal(e.Out), LearnUntil: until, Refuse: refuse.Why,
		Load: func() (*plan.Plan, error) {
			p, err := loadToStart(ctx, e, file, &refuse)
			if err != nil {
				return nil, err
			}
			return learn.Widen(p), nil
		},
	})
	cancel()
	owned.Wait()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// lockedWriter lets several write whole lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

// Write implements io.Writer.
func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// proposeLearnt shows, or writes, the grants of the last learning in the ledger.
func proposeLearnt(ctx context.Context, e cli.Env, file string, p up.Paths, apply bool) error {
	until := ""
	var calls []learn.Call
	err := auditing.Read(ctx, p, search.Query{}, false, func(r ledger.Record) error {
		switch r.Kind {
		case "learn.start":
			if until != r.Detail["until"] { // else the agent was restarted
				until, calls = r.Detail["until"], nil
			}
		case "request.learned":
			if c, ok := learntCall(&r); ok && r.Detail["until"] == until {
				calls = append(calls, c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if until == "" {
		return fault.New(fault.NotFound, "nothing was learnt for this file yet; see 'ward learn --help'")
	}
	src, err := readSource(e, file)
	if err != nil {
		return err
	}
	m, problems := wardfile.Parse(file, strings.NewReader(string(src)))
	if problems.HasErrors() {
		return fault.New(fault.Invalid, file+" has errors; see 'ward check'")
	}
	edits, notes := learn.Grants(m, calls)
	after, err := edit.Add(src, edits)
	if err != nil {
		return fault.Wrap(fault.Invalid, file+" can't be edited by machine; add the lines by hand", err)
	}
	text := fmt.Sprintf("\nlearnt %s from %s\n", cli.Count(len(edits), "grant"), cli.Count(len(calls), "kind")+" of calls")
	for _, n := range notes {
		text += fmt.Sprintf("  note: %s -> %s: %s\n", n.Caller, n.Target, cli.Clean(n.Text))
	}
	if string(after) == string(src) {
		return cli.WriteText(e.Out, text+file+" has them all\n")
	}
	if err := cli.WriteText(e.Out, text); err != nil {
		return err
	}
	return proposeEdit(e, proposal{file: file, before: src, after: after, apply: apply, verb: "ward learn --last"})
}

// learntCall reads a record that an agent wrote while it learnt.
func learntCall(r *ledger.Record) (learn.Call, bool) {
	port, err := strconv.Atoi(r.Detail["port"])
	if err != nil {
		return learn.Call{}, false
	}
	c := learn.Call{Caller: r.Subject, Target: r.Object, Port: port, Kind: model.GrantHTTP, Method: r.Detail["method"], Path: r.Detail["path"]}
	switch c.Method {
	case "WS":
		c.Kind = model.GrantWS
	case "GRPC":
		c.Kind = model.GrantGRPC
	case "TCP":
		c.Kind = model.GrantTCP
	}
	return c, true
}
