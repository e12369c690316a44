"""Orders to the logging process, and their queue."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from pathlib import Path
from typing import Any

from benchhydra.registry import option_name
from benchhydra.tracking import Tracking


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """One order as the process reads it, the time when it was added, and the directory of the result to log, if any.

    preparation: it logs nothing, and is not needed if nothing else is in the queue.
    """

    text: str
    since_s: float
    directory: Path | None = None
    preparation: bool = False


def order_text(tracking: Tracking, action: str, **arguments: Any) -> str:
    """The text of an order: a JSON object with the action, the tracker with its settings, and the arguments."""
    settings = dataclasses.asdict(tracking)
    return json.dumps({"do": action, "option": option_name(tracking), "settings": settings, **arguments})


class OrderQueue:
    """A FIFO queue of orders. One thread adds to it, another one removes."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque()

    def __bool__(self) -> bool:
        return bool(self._orders)

    def results(self) -> int:
        """The number of orders that log a result."""
        return sum(order.directory is not None for order in tuple(self._orders))

    def has_only_preparations(self) -> bool:
        """Whether there is nothing to log."""
        return all(order.preparation for order in tuple(self._orders))

    def add(self, order: Order) -> None:
        """Append an order."""
        self._orders.append(order)

    def first(self) -> Order | None:
        """The oldest order; None if the queue is empty."""
        return next(iter(tuple(self._orders)), None)

    def is_last_with_text(self, order: Order) -> bool:
        """Whether no later order says the same. ``order``: the oldest one."""
        return not any(later.text == order.text for later in tuple(self._orders)[1:])

    def remove_first(self) -> None:
        """Remove the oldest order."""
        self._orders.popleft()

    def remove_all(self) -> list[Order]:
        """Remove all orders, and return them."""
        orders = list(self._orders)
        self._orders.clear()
        return orders
