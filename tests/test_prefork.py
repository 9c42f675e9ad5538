"""A forked process is like one that `python` starts: what tests prove with it holds for both."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked here")]

FACTS = """
import json, os, sys
print(json.dumps([sys.argv, os.getcwd(), sys.path[:2], os.environ.get("A"), __name__, sys.stdin.read()]))
print("to stderr", file=sys.stderr)
ours = {"orchestrator", "trainables", "search_spaces", "ray", "pytest"} & set(sys.modules)
sys.exit(7 if not ours else f"loaded: {ours}")
"""


@pytest.mark.parametrize("kind", ["code", "file"])
def test_it_gets_what_it_is_given(prefork, tmp_path, kind):
    (tmp_path / "facts.py").write_text(FACTS)
    begin = ["-c", FACTS] if kind == "code" else [str(tmp_path / "facts.py")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "A": "b"}
    forked, own = (
        subprocess.run(
            [*python, *begin, "x y", "-z"], input="in", capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        for python in (prefork.python, [sys.executable])
    )
    assert (forked.stdout, forked.stderr, forked.returncode) == (own.stdout, own.stderr, own.returncode)
    assert json.loads(forked.stdout)[0][1:] == ["x y", "-z"]
    assert forked.returncode == 7


@pytest.mark.parametrize(
    "code", ["1 / 0", "raise SystemExit('why')", "raise SystemExit", "import os; os.kill(os.getpid(), 15)"]
)
def test_it_ends_as_it_would(prefork, code):
    forked, own = (
        subprocess.run([*python, "-c", code], capture_output=True, text=True)
        for python in (prefork.python, [sys.executable])
    )
    assert forked.returncode == own.returncode
    assert forked.stderr.splitlines()[-1:] == own.stderr.splitlines()[-1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it(prefork, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the tests run in the background of a shell, whose children ignore Ctrl-C")
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen([*prefork.python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        inner = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(timeout=60) == -number
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{inner}"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
