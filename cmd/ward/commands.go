package main

import "github.com/spf13/cobra"

// commands is the command tree, in the order of the help page. One file a verb:
// <verb>.go with new<Verb>Command(e env), and testdata/script/<verb>.txtar.
func commands(e env) []*cobra.Command {
	return []*cobra.Command{
		newCheckCommand(e),
		newFmtCommand(e),
		newSchemaCommand(e),
		newInitCommand(e),
		newPlanCommand(e),
		newDiffCommand(e),
		newExplainCommand(e),
		newReachCommand(e),
		newUsersCommand(e),
		newClientsCommand(e),
		newTokensCommand(e),
		newSecretsCommand(e),
		newKeysCommand(e),
		newUpCommand(e),
		newStatusCommand(e),
		newLogsCommand(e),
		newRestartCommand(e),
		newApplyCommand(e),
		newDownCommand(e),
		newAuditCommand(e),
		newUnusedCommand(e),
		newLearnCommand(e),
		newCACommand(e),
		newAttackCommand(e),
		newDemoCommand(e),
		newRoleCommand(e),
		newDemoServiceCommand(e),
	}
}
