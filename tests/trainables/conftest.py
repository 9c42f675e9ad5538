"""Fixtures with torch: runs and their sinks."""

import shutil
from uuid import uuid4

import pytest

from trainables.methods import MethodSpec
from trainables.settings import BaseModelSettings, QualitySettings
from trainables.training.config import RunConfig
from trainables.training.run import Models, TrainingRun
from trainables.training.sinks import NO_SCORES


@pytest.fixture(scope="session", autouse=True)
def every_test_has_one_thread(one_thread):
    """Series are compared bit for bit."""


class MemorySink:
    """A sink that keeps everything in memory and refuses what the protocol forbids."""

    folder = None  # for checkpoints

    def __init__(self):
        self.rows, self.snapshots, self.end, self.facts = [], {}, None, None
        self.saved = None  # step and folder of the newest checkpoint
        self.calls = []
        self.repeated_scores = {}  # by step

    def started(self, facts):
        self.facts, self.end = facts, None

    def checkpoint_folder(self):
        return self.saved and self.saved[1]

    def resumed(self, step):
        self.calls.append(f"resumed {step}")
        self.rows = [row for row in self.rows if row.step <= step]
        self.snapshots = {at: value for at, value in self.snapshots.items() if at <= step}

    def steps(self, rows):
        for row in rows:
            assert row.step == len(self.rows) + 1, "a step is missing or came twice"
            self.rows.append(row)

    def snapshot(self, step, scores, seconds, files, repeated_scores=NO_SCORES):
        assert step == len(self.rows)
        self.repeated_scores[step] = dict(repeated_scores)
        self.snapshots[step] = (dict(scores), sorted(path.name for path in files.iterdir()))

    def checkpoint(self, step, files):
        assert step == len(self.rows)
        kept = self.folder / uuid4().hex
        shutil.copytree(files, kept)
        self.saved = (step, kept)

    def ended(self, state, reason, trace=""):
        assert self.end is None
        self.end = (state, reason)


@pytest.fixture
def memory_sink(tmp_path):
    return type("Sink", (MemorySink,), {"folder": tmp_path})


@pytest.fixture(scope="session")
def models(tiny_path):
    """What a worker loads once: the base model and the scorer."""
    method, quality = (
        MethodSpec("trainables.methods.textual_inversion"),
        QualitySettings(scorer=str(tiny_path / "clip")),
    )
    return Models.load(RunConfig(BaseModelSettings(str(tiny_path)), method, 1, quality=quality))


@pytest.fixture
def run_training(models, toy_concepts):
    """Run to the end, or for some reports; return the reports."""

    def run(sink, reports=None, concept=toy_concepts[0], **options):
        config = make_config(**options)
        training_run = TrainingRun(models, config, concept, sink)
        try:
            done = []
            while (not done or done[-1].state == "running") and (reports is None or len(done) < reports):
                done.append(training_run.advance())
            return done
        finally:
            training_run.close()

    return run


def make_config(**options):
    defaults = {"budget": 12, "report_steps": 5, "checkpoint_seconds": 0.0}
    method = options.pop("method", MethodSpec("trainables.methods.textual_inversion"))
    return RunConfig(BaseModelSettings(), method, **defaults | options)
