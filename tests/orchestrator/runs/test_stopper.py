"""The Ray stopper: it reads what the worker decided, and nothing else."""

import pickle

import pytest

from orchestrator.runs.stopper import StopEndedTrials
from trainables.training.report import Report


def result(*states):
    return {"reports": tuple(Report(5, 1, (1.0,) * 5, state) for state in states)}


@pytest.mark.parametrize(("state", "ends"), [("running", False), ("stopped", True), ("complete", True)])
def test_a_trial_ends_with_its_run(state, ends):
    assert StopEndedTrials()("t", result(state)) is ends


def test_a_trial_of_several_runs_ends_with_the_last_one():
    stopper = StopEndedTrials()
    assert not stopper("t", result("stopped", "running"))
    assert stopper("t", result("stopped", "complete"))


def test_it_is_small_and_remembers_no_earlier_result():
    stopper = StopEndedTrials()
    before = pickle.dumps(stopper)
    stopper("t", result("running"))
    assert pickle.dumps(stopper) == before
    assert not stopper.stop_all()
