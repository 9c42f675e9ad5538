"""`dvar recordings`: lists, shows, packs, unpacks and verifies recordings; needs no experiment."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape

from orchestrator.commands.run import ADAPTERS
from orchestrator.recordings import collection
from orchestrator.recordings.pack import write_pack
from orchestrator.recordings.verification import Verdict, verify
from orchestrator.report.console.tables import curve_table, recordings_table
from orchestrator.runs import LIVE
from orchestrator.storage.storage import Storage


def list_recordings(place: str) -> None:
    """Print a line for every complete recording of a place.

    Raises:
        InvalidInput: there is none, or a recording is damaged.
    """
    recordings = collection.read_place(place)
    console = Console(highlight=False)
    console.print(recordings_table(recordings))
    console.print(f"{len(recordings)} complete recordings in {escape(place)}", soft_wrap=True)


def show_recording(key: str, place: str) -> None:
    """Print the identity, the facts and the training curve of the recordings that a key or concept names.

    Raises:
        InvalidInput: no recording has that key or concept, or a recording is damaged.
    """
    console = Console(highlight=False)
    for recording in collection.pick(collection.read_place(place), [key]):
        about = {"key": recording.key, **recording.identity.to_json(), "made on": dict(recording.facts)}
        about["concept"] = {name: value for name, value in about["concept"].items() if name != "images"}
        console.print(escape(yaml.safe_dump(about, sort_keys=False, allow_unicode=True)), soft_wrap=True)
        console.print(curve_table(recording))


def export_recordings(target: Path, place: str, only: Sequence[str] | None, whole: bool) -> None:
    """Pack complete recordings of a place into a single file, and print its size.

    Args:
        target: the pack to write.
        place: see `collection.read_place`.
        only: keys or concepts; None packs all.
        whole: whether to keep double precision.

    Raises:
        InvalidInput: a recording is missing or damaged, or the file cannot be written.
    """
    recordings = collection.read_place(place)
    chosen = recordings if only is None else collection.pick(recordings, only)
    write_pack(chosen, target, compact=not whole)
    size = target.stat().st_size / 1e6
    Console(highlight=False).print(f"{len(chosen)} recordings in {escape(str(target))}, {size:.2f} MB", soft_wrap=True)


def import_recordings(pack: str, storage: str) -> None:
    """Write a pack's recordings into a storage, and print how many of them are new there.

    Raises:
        InvalidInput: the pack cannot be read or the storage cannot be written.
    """
    recordings = collection.read_place(pack)
    new = collection.take_in(recordings, storage)
    text = f"{new} of {len(recordings)} recordings are new in {escape(collection.open_store(storage).url)}"
    Console(highlight=False).print(text, soft_wrap=True)


def verify_recordings(place: str) -> bool:
    """Read everything that is stored of the runs of a place, print what is damaged, and return whether all is sound.

    In a storage these are the recordings, the live runs and the exported adapters, with their checkpoints and samples.

    Raises:
        InvalidInput: the place itself cannot be read.
    """
    console = Console(highlight=False)
    if collection.is_packed(place):
        console.print(f"{len(collection.read_place(place))} recordings in {escape(place)} are sound", soft_wrap=True)
        return True
    storage = Storage(place)
    verdicts = _verify(console, "recordings", storage.at(collection.FOLDER), None)
    verdicts += _verify(console, "live runs", storage.at(LIVE), storage.at(ADAPTERS) if storage.is_local else None)
    if without_hash := sum(verdict.without_hash for verdict in verdicts):
        console.print(
            f"{without_hash} files of checkpoints and snapshots were checked by their size alone: the version that "
            "wrote them noted no hashes",
            soft_wrap=True,
        )
    return all(verdict.problem is None for verdict in verdicts)


def _verify(console: Console, what: str, place: Storage, exports: Storage | None) -> list[Verdict]:
    verdicts = []
    for verdict in verify(place, exports):
        verdicts.append(verdict)
        if verdict.problem is not None:
            console.print(f"[red]damaged[/] {escape(verdict.name)}: {escape(verdict.problem)}", soft_wrap=True)
    if verdicts or what == "recordings":
        sound = [verdict for verdict in verdicts if verdict.problem is None]
        unfinished = sum(not verdict.is_done for verdict in sound)
        rest = f", {unfinished} of them not finished" if unfinished else ""
        console.print(f"{len(sound)} of {len(verdicts)} {what} in {escape(str(place))} are sound{rest}", soft_wrap=True)
    return verdicts
