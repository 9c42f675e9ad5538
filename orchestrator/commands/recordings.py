"""`dvar recordings`: lists, shows, packs, unpacks and verifies recordings; needs no experiment."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.markup import escape

from orchestrator.commands.messages import say_caveats
from orchestrator.recordings import collection
from orchestrator.recordings.pack import write_pack
from orchestrator.recordings.recording import DONE
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.tables import curve_table, recordings_table
from trainables.errors import InvalidInput


def list_recordings(place: str) -> None:
    """Print a line for every complete recording of a place.

    Raises:
        InvalidInput: there is none, or a recording is damaged.
    """
    recordings = collection.read_place(place)
    console = OutputConsole()
    console.print(recordings_table(recordings))
    console.print(f"{len(recordings)} complete recordings in {escape(place)}", soft_wrap=True)
    say_caveats(console, recordings)


def show_recording(key: str, place: str) -> None:
    """Print the identity, the facts and the training curve of the recordings that a key or concept names.

    Raises:
        InvalidInput: no recording has that key or concept, or a recording is damaged.
    """
    console = OutputConsole()
    recordings = collection.pick(collection.read_place(place), [key])
    for recording in recordings:
        about = {"key": recording.key, **recording.identity.to_json(), "made on": dict(recording.facts)}
        about["concept"] = {name: value for name, value in about["concept"].items() if name != "images"}
        console.print(escape(yaml.safe_dump(about, sort_keys=False, allow_unicode=True)), soft_wrap=True)
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
    """Read every recording of a place, print which are damaged, and return whether all are sound."""
    console, damaged = OutputConsole(), 0
    if collection.is_packed(place):
        console.print(f"{len(collection.read_place(place))} recordings in {escape(place)} are sound", soft_wrap=True)
        return True
    store = collection.open_store(place)
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
