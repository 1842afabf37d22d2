package scanning

import (
	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/cap/update"
)

// Analysers are the hidden verbs of processes that read others' source; a scan or an update starts them, nobody else.
func Analysers(e cli.Env) []*cobra.Command {
	return []*cobra.Command{{
		Use: analyseVerb, Hidden: true, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			return scan.AnalyseCalls(cli.Background(c), args, e.Out, e.Err)
		},
	}, {
		Use: update.APIVerb, Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return update.AnalyseAPI(args) },
	}}
}
