"""Python processes that begin with the heavy libraries loaded: forked from one that has imported them.

Importing torch, diffusers, transformers and MLflow takes longer than what most tests have a process do. What
`Prefork.python` holds is used in place of `sys.executable`: arguments, environment, working directory, standard
streams, exit code and signals are the process's own, and none of our modules is loaded. Where a test is about how a
program starts, it starts a Python of its own.

Run as a script, this module is the client: `python -I -S prefork.py SOCKET ARGUMENTS...`. It imports nothing that takes
time.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys

#: Ray is not among them: it reads its settings from the environment when it is imported.
LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow",
    "sqlalchemy.orm",
    "torch._dynamo",
    "transformers.models.clip.modeling_clip",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "rich.progress",
)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Prefork:
    """The process that others are forked from; ends when it is closed, or when the tests' process does.

    Args:
        folder: an empty one for its socket, with a short path.
    """

    def __init__(self, folder: str) -> None:
        self._socket = os.path.join(folder, "s")
        self._process: subprocess.Popen[bytes] | None = None
        if sys.platform != "linux":
            return
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, os.path.abspath(__file__), "--serve", self._socket]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the libraries cannot be imported"

    @property
    def runtime_env(self) -> dict[str, str]:
        """What has Ray start its workers so."""
        return {"py_executable": " ".join(self.python)}

    def job_environment(self) -> dict[str, str]:
        """Variables with which a command that starts or joins a cluster has its workers started so."""
        return {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": self.runtime_env})}

    @property
    def python(self) -> list[str]:
        """The beginning of a command, in place of an interpreter; it is one where processes cannot be forked so."""
        if self._process is None:
            return [sys.executable]
        return [sys.executable, "-I", "-S", os.path.abspath(__file__), self._socket]

    def close(self) -> None:
        """End it; what was forked goes on."""
        if self._process is not None:
            self._process.communicate()


def serve(path: str) -> None:
    """Import the libraries, then fork a process per connection, until standard input ends."""
    import gc
    import importlib
    import selectors

    gc.disable()
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    assert _threads() <= {"python", "jemalloc_bg_thd"}, f"{_threads()}: a thread would be missing after a fork"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    os.write(1, b"ready\n")
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(listening, selectors.EVENT_READ)
    while True:
        ready = {key.fd for key, _ in waiting.select()}
        if 0 in ready:
            return
        connection, _ = listening.accept()
        if os.fork() == 0:  # this one forks the process, tells the client how it ends, and ends itself
            waiting.close()
            listening.close()
            _attend(connection)
        connection.close()
        while _reaped():
            pass


def _threads() -> set[str]:
    """Return the names of this process's threads; jemalloc, pyarrow's allocator, copes with a fork."""
    names = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm", encoding="utf-8") as file:
            names.add(file.read().strip())
    return {"python" if name == os.path.basename(sys.executable) else name for name in names}


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _attend(connection: socket.socket) -> None:
    streams: list[int] = []
    sizes, streams, *_ = socket.recv_fds(connection, 8, 3)
    message = connection.recv(int.from_bytes(sizes, "big"), socket.MSG_WAITALL)
    arguments, environment, folder, mask = json.loads(message)
    process = os.fork()
    if process == 0:
        connection.close()
        for stream, number in zip(streams, (0, 1, 2), strict=True):
            os.dup2(stream, number)
            os.close(stream)
        for number in mask:
            signal.signal(number, signal.SIG_IGN)
        _become(arguments, environment, folder)
    for stream in [*streams, 0, 1, 2]:
        os.close(stream)
    connection.sendall(process.to_bytes(4, "big"))
    ended = os.pidfd_open(process)
    if connection in select.select([ended, connection], [], [])[0]:  # whoever killed the client meant the process
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    with contextlib.suppress(OSError):
        connection.sendall(status.to_bytes(4, "big"))
    os._exit(0)


def _become(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be the process that `python ARGUMENTS...` would be; `-c CODE ...` and `FILE ...` are known, and the flag -u."""
    import random
    import types

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    arguments = arguments[1:] if arguments[0] == "-u" else arguments
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if arguments[0] == "-c":
        code, name, first, sys.argv = arguments[1], "<string>", "", ["-c", *arguments[2:]]
    else:
        name, first, sys.argv = arguments[0], os.path.dirname(os.path.abspath(arguments[0])), arguments
        with open(name, encoding="utf-8") as file:
            code = file.read()
        main.__file__ = name
    sys.path[:] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *sys.path[1:]]
    sys.modules["__main__"] = main
    try:
        exec(compile(code, name, "exec"), main.__dict__)
    except SystemExit as end:
        _end(_exit_code(end))
    except BaseException as error:  # noqa: BLE001 - what an interpreter prints
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        _end(1)
    _end(0)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 255
    print(end.code, file=sys.stderr)
    return 1


def _end(code: int) -> None:
    """End as an interpreter does: wait for threads, call what is to be called at the exit, flush."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    os._exit(code)


def run(path: str, arguments: list[str]) -> None:
    """Have a process forked that gets what this one was given, and end as it does."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    ignored = [number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN]
    message = json.dumps([arguments, dict(os.environ), os.getcwd(), ignored]).encode()
    socket.send_fds(connection, [len(message).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(message)
    process = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, lambda number, frame: os.kill(process, number))
    status = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        run(sys.argv[1], sys.argv[2:])
