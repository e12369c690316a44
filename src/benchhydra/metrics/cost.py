"""Cost of tokens and requests: the price of the server's GPUs for the time of the window, divided by what came out."""

from __future__ import annotations

from benchhydra.gpu_prices import SERVER_PRICE_PER_HOUR
from benchhydra.metrics import metric
from benchhydra.metrics.throughput import ended_tokens
from benchhydra.result import Better
from benchhydra.window import Window

_HOUR_S = 3600.0


@metric(
    "cost_per_1m_output_tokens",
    unit="USD/1M tokens",
    better=Better.SMALLER,
    doc="price of the server's GPUs for the time of the window / generated tokens of answers completed in it, x 1e6",
    needs=("requests", "tokens", "generated", "price"),
)
def cost_per_1m_output_tokens(window: Window) -> float | None:
    return _cost_of(window, ended_tokens(window, "output_tokens"), 1e6)


@metric(
    "cost_per_1m_total_tokens",
    unit="USD/1M tokens",
    better=Better.SMALLER,
    doc="price of the server's GPUs for the time of the window / prompt and generated tokens of answers completed in "
    "it, x 1e6",
    needs=("requests", "tokens", "generated", "price"),
)
def cost_per_1m_total_tokens(window: Window) -> float | None:
    return _cost_of(window, ended_tokens(window, "prompt_tokens", "output_tokens"), 1e6)


@metric(
    "cost_per_1k_requests",
    unit="USD/1k requests",
    better=Better.SMALLER,
    doc="price of the server's GPUs for the time of the window / answers completed in it, x 1000",
    needs=("requests", "price"),
)
def cost_per_1k_requests(window: Window) -> float | None:
    return _cost_of(window, len(window.ended), 1e3)


def _cost_of(window: Window, count: int | None, amount: float) -> float | None:
    """Return the cost of ``amount`` things if ``count`` of them came out of the window; None if one is unknown."""
    price, duration_s = window.facts[SERVER_PRICE_PER_HOUR], window.duration_s
    if price is None or duration_s is None or not count:
        return None
    return float(price * duration_s / _HOUR_S * amount / count)
