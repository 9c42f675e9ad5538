"""`dvar status`: lists the runs of a storage, with the state of each and why it ended."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import FOLDER
from orchestrator.report.console.status import StatusRow, status_table
from orchestrator.runs import LIVE, lease
from orchestrator.storage.storage import Storage

KINDS = {FOLDER: "full length", LIVE: "live"}


def status(storage: str) -> None:
    """Print the runs of a storage with their state, why each ended, and where tracebacks of failed runs are.

    A run is running while a live driver works on it; one that waits for its turn is shown, too, and one whose driver
    has died or ended is interrupted.

    Raises:
        InvalidInput: a recording is damaged.
    """
    console = Console(highlight=False)
    place = Storage(storage)
    drivers = lease.drivers(place)
    rows = [row for folder, title in KINDS.items() for row in _rows(place, folder, title, drivers)]
    if not rows:
        console.print(f"there are no runs in {escape(storage)} yet", soft_wrap=True)
        return
    console.print(status_table(rows))
    for driver in drivers:
        where = f"process {driver.pid} on {escape(driver.host)}"
        text = "works on these runs" if driver.is_alive else "has died; the same command goes on with its runs"
        console.print(f"the driver, {where}, {text}", soft_wrap=True)
    for row in rows:
        if row.traceback:
            console.print(f"traceback of {escape(row.concept)}: {escape(row.traceback)}", soft_wrap=True)


def _rows(storage: Storage, folder: str, title: str, drivers: Sequence[lease.Driver]) -> list[StatusRow]:
    """Return a row for every recording in a folder, and for every run of a live driver that has none yet."""
    summaries = RecordingStore(storage.at(folder).url).list()
    rows = [
        StatusRow.of(title, summary, is_active=any(driver.works_on(folder, summary.key) for driver in drivers))
        for summary in summaries
    ]
    known = {summary.key for summary in summaries}
    for driver in drivers:
        waiting = [run for run in driver.runs if run.get("key") not in known]
        if driver.is_alive and driver.folder == folder:
            word = "starting" if len(waiting) == len(driver.runs) else "waiting"
            rows += [StatusRow.waiting(title, run, word) for run in waiting]
    return rows
