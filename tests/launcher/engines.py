"""Real engines to sweep on: a Slurm of one node and a Ray cluster of two, on this machine."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLURM = ("munged", "slurmctld", "slurmd", "sbatch")
"""What Debian's packages munge, slurmctld, slurmd and slurm-client bring."""

CONF = """\
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """What of Slurm is not installed, or not allowed."""
    found = [name for name in SLURM if shutil.which(name) is None]
    return found if os.geteuid() == 0 else [*found, "root"]


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start it; give the environment in which it is found."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    conf.write_text(CONF.format(folder=folder, host=host, ports=[_port(), _port()]))
    there = {**os.environ, "SLURM_CONF": str(conf)}
    said = {name: folder / f"munge.{name}" for name in ("socket", "pid-file", "log-file")}
    said["seed-file"], said["key-file"] = folder / "munge.seed", key
    subprocess.run(["munged", "--force", *(f"--{k}={v}" for k, v in said.items())], check=True)
    try:
        subprocess.run(["slurmctld"], env=there, check=True)
        subprocess.run(["slurmd"], env=there, check=True)
        while "idle" not in _said(["sinfo", "-h", "-o", "%T"], there):
            time.sleep(0.2)
        yield there
    finally:
        _said(["scancel", "-u", "root"], there)
        while _said(["squeue", "-h"], there):
            time.sleep(0.2)
        for name in ("slurmd.pid", "slurmctld.pid", "munge.pid-file"):
            if (folder / name).exists():
                os.kill(int((folder / name).read_text()), 15)


def _said(command: list[str], there: dict[str, str]) -> str:
    return subprocess.run(command, env=there, capture_output=True, text=True).stdout


def _port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
