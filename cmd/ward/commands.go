package main

import (
	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/auditing"
	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/cmd/ward/internal/people"
	"github.com/wardhq/ward/cmd/ward/internal/safe"
	"github.com/wardhq/ward/cmd/ward/internal/scanning"
	"github.com/wardhq/ward/cmd/ward/internal/watching"
)

// commands is the command tree, in the order of the help page. One file a verb:
// <verb>.go with new<Verb>Command(e cli.Env), and testdata/script/<verb>.txtar.
func commands(e cli.Env) []*cobra.Command {
	return append([]*cobra.Command{
		newCheckCommand(e),
		newFmtCommand(e),
		newSchemaCommand(e),
		newInitCommand(e),
		newPlanCommand(e),
		newDiffCommand(e),
		newExplainCommand(e),
		newReachCommand(e),
		people.Users(e),
		people.Clients(e),
		people.Tokens(e),
		safe.Secrets(e),
		safe.Keys(e),
		safe.Seal(e),
		safe.Backup(e),
		safe.Restore(e),
		scanning.Scan(e),
		scanning.Update(e),
		newUpCommand(e),
		newStatusCommand(e),
		newConsoleCommand(e),
		newTopCommand(e),
		watching.Findings(e, newAllowCommand(e)),
		watching.Answers(e),
		watching.Notify(e),
		newTracesCommand(e),
		newHistoryCommand(e),
		watching.SLO(e),
		newMetricsCommand(e),
		newExportCommand(e),
		watching.Logs(e),
		newRestartCommand(e),
		newApplyCommand(e),
		newDownCommand(e),
		auditing.NewCommand(e),
		newUnusedCommand(e),
		newLearnCommand(e),
		newCACommand(e),
		newAttackCommand(e),
		newDemoCommand(e),
		newRoleCommand(e),
		newDemoServiceCommand(e),
	}, scanning.Analysers(e)...)
}
