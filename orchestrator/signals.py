"""Signals end a command as Ctrl-C does: what is open is closed, and the exit code is 128 + the signal's number.

What must not be interrupted puts them off with `held`.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, the end of a batch job or container, and a terminal or connection that is gone.
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


_terminals: list[int] = []
_received: list[int] = []
_put_off: list[int] = []


def end_on_signals() -> None:
    """Let the first signal raise KeyboardInterrupt in the main thread, and the second end the process at once.

    Signals that whoever started the process has it ignore, as nohup does, stay ignored.
    """
    _terminals[:] = [stream for stream in (0, 1, 2) if os.isatty(stream)]
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _note(number, _received)
    raise KeyboardInterrupt


def _note(number: int, earlier: list[int]) -> None:
    """Note a signal among the earlier ones of its kind; a second one ends the process."""
    if number == getattr(signal, "SIGHUP", None):
        _leave_terminal()
    if earlier:
        _end_at_once(number)
    earlier.append(number)


def _end_at_once(number: int) -> None:
    os.write(2, b"\nended at once; what was recorded is kept\n")
    os._exit(128 + number)


def first_received() -> int:
    """Return the number of the signal that ends this process; SIGINT unless another came first.

    The exception does not always say: Ray replaces what a handler raises by a KeyboardInterrupt of its own.
    """
    return _received[0] if _received else signal.SIGINT


def is_put_off() -> bool:
    """Whether a signal has arrived whose effect is put off."""
    return bool(_put_off)


@contextmanager
def held() -> Iterator[None]:
    """Put off the effect of the signals that would end this process to the end of the context.

    A second signal ends the process at once. Handlers that are installed within the context are taken back. In threads
    other than the main one, which handle no signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _put_it_off)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if _put_off:
            number = _put_off[0]
            _put_off.clear()
            signal.raise_signal(number)


def _put_it_off(number: int, frame: FrameType | None) -> None:
    _note(number, _put_off)


def _leave_terminal() -> None:
    """Send what is still printed nowhere: writing to a terminal that is gone would fail, and hide why we end.

    A terminal that is gone no longer says that it is one, so that what was one is known from the beginning.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in _terminals:
        os.dup2(nowhere, stream)
    os.close(nowhere)
