"""A trial that fits on no node yet: a real autoscaler, whose nodes are processes, brings one that fits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributed.conftest import LACKING, RAY

pytestmark = [pytest.mark.process, pytest.mark.skipif(bool(LACKING), reason=LACKING)]

SCALING = {
    "cluster_name": "scaling",
    "max_workers": 1,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "auth": {"ssh_user": "nobody"},
    "head_node_type": "small",
    "available_node_types": {
        "small": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "large": {"resources": {"CPU": 3}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
    "idle_timeout_minutes": 5,
    "upscaling_speed": 1.0,
    "file_mounts": {},
    "cluster_synced_files": [],
    **{f"{when}_commands": [] for when in ("initialization", "setup", "head_setup", "worker_setup")},
    **{f"{role}_start_ray_commands": [] for role in ("head", "worker")},
}

DRIVER = """
import json, sys, time
from orchestrator.config.experiment import Resources
from orchestrator.runs import cluster
from orchestrator.runs.connection import connected
from trainables.errors import InvalidInput

results = []
with connected(sys.argv[1]):
    for cpus, patience in ((1, 60), (2, 120), (9, 3), (9, None)):
        begun, lines = time.monotonic(), []
        try:
            cluster.check_fits(Resources(cpus_per_trial=cpus, node_wait_seconds=patience), lines.append)
            fits = True
        except InvalidInput:
            fits = False
        results.append([fits, len(lines), time.monotonic() - begun, [node.cpus for node in cluster.nodes()]])
print("results", json.dumps(results))
"""

# The namespaces end with the shell, and all processes in them.
SHELL = """
ip link set lo up && mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && mount -t tmpfs tmpfs /dev/shm
"$1" start --head --port=6379 --num-cpus=1 --node-ip-address=127.0.0.1 --autoscaling-config="$2" \
    --include-dashboard=false --disable-usage-stats
"$3" -c "$4" 127.0.0.1:6379
"""


def test_a_command_waits_for_a_node_that_fits(tmp_path):
    config = tmp_path / "scaling.json"
    config.write_text(json.dumps(SCALING))
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": "/tmp",
    }
    inside = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*inside, "sh", "-c", SHELL, "sh", RAY, str(config), sys.executable, DRIVER]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("results ")] or [done.stdout + done.stderr]
    here, later, never, at_once = json.loads(line.removeprefix("results "))
    assert here[:2] == [True, 0]
    assert later[:2] == [True, 1]
    assert max(later[3]) == 3
    assert never[:2] == [False, 1]
    assert 3 <= never[2] < 60
    assert at_once[:2] == [False, 0]  # nothing says that this cluster has an autoscaler
