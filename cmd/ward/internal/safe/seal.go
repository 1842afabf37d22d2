package safe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/seal"
	"github.com/wardhq/ward/internal/up"
)

// Seal is the group of verbs about what seals the root key.
func Seal(e cli.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "seal",
		Short: "Look after what seals the root key, and the recovery kit",
		Long: `Look after what seals the root key, under which everything lies that Ward keeps: a key file, a passphrase, or a credential of systemd.
The recovery kit opens it whatever seals it. When both are lost, nothing can be read any more, by anybody: that is final.`,
	}
	c.AddCommand(newSealStatus(e), newSealMigrate(e), newSealKit(e), newSealTest(e), newSealRecover(e))
	return c
}

// sealCommand is a verb that needs no running application.
func sealCommand(use, short string, run func(up.Paths, *cobra.Command) error) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: use, Short: short, Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			return run(p, c)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	return c
}

// AskPassphrase asks on the terminal, or reads the file that WARD_PASSPHRASE_FILE names.
func AskPassphrase(e cli.Env) up.Ask {
	return func(again bool) (secret.Bytes, error) {
		if path := os.Getenv("WARD_PASSPHRASE_FILE"); path != "" {
			b, err := readBounded(e, path)
			return secret.New(bytes.TrimRight(b, "\r\n")), err
		}
		if !cli.IsInput(e.In) {
			return secret.Bytes{}, fault.New(fault.Usage, "the root key is sealed by a passphrase: start this on a terminal, or name a file in WARD_PASSPHRASE_FILE")
		}
		first, err := cli.PromptHidden(e, "passphrase: ")
		if err != nil || !again {
			return secret.New(first), err
		}
		second, err := cli.PromptHidden(e, "once more: ")
		if err == nil && !bytes.Equal(first, second) {
			err = fault.New(fault.Invalid, "the two weren't the same")
		}
		return secret.New(first), err
	}
}

func newSealStatus(e cli.Env) *cobra.Command {
	return sealCommand("status", "Say what seals the root key, and whether there is a recovery kit", func(p up.Paths, _ *cobra.Command) error {
		st, err := p.SealState()
		if err != nil {
			return err
		}
		kit := "there is none: make one with 'ward seal kit', and keep it on paper or in a safe"
		if st.Kit != "" {
			kit = "was made, for " + st.Kit + "; 'ward seal test' proves it"
		}
		fmt.Fprintf(e.Out, "seal          %s\nrecovery kit  %s\n", st.Kind, kit)
		if st.Kind == seal.File {
			path, err := p.KeyFile()
			if err != nil {
				return err
			}
			fmt.Fprintf(e.Out, "key file      %s\n\nWarning: whoever reads that file and %s reads every secret. That is fine to begin with. For servers: 'ward seal migrate --to systemd',\nor --to passphrase if somebody is there at each start.\n", path, p.State)
		}
		return nil
	})
}

func newSealMigrate(e cli.Env) *cobra.Command {
	var to, key string
	var removeOld bool
	c := sealCommand("migrate", "Put the root key under another seal", func(p up.Paths, c *cobra.Command) error {
		ask := AskPassphrase(e)
		s, err := up.SealOf(seal.Kind(to), ask)
		if seal.Kind(to) == seal.AWSKMS {
			s, err = up.KMS(key, filepath.Base(p.Base)), nil
		}
		if fault.KindOf(err) == fault.Invalid {
			return fault.New(fault.Usage, "say which seal: --to file, passphrase, systemd or aws-kms")
		}
		if err != nil {
			return err
		}
		if err := p.Migrate(cli.Background(c), s, ask, removeOld); err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.Out, "the root key is sealed by %s now; everything under it stays as it is, and so does the recovery kit\n", to)
		return err
	})
	c.Flags().StringVar(&to, "to", "", "file, passphrase, systemd or aws-kms")
	c.Flags().StringVar(&key, "key", "", "the ARN of the key, for aws-kms; credentials come from AWS's environment variables")
	c.Flags().BoolVar(&removeOld, "remove-old", false, "remove the key file that sealed it; other applications of this user may need it")
	return c
}

// printKit prints a kit so that it can be cut out.
func printKit(e cli.Env, kit secret.Bytes) {
	fmt.Fprintf(e.Out, "----- recovery kit of this application's root key -----\n%s\n-------------------------------------------------------\nPrint it, or write it down, and keep it away from this machine; Ward doesn't keep it, and won't show it again.\nIt opens the root key when what seals it is lost. 'ward seal test' proves it.\n", kit.Reveal())
}

func newSealKit(e cli.Env) *cobra.Command {
	return sealCommand("kit", "Make a recovery kit, and print it this once; the one before is worth nothing then", func(p up.Paths, c *cobra.Command) error {
		kit, err := p.NewKit(cli.Background(c), AskPassphrase(e))
		if err != nil {
			return err
		}
		printKit(e, kit)
		return nil
	})
}

// FirstKit makes and prints the recovery kit of a root key that was just made, where a person is reading.
func FirstKit(e cli.Env) func(secret.Bytes) {
	if !cli.IsTerminal(e.Out) {
		return nil
	}
	return func(kit secret.Bytes) { printKit(e, kit) }
}

// readKit reads a kit from the terminal, or from standard input.
func readKit(e cli.Env) (secret.Bytes, error) {
	if cli.IsInput(e.In) {
		b, err := cli.PromptHidden(e, "recovery kit (AGE-SECRET-KEY-1…): ")
		return secret.New(b), err
	}
	b, err := readBounded(e, "-")
	return secret.New(b), err
}

func sayRestored(e cli.Env, r up.Restored) error {
	_, err := fmt.Fprintf(e.Out, "opened: %d versions of keys, %d values of secrets, %d records of the ledger, of %s\n", r.Keys, r.Secrets, r.Records, r.TrustDomain)
	return err
}

func newSealTest(e cli.Env) *cobra.Command {
	return cli.Running("test", "Prove the recovery kit: back up what runs, restore it aside, and open everything by the kit alone", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		kit, err := readKit(e)
		if err != nil {
			return err
		}
		r, err := p.TestKit(cli.Background(c), kit)
		if err != nil {
			return err
		}
		fmt.Fprintln(e.Out, "the recovery kit is good")
		return sayRestored(e, r)
	})
}

func newSealRecover(e cli.Env) *cobra.Command {
	return sealCommand("recover", "Open the root key by the recovery kit, and put it under this machine's key file", func(p up.Paths, c *cobra.Command) error {
		kit, err := readKit(e)
		if err != nil {
			return err
		}
		if err := p.Recover(cli.Background(c), kit); err != nil {
			return err
		}
		_, err = fmt.Fprintln(e.Out, "the root key is sealed by the key file now; make a new recovery kit if somebody else has seen this one: 'ward seal kit'")
		return err
	})
}

// Backup writes the state of the running application into a file.
func Backup(e cli.Env) *cobra.Command {
	c := cli.Running("backup FILE", "Write keys, secrets, people and ledger into one encrypted file, while all goes on", 1, func(p up.Paths, c *cobra.Command, args []string) (err error) {
		if _, err := os.Lstat(args[0]); !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Conflict, args[0]+" is there already")
		}
		tmp := args[0] + ".part"
		f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fault.Wrap(fault.Invalid, tmp+" can't be written", err)
		}
		defer func() {
			if err != nil {
				_ = os.Remove(tmp) // half a backup is none
			}
		}()
		err = p.Backup(cli.Background(c), f)
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(tmp, args[0])
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.Out, "%s: encrypted for the recovery kit; 'ward restore %s' takes it back on any machine\n", args[0], filepath.Base(args[0]))
		return err
	})
	c.Long = `Write keys, secrets, people and ledger into one file, encrypted for the recovery kit, while all goes on: as of one moment, with everything
that was acknowledged before. A key that is shredded later is still in an older backup: when erasure must be complete, remove those too.`
	return c
}

// Restore takes a backup back.
func Restore(e cli.Env) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Take a backup back where there is no state, by the recovery kit", Args: cli.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fault.Wrap(fault.Invalid, args[0]+" can't be read", err)
			}
			defer f.Close()
			kit, err := readKit(e)
			if err != nil {
				return err
			}
			r, err := p.Restore(cli.Background(c), f, kit)
			if err != nil {
				return err
			}
			if err := sayRestored(e, r); err != nil {
				return err
			}
			_, err = fmt.Fprintln(e.Out, "what was shredded, deleted or changed since the backup is as it was then: shred again whoever asked to be erased since")
			return err
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model beside which the state goes")
	return c
}
