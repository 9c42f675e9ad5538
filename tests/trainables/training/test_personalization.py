"""The Ray trainable: exact save and restore, and reuse of the actor for another concept."""

import pytest

from trainables.methods import MethodSpec
from trainables.settings import BaseModelSettings
from trainables.training.personalization import Personalization
from trainables.training.session import Plan


@pytest.fixture
def trainable(toy_concepts, tiny_path, memory_sink):
    """Make the trainable as `tune.with_parameters` does, but in this process, so that the sinks can be looked at."""
    sinks = {}

    def sink(concept, criterion):
        return sinks.setdefault(concept.name, memory_sink())

    method = MethodSpec("trainables.methods.textual_inversion")
    plan = Plan(BaseModelSettings(str(tiny_path)), method, budget=9, report_steps=3, checkpoint_seconds=1e9)
    concepts = {concept.name: concept for concept in toy_concepts}
    made = []

    class WithParameters(Personalization):
        def setup(self, config):
            super().setup(config, plan=plan, concepts=concepts, sink=sink)

    def make(index):
        made.append(WithParameters(config={"run": (toy_concepts[index].name, None)}))
        return made[-1]

    make.forget_recordings = sinks.clear
    yield make
    for one in made:
        one.stop()


def finish(one):
    results = [one.train()]
    while not results[-1]["done"]:
        results.append(one.train())
    return results


def values(results):
    return [value for result in results for value in result["l_det_values"]]


def test_reports_every_value_and_ends_at_the_budget(trainable, toy_concepts):
    results = finish(trainable(0))
    assert [result["step"] for result in results] == [3, 6, 9]
    assert [result["first_step"] for result in results] == [1, 4, 7]
    assert len(values(results)) == 9
    assert results[-1]["l_det"] == values(results)[-1]
    assert results[-1]["concept"] == toy_concepts[0].name


def test_restore_into_another_actor_is_exact(trainable, tmp_path):
    whole = values(finish(trainable(0)))
    trainable.forget_recordings()
    one = trainable(0)
    one.train()
    saved = one.save(str(tmp_path))
    other = trainable(0)
    other.restore(saved)
    results = finish(other)
    assert results[0]["first_step"] == 1
    assert values(results) == whole


def test_reuse_for_another_concept_is_as_good_as_new(trainable, toy_concepts):
    fresh = values(finish(trainable(1)))
    trainable.forget_recordings()
    used = trainable(0)
    used.train()
    assert used.reset({"run": (toy_concepts[1].name, None)})
    assert values(finish(used)) == fresh
