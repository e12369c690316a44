"""pyarrow takes the allocator of the system, and the programs that are started later do not know."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
from benchhydra.arrow_columns import pa
print(pa.default_memory_pool().backend_name, os.environ.get("ARROW_DEFAULT_MEMORY_POOL"))
"""


@pytest.mark.parametrize(("chosen", "printed"), [(None, "system None"), ("mimalloc", "mimalloc mimalloc")])
def test_allocator(chosen: str | None, printed: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    environment |= {} if chosen is None else {"ARROW_DEFAULT_MEMORY_POOL": chosen}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == printed
