"""A SLURM of one controller and two node daemons on this machine, and job arrays that it disturbs.

Needs Debian's slurm-wlm and munge, and root; everything lies in one folder and is ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from material import (
    ENVIRONMENT,
    MISFM,
    MODEL,
    Log,
    fresh,
    make_scans,
    results,
    wait_for,
)

CONF = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=17002
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17011-17012] CPUs=1 RealMemory=12000
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Start all daemons and end them."""
    folder.mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder))
    for name in ("state", "spool-node1", "spool-node2"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    ENVIRONMENT["SLURM_CONF"] = str(folder / "slurm.conf")
    munge = {"key-file": "key", "socket": "munge.socket", "pid-file": "munge.pid"}
    munge |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    daemons = [
        ["munged", "-F", "--force", *(f"--{name}={folder}/{at}" for name, at in munge.items())],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "node1"],
        ["slurmd", "-D", "-N", "node2"],
    ]
    started = []
    try:
        for words in daemons:
            with (folder / "daemons.log").open("ab") as log:
                started.append(subprocess.Popen(words, stdout=log, stderr=log, env=ENVIRONMENT))
            time.sleep(1)
        wait_for(_is_up, 120)
        yield
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ask("scancel", "--user=root")
            wait_for(lambda: not ask("squeue", "-h"), 60)
        for process in reversed(started):
            process.terminate()
            process.wait(20)


def _is_up() -> bool:
    try:
        return ask("sinfo", "-h", "-o", "%T").split() == ["idle"]
    except subprocess.CalledProcessError:
        return False  # the controller is not there yet


def ask(*words: str) -> str:
    """Run a command of SLURM and return what it prints."""
    return subprocess.run(
        words, env=ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout.strip()


def submit(script: str, folder: Path, *options: str) -> str:
    """Submit a script and return the number of its job."""
    (folder / "job.sh").write_text(script)
    output = f"--output={folder}/job-%A-%a.log"
    return ask("sbatch", "--parsable", output, *options, str(folder / "job.sh"))


def array_script(scans: Path, out: Path, memory: str = "3G") -> str:
    """Return what `--print-slurm` prints, for this Python and less memory."""
    words = [*MISFM, "segment", str(scans), "-m", MODEL, "-o", str(out), "--threads", "1"]
    words += ["--shard", "1/2", "--print-slurm"]
    script = subprocess.run(
        words, env=ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout
    script = script.replace(" misfm segment ", f" {sys.executable} -m MISFMLib segment ")
    return script.replace("--mem=8G", f"--mem={memory}")


def state(job: str) -> str:
    return ask("squeue", "-h", "-r", "-j", job, "-o", "%T")


def ended(job: str) -> bool:
    try:
        return not state(job)
    except subprocess.CalledProcessError:
        return True


def try_slurm(folder: Path, log: Log, cases: int = 12) -> None:
    """Disturb job arrays in every way."""
    fresh(folder)
    with slurm(folder / "slurm"):
        scans = make_scans(folder / "scans", cases)
        _array(folder, scans, log, cases)
        _preempted(folder, scans, log, cases)
        _killed_for_memory(folder, scans, log, cases)
        _drained(folder, scans, log, cases)
        _pretrained(folder, scans, log)


def _array(folder: Path, scans: Path, log: Log, cases: int) -> None:
    out = folder / "array"
    job = submit(array_script(scans, out), folder)
    wait_for(lambda: ended(job), 600)
    log.check("SLURM: nothing; a job array of two tasks on two nodes", {}, out, cases)


def _preempted(folder: Path, scans: Path, log: Log, cases: int) -> None:
    out = folder / "preempted"
    job = submit(array_script(scans, out), folder)
    wait_for(lambda: len(results(out)) >= 3)
    before = results(out)
    other = submit("#!/bin/bash\nsleep 5\n", folder, "-p", "high", "-N2", "--exclusive")
    wait_for(lambda: ended(other) or "PENDING" in state(job), 120)
    wait_for(lambda: ended(job), 600)
    restarts = ask("scontrol", "show", "job", job).count("Restarts=1")
    log.check(f"SLURM: {restarts} tasks preempted by SIGTERM, requeued", before, out, cases)


def _killed_for_memory(folder: Path, scans: Path, log: Log, cases: int) -> None:
    out = folder / "memory"
    job = submit(array_script(scans, out, "300M"), folder)  # less than PyTorch takes
    wait_for(lambda: ended(job), 600)
    text = ask("scontrol", "show", "job", job)
    reasons = {
        line.split("JobState=")[1].split()[0] for line in text.splitlines() if "JobState" in line
    }
    before = results(out)
    job = submit(array_script(scans, out), folder)
    wait_for(lambda: ended(job), 600)
    log.check(
        f"SLURM: both tasks killed for memory ({', '.join(reasons)}), submitted again with more",
        before,
        out,
        cases,
    )


def _drained(folder: Path, scans: Path, log: Log, cases: int) -> None:
    out = folder / "drained"
    job = submit(array_script(scans, out), folder)
    wait_for(lambda: len(results(out)) >= 3)
    before = results(out)
    ask("scontrol", "update", "nodename=node2", "state=down", "reason=trial")
    time.sleep(3)
    wait_for(lambda: "down" not in ask("sinfo", "-h", "-n", "node2", "-o", "%T"), 120)
    ask("scontrol", "update", "nodename=node1", "state=drain", "reason=trial")
    wait_for(lambda: ended(job), 600)
    ask("scontrol", "update", "nodename=node1", "state=resume")
    log.check("SLURM: one node down with its task, the other drained", before, out, cases)


def _pretrained(folder: Path, scans: Path, log: Log) -> None:
    """Section 3 of Docs/scale.md: two tasks of one job, stopped near the end of their time."""
    script = f"""#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1        # one process per GPU; --ntasks alone is not enough
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=20
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
export MASTER_ADDR=127.0.0.1       # the names of the two node daemons are no hosts
srun --wait=60 {sys.executable} -m MISFMLib pretrain {scans} -o {folder}/model \\
  --network unet3d-small --patch-size 16 16 16 --batch-size 2 --steps 60 --device cpu \\
  --threads 1 --validate-every 30 --checkpoint-every 5 --resume
if [ $? -eq 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
"""
    job = submit(script, folder)
    checkpoint = folder / "model.run"
    wait_for(lambda: checkpoint.exists() and any(checkpoint.glob("*checkpoint*")), 600)
    time.sleep(5)
    ask("scancel", "--signal=TERM", job)  # what --signal sends
    wait_for(lambda: "Restarts=1" in ask("scontrol", "show", "job", job), 120)
    wait_for(lambda: (folder / "model" / "manifest.json").exists() or ended(job), 900)
    assert (folder / "model").is_dir(), (folder / f"job-{job}-4294967294.log").read_text()[-2000:]
    log.add(
        "SLURM: SIGTERM to the pretraining of section 3 (srun, two tasks on two nodes, gloo)",
        "nothing: saved, requeued, gone on",
        "model written",
    )


if __name__ == "__main__":
    if not shutil.which("slurmctld"):
        sys.exit("apt-get install slurm-wlm munge")
    try_slurm(Path(sys.argv[1]), Log())
