"""MethodDefaults: what is no setting is refused, naming the value."""

import pytest

from search_spaces.defaults import MethodDefaults


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 310, 0.15), "budget must be a whole number of at least 1, got 0"),
        ((6100, 31.0, 0.15), "window must be a whole number of at least 1, got 31.0"),
        ((6100, True, 0.15), "window must be a whole number of at least 1, got True"),
        ((6100, 310, 0), "threshold must be a number above 0, got 0"),
        ((6100, 310, float("nan")), "threshold must be a number above 0, got nan"),
        ((6100, 310, "0.15"), "threshold must be a number above 0, got '0.15'"),
    ],
)
def test_what_is_no_setting(values, message):
    with pytest.raises(ValueError, match=message):
        MethodDefaults(*values)
