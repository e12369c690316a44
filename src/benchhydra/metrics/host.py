"""What the client and its machine did inside the window: CPU use and waits, pressure, page faults, swapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchhydra.metrics import Compute, metric
from benchhydra.result import Better
from benchhydra.series import Series
from benchhydra.window import Window
from benchhydra.window_series import Span, mean, named, total_of_means

Summary = Callable[[Sequence[Series], Span | None], float | None]
PRESSURE = "host.pressure_fraction"
CPU = "host.cpu_fraction"
FAULTS = "host.page_faults_per_s"
SWAP = "host.swap_mib_per_s"
#: Metric -> the series, the labels that it must have, its unit, the summary, and its meaning.
SUMMARIES: dict[str, tuple[str, Mapping[str, str], str, Summary, str]] = {
    "mean_server_cpu_fraction": (
        CPU,
        {"group": "server"},
        "fraction",
        mean,
        "part of the cores of this run that the server's processes used",
    ),
    "server_cpu_wait_fraction": (
        "host.server_wait_fraction",
        {},
        "fraction",
        mean,
        "part of the time in which the server's threads could have run that they waited for a core",
    ),
    "mean_client_cpu_fraction": (
        "client.cpu_fraction",
        {},
        "fraction",
        mean,
        "part of a core that the client's thread used; only for a client of one process",
    ),
    "mean_client_loop_lag_ms": (
        "client.loop_lag_ms",
        {},
        "ms",
        mean,
        "mean of the highest lateness of the client's event loop in each 0.25 s",
    ),
    **{
        f"mean_{resource}_pressure_fraction": (
            PRESSURE,
            {"resource": resource, "kind": "some"},
            "fraction",
            mean,
            f"part of the time in which a process of this machine waited for {what} (PSI, some)",
        )
        for resource, what in {"cpu": "a core", "memory": "memory", "io": "a disk"}.items()
    },
    "major_page_faults_per_s": (
        FAULTS,
        {"kind": "major"},
        "faults/s",
        total_of_means,
        "pages that this machine read from a disk because a process touched them",
    ),
    "swap_mib_per_s": (SWAP, {}, "MiB/s", total_of_means, "memory that this machine moved to and from its swap space"),
}


def _summary(name: str, labels: Mapping[str, str], summary: Summary) -> Compute:
    def value(window: Window) -> float | None:
        return summary(named(window.series, name, **labels), window.span_ns)

    return value


def _declare() -> None:
    for name, (series, labels, unit, summary, doc) in SUMMARIES.items():
        declare = metric(name, unit=unit, better=Better.OBSERVATION, doc=doc, needs=("requests", series))
        declare(_summary(series, labels, summary))


_declare()
