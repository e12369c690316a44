"""What a server's answers prove: caches are empty when its own body says so, and not otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest

from benchhydra.fetch import HttpResponse
from benchhydra.servers.caches import reset_caches
from benchhydra.servers.health import ControlPlane

OK = HttpResponse(status=200, body=b'{"success": true}')
NO = HttpResponse(status=200, body=b'{"success": false}')
SILENT = HttpResponse(status=200, body=b"")
ABSENT = HttpResponse(status=404, body=b"")
BROKEN = HttpResponse(status=500, body=b"")


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ControlPlane]:
    """A control plane that gives these answers, one after another at each path; the last one stays."""

    def make(answers: Mapping[str, list[HttpResponse | None]]) -> ControlPlane:
        remaining = {path: list(responses) for path, responses in answers.items()}

        def ask(self: ControlPlane, path: str, method: str = "GET") -> HttpResponse | None:
            responses = remaining.get(path, [ABSENT])
            return responses.pop(0) if len(responses) > 1 else responses[0]

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
def test_only_the_body_of_the_reset_is_a_proof(
    control: Callable[..., ControlPlane],
    prefix: list[HttpResponse | None],
    others: HttpResponse | None,
    proven: bool | None,
) -> None:
    server = control({"/reset_prefix_cache": prefix, "/reset_mm_cache": [others], "/reset_encoder_cache": [ABSENT]})
    assert reset_caches(server, timeout_s=60.0 if len(prefix) > 1 else 0.0) is proven


def test_a_key_is_not_in_the_repr() -> None:
    assert "secret" not in repr(ControlPlane(base_url="http://h", headers={"Authorization": "Bearer secret"}))


def test_answers_that_are_not_json() -> None:
    assert HttpResponse(status=200, body=b"\xff{").json() is None
    assert HttpResponse(status=200, body=json.dumps([1]).encode()).json() == [1]
