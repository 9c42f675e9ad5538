"""The benchmarks run: each starts and finds what it imports, and the long ones run in small."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

pytestmark = pytest.mark.process


def run(name, *arguments):
    command = [sys.executable, str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["bench_overhead.py", "bench_live_search.py"])
def test_a_long_benchmark_only_runs_when_it_is_asked_to(name):
    printed = run(name)
    assert "skipped" in printed
    assert f"{name} --yes" in printed


@pytest.mark.parametrize("name", ["bench_dvar.py", "bench_replay.py"])
def test_a_short_benchmark_compares_two_ways_that_agree(name):
    assert run(name)


@pytest.mark.slow
def test_the_overhead_is_measured_in_small():
    printed = run("bench_overhead.py", "--yes", "--trials", "4", "--budget", "10")
    shares = re.findall(r"^(orchestration|plain): ([\d.]+)% inside Training.step;", printed, flags=re.M)
    assert [side for side, _ in shares] == ["orchestration", "plain"]
    assert all(0 < float(share) < 100 for _, share in shares)
    assert "reuse of actors makes this" in printed


@pytest.mark.slow
def test_the_searches_are_compared_in_small():
    printed = run("bench_live_search.py", "--yes", "--trials", "2", "--budget", "20", "--concepts", "1")
    rows = [line.split() for line in printed.splitlines() if line.startswith(("by hand  ", "replay  "))]
    assert int(rows[0][3].replace(",", "")) <= 2 * 20  # steps of two suggestions by hand
    assert int(rows[1][2].replace(",", "")) == 20  # steps of the recording
