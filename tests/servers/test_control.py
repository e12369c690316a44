"""The control plane's answers: what counts as a proof, and counters that are unknown where they cannot be known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.fetch import HttpResponse
from benchhydra.servers.control import ControlPlane, ServerCounters, parse_metrics

OK = HttpResponse(status=200, body=b'{"success": true}')
NO = HttpResponse(status=200, body=b'{"success": false}')
SILENT = HttpResponse(status=200, body=b"")
ABSENT = HttpResponse(status=404, body=b"")
BROKEN = HttpResponse(status=500, body=b"")


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ControlPlane]:
    """A control plane that gives these answers, one after another at each path; the last one stays."""

    def make(answers: Mapping[str, list[HttpResponse | None]]) -> ControlPlane:
        left = {path: list(given) for path, given in answers.items()}

        def ask(self: ControlPlane, path: str, method: str = "GET") -> HttpResponse | None:
            there = left.get(path, [ABSENT])
            return there.pop(0) if len(there) > 1 else there[0]

        monkeypatch.setattr(ControlPlane, "ask", ask)
        return ControlPlane(base_url="http://127.0.0.1:1")

    return make


@pytest.mark.parametrize(
    ("prefix", "others", "proven"),
    [
        ([OK], ABSENT, True),
        ([OK], SILENT, True),
        ([OK], BROKEN, False),
        ([OK], None, False),
        ([NO], ABSENT, False),
        ([NO, None, BROKEN, OK], ABSENT, True),
        ([SILENT], ABSENT, False),
        ([ABSENT], ABSENT, None),
        ([HttpResponse(status=405, body=b"")], ABSENT, None),
        ([BROKEN], ABSENT, False),
        ([None], ABSENT, False),
        ([HttpResponse(status=200, body=b'{"success": "true"}')], ABSENT, False),
        ([HttpResponse(status=200, body=b"[1]")], ABSENT, False),
    ],
)
def test_only_the_servers_own_word_is_a_proof(
    control: Callable[..., ControlPlane],
    prefix: list[HttpResponse | None],
    others: HttpResponse | None,
    proven: bool | None,
) -> None:
    server = control({"/reset_prefix_cache": prefix, "/reset_mm_cache": [others], "/reset_encoder_cache": [ABSENT]})
    assert server.reset_caches(patience_s=0.5 if len(prefix) > 1 else 0.0) is proven


METRICS = """# TYPE vllm:prefix_cache_hits counter
vllm:prefix_cache_hits_total{engine="0"} 3.0
vllm:prefix_cache_hits_total{engine="1"} 4.0
vllm:prefix_cache_hits_created{engine="0"} 1.7e9
# TYPE vllm:gpu_prefix_cache_queries counter
vllm:gpu_prefix_cache_queries_total 20.0
"""


def test_counters_are_summed_over_engines_and_unknown_where_absent(control: Callable[..., ControlPlane]) -> None:
    found = control({"/metrics": [HttpResponse(status=200, body=METRICS.encode())]}).scrape()
    assert found == ServerCounters(prefix_cache_hits=7.0, prefix_cache_queries=20.0)


@pytest.mark.parametrize("answer", [None, ABSENT, HttpResponse(status=200, body=b"<html>what?</html>")])
def test_without_metrics_there_are_no_counters(
    control: Callable[..., ControlPlane], answer: HttpResponse | None
) -> None:
    assert control({"/metrics": [answer]}).scrape() is None


def test_a_restart_between_two_readings_is_unknown_and_no_negative_number() -> None:
    moved = ServerCounters(prompt_tokens=5.0, preemptions=2.0).since(ServerCounters(prompt_tokens=9.0, preemptions=2.0))
    assert moved == ServerCounters(preemptions=0.0)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    found = parse_metrics(text)
    assert found is None or all(isinstance(value, float) for value in found.values())


def test_a_key_is_not_in_the_repr() -> None:
    assert "secret" not in repr(ControlPlane(base_url="http://h", headers={"Authorization": "Bearer secret"}))


def test_answers_that_are_no_json() -> None:
    assert HttpResponse(status=200, body=b"\xff{").json() is None
    assert HttpResponse(status=200, body=json.dumps([1]).encode()).json() == [1]
