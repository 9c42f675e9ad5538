"""`dvar tune --from BEST --rate-ratio R`: a known method at another learning rate, without recording it anew."""

import math
from pathlib import Path

from orchestrator.commands.context import CommandContext
from orchestrator.config.experiment import Experiment
from orchestrator.report.console.markup import escape
from orchestrator.study import best as best_file
from trainables.errors import InvalidInput

#: The steps to 90 % of the best quality go as (1 / rate) to this power: between .77, measured with LoRA, and .60, with
#: Textual Inversion, on the miniature; ten concepts each, rates from a quarter to four times the usual.
EXPONENT, MEASURED = 0.75, (0.25, 4.0)


def scale_to_rate(experiment: Experiment, source: Path, ratio: float, best: Path | None) -> None:
    """Scale every setting in a file of the best setting to another learning rate, and write it for the new training.

    Args:
        experiment: the new training: its method, its budget, and where its results are kept.
        source: the file of the setting at the old rate.
        ratio: the new rate over the old.
        best: the file to write; see `CommandContext.open`.

    Raises:
        InvalidInput: the ratio is no number above 0, the source cannot be read or is of another method, or the target
            holds a setting for something else.
    """
    if not 0 < ratio < math.inf:
        raise InvalidInput(f"--rate-ratio must be the new learning rate over the old, a number above 0, got {ratio}")
    context, setting = CommandContext.open(experiment, best, needs_models=False), best_file.read(source)
    if setting.method != experiment.method.name:
        raise InvalidInput(
            f"{source} holds a setting for {setting.method}, and {experiment.method.name} is to be trained; a setting "
            "is scaled to another rate of the same method alone"
        )
    factor = ratio**-EXPONENT
    scaled = best_file.scaled_to_rate(setting, ratio, factor, experiment.budget)
    target = context.best_to_write(setting.base_model, experiment.budget)
    if target.resolve() == source.resolve():
        raise InvalidInput(f"{source} would be replaced by its own scaled form; write to another file with --best")
    best_file.write(scaled, target)
    old, new = (escape(str(each.make_criterion())) for each in (setting, scaled))
    context.say(
        f"{old} becomes [bold]{new}[/]: the steps go as (old rate / new rate) to the power of {EXPONENT}, here times "
        f"{factor:.2f}"
    )
    context.say(
        "[yellow]an estimate, measured on the miniature (.77 with LoRA, .60 with Textual Inversion), and chosen on no "
        "recording of this rate; `dvar record` and `dvar tune` make a promise[/]"
    )
    if not MEASURED[0] <= ratio <= MEASURED[1]:
        context.say(f"[yellow]nothing was measured beyond ratios of {MEASURED[0]:g} to {MEASURED[1]:g}[/]")
    if scaled.iterations >= experiment.budget:
        context.say(f"[yellow]that is the whole budget of {experiment.budget} steps or more; give a larger --budget[/]")
    context.say(f"written to {escape(str(target))}")
