"""Ownership: which process may write a recording. A process that was thought dead and wakes up must not."""

from collections.abc import Callable

from orchestrator.recordings import format as layout
from orchestrator.recordings import reading
from orchestrator.storage.files import Files
from orchestrator.storage.sealed import encode_json

#: Raises `RecordingConflict` if this process may not begin or take over a recording any more.
Permit = Callable[[], None]


def always() -> None:
    """Permit everything."""


class RecordingConflict(RuntimeError):
    """Another process has begun to write the same recording, or it was deleted; this process must stop."""


class Ownership:
    """The claim of a writer on a recording, asked for with every write.

    Args:
        files: the recording's own folder.
        writer: token of the process.
        permit: asked before the claim: whoever sent us may have been replaced meanwhile.

    Attributes:
        number: of the writer, counted from 1; 0 until `claim`.
    """

    def __init__(self, files: Files, writer: str, permit: Permit) -> None:
        self._files, self._permit = files, permit
        self._content = encode_json({"writer": writer})
        self.number = 0

    def claim(self) -> None:
        """Become the recording's writer: of all that try at once, a single one gets the next number.

        Raises:
            RecordingConflict: another process has become it, or `permit` says no.
        """
        known = reading.claims(self._files)  # before the question, so that whoever claims after the answer is noticed
        self._permit()
        number = max(known, default=0) + 1
        if not self._files.create(layout.claim_name(number), self._content):
            raise self._conflict()
        self.number = number

    def check(self) -> None:
        """Check that the recording is still there, and ours: we could only write beside another process's.

        Raises:
            RecordingConflict: another process has taken it over, or somebody has deleted it.
        """
        claims = layout.claims_among(self._files.children(layout.WRITERS))
        # Where the file system cannot create a file exclusively, the last of several claims with a number is the valid.
        claim = self._files.read(layout.claim_name(self.number))
        if not claims:
            raise RecordingConflict(f"{self._files.url} was deleted while it was being written; repeat the command")
        if max(claims) > self.number or claim not in (None, self._content):
            raise self._conflict()

    def _conflict(self) -> RecordingConflict:
        return RecordingConflict(f"another process is writing {self._files.url}; stop either of the two")
