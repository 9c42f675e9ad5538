"""The Ray stopper: same stop whatever the batches, a fresh start after a restart, and small when pickled."""

import pickle

import numpy as np
import pytest

from orchestrator.criteria import DVAR
from orchestrator.stopper import CriterionStopper

VALUES = (1 + np.exp(-np.arange(60) / 8)).tolist()
CRITERION = DVAR(8, 0.15)
STOP = CRITERION.first_stop(VALUES)


def result(first, count):
    return {"first_step": first, "l_det_values": VALUES[first - 1 : first - 1 + count]}


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_the_stop_is_in_the_batch_that_holds_it(batch):
    stopper = CriterionStopper(CRITERION)
    first = next(first for first in range(1, 60, batch) if stopper("t", result(first, batch)))
    assert first <= STOP < first + batch


def test_trials_do_not_mix():
    stopper = CriterionStopper(CRITERION)
    assert not stopper("a", result(1, STOP - 1))
    assert not stopper("b", result(1, 5))
    assert stopper("a", result(STOP, 1))
    assert not stopper("b", result(6, 1))


def test_a_worker_that_was_started_again_repeats_its_series():
    stopper = CriterionStopper(CRITERION)
    assert not stopper("t", result(1, 9))
    assert not stopper("t", result(1, 5))
    assert stopper("t", result(6, STOP - 5))


def test_a_gap_is_an_error():
    stopper = CriterionStopper(CRITERION)
    stopper("t", result(1, 5))
    with pytest.raises(ValueError, match="goes on at step 8, expected 6"):
        stopper("t", result(8, 1))


def test_history_is_dropped_when_a_trial_ends():
    stopper = CriterionStopper(DVAR(50, 0.001))
    fresh = len(pickle.dumps(stopper))
    stopper("t", result(1, 40))
    assert len(pickle.dumps(stopper)) > fresh
    stopper("t", result(41, 5) | {"done": True})
    assert len(pickle.dumps(stopper)) == fresh
    assert not stopper.stop_all()
