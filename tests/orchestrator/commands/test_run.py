"""`dvar run`: whose setting stops the runs."""

from types import SimpleNamespace

import pytest

from orchestrator.commands import run as run_command
from orchestrator.criteria import DVAR, FewIterations
from orchestrator.study.best import Best, Choice
from trainables.errors import InvalidInput


@pytest.fixture
def ran(monkeypatch):
    """Run with a best setting of a fixed number, beside which DVAR was chosen; return the criterion and concepts."""
    about = {"tuned_on": ["a"], "method": "svdiff", "base_model": "miniature", "budget": 200, "measure": "m"}
    measured = {"quality_kept_wanted": 0.9, "quality_kept": 0.9, "iterations": 9.0, "is_feasible": True, "trials": 1}
    dvar = Choice(criterion="dvar", params={"window": 20, "threshold": 0.3})
    best = Best(criterion="few_iterations", params={"steps": 70}, choices=[dvar], **about, **measured)
    concepts = [SimpleNamespace(name=name) for name in "abc"]
    context = SimpleNamespace(
        concepts=concepts, console=None, experiment=None, say_concepts=lambda: None, say_where_runs_are=lambda: None,
        read_best=lambda: best, unseen=lambda setting: [each for each in concepts if each.name not in setting.tuned_on],
    )  # fmt: skip
    monkeypatch.setattr(run_command.CommandContext, "open", lambda *_, **__: context)
    monkeypatch.setattr(run_command, "say_caveats", lambda *_: None)
    calls = []
    monkeypatch.setattr(run_command, "run_live", lambda _, *call: calls.append(call) or True)

    def run(criterion=None, every=False, name=None):
        assert run_command.run(None, criterion, None, every, name)
        chosen, criterion = calls.pop()
        return "".join(concept.name for concept in chosen), criterion

    return run


def test_the_recommended_setting_another_choice_or_a_given_one(ran):
    assert ran() == ("bc", FewIterations(70))
    assert ran(name="few_iterations") == ("bc", FewIterations(70))
    assert ran(name="dvar") == ("bc", DVAR(20, 0.3))
    assert ran(name="dvar", every=True) == ("abc", DVAR(20, 0.3))
    assert ran(DVAR(9, 0.5)) == ("abc", DVAR(9, 0.5))
    with pytest.raises(InvalidInput, match="no setting of 'hall' was chosen, only of dvar, few_iterations"):
        ran(name="hall")
