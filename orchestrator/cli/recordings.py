"""The command group `dvar recordings`: list, show, export, import and verify full-length recordings."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import errors_as_exit_codes, exit_with
from orchestrator.cli.flags import split_names

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, pack, unpack and verify full-length recordings. PLACE is a storage (default dvar-runs), "
    "a pack file, or 'builtin'.",
)

Place = Annotated[str, typer.Argument(help="The folder or URL of a storage, a pack file, or 'builtin'.")]


@app.command(name="list")
def list_recordings(place: Place = "dvar-runs") -> None:
    """List recordings with their concept, method, seed, budget and best quality."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.list_recordings(place)


@app.command(name="show")
def show_recording(
    key: Annotated[str, typer.Argument(help="The beginning of a key, or a concept.")], place: Place = "dvar-runs"
) -> None:
    """Print the settings of a recording and its training curve."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.show_recording(key, place)


@app.command(name="export")
def export_recordings(
    target: Annotated[Path, typer.Argument(help="The pack to write, such as mine.parquet.")],
    place: Place = "dvar-runs",
    only: Annotated[str | None, typer.Option(help="Comma-separated keys or concepts; default: all.")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Keep double precision; the file is four times as large.")
    ] = False,
) -> None:
    """Pack complete recordings, without samples and adapters, into a single small file.

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
    """Write a pack's recordings into a storage, from which `dvar tune` and `dvar compare` read them."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        recordings.import_recordings(pack, storage)


@app.command(name="verify")
def verify_recordings(place: Place = "dvar-runs") -> None:
    """Check every file of recordings, live runs and exports against its hash; exit with 1 if any is damaged."""
    from orchestrator.commands import recordings

    with errors_as_exit_codes():
        exit_with(recordings.verify_recordings(place))
