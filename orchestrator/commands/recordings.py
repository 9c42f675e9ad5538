"""`dvar recordings`: lists, shows, packs, unpacks and verifies recordings; needs no experiment."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from orchestrator.commands.messages import say_caveats
from orchestrator.commands.run import ADAPTERS
from orchestrator.recordings import collection
from orchestrator.recordings.pack import write_pack
from orchestrator.recordings.store import DamagedRecording, RecordingSummary
from orchestrator.recordings.verification import Verdict, verify
from orchestrator.report.console.markup import escape, escape_lines
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.tables import curve_table, recordings_table
from orchestrator.runs import LIVE
from orchestrator.storage.storage import Storage
from trainables import plain_yaml


def list_recordings(place: str) -> None:
    """Print a line for every complete recording of a place, and for every damaged one.

    Raises:
        InvalidInput: there is none, or the place cannot be read.
    """
    recordings, damaged = collection.scan_place(place)
    if not recordings and not damaged:
        raise collection.no_recordings(place)
    console = OutputConsole()
    console.print(recordings_table(recordings))
    say_damaged(console, damaged)
    console.print(f"{len(recordings)} complete recordings in {escape(place)}", soft_wrap=True)
    if not collection.is_packed(place):
        say_copies(console, collection.open_store(place).scan().summaries)
    if recordings:
        say_caveats(console, recordings)


def say_copies(console: Console, rows: Sequence[RecordingSummary]) -> None:
    """Print which folders hold a recording that another one holds, too."""
    for row in rows:
        for copy in row.copies:
            text = f"{escape(copy)} is a copy of {escape(Path(row.folder).name)} and not counted"
            console.print(f"[yellow]note:[/] {text}", soft_wrap=True)


def show_recording(key: str, place: str) -> None:
    """Print the identity, the facts and the training curve of the recordings that a key or concept names.

    Raises:
        InvalidInput: no recording that can be read has that key or concept, or the place cannot be read.
    """
    console = OutputConsole()
    readable, damaged = collection.scan_place(place)
    say_damaged(console, damaged)
    recordings = collection.pick(readable, [key])
    for recording in recordings:
        about = {"key": recording.key, **recording.identity.to_json(), "made on": dict(recording.facts)}
        about["concept"] = {name: value for name, value in about["concept"].items() if name != "images"}
        console.print(escape_lines(plain_yaml.dump(about)), soft_wrap=True)
        console.print(curve_table(recording))
    say_caveats(console, recordings)


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
    OutputConsole().print(f"{len(chosen)} recordings in {escape(str(target))}, {size:.2f} MB", soft_wrap=True)


def import_recordings(pack: str, storage: str) -> None:
    """Write a pack's recordings into a storage, and print how many of them are new there.

    Raises:
        InvalidInput: the pack cannot be read or the storage cannot be written.
    """
    recordings = collection.read_place(pack)
    new = collection.take_in(recordings, storage)
    text = f"{new} of {len(recordings)} recordings are new in {escape(collection.open_store(storage).url)}"
    OutputConsole().print(text, soft_wrap=True)


def verify_recordings(place: str) -> bool:
    """Read everything that is stored of the runs of a place, print what is damaged, and return whether all is sound.

    In a storage these are the recordings, the live runs and the exported adapters, with their checkpoints and samples.

    Raises:
        InvalidInput: the place itself cannot be read.
    """
    console = OutputConsole()
    if collection.is_packed(place):
        console.print(f"{len(collection.read_place(place))} recordings in {escape(place)} are sound", soft_wrap=True)
        return True
    storage = Storage(place)
    summaries = collection.open_store(place).scan().summaries
    copies = {copy.rstrip("/").rpartition("/")[2] for row in summaries for copy in row.copies}
    verdicts = _verify(console, "recordings", storage.at(collection.FOLDER), None, copies)
    say_copies(console, summaries)
    verdicts += _verify(console, "live runs", storage.at(LIVE), storage.at(ADAPTERS) if storage.is_local else None)
    if without_hash := sum(verdict.without_hash for verdict in verdicts):
        console.print(
            f"{without_hash} files of checkpoints and snapshots were checked by their size alone: the version that "
            "wrote them noted no hashes",
            soft_wrap=True,
        )
    return all(verdict.problem is None for verdict in verdicts)


def _verify(
    console: Console, what: str, place: Storage, exports: Storage | None, copies: Collection[str] = ()
) -> list[Verdict]:
    """Check a folder of recordings, and print what is damaged; copies are passed over."""
    verdicts = []
    for verdict in verify(place, exports):
        if verdict.name in copies:
            continue
        verdicts.append(verdict)
        if verdict.problem is not None:
            say_damaged(console, [DamagedRecording(verdict.name, verdict.problem)])
    if verdicts or what == "recordings":
        sound = [verdict for verdict in verdicts if verdict.problem is None]
        unfinished = sum(not verdict.is_done for verdict in sound)
        rest = f", {unfinished} of them not finished" if unfinished else ""
        console.print(f"{len(sound)} of {len(verdicts)} {what} in {escape(str(place))} are sound{rest}", soft_wrap=True)
    return verdicts


def say_damaged(console: Console, damaged: Sequence[DamagedRecording]) -> None:
    """Print a line for every recording that cannot be read."""
    for recording in damaged:
        console.print(f"[red]damaged[/] {escape(recording.name)}: {escape(recording.reason)}", soft_wrap=True)
