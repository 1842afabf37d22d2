package watching

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
)

func TestNoteAndReasonAreOneFlag(t *testing.T) {
	for flag, build := range map[string]func(cli.Env) *cobra.Command{"note": newCloseCommand, "reason": newSilenceCommand} {
		for _, said := range []string{"note", "reason"} {
			c := build(cli.Env{})
			if err := c.ParseFlags([]string{"--" + said, "known"}); err != nil || c.Flags().Lookup(flag).Value.String() != "known" {
				t.Errorf("%s --%s: %v", c.Name(), said, err)
			}
			if usage := c.Flags().FlagUsages(); strings.Contains(usage, "--"+said) != (said == flag) {
				t.Errorf("%s: help shows\n%s", c.Name(), usage)
			}
		}
	}
}
