"""A stand-in for Slurm: sbatch, srun, scancel, squeue and sacct as submitit and we use them, on local processes.

They are five scripts in one directory, which also holds their state: ``ID.json`` (the flags of a job), ``ID.sh`` (its
batch script), ``ID.pid`` (its process), ``ID.task`` (the process that srun started), ``cancelled`` (ids).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

NAMES = ("sbatch", "srun", "scancel", "squeue", "sacct")
HERE = Path(sys.argv[0]).resolve().parent


def install(directory: Path) -> None:
    """Write the five commands into a directory that goes on PATH."""
    directory.mkdir()
    for name in NAMES:
        script = directory / name
        script.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
        script.chmod(0o755)


def flags(directory: Path) -> list[dict[str, str]]:
    """The ``#SBATCH`` flags of every job, in the order of submission."""
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


def sbatch(words: list[str]) -> None:
    text = Path(words[0]).read_text()
    wait_for_turn = HERE / "lock"
    while True:
        try:
            wait_for_turn.mkdir()
            break
        except FileExistsError:
            time.sleep(0.01)
    number = str(100 + len(list(HERE.glob("*.json"))))
    (HERE / f"{number}.json").write_text(json.dumps(dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", text))))
    wait_for_turn.rmdir()
    env = {**os.environ, "SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_PROCID": "0"}
    env |= {"SLURM_NODEID": "0", "SLURM_LOCALID": "0"}
    quiet = subprocess.DEVNULL
    script = HERE / f"{number}.sh"  # a copy, as Slurm's: submitit moves its own away
    script.write_text(text)
    job = subprocess.Popen(
        ["bash", str(script)], env=env, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    (HERE / f"{number}.pid").write_text(str(job.pid))
    say(f"Submitted batch job {number}")


def srun(words: list[str]) -> None:
    number = os.environ["SLURM_JOB_ID"]
    output = Path(words[words.index("--output") + 1].replace("%j", number).replace("%t", "0"))
    command = words[words.index("--error") + 2 :]
    output.parent.mkdir(parents=True, exist_ok=True)  # submitit creates it later than this starts
    with output.open("ab") as log:
        task = subprocess.Popen(command, stdout=log, stderr=log)
    (HERE / f"{number}.task").write_text(str(task.pid))
    code = task.wait()
    sys.exit(code if code >= 0 else 128 - code)


def scancel(words: list[str]) -> None:
    for number in words:
        with (HERE / "cancelled").open("a") as file:
            file.write(f"{number}\n")
        if alive(number):
            os.kill(int((HERE / f"{number}.task").read_text()), signal.SIGTERM)


def squeue(words: list[str]) -> None:
    asked = next(word for word in words if word.startswith("--jobs=")).removeprefix("--jobs=").split(",")
    say(*(number for number in asked if alive(number)))


def sacct(words: list[str]) -> None:
    asked = [words[at + 1] for at, word in enumerate(words) if word == "-j"]
    states = [f"{number}|{'RUNNING' if alive(number) else 'COMPLETED'}|here" for number in asked]
    say("JobID|State|NodeList", *states)


def alive(number: str) -> bool:
    try:
        state = Path(f"/proc/{(HERE / f'{number}.pid').read_text()}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "scancel": scancel, "squeue": squeue, "sacct": sacct}[Path(sys.argv[0]).name](
        sys.argv[1:]
    )
