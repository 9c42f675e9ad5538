"""`dvar show`: prints an experiment as YAML, after the checks with which `dvar tune` begins."""

import sys

from orchestrator.commands.checks import check_study
from orchestrator.config.experiment import Experiment
from orchestrator.report.console.output import OutputConsole
from trainables import plain_yaml


def show(experiment: Experiment) -> None:
    """Print an experiment as YAML, with every key and its value, but for the passwords of addresses.

    Raises:
        InvalidInput: see `check_study`.
    """
    check_study(experiment)
    shown = experiment.public()
    sys.stdout.write(plain_yaml.dump(shown))
    if shown != experiment.model_dump(mode="json"):
        OutputConsole(stderr=True).print(
            'note: passwords are left out, as "***"; give the address itself to the command that needs it',
            soft_wrap=True,
        )
