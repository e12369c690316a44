"""The probe ``client``: the kernel's account of the thread that sends."""

from __future__ import annotations

import os
import threading
import time

import pytest

from benchhydra.probes import ProbeTarget
from benchhydra.probes import client as client_module
from benchhydra.probes._processes import RunDelay
from benchhydra.probes.client import ClientProbe, _wait_ms


def here() -> ProbeTarget:
    return ProbeTarget(client_pid=os.getpid(), client_thread=threading.get_native_id())


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.alone
def test_waits_for_a_core_are_a_fraction_of_the_time_that_one_was_wanted() -> None:
    probe = ClientProbe()
    assert probe.applies(here())
    probe.start(here())
    assert list(probe.sample()) == []
    begin_s = time.monotonic()
    spin(0.2)
    samples = {sample.name: sample for sample in probe.sample()}
    wall_s = time.monotonic() - begin_s
    assert {sample.unit for sample in samples.values()} == {"fraction"}
    assert samples["cpu_fraction"].value == pytest.approx(0.2 / wall_s, abs=0.05)
    facts = probe.stop()
    assert 0 <= facts["client_wait_fraction"] < 1
    assert facts["client_wait_fraction"] == pytest.approx(samples["wait_fraction"].value, abs=0.05)


def test_the_mean_wait_is_that_of_a_turn() -> None:
    before, after = RunDelay(0, 5_000_000, 10), RunDelay(9_000_000, 11_000_000, 14)
    assert _wait_ms(before, after) == 1.5
    assert _wait_ms(before, before) is None


def test_the_last_sample_counts_even_if_it_comes_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LEAST_NS", 60_000_000_000)  # a busy machine may take long for 10 ms
    probe = ClientProbe()
    probe.start(here())
    list(probe.sample())
    spin(0.01)
    assert list(probe.sample()) == []
    assert probe.stop()["client_wait_fraction"] is not None


def test_a_client_that_sends_nothing_is_not_watched() -> None:
    assert not ClientProbe().applies(ProbeTarget(client_pid=os.getpid()))
    assert not ClientProbe().applies(ProbeTarget(client_pid=os.getpid(), client_thread=2**30))


def test_a_probe_that_was_never_sampled_has_no_facts() -> None:
    probe = ClientProbe()
    probe.start(here())
    assert probe.stop() == {}
