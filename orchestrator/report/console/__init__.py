"""Console: tables and progress bars for the terminal, made with Rich.

`tables` compares strategies and settings and lists recordings, runs and methods; `benchmark_tables` compares criteria
over methods; `study` puts a study's result in lines; `progress` shows bars while a command works. Tables take what was
measured and return a Rich table; a cell is empty where nothing was measured. `fitting` lays them out so that nothing is
cut where the terminal is narrow, and `output` is the console of every command. Nothing is re-exported: `progress` needs
more than a table does.
"""
