package auditing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/export"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/up"
)

// exportFlags are what 'ward audit export' is asked.
type exportFlags struct {
	file, format, to, ca, state, since string
	follow                             bool
}

func newExportCommand(e cli.Env) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the ledger for another system, once or as it grows",
		Long: `Write the ledger's records, oldest first, as JSON lines, CEF or syslog (RFC 5424), to the standard output or to a receiver: over
TCP and TLS by octet counting (RFC 6587), over UDP one datagram each. With --state the next run goes on where this one ended. With --follow it
goes on as more comes, and begins again a second after the receiver or Ward has gone; what was under way may come twice then.`,
		Example: `  ward audit export --format jsonl > ledger.jsonl
  ward audit export --format cef --to tls://siem.example.com:6514 --state ~/.ward-export --follow
  ward audit export --format syslog --to udp://127.0.0.1:514 --since 24h`,
		Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error { return runExport(cli.Background(c), e, &f) },
	}
	c.Flags().StringVarP(&f.file, "file", "f", cli.DefaultFile, "the model that runs")
	c.Flags().StringVar(&f.format, "format", "jsonl", "jsonl, cef or syslog")
	c.Flags().StringVar(&f.to, "to", "", "udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT, instead of the standard output")
	c.Flags().StringVar(&f.ca, "ca", "", "the file of the authorities of a receiver over TLS, if they aren't this machine's")
	c.Flags().StringVar(&f.state, "state", "", "the file that remembers up to where it was sent")
	c.Flags().StringVar(&f.since, "since", "", "only what is younger: 30m, 24h, 7d, or a date as 2026-01-31")
	c.Flags().BoolVar(&f.follow, "follow", false, "go on as more comes")
	return c
}

func runExport(ctx context.Context, e cli.Env, f *exportFlags) error {
	x := exporter{format: export.Formats()[f.format], flags: f, env: e}
	if x.format == nil {
		return fault.New(fault.Usage, fmt.Sprintf("--format is jsonl, cef or syslog, not %q", f.format))
	}
	var err error
	if x.query.Since, err = auditTime("--since", f.since, time.Now()); err != nil {
		return err
	}
	if x.paths, err = up.FindPaths(f.file); err != nil {
		return err
	}
	if f.to != "" {
		var roots []byte
		if f.ca != "" {
			if roots, err = os.ReadFile(f.ca); err != nil {
				return fault.Wrap(fault.NotFound, "the file of authorities can't be read", err)
			}
		}
		if x.target, err = export.ParseTarget(f.to, roots); err != nil {
			return err
		}
	}
	if x.query.From, err = readPlace(f.state); err != nil {
		return err
	}
	for {
		err := x.once(ctx)
		if !f.follow || ctx.Err() != nil {
			return err
		}
		if err == nil {
			err = errors.New("nothing runs any more")
		}
		fmt.Fprintln(e.Err, "ward: export:", fault.PublicText(err)+"; trying again")
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// exporter sends records until something breaks, and knows where to go on.
type exporter struct {
	format export.Format
	target export.Target
	paths  up.Paths
	query  search.Query
	flags  *exportFlags
	env    cli.Env
}

// sendTogether is how many records may wait to be handed over.
const sendTogether = 1000

// once exports until the end, or the first failure. query.From is what hasn't been handed over.
func (x *exporter) once(ctx context.Context) (err error) {
	s := export.NewWriter(x.env.Out, x.format)
	if x.flags.to != "" {
		if s, err = export.Dial(ctx, x.target, x.format); err != nil {
			return err
		}
	}
	next, waiting := x.query.From, 0
	flush := func() error {
		if err := s.Flush(); err != nil {
			return err
		}
		waiting = 0
		x.query.From = next
		return writePlace(x.flags.state, next)
	}
	err = Read(ctx, x.paths, x.query, x.flags.follow, func(r ledger.Record) error {
		if err := s.Send(&r); err != nil {
			return err
		}
		next = r.Index + 1
		if waiting++; waiting < sendTogether && !x.flags.follow {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return errors.Join(err, s.Close())
}

// readPlace reads which record comes next; the first without a file.
func readPlace(file string) (int64, error) {
	if file == "" {
		return 0, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, "the file of --state can't be read", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, file+" doesn't say up to where it was sent; remove it to begin anew")
	}
	return n, nil
}

func writePlace(file string, next int64) error {
	if file == "" {
		return nil
	}
	if err := os.WriteFile(file+".new", fmt.Appendln(nil, next), 0o600); err != nil {
		return fmt.Errorf("remember place: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("remember place: %w", err)
	}
	return nil
}
