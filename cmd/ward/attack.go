package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/caps"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/prove/escape"
	"github.com/wardhq/ward/internal/up"
)

type attackFlags struct {
	file, junit, service, from string
	json, readOnly             bool
}

func newAttackCommand(e cli.Env) *cobra.Command {
	var f attackFlags
	c := &cobra.Command{
		Use:   "attack",
		Short: "Attack the running application, and compare with the plan",
		Long: `Attack the running application: from outside through the gateway, and from inside each
service's sandbox as if that service were taken over. What was reached is compared with
what the file grants, both ways.

Granted routes are called too, with methods that may change data: with an empty body, and
"ward-attack" or 0 in place of {names}. With --read-only they aren't. Granted
externals are never called. Exit 1 if there is any difference.`,
		Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error { return attack(cli.Background(c), e, &f) },
	}
	c.Flags().StringVarP(&f.file, "file", "f", cli.DefaultFile, "the model that runs")
	c.Flags().BoolVar(&f.json, "json", false, "print the report as JSON")
	c.Flags().StringVar(&f.junit, "junit", "", "also write the report as JUnit XML to `FILE`")
	c.Flags().StringVar(&f.service, "service", "", "attack from this `SERVICE` only")
	c.Flags().StringVar(&f.from, "from", "", "attack from `outside` or inside only")
	c.Flags().BoolVar(&f.readOnly, "read-only", false, "leave out granted calls that may change data")
	return c
}

func attack(ctx context.Context, e cli.Env, f *attackFlags) error {
	if !slices.Contains([]string{"", "outside", "inside"}, f.from) {
		return fault.New(fault.Usage, fmt.Sprintf("--from is outside or inside, not %q", f.from))
	}
	p, err := loadPlan(e, f.file)
	if err != nil {
		return err
	}
	w, err := newBattlefield(ctx, f.file, p)
	if err != nil {
		return cli.NotRunning(err)
	}
	c := prove.Config{
		Plan: p, Today: cli.Today(), Prober: w, Ground: w.ground, ReadOnly: f.readOnly,
		Outside: f.from != "inside" && f.service == "",
	}
	for i := range p.Services {
		name := string(p.Services[i].Name)
		if f.from != "outside" && (f.service == "" || f.service == name) {
			c.Inside = append(c.Inside, name)
		}
	}
	if f.service != "" && len(c.Inside) == 0 {
		return fault.New(fault.Usage, fmt.Sprintf("there is no service %q to attack from", f.service))
	}
	r, err := prove.Attack(ctx, c)
	if err != nil {
		return err
	}
	if err := printAttack(e, f, r); err != nil {
		return err
	}
	if len(r.Differences) > 0 {
		return cli.ErrFindings
	}
	return nil
}

func printAttack(e cli.Env, f *attackFlags, r *prove.Report) error {
	if f.junit != "" {
		out, err := os.Create(f.junit)
		if err != nil {
			return fault.Wrap(fault.Invalid, "write "+f.junit, err)
		}
		if err := r.WriteJUnit(out, f.file); err != nil {
			out.Close()
			return err
		}
		if err := out.Close(); err != nil {
			return fmt.Errorf("write %s: %w", f.junit, err)
		}
	}
	held := caps.Sort(r)
	if f.json {
		return cli.WriteJSON(e.Out, struct {
			*prove.Report
			Capabilities []caps.Held `json:"capabilities"`
		}{r, held})
	}
	w := tabwriter.NewWriter(e.Out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "CAPABILITY\tATTEMPTS\tDIFFERENCES\t")
	for _, h := range held {
		fmt.Fprintf(w, "%s\t%d\t%d\t\n", h.Capability, h.Attempts, h.Differences)
	}
	fmt.Fprintln(w, "\t\t\t")
	if err := w.Flush(); err != nil {
		return err
	}
	return cli.WriteText(e.Out, r.Text(f.file))
}

// battlefield is the running application as an attacker finds it.
type battlefield struct {
	paths  up.Paths
	status up.Status
	plan   *plan.Plan
}

func newBattlefield(ctx context.Context, file string, p *plan.Plan) (*battlefield, error) {
	paths, err := up.FindPaths(file)
	if err != nil {
		return nil, err
	}
	w := &battlefield{paths: paths, plan: p}
	if err := paths.Up().Call(ctx, http.MethodGet, "/v1/status", nil, &w.status); err != nil {
		return nil, err
	}
	if w.status.Revision != p.Revision() {
		return nil, fault.New(fault.Conflict, "what runs isn't what the file says; put it into force with 'ward apply' first")
	}
	return w, nil
}

// Probe implements prove.Prober.
func (w *battlefield) Probe(ctx context.Context, service string, job prove.Job) (prove.Findings, error) {
	var found prove.Findings
	input, err := json.Marshal(job)
	if err != nil {
		return found, fmt.Errorf("write job: %w", err)
	}
	var reply up.ProbeReply
	if err := w.paths.Up().Call(ctx, http.MethodPost, "/v1/probe", up.ProbeRequest{Service: service, Input: input}, &reply); err != nil {
		return found, err
	}
	if reply.Code != 0 {
		said, _, _ := strings.Cut(strings.TrimSpace(reply.Errors), "\n")
		return found, fmt.Errorf("the probe ended with %d: %.200s", reply.Code, said)
	}
	if err := json.Unmarshal(reply.Output, &found); err != nil {
		return found, fmt.Errorf("read findings: %w", err)
	}
	return found, nil
}

// ground is what a service must not reach: Ward's own state and processes, and those of the
// other services.
func (w *battlefield) ground(service string) *escape.Ground {
	g := &escape.Ground{}
	var own *plan.Service
	for i := range w.plan.Services {
		if string(w.plan.Services[i].Name) == service {
			own = &w.plan.Services[i]
		}
	}
	if own == nil {
		return g
	}
	w.addOthers(g, own)
	w.addSockets(g, own)
	for _, r := range w.status.Roles {
		w.addProcess(g, r.PID)
	}
	w.addProcess(g, w.status.PID)
	for _, s := range w.status.Services {
		if s.Service != service {
			w.addProcess(g, s.PID)
		}
	}
	for i := range w.plan.Services {
		for _, u := range w.plan.Services[i].Secrets {
			if !slices.ContainsFunc(own.Secrets, func(o model.SecretUse) bool { return o.Secret == u.Secret }) {
				g.Secrets = append(g.Secrets, u.Secret)
			}
		}
	}
	for _, u := range own.Upstreams {
		g.Upstreams = append(g.Upstreams, net.JoinHostPort(u.IP, strconv.Itoa(u.Port)))
	}
	host := sandbox.Host{Base: w.paths.Base, Path: os.Getenv("PATH"), UID: os.Getuid(), GID: os.Getgid(), Root: os.Getuid() == 0}
	if s, err := sandbox.Prepare(own, host); err == nil {
		g.Programs = s.Execs
		visible := func(path string) bool {
			for _, m := range s.Mounts {
				if path == m.Target || strings.HasPrefix(path, m.Target+"/") {
					return true
				}
			}
			return false
		}
		g.Files = slices.DeleteFunc(g.Files, visible)
		// Where the workdir would show them, they must show empty.
		g.Files = append(g.Files, w.paths.Hidden()...)
		if !slices.ContainsFunc(own.Files.Write, func(p model.Path) bool { return within(s.Dir, w.absolute(p.Path)) }) {
			g.ReadOnly = append(g.ReadOnly, s.Dir)
		}
	}
	return g
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

func (w *battlefield) absolute(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(w.paths.Base, path)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// addOthers adds the folders and files of the other services.
func (w *battlefield) addOthers(g *escape.Ground, own *plan.Service) {
	for i := range w.plan.Services {
		s := &w.plan.Services[i]
		if s.Name == own.Name {
			continue
		}
		g.Files = append(g.Files, w.absolute(s.Workdir))
		for _, p := range slices.Concat(s.Files.Read, s.Files.Write) {
			g.Files = append(g.Files, w.absolute(p.Path))
		}
	}
}

// addSockets adds every socket of Ward's. The gateway's port isn't one to reach either, except through
// what the service may dial.
func (w *battlefield) addSockets(g *escape.Ground, own *plan.Service) {
	_ = filepath.WalkDir(w.paths.Run, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSocket != 0 {
			g.Sockets = append(g.Sockets, path)
		}
		return nil // what can't be read isn't tried
	})
	_, port, err := net.SplitHostPort(w.plan.Gateway.Listen)
	if err != nil {
		return
	}
	used := func(n int) bool { return strconv.Itoa(n) == port }
	if slices.ContainsFunc(own.Listen, func(l model.Listen) bool { return used(l.Port) }) ||
		slices.ContainsFunc(own.Upstreams, func(u plan.Upstream) bool { return used(u.Port) }) {
		return
	}
	g.TCP = append(g.TCP, net.JoinHostPort("127.0.0.1", port))
}

func (w *battlefield) addProcess(g *escape.Ground, pid int) {
	if p, err := escape.ProcessOf(pid); err == nil && pid > 0 {
		g.Processes = append(g.Processes, p)
	}
}
