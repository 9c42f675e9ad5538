"""The commands `dvar recordings ...`."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import errors_as_exit_codes, exit_with
from orchestrator.cli.flags import split_names

app = typer.Typer(
    no_args_is_help=True,
    help="Full-length recordings: list, show, pack into a file, unpack, verify. PLACE is a storage (default "
    "dvar-runs), a pack's file, or 'builtin'.",
)

Place = Annotated[str, typer.Argument(help="A storage's folder or URL, a pack's file, or 'builtin'.")]


@app.command(name="list")
def list_recordings(place: Place = "dvar-runs") -> None:
    """List recordings: concept, method, seed, budget, and the best quality."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.list_recordings(place)


@app.command(name="show")
def show_recording(
    key: Annotated[str, typer.Argument(help="The beginning of a key, or a concept.")], place: Place = "dvar-runs"
) -> None:
    """Print what a recording was made with, and its course."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.show_recording(key, place)


@app.command(name="export")
def export_recordings(
    target: Annotated[Path, typer.Argument(help="The pack to write, such as mine.parquet.")],
    place: Place = "dvar-runs",
    only: Annotated[str | None, typer.Option(help="Keys or concepts, with commas; default: all.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Keep double precision: four times the size.")] = False,
) -> None:
    """Pack complete recordings into one small file, without samples and adapters.

    Example: [b]dvar recordings export mine.parquet dvar-runs --only robot_1,duck_1[/b]
    """
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.export_recordings(target, place, split_names(only), whole)


@app.command(name="import")
def import_recordings(
    pack: Annotated[str, typer.Argument(help="The pack to read, or 'builtin'.")],
    storage: Annotated[str, typer.Argument(help="The storage to write into.")] = "dvar-runs",
) -> None:
    """Write a pack's recordings into a storage, where `dvar tune` and `dvar compare` find them."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.import_recordings(pack, storage)


@app.command(name="verify")
def verify_recordings(place: Place = "dvar-runs") -> None:
    """Read every recording whole, and compare it with its hashes; exit with 1 where one is damaged."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        exit_with(recordings.verify_recordings(place))
