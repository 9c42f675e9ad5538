"""The Ray stopper: same stop whatever the batches, a fresh start after a restart, and small when pickled."""

import pickle

import numpy as np
import pytest

from orchestrator.criteria import DVAR
from orchestrator.runs.stopper import CriterionStopper

VALUES = (1 + np.exp(-np.arange(60) / 8)).tolist()
CRITERION = DVAR(8, 0.15)
STOP = CRITERION.first_stop(VALUES)


def result(first, count, criterion=CRITERION):
    values = VALUES[first - 1 : first - 1 + count]
    return {"first_step": first, "l_det_values": values, "config": {"run": ("cat", criterion)}}


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_the_stop_is_in_the_batch_that_holds_it(batch):
    stopper = CriterionStopper()
    first = next(first for first in range(1, 60, batch) if stopper("t", result(first, batch)))
    assert first <= STOP < first + batch


def test_trials_do_not_mix():
    stopper = CriterionStopper()
    assert not stopper("a", result(1, STOP - 1))
    assert not stopper("b", result(1, 5))
    assert stopper("a", result(STOP, 1))
    assert not stopper("b", result(6, 1))


def test_a_worker_that_was_started_again_repeats_its_series():
    stopper = CriterionStopper()
    assert not stopper("t", result(1, 9))
    assert not stopper("t", result(1, 5))
    assert stopper("t", result(6, STOP - 5))


def test_a_gap_is_an_error():
    stopper = CriterionStopper()
    stopper("t", result(1, 5))
    with pytest.raises(ValueError, match="goes on at step 8, expected 6"):
        stopper("t", result(8, 1))


def test_history_is_dropped_when_a_trial_ends():
    stopper, patient = CriterionStopper(), DVAR(50, 0.001)
    fresh = len(pickle.dumps(stopper))
    stopper("t", result(1, 40, patient))
    assert len(pickle.dumps(stopper)) > fresh
    stopper("t", result(41, 5, patient) | {"done": True})
    assert len(pickle.dumps(stopper)) == fresh
    assert not stopper.stop_all()


def test_each_trial_has_its_own_criterion():
    stopper, later = CriterionStopper(), DVAR(8, 0.02)
    assert stopper("a", result(1, STOP))
    assert not stopper("b", result(1, STOP, later))
    assert stopper("b", result(STOP + 1, later.first_stop(VALUES) - STOP, later))


def test_without_a_criterion_nothing_stops():
    assert not CriterionStopper()("t", result(1, 60, None))
