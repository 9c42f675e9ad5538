"""`dvar status`: lists the runs of a storage, with the state of each and why it ended."""

from collections.abc import Sequence

from orchestrator.commands.recordings import say_copies, say_damaged
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import FOLDER
from orchestrator.recordings.store import RecordingSummary
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.status import StatusRow, status_table
from orchestrator.runs import LIVE, lease
from orchestrator.storage.storage import Storage

KINDS = {FOLDER: "full length", LIVE: "live"}


def status(storage: str) -> None:
    """Print the runs of a storage with their state, why each ended, where tracebacks of failed runs are, and damage.

    A run is running while a live driver works on it; one that waits for its turn is shown, too, and one whose driver
    has died or ended is interrupted.
    """
    console, place = OutputConsole(), Storage(storage)
    drivers = lease.drivers(place)
    scans = {folder: RecordingStore(place.at(folder).url).scan() for folder in KINDS}
    damaged = [recording for scan in scans.values() for recording in scan.damaged]
    rows = [row for folder, scan in scans.items() for row in _rows(folder, scan.summaries, drivers)]
    if not rows and not damaged:
        console.print(f"there are no runs in {escape(storage)} yet", soft_wrap=True)
        return
    if rows:
        console.print(status_table(rows))
    for scan in scans.values():
        say_copies(console, scan.summaries)
    for driver in drivers:
        where = f"process {driver.pid} on {escape(driver.host)}"
        text = "works on these runs" if driver.is_alive else "has died; the same command goes on with its runs"
        console.print(f"the driver, {where}, {text}", soft_wrap=True)
    for row in rows:
        if row.traceback:
            console.print(f"traceback of {escape(row.concept)}: {escape(row.traceback)}", soft_wrap=True)
    say_damaged(console, damaged)


def _rows(folder: str, summaries: Sequence[RecordingSummary], drivers: Sequence[lease.Driver]) -> list[StatusRow]:
    """Return a row for every recording in a folder, and for every run of a live driver that has none yet."""
    title = KINDS[folder]
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
