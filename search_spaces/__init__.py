"""The ranges in which a stopping criterion's settings are searched, one module a criterion."""

__distribution__ = "dvar-tune"
