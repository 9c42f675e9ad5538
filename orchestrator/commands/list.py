"""`dvar methods` and `dvar concepts`: list the available methods and concepts; need no experiment."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator import plugins
from orchestrator.config.methods import method_defaults
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.progress import bars
from orchestrator.report.console.tables import MethodRow, concepts_table, methods_table
from trainables.errors import InvalidInput
from trainables.miniature.entries import ENTRIES, entry


def concepts(only: Sequence[str] | None, target: Path | None, size: int) -> None:
    """List the miniature's concepts, or write each as a folder of PNG files with a concept.yaml.

    Args:
        only: names of the concepts; None takes all.
        target: folder to write to; None lists them.
        size: width and height of the written images in pixels, 16..1024.

    Raises:
        InvalidInput: a name is unknown, or the size is out of range.
    """
    console = OutputConsole()
    names = list(ENTRIES) if only is None else only
    entries = [entry(name) for name in dict.fromkeys(names)]
    if target is None:
        console.print(concepts_table([(concept.name, concept.noun, concept.role) for concept in entries]))
        return
    from trainables.data.concept import write_concept
    from trainables.miniature import concepts as toys  # renders with torch

    if not 16 <= size <= 1024:
        raise InvalidInput(f"--size must lie between 16 and 1024 pixels, got {size}")
    with bars(console) as progress:
        task = progress.add_task("rendering", total=len(entries), unit="concepts", detail="")
        if not console.is_terminal:
            console.print(f"rendering {len(entries)} concepts ...")
        for concept in (concept for known in entries for concept in toys.load([known.name], size)):
            write_concept(concept, target)
            progress.advance(task)
    console.print(f"{len(entries)} concepts in {escape(str(target))}", soft_wrap=True)


def methods() -> bool:
    """List the personalization methods and the problems of those that cannot be loaded; return whether all can."""
    from trainables.methods.base import Method

    console = OutputConsole()
    problems = plugins.METHODS.problems(Method)
    rows = []
    for name in plugins.METHODS.names():
        try:
            method = plugins.METHODS.load(name, Method)
            rows.append(MethodRow(name, method.trains, method_defaults(name, method), [*method.recipes]))
        except InvalidInput as error:
            if str(error) not in problems:  # a broken file of a built-in method is among them
                problems.append(str(error))
        except AttributeError as error:
            problems.append(f"method {name!r} lacks a class attribute: {error}")
    console.print(methods_table(rows))
    for problem in problems:
        console.print(f"[red]unusable[/] {escape(problem)}", soft_wrap=True)
    return not problems
