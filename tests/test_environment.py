"""Facts of the machine: right where they can be known, absent where not, and never an exception."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from benchhydra import environment
from benchhydra.environment import Gpu


class NvmlError(Exception):
    """The stand-in library's error."""


class Nvml:
    """A stand-in for pynvml on a machine with L4s."""

    NVMLError = NvmlError

    def __init__(self, count: int = 2, broken: tuple[str, ...] = ()) -> None:
        self.count, self.broken, self.open = count, broken, 0

    def _may(self, name: str) -> None:
        if name in self.broken:
            raise NvmlError(name)

    def nvmlInit(self) -> None:
        self._may("init")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        self._may("count")
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        self._may("memory")
        return SimpleNamespace(total=24 << 30, used=300 << 20)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        self._may("processes")
        return [SimpleNamespace(pid=77)] if handle == 0 else []

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA L4"

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}abc"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 12040

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.54"


@pytest.fixture(autouse=True)
def no_choice_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def install(monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> None:
    """None: pynvml cannot be imported."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def test_facts_of_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Nvml(broken=("init",)))
    facts = environment.capture()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert not {"gpus", "driver", "cuda"} & facts.keys()
    assert facts["host"]["cores"] == environment.cores() > 0
    assert facts["host"]["memory_mib"] == psutil.virtual_memory().total >> 20
    assert facts["machine_class"].endswith(f"-{environment.cores()}c")
    assert facts["packages"]["python"] == ".".join(map(str, sys.version_info[:3]))
    installed = {name: importlib.metadata.version(name) for name in facts["packages"] if name != "python"}
    assert "benchhydra" in installed and facts["packages"].items() >= installed.items()


def test_facts_of_a_machine_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    install(monkeypatch, nvml)
    facts = environment.capture()
    assert facts["machine_class"] == "NVIDIA-L4-x2"
    assert (facts["driver"], facts["cuda"]) == ("550.54", "12.4")
    assert facts["gpus"][1] == {"name": "NVIDIA L4", "memory_mib": 24576, "uuid": "GPU-1abc", "index": 1}
    assert environment.gpus()[0] == Gpu(
        index=0, name="NVIDIA L4", uuid="GPU-0abc", memory_mib=24576, used_mib=300, pids=(77,)
    )
    assert nvml.open == 0


@pytest.mark.parametrize("nvml", [None, Nvml(0), Nvml(broken=("count",)), Nvml(broken=("memory",))])
def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> None:
    install(monkeypatch, nvml)
    assert environment.gpus() == ()
    assert "gpus" not in environment.capture()


def test_hidden_processes_do_not_hide_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Nvml(broken=("processes",)))
    assert [gpu.pids for gpu in environment.gpus()] == [(), ()]


@pytest.mark.parametrize(
    ("devices", "seen"),
    [
        ("0", [0]),
        ("1", [1]),
        ("1,0", [0, 1]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [0]),
        ("GPU-1a", [1]),
        (" 0 , 1 ", [0, 1]),
        ("7", []),
    ],
)
def test_only_the_gpus_that_processes_may_use(monkeypatch: pytest.MonkeyPatch, devices: str, seen: list[int]) -> None:
    install(monkeypatch, Nvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert [gpu.index for gpu in environment.gpus()] == seen


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("AMD EPYC 7763 64-Core Processor", "AMD-EPYC-7763-4c"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel-Xeon-4c"),
        ('Neoverse/V2 "x"', "Neoverse-V2-x-4c"),
        ("@", "unknown-4c"),
    ],
)
def test_the_machine_class_is_short_and_stable(monkeypatch: pytest.MonkeyPatch, cpu: str, expected: str) -> None:
    monkeypatch.setattr(environment, "cpu_model", lambda: cpu)
    monkeypatch.setattr(environment, "cores", lambda: 4)
    assert environment.this_machine_class(()) == expected


def git(directory: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=trunk"]
    subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True)


def test_git_says_commit_branch_and_changes(tmp_path: Path) -> None:
    assert environment.git(tmp_path) is None
    git(tmp_path, "init")
    assert environment.git(tmp_path) is None
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "untracked").write_text("results do not make a checkout dirty")
    clean = environment.git(tmp_path)
    assert clean is not None and len(clean.pop("commit")) == 40
    assert clean == {"branch": "trunk", "dirty": False}
    (tmp_path / "file").write_text("b")
    assert (environment.git(tmp_path) or {})["dirty"] is True


def test_without_git_or_a_directory_there_are_no_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.git(tmp_path / "gone") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git(tmp_path) is None
    assert "git" not in environment.capture()


def test_a_removed_working_directory_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "git" not in environment.capture()


def test_unreadable_files_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    assert environment.cpu_model() is None
    facts = environment.capture()
    assert "cpu" not in facts["host"]
    assert facts["machine_class"].endswith(f"-{environment.cores()}c")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from benchhydra import environment; environment.capture(); "
        "print(sorted({'torch', 'vllm', 'transformers', 'mlflow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"
