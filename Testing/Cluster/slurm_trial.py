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
    half_done,
    make_scans,
    results,
    steps_there,
    wait_for,
)

CASES = 8
CONF = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
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
ReturnToService=0
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs=1 RealMemory=8000
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Start all daemons and end them."""
    folder.mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=_ports()))
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
            if words[0] == "munged":
                wait_for((folder / "munge.socket").exists, 30)
        wait_for(lambda: _is_up() or any(one.poll() is not None for one in started), 120)
        ended = [one.args[0] for one in started if one.poll() is not None]
        assert not ended, f"{', '.join(ended)} ended at once, see {folder / 'daemons.log'}"
        yield
    finally:
        with contextlib.suppress(subprocess.CalledProcessError, TimeoutError):
            _calm()
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


def _ports() -> list[int]:
    """Return three free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _calm() -> None:
    """End all jobs and take all nodes back into service."""
    ask("scancel", "--user=root")
    wait_for(lambda: not ask("squeue", "-h"), 60)
    for node in ("node1", "node2"):
        _resume(node)
    wait_for(_is_up, 60)


def _resume(node: str) -> None:
    """Take a node back into service, if it is not there."""
    with contextlib.suppress(subprocess.CalledProcessError):
        ask("scontrol", "update", f"nodename={node}", "state=resume")


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


def try_slurm(folder: Path, log: Log) -> None:
    """Disturb job arrays in every way."""
    assert shutil.which("slurmctld"), "apt-get install slurm-wlm munge"
    fresh(folder).mkdir(parents=True)
    scans = make_scans(folder / "scans", CASES)
    with slurm(folder / "slurm"):
        for trial in (_array, _preempted, _killed_for_memory, _drained, _pretrained):
            _calm()
            log.trial(f"SLURM: {trial.__name__.strip('_')}", trial, folder, scans)


def end_well(job: str) -> None:
    """Wait for the end of a job."""
    wait_for(lambda: _start_now(job) or ended(job), 300)


def _start_now(job: str) -> None:
    """Have the tasks that were put back start; by itself SLURM waits two minutes."""
    with contextlib.suppress(subprocess.CalledProcessError):
        for line in ask("squeue", "-h", "-r", "-j", job, "-o", "%i %r").splitlines():
            task, _, reason = line.partition(" ")
            if reason == "BeginTime":
                time.sleep(3)  # one that starts in the second of its end is refused
                ask("scontrol", "update", f"jobid={task}", "starttime=now")


def _array(folder: Path, scans: Path, log: Log) -> None:
    out = folder / "array"
    end_well(submit(array_script(scans, out), folder))
    log.check("SLURM: nothing; a job array of two tasks on two nodes", {}, out, CASES)


def _preempted(folder: Path, scans: Path, log: Log) -> None:
    out = folder / "preempted"
    job = submit(array_script(scans, out), folder)
    before = half_done(out, 2)
    other = submit("#!/bin/bash\nsleep 1\n", folder, "-p", "high", "-N2", "--exclusive")
    wait_for(lambda: ended(other) or "PENDING" in state(job), 120)
    end_well(job)
    restarts = ask("scontrol", "show", "job", job).count("Restarts=1")
    log.check(f"SLURM: {restarts} tasks preempted by SIGTERM, put back", before, out, CASES)


def _killed_for_memory(folder: Path, scans: Path, log: Log) -> None:
    out = folder / "memory"
    job = submit(array_script(scans, out, "300M"), folder)  # less than PyTorch takes
    end_well(job)
    text = ask("scontrol", "show", "job", job)
    states = {
        line.split("JobState=")[1].split()[0] for line in text.splitlines() if "JobState" in line
    }
    before = results(out)
    end_well(submit(array_script(scans, out), folder))
    name = f"SLURM: both tasks killed for memory ({', '.join(states)}), submitted again with more"
    log.check(name, before, out, CASES)


def _drained(folder: Path, scans: Path, log: Log) -> None:
    out = folder / "drained"
    job = submit(array_script(scans, out), folder)
    before = half_done(out, 2)
    steps = steps_there()
    ask("scontrol", "update", "nodename=node2", "state=down", "reason=trial")
    ask("scontrol", "update", "nodename=node1", "state=drain", "reason=trial")
    # With the node back before its task has ended, SLURM would kill the task's next start.
    wait_for(lambda: steps_there() <= steps - 2, 60)
    _resume("node2")
    end_well(job)
    log.check("SLURM: one node down with its task, the other drained", before, out, CASES)


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
  --network unet3d-small --patch-size 16 16 16 --batch-size 2 --steps 40 --device cpu \\
  --threads 1 --validate-every 40 --checkpoint-every 5 --resume
if [ $? -eq 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
"""
    job = submit(script, folder)
    checkpoint = folder / "model.run"
    wait_for(lambda: any(checkpoint.glob("*checkpoint*")), 200)
    ask("scancel", "--signal=TERM", job)  # what --signal sends
    wait_for(lambda: "Restarts=1" in ask("scontrol", "show", "job", job), 120)
    end_well(job)
    text = (folder / f"job-{job}-4294967294.log").read_text()
    assert (folder / "model").is_dir(), text[-500:]
    assert text.count("There is no checkpoint to resume") == 1, "it did not go on from it"
    log.add(
        "SLURM: SIGTERM to the pretraining of section 3 (srun, two tasks on two nodes, gloo)",
        "nothing: saved, put back",
        "gone on from its checkpoint to its end",
    )
