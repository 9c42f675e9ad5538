"""The Ray trainable: exact save and restore, and reuse of the actor for another concept."""

from dataclasses import dataclass

import pytest

from orchestrator.criteria import FewIterations
from trainables.methods import MethodSpec
from trainables.settings import BaseModelSettings
from trainables.training.config import RunConfig
from trainables.training.personalization import Personalization


@pytest.fixture
def trainable(toy_concepts, tiny_path, memory_sink):
    """Make the trainable as `tune.with_parameters` does, but in this process, so that the sinks can be looked at."""
    sinks = {}

    def sink(spec):
        return sinks.setdefault(spec.concept, memory_sink())

    method = MethodSpec("trainables.methods.textual_inversion")
    run_config = RunConfig(BaseModelSettings(str(tiny_path)), method, budget=9, report_steps=3, checkpoint_seconds=1e9)
    concepts = {concept.name: concept for concept in toy_concepts}
    actors = []

    class WithParameters(Personalization):
        def setup(self, config):
            super().setup(config, run_config=run_config, concepts=concepts, sink=sink)

    def make(index, criterion=None):
        actors.append(WithParameters(config={"runs": (Spec(toy_concepts[index].name, criterion),)}))
        return actors[-1]

    make.forget_recordings = sinks.clear
    yield make
    for actor in actors:
        actor.stop()


@dataclass(frozen=True)
class Spec:
    concept: str
    criterion: object = None


def only(result):
    (report,) = result["reports"]
    return report


def finish(actor):
    results = [actor.train()]
    while not results[-1]["done"]:
        assert len(results) < 9, "the trial never ends"  # 9 steps are its budget
        results.append(actor.train())
    return results


def values(results):
    return [value for result in results for value in only(result).l_det]


def test_reports_every_value_and_ends_at_the_budget(trainable, toy_concepts):
    results = finish(trainable(0))
    reports = [only(result) for result in results]
    assert [report.step for report in reports] == [3, 6, 9]
    assert [report.first_step for report in reports] == [1, 4, 7]
    assert [report.state for report in reports] == ["running", "running", "complete"]
    assert len(values(results)) == 9
    assert reports[-1].metrics["l_det"] == values(results)[-1]
    assert {"train_loss", "grad_norm"} < reports[-1].metrics.keys()


def test_the_worker_ends_the_trial_at_the_stop(trainable):
    """At step 5, though a report is due every 3 steps, and with nothing else deciding so."""
    results = finish(trainable(0, FewIterations(5)))
    assert [only(result).step for result in results] == [3, 5]
    assert only(results[-1]).state == "stopped"


def test_a_trial_does_not_train_several_runs_yet(trainable):
    with pytest.raises(ValueError, match="got 2"):
        trainable(0).reset_config({"runs": (Spec("a"), Spec("b"))})


def test_restore_into_another_actor_is_exact(trainable, tmp_path):
    whole = values(finish(trainable(0)))
    trainable.forget_recordings()
    actor = trainable(0)
    actor.train()
    saved = actor.save(str(tmp_path))
    other = trainable(0)
    other.restore(saved)
    results = finish(other)
    assert only(results[0]).first_step == 1
    assert values(results) == whole


def test_reuse_for_another_concept_is_as_good_as_new(trainable, toy_concepts):
    fresh = values(finish(trainable(1)))
    trainable.forget_recordings()
    used = trainable(0)
    used.train()
    assert used.reset({"runs": (Spec(toy_concepts[1].name),)})
    assert values(finish(used)) == fresh
