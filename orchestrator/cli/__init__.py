"""The command line `dvar`: parses into an experiment, calls `orchestrator.commands`, and turns errors into exit codes.

Start with `app` (the commands) and `flags` (the flags that several commands share). `recordings` holds the group
`dvar recordings`, `errors` the exit codes, and `startup` the check that the package names are ours.
"""
