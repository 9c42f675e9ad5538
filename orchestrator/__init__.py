"""The part of dvar-tune that users call: it schedules, records, stops and compares personalizations.

`cli` parses, `commands` do the work. Start with `replay` (criteria on recordings) and `study` (the search for the best
setting); `runs` trains on Ray. A package imports only those after it in this list: cli, commands, report, study,
tracking, runs, replay, recordings, config, criteria, storage, plugins.
"""

__distribution__ = "dvar-tune"
