"""What is said of points, as few lines: a text that many points share is one line, with the range of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchhydra.render.figures import count
from benchhydra.similar_texts import merged, template

#: So many points are named one by one.
MOST_NAMED = 3


def shared_lines(
    remarks: Iterable[tuple[int, str]], names: Sequence[str], noun: str = "point", *, names_all: bool = True
) -> list[str]:
    """One line for each text that differs by more than its numbers: ``4 points (qps=8 to qps=64): got 57 to 72 %``.

    remarks: (index of a point, text). names: what each point is called, in the order of the points. names_all: say
    "all 6 points" of a text that all share, instead of the text alone.
    """
    groups: dict[str, list[tuple[int, str]]] = {}
    for at, text in remarks:
        groups.setdefault(template(text), []).append((at, text))
    lines = []
    for group in groups.values():
        points, text = {at for at, _ in group}, merged([text for _, text in group])
        is_general = not names_all and len(points) == len(names)
        lines.append(text if is_general else f"{points_in_words(list(points), names, noun)}: {text}")
    return lines


def points_in_words(indices: Sequence[int], names: Sequence[str], noun: str = "point") -> str:
    """``qps=8``, ``all 6 points``, ``4 points (qps=8 to qps=64)``, ``2 points (qps=1, qps=8)``."""
    points = sorted(set(indices))
    if len(points) == 1:
        return names[points[0]]
    if len(points) == len(names):
        return f"all {count(len(names), noun)}"
    are_adjacent = points[-1] - points[0] == len(points) - 1
    if are_adjacent and len(points) > 2:
        return f"{count(len(points), noun)} ({names[points[0]]} to {names[points[-1]]})"
    more = f" and {len(points) - MOST_NAMED} more" if len(points) > MOST_NAMED else ""
    return f"{count(len(points), noun)} ({', '.join(names[at] for at in points[:MOST_NAMED])}{more})"
