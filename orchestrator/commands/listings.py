"""What the commands that list and move things do: concepts, methods, recordings; no experiment is needed."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape

from orchestrator import plugins
from orchestrator.config.experiment import Experiment
from orchestrator.recordings import RecordingStore
from orchestrator.recordings import collection as library
from orchestrator.recordings.pack import write_pack
from orchestrator.recordings.recording import DONE
from orchestrator.report.console.tables import (
    concepts_table,
    course_table,
    methods_table,
    recordings_table,
    status_table,
)
from trainables.errors import InvalidInput


def concepts(only: Sequence[str] | None, target: Path | None, size: int) -> None:
    """List the miniature's concepts, or write them as folders of PNG with a concept.yaml each."""
    from trainables.data.concept import write_concept
    from trainables.miniature import concepts as toys

    console = Console(highlight=False)
    names = list(toys.ENTRIES) if only is None else only
    if target is None:
        entries = [toys.entry(name) for name in names]
        console.print(concepts_table([(entry.name, entry.noun, entry.role) for entry in entries]))
        return
    if not 16 <= size <= 1024:
        raise InvalidInput(f"--size must lie between 16 and 1024 pixels, got {size}")
    with console.status(f"rendering {len(names)} concepts"):
        for concept in toys.load(names, size):
            write_concept(concept, target)
    console.print(f"{len(names)} concepts in {escape(str(target))}", soft_wrap=True)


def methods() -> bool:
    """List the personalization methods, and those that cannot be loaded; return whether all can."""
    from trainables.methods.base import Method

    console = Console(highlight=False)
    problems = plugins.METHODS.problems(Method)
    rows = []
    for name in plugins.METHODS.names():
        try:
            method = plugins.METHODS.load(name, Method)
        except InvalidInput as error:
            if str(error) not in problems:  # a broken file among the built-in ones
                problems.append(str(error))
            continue
        try:
            rows.append((name, method.trains, method.budget, method.window, method.threshold, [*method.recipes]))
        except AttributeError as error:
            problems.append(f"method {name!r} lacks a class attribute: {error}")
    console.print(methods_table(rows))
    for problem in problems:
        console.print(f"[red]unusable[/] {escape(problem)}", soft_wrap=True)
    return not problems


def doctor(experiment: Experiment) -> bool:
    """Print what was found of everything that a run needs; return whether nothing is wrong."""
    from orchestrator.commands.doctor import examine  # it brings Ray, MLflow and torch

    console, is_good = Console(highlight=False), True
    styles = {"ok": "green", "note": "yellow", "wrong": "red"}
    for found in examine(experiment):
        is_good = is_good and found.verdict != "wrong"
        head = f"[{styles[found.verdict]}]{found.verdict:>6}[/]  {found.about:<11}"
        console.print(f"{head} {escape(found.text)}", soft_wrap=True)
    return is_good


def status(storage: str) -> None:
    """Print what runs below a storage, what ended, and why; and where the tracebacks of failed runs are."""
    console = Console(highlight=False)
    kinds = {"recordings": "full length", "live": "live"}
    rows = {title: RecordingStore(library.below(storage, folder)).list() for folder, title in kinds.items()}
    if not any(rows.values()):
        console.print(f"nothing was begun in {escape(storage)} yet", soft_wrap=True)
        return
    console.print(status_table([(title, one) for title, found in rows.items() for one in found]))
    for one in (one for found in rows.values() for one in found if one.traceback):
        console.print(f"traceback of {escape(one.concept)}: {escape(str(one.traceback))}", soft_wrap=True)


def list_recordings(place: str) -> None:
    """Print a line for every complete recording of a place."""
    found = library.read_place(place)
    console = Console(highlight=False)
    console.print(recordings_table(found))
    console.print(f"{len(found)} complete recordings in {escape(place)}", soft_wrap=True)


def show_recording(key: str, place: str) -> None:
    """Print what recordings were made with, and their course."""
    console = Console(highlight=False)
    for one in library.pick(library.read_place(place), [key]):
        about = {"key": one.key, **one.identity, "made on": dict(one.facts)}
        about["concept"] = {name: value for name, value in one.identity["concept"].items() if name != "images"}
        console.print(escape(yaml.safe_dump(about, sort_keys=False, allow_unicode=True)), soft_wrap=True)
        console.print(course_table(one))


def export_recordings(target: Path, place: str, only: Sequence[str] | None, whole: bool) -> None:
    """Pack recordings into a file."""
    found = library.read_place(place)
    chosen = found if only is None else library.pick(found, only)
    write_pack(chosen, target, compact=not whole)
    size = target.stat().st_size / 1e6
    Console(highlight=False).print(f"{len(chosen)} recordings in {escape(str(target))}, {size:.2f} MB", soft_wrap=True)


def import_recordings(pack: str, storage: str) -> None:
    """Write a pack's recordings into a storage."""
    found = library.read_place(pack)
    new = library.take_in(found, storage)
    text = f"{new} of {len(found)} recordings are new in {escape(library.open_store(storage).url)}"
    Console(highlight=False).print(text, soft_wrap=True)


def verify_recordings(place: str) -> bool:
    """Read every recording of a place, name the damaged ones, and return whether all are sound."""
    console, damaged = Console(highlight=False), 0
    if library.is_packed(place):
        console.print(f"{len(library.read_place(place))} recordings in {escape(place)} are sound", soft_wrap=True)
        return True
    store = library.open_store(place)
    listed = store.list()
    for row in listed:
        try:
            store.read(row.key)
        except InvalidInput as error:
            damaged += 1
            console.print(f"[red]damaged[/] {escape(row.concept)}: {escape(str(error))}", soft_wrap=True)
    unfinished = sum(row.state not in DONE for row in listed)
    rest = f", {unfinished} of them not finished" if unfinished else ""
    console.print(
        f"{len(listed) - damaged} of {len(listed)} recordings in {escape(store.url)} are sound{rest}", soft_wrap=True
    )
    return not damaged
