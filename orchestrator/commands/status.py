"""`dvar status`: lists the runs of a storage, with the state of each and why it ended."""

from orchestrator.commands.recordings import say_copies, say_damaged
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import FOLDER
from orchestrator.report.console.markup import escape
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.tables import status_table
from orchestrator.runs import LIVE
from orchestrator.storage.storage import Storage


def status(storage: str) -> None:
    """Print the runs of a storage with their state, why each ended, where tracebacks of failed runs are, and damage."""
    console = OutputConsole()
    kinds = {FOLDER: "full length", LIVE: "live"}
    scans = {title: RecordingStore(Storage(storage).at(folder).url).scan() for folder, title in kinds.items()}
    rows = {title: scan.summaries for title, scan in scans.items()}
    damaged = [recording for scan in scans.values() for recording in scan.damaged]
    if not any(rows.values()) and not damaged:
        console.print(f"there are no runs in {escape(storage)} yet", soft_wrap=True)
        return
    console.print(status_table([(title, summary) for title, summaries in rows.items() for summary in summaries]))
    for summaries in rows.values():
        say_copies(console, summaries)
    for summary in (summary for summaries in rows.values() for summary in summaries if summary.traceback):
        console.print(f"traceback of {escape(summary.concept)}: {escape(str(summary.traceback))}", soft_wrap=True)
    say_damaged(console, damaged)
