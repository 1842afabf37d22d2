package scanning

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan"
)

const (
	// osvMirror is where OSV publishes all advisories, one zip an ecosystem (https://google.github.io/osv.dev/data/).
	osvMirror = "https://osv-vulnerabilities.storage.googleapis.com"
	epssURL   = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
	kevURL    = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
)

// ecosystems are those that are brought in when nobody says which.
func ecosystems() []string {
	return []string{"Go", "npm", "PyPI", "Maven", "crates.io", "RubyGems", "Packagist", "NuGet"}
}

func newDB(e cli.Env) *cobra.Command {
	c := &cobra.Command{Use: "db", Short: "The advisories that scans look into"}
	c.AddCommand(newUpdate(e), newImport(e), newStatus(e))
	return c
}

func newUpdate(e cli.Env) *cobra.Command {
	var db, epss, kev string
	var from, which []string
	c := &cobra.Command{
		Use: "update", Short: "Bring the advisories up to date, from OSV, a mirror, or files", Args: cli.ExactArgs(0),
		Long: `Read advisories in OSV's form and build the index that scans look into. Without --from they come from OSV itself, one zip for each ecosystem; a
mirror has the same layout. --from may be a .zip, a .json, a folder of them, or a URL, and may be said several times: then only those are read.`,
		RunE: func(c *cobra.Command, _ []string) error {
			db, err := dbPath(db)
			if err != nil {
				return err
			}
			if len(which) == 0 {
				which = ecosystems()
			}
			sources := []scan.DataSource{{Location: osvMirror, Ecosystems: which}}
			o := scan.DataOptions{EPSS: epss, KEV: kev}
			if len(from) > 0 {
				sources = nil
				for _, f := range from {
					s := scan.DataSource{Location: f}
					if c.Flags().Changed("ecosystem") {
						s.Ecosystems = which
					}
					sources = append(sources, s)
				}
			} else {
				if !c.Flags().Changed("epss") {
					o.EPSS = epssURL
				}
				if !c.Flags().Changed("kev") {
					o.KEV = kevURL
				}
			}
			if err := os.MkdirAll(filepath.Dir(db), 0o700); err != nil {
				return fault.Wrap(fault.Invalid, "make "+filepath.Dir(db), err)
			}
			info, err := scan.BuildData(cli.Background(c), db, sources, o)
			if err != nil {
				return err
			}
			if err := sayInfo(e, db, info); err != nil || info.Unreadable == 0 {
				return err
			}
			return cli.ErrFindings // the rest is in force all the same
		},
	}
	f := c.Flags()
	f.StringVar(&db, "db", "", "where the index lies (default in the user's cache)")
	f.StringArrayVar(&from, "from", nil, "a zip, a folder, a URL, or with --ecosystem a mirror")
	f.StringSliceVar(&which, "ecosystem", nil, "the ecosystems, in OSV's words (default "+strings.Join(ecosystems(), ",")+")")
	f.StringVar(&epss, "epss", "", "FIRST's list of probabilities (CSV, may be gzip): a file or URL; FIRST's own if absent, without --from")
	f.StringVar(&kev, "kev", "", "CISA's catalogue of exploited vulnerabilities (JSON): a file or URL; CISA's own if absent, without --from")
	return c
}

func newImport(e cli.Env) *cobra.Command {
	var db, key string
	c := &cobra.Command{
		Use: "import FILE", Short: "Take an index that was built on another machine", Args: cli.ExactArgs(1),
		Long: `Take an index that 'ward scan db update' built on another machine, for one without a network. --key names the public key of that machine (the
file beside the index there that ends in .pub): nothing else signed is taken.`,
		RunE: func(c *cobra.Command, args []string) error {
			db, err := dbPath(db)
			if err != nil {
				return err
			}
			var public ed25519.PublicKey
			if key == "" {
				return fault.New(fault.Usage, "--key is missing: an index is only as good as whoever signed it")
			}
			b, err := os.ReadFile(key)
			if err != nil {
				return fault.Wrap(fault.Invalid, "read "+key, err)
			}
			if public, err = scan.ReadDataKey(b); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(db), 0o700); err != nil {
				return fault.Wrap(fault.Invalid, "make "+filepath.Dir(db), err)
			}
			info, err := scan.ImportData(cli.Background(c), db, args[0], public)
			if err != nil {
				return err
			}
			return sayInfo(e, db, info)
		},
	}
	c.Flags().StringVar(&db, "db", "", "where the index lies (default in the user's cache)")
	c.Flags().StringVar(&key, "key", "", "the public key that signed it")
	return c
}

func newStatus(e cli.Env) *cobra.Command {
	var db string
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "What the advisories hold, and how old they are", Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			db, err := dbPath(db)
			if err != nil {
				return err
			}
			info, err := scan.Data(db)
			if err != nil {
				return err
			}
			if asJSON {
				return cli.WriteJSON(e.Out, info)
			}
			return sayInfo(e, db, info)
		},
	}
	c.Flags().StringVar(&db, "db", "", "where the index lies (default in the user's cache)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func dbPath(db string) (string, error) {
	if db != "" {
		return db, nil
	}
	return defaultDB()
}

func sayInfo(e cli.Env, path string, i scan.DataInfo) error {
	fmt.Fprintf(e.Out, "%s\n%d advisories of %d packages, of %s (built %s)\n", path, i.Advisories, i.Packages, i.Time().Format(time.DateOnly), i.Built.Format(time.DateTime))
	for _, s := range i.Ecosystems {
		fmt.Fprintf(e.Out, "  %-12s %7d", s.Name, s.Advisories)
		if s.Malicious > 0 {
			fmt.Fprintf(e.Out, ", and %d malicious packages", s.Malicious)
		}
		fmt.Fprintln(e.Out)
	}
	if i.Withdrawn > 0 {
		fmt.Fprintf(e.Out, "%d were withdrawn by their databases and are left out\n", i.Withdrawn)
	}
	if i.Unplaced > 0 {
		fmt.Fprintf(e.Out, "%d name no package, only commits, and are left out\n", i.Unplaced)
	}
	for _, p := range i.Problems {
		fmt.Fprintln(e.Out, "could not read", p)
	}
	if i.Unreadable > len(i.Problems) {
		fmt.Fprintf(e.Out, "and %d more\n", i.Unreadable-len(i.Problems))
	}
	return nil
}

func newRules(e cli.Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "rules", Short: "Ward's own rules: what each finds, why, and how it is mended", Args: cli.ExactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			all, err := scan.Rules()
			if err != nil {
				return err
			}
			if asJSON {
				return cli.WriteJSON(e.Out, all)
			}
			for _, r := range all {
				fmt.Fprintf(e.Out, "%-32s %-8s %-12s %s\n", r.ID, r.Severity, r.About, r.Title)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print reasons, references and fixes, too")
	return c
}
