"""What each command of `dvar` does, one module per command, callable without the command line.

Start with `context.CommandContext`, which the steps of a command share. `record`, `tune`, `run` and `compare` are the
path of a study, and `demo` runs all four on the miniature. `benchmark`, `recordings`, `list`, `status` and `doctor`
stand alone.
"""
