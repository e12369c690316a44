"""Dropping files from the page cache: what was read comes from the disk again, and what stays is named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchhydra.measure.page_cache import drop_from_page_cache

SHARED_MEMORY = Path("/dev/shm")


def test_a_file_that_was_read_is_dropped(tmp_path: Path) -> None:
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, check=True, text=True)
    if kind.stdout.strip() == "tmpfs":
        pytest.skip("temporary files are in memory here")
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(1 << 20))
    file.read_bytes()
    assert drop_from_page_cache([file]) == []
    assert file.stat().st_size == 1 << 20


def test_an_empty_file_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert drop_from_page_cache([tmp_path / "empty"]) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert drop_from_page_cache([tmp_path / "missing"]) == [tmp_path / "missing"]


@pytest.mark.skipif(not os.access(SHARED_MEMORY, os.W_OK), reason="no tmpfs")
def test_a_file_in_memory_stays_and_is_named(tmp_path: Path) -> None:
    file = SHARED_MEMORY / f"benchhydra-test-{os.getpid()}"
    try:
        file.write_bytes(os.urandom(1 << 20))
        assert drop_from_page_cache([file]) == [file]
    finally:
        file.unlink()
