package auditing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/up"
)

// proveFlags are what 'ward audit prove' is asked.
type proveFlags struct {
	file, event, since, out, check, key string
	asJSON                              bool
}

func newProveCommand(e cli.Env) *cobra.Command {
	var f proveFlags
	c := &cobra.Command{
		Use:   "prove [INDEX]",
		Short: "Prove to somebody else that a record is in the ledger, or check such a proof",
		Long: `Write a proof, a small JSON file: that the record INDEX, or the first one of a denial or trace (--event), is in
the ledger, and, with --since, that the ledger goes on from an older checkpoint. Whoever has the ledger's public key checks it with
--check and --key, without the ledger. The proof holds the record itself.

Exit code 0: done, or the proof holds. 1: it doesn't.`,
		Example: `  ward audit prove 1234 --out proof.json
  ward audit prove --event d-abcdefghij --since /mnt/other-host/ward.checkpoint
  ward audit prove --check proof.json --key "$(cat ledger.key)"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if f.check != "" {
				return checkProof(e, &f)
			}
			return writeProof(e, &f, args)
		},
	}
	c.Flags().StringVarP(&f.file, "file", "f", cli.DefaultFile, "the model whose ledger is meant")
	c.Flags().StringVar(&f.event, "event", "", "the first record of the denial, or the trace, of this identifier")
	c.Flags().StringVar(&f.since, "since", "", "the file of an older checkpoint")
	c.Flags().StringVar(&f.out, "out", "", "where the proof goes, instead of the standard output")
	c.Flags().StringVar(&f.check, "check", "", "check the proof in this file")
	c.Flags().StringVar(&f.key, "key", "", "the ledger's public key, as kept elsewhere")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the result of --check as JSON")
	return c
}

func writeProof(e cli.Env, f *proveFlags, args []string) error {
	p, err := up.FindPaths(f.file)
	if err != nil {
		return err
	}
	if _, err := os.Stat(folder(p)); errors.Is(err, fs.ErrNotExist) {
		return noLedger(p)
	}
	index := ledger.Nothing
	switch {
	case len(args) == 1 && f.event == "":
		if index, err = strconv.ParseInt(args[0], 10, 64); err != nil || index < 0 {
			return fault.New(fault.Usage, fmt.Sprintf("a record is named by its index, as 'ward audit' shows it, not %q", args[0]))
		}
	case len(args) == 0 && f.event != "":
		if err := search.Folder(folder(p), search.Query{ID: f.event, Limit: 1}, func(r ledger.Record) bool { index = r.Index; return true }); err != nil {
			return err
		}
		if index == ledger.Nothing {
			return fault.New(fault.NotFound, "no record of "+f.event+" is in the ledger")
		}
	case len(args) > 0 || f.since == "":
		return fault.New(fault.Usage, "name what is to be proved: an INDEX, --event, or --since")
	}
	var since []byte
	if f.since != "" {
		if since, err = readCheckpointFile(f.since); err != nil {
			return err
		}
	}
	proof, err := ledger.Prove(folder(p), index, since)
	if err != nil {
		return err
	}
	if f.out == "" {
		return cli.WriteJSON(e.Out, proof)
	}
	b, err := json.MarshalIndent(proof, "", "  ")
	if err == nil {
		err = os.WriteFile(f.out, append(b, '\n'), 0o600) // a record isn't for everybody
	}
	if err != nil {
		return fmt.Errorf("write proof: %w", err)
	}
	return nil
}

func checkProof(e cli.Env, f *proveFlags) error {
	if f.key == "" {
		return fault.New(fault.Usage, "a proof is checked with the ledger's public key, as kept elsewhere: --key")
	}
	b, err := os.ReadFile(f.check)
	if err != nil {
		return fault.Wrap(fault.NotFound, "the proof can't be read", err)
	}
	proof, err := ledger.ParseProof(b)
	if err != nil {
		return err
	}
	claim, err := proof.Check(strings.TrimSpace(f.key))
	if err != nil {
		return err
	}
	if f.asJSON {
		return cli.WriteJSON(e.Out, claim)
	}
	text := fmt.Sprintf("holds, under a checkpoint of %s\n", cli.Count(int(claim.Records), "record"))
	if claim.Record != nil {
		text += fmt.Sprintf("record %d: %s\n", claim.Record.Index, recordLine(claim.Record))
	}
	if proof.Since != "" {
		text += fmt.Sprintf("the ledger goes on from its first %s\n", cli.Count(int(claim.Since), "record"))
	}
	return cli.WriteText(e.Out, text)
}

func newAnchorsCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("anchors", "List where checkpoints of the ledger are kept, and how that goes", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []anchor.State
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/anchors", nil, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return cli.WriteText(e.Out, anchorsText(all))
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return c
}

func anchorsText(all []anchor.State) string {
	if len(all) == 0 {
		return "none; 'watch: anchor:' in the file names some\n"
	}
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "%-8s %s  ", s.Kind, cli.Clean(s.To))
		switch {
		case s.Time.IsZero():
			text.WriteString("not yet")
		default:
			fmt.Fprintf(&text, "%s at %s", cli.Count(int(s.Records), "record"), s.Time.UTC().Format(time.DateTime))
		}
		if !s.Stamp.IsZero() {
			fmt.Fprintf(&text, ", stamped %s", s.Stamp.UTC().Format(time.DateTime))
		}
		switch {
		case s.Contradicted:
			fmt.Fprintf(&text, "\n         IT CONTRADICTS THE LEDGER: %s", cli.Clean(s.Error))
		case s.Error != "":
			fmt.Fprintf(&text, "\n         failed: %s", cli.Clean(s.Error))
		}
		text.WriteString("\n")
	}
	return text.String()
}
