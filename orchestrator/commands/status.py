"""`dvar status`: lists the runs of a storage, with the state of each and why it ended."""

from rich.markup import escape

from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import FOLDER
from orchestrator.report.console.output import OutputConsole
from orchestrator.report.console.tables import status_table
from orchestrator.runs import LIVE
from orchestrator.storage.storage import Storage


def status(storage: str) -> None:
    """Print the runs of a storage with their state, why each ended, and where tracebacks of failed runs are.

    Raises:
        InvalidInput: a recording is damaged.
    """
    console = OutputConsole()
    kinds = {FOLDER: "full length", LIVE: "live"}
    rows = {title: RecordingStore(Storage(storage).at(folder).url).list() for folder, title in kinds.items()}
    if not any(rows.values()):
        console.print(f"there are no runs in {escape(storage)} yet", soft_wrap=True)
        return
    console.print(status_table([(title, summary) for title, summaries in rows.items() for summary in summaries]))
    for summary in (summary for summaries in rows.values() for summary in summaries if summary.traceback):
        console.print(f"traceback of {escape(summary.concept)}: {escape(str(summary.traceback))}", soft_wrap=True)
