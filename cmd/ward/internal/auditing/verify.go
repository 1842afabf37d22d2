package auditing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/up"
)

func newVerifyCommand(e cli.Env) *cobra.Command {
	var file, key, anchored string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check that no record was changed, removed or reordered",
		Long: `Check that no record of the ledger was changed, removed or reordered since it was signed. It reads
the folder alone, so it works while nothing runs, and on a copy.

Keep the printed key elsewhere: with --key, a folder that was exchanged as a whole is found too. With --anchor, a checkpoint
that was kept elsewhere ('watch: anchor:'), so is one that was put back to an older state, or written anew since then.

Exit code 0: whole. 1: changed.`,
		Example: `  ward audit verify
  ward audit verify --anchor /mnt/other-host/ward.checkpoint
  ward audit verify /backup/ledger --key "$(cat ledger.key)"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Usage, fmt.Sprintf("%s takes one DIR or none; see '%s --help'", c.CommandPath(), c.CommandPath()))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			dir := folder(p)
			if len(args) == 1 {
				dir = args[0]
			}
			return verifyLedger(e, dir, strings.TrimSpace(key), anchored, asJSON)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model whose ledger is meant")
	c.Flags().StringVar(&key, "key", "", "the ledger's public key, as kept elsewhere")
	c.Flags().StringVar(&anchored, "anchor", "", "the file of a checkpoint that was kept elsewhere")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func verifyLedger(e cli.Env, dir, key, anchored string, asJSON bool) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no ledger at "+dir+"; it begins with 'ward up'")
	}
	r, err := ledger.Verify(dir, key)
	if err == nil && anchored != "" {
		err = verifyAnchor(dir, anchored)
	}
	if err != nil {
		if asJSON {
			if werr := cli.WriteJSON(e.Out, map[string]any{"ok": false, "error": fault.PublicText(err)}); werr != nil {
				return werr
			}
			return cli.ErrFindings
		}
		return err
	}
	if asJSON {
		return cli.WriteJSON(e.Out, struct {
			OK bool `json:"ok"`
			ledger.Report
		}{true, r})
	}
	text := fmt.Sprintf("whole: %s under a signed checkpoint\n", cli.Count(int(r.Records), "record"))
	if r.Tail > 0 {
		text += fmt.Sprintf("       %s after it, to be signed in a moment or at the next start\n", cli.Count(int(r.Tail), "record"))
	}
	if r.First > 0 {
		text += fmt.Sprintf("       %s removed when their days had passed, and proved by their hashes\n", cli.Count(int(r.First), "record"))
	}
	if anchored != "" {
		text += "       it goes on from the checkpoint in " + anchored + "\n"
	}
	return cli.WriteText(e.Out, text+fmt.Sprintf("root   %s\nkey    %s\n", r.Root, r.Key))
}

// verifyAnchor tells whether a ledger goes on from a checkpoint that was kept elsewhere.
func verifyAnchor(dir, file string) error {
	since, err := readCheckpointFile(file)
	if err == nil {
		_, err = ledger.Prove(dir, ledger.Nothing, since)
	}
	return err
}

func readCheckpointFile(file string) ([]byte, error) {
	b, err := anchor.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "there is no file "+file)
	}
	if err == nil && len(b) == 0 {
		err = fault.New(fault.Invalid, file+" is empty")
	}
	return b, err
}
