"""The ranges in which a stopping criterion's settings are searched, one module per criterion.

Each module has `space`, the ranges as Optuna distributions, and `default_params`, the setting that is tried first.
Start with `dvar`. `paper` has the published settings, `windows` the ranges that depend on the budget.
"""

__distribution__ = "dvar-tune"
