"""The ranges in which the settings of stopping criteria are searched, one module per criterion.

Start with `search_spaces.dvar`, and with `search_spaces.base.SearchSpaceModule` to write another; `search_spaces.paper`
holds what the paper published. Everything here is made of the standard library and Optuna's distributions.
"""

__distribution__ = "dvar-tune"
