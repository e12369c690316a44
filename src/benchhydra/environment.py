"""Facts about this machine: host, git, GPUs, driver, packages. Never raises, never imports anything heavy."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import importlib.metadata

PACKAGES = ("benchhydra", "hydra-core", "omegaconf", "numpy", "aiohttp", "uvloop", "httptools", "msgspec", "mlflow")
GIT_TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU that processes started here may use. ``index`` is NVML's (PCI bus order)."""

    index: int
    name: str
    uuid: str
    memory_mib: int
    used_mib: int
    pids: tuple[int, ...] = ()


def capture() -> dict[str, Any]:
    """Return the ``environment`` of a result. What cannot be determined is absent."""
    visible = gpus()
    facts: dict[str, Any] = {
        "machine_class": this_machine_class(visible),
        "host": _host(),
        "git": git(),
        "packages": _packages(),
        "gpus": [{"name": g.name, "memory_mib": g.memory_mib, "uuid": g.uuid, "index": g.index} for g in visible],
    }
    facts |= _driver() if visible else {}
    return {key: value for key, value in facts.items() if value not in (None, {}, [])}


def this_machine_class(visible: tuple[Gpu, ...] | None = None) -> str:
    """Return a short, stable name for this kind of machine; history compares results only within one class.

    visible: the result of ``gpus()``, if the caller has it already.
    """
    visible = gpus() if visible is None else visible
    if visible:
        return f"{_slug(visible[0].name)}-x{len(visible)}"
    return f"{_slug(cpu_model() or platform.machine())}-{cores()}c"


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_model() -> str | None:
    """Return the CPU's name from /proc/cpuinfo; None if it has none."""
    with contextlib.suppress(OSError):
        match = re.search(
            r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
        return match[1].strip() if match else None
    return None


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that processes started here may use (see CUDA_VISIBLE_DEVICES); () without a driver."""
    with _nvml() as nvml:
        if nvml is None:
            return ()
        try:
            installed = [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError:
            return ()
    return tuple(gpu for gpu in installed if _visible(gpu, os.environ.get("CUDA_VISIBLE_DEVICES")))


def git(directory: Path | None = None) -> dict[str, Any] | None:
    """Return commit, branch and dirty (whether tracked files were changed) of the checkout that holds ``directory``.

    By default of the current directory; None outside a checkout.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit:
        return None
    facts: dict[str, Any] = {"commit": commit, "branch": _git(directory, "rev-parse", "--abbrev-ref", "HEAD")}
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no")
    facts["dirty"] = None if changes is None else bool(changes)
    return {key: value for key, value in facts.items() if value is not None}


def _git(directory: Path | None, *words: str) -> str | None:
    try:
        process = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=directory,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.decode(errors="replace").strip() if process.returncode == 0 else None


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """Yield the initialised NVML library; None if it is not available."""
    if "pynvml" not in sys.modules and not _has_nvml_library():
        yield None
        return
    try:
        import pynvml  # start-up time: 10 ms, only with a driver
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _has_nvml_library() -> bool:
    """Return whether the driver's library can be loaded, by the name that pynvml uses."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        pids = tuple(process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except nvml.NVMLError:  # not permitted in some containers
        pids = ()
    return Gpu(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        memory_mib=int(memory.total) >> 20,
        used_mib=int(memory.used) >> 20,
        pids=pids,
    )


def _visible(gpu: Gpu, devices: str | None) -> bool:
    """Return whether CUDA_VISIBLE_DEVICES (indices or UUID prefixes; None: unset) includes a GPU."""
    if devices is None:
        return True
    listed = [name.strip() for name in devices.split(",") if name.strip()]
    names = itertools.takewhile(lambda name: not name.startswith("-"), listed)  # CUDA ignores what follows a bad index
    return any(name == str(gpu.index) or (name.startswith("GPU-") and gpu.uuid.startswith(name)) for name in names)


def _driver() -> dict[str, Any]:
    with _nvml() as nvml:
        if nvml is None:
            return {}
        try:
            version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
            return {
                "driver": _text(nvml.nvmlSystemGetDriverVersion()),
                "cuda": f"{version // 1000}.{version % 1000 // 10}",
            }
        except nvml.NVMLError:
            return {}


def _host() -> dict[str, Any]:
    facts = {
        "name": platform.node(),
        "os": _os_name(),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cores": cores(),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "container": _container(),
    }
    return {key: value for key, value in facts.items() if value not in (None, "")}


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _container() -> str | None:
    for kind, mark in (("docker", "/.dockerenv"), ("podman", "/run/.containerenv")):
        if Path(mark).exists():
            return kind
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    return None


@functools.cache
def _packages() -> dict[str, str]:
    import importlib.metadata  # start-up time: 12 ms, only needed at the end of a run

    versions = {"python": platform.python_version()}
    for name in PACKAGES:  # the backport importlib_metadata raises FileNotFoundError
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, FileNotFoundError):
            versions[name] = _version(importlib.metadata.distribution(name))
    return versions


def _version(package: importlib.metadata.Distribution) -> str:
    """Return ``package.version``, without parsing all of the package's metadata for it: 0.6 ms for each package."""
    header, _, _ = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "").partition("\n\n")
    match = re.search(r"^Version: *(\S+)", header, re.MULTILINE)
    return match[1] if match else package.version


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _slug(name: str) -> str:
    """``AMD EPYC 7763 64-Core Processor`` -> ``AMD-EPYC-7763``: no marks, clocks or core counts."""
    name = re.sub(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*|\b\d+-Core\b", " ", name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") or "unknown"
