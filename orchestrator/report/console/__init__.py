"""What commands print: start with `tables`, the tables of results.

`benchmark_tables` has those of a benchmark, `study` the lines below a study's table, and `progress` the bars.
"""
