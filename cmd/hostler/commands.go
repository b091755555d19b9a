package main

// commands is every subcommand. Each stands in the file of its name.
func commands() []command {
	return []command{
		initCommand(), fmtCommand(), validateCommand(),
		planCommand(), bootCommand(), bootscriptCommand(), explainCommand(), renderCommand(),
		serveCommand(), applyCommand(),
		statusCommand(), nodesCommand(), leasesCommand(), inboxCommand(), adoptCommand(), importBSSCommand(), bootsCommand(), doctorCommand(), stormCommand(),
		holdCommand(), releaseCommand(), overrideCommand(), rearmCommand(),
		stateBackupCommand(), completionCommand(), versionCommand(),
	}
}
