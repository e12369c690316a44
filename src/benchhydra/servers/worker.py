"""An offline engine that benchhydra starts, as a process in the engine's interpreter that answers lines of JSON."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.redaction import excerpt
from benchhydra.servers import LeaseFields
from benchhydra.servers.caches import log_proof
from benchhydra.servers.logs import StartPhase, size, start_activity, unknown_phase, with_log_tail
from benchhydra.servers.process import EngineProcess, describe_exit

POLL_S = 0.25
READ_BYTES = 1 << 20


class OfflineWorker:
    """A started offline engine. The constructor returns when it is ready, or raises EngineError."""

    def __init__(
        self,
        spec: ServerSpec,
        env: Mapping[str, str],
        log: Path,
        progress: Progress,
        *,
        ready_timeout_s: float,
        stop_timeout_s: float,
        start_phase: StartPhase = unknown_phase,
    ) -> None:
        self.log = log
        self._start_phase = start_phase
        self._buffer = bytearray()
        self._busy = True
        self.process = EngineProcess(spec.argv, env, log, stop_timeout_s=stop_timeout_s, piped=True)
        try:
            self.ready = self._read(ready_timeout_s, "engine.ready_timeout_s=SECONDS", progress)
        except BaseException:
            self.process.stop_early()
            raise
        self._busy = False
        self.start_s = self.process.age_s

    def lease_fields(self) -> LeaseFields:
        """Return its log and its process: it has no URL."""
        return {"api_path": "", "log": self.log, "pid": self.process.pid, "started_ns": self.process.started_ns}

    def alive(self) -> bool:
        """Return whether it runs and waits for a request (False after an interrupted call: it is still busy)."""
        return self.process.exit_code is None and not self._busy

    def call(self, request: Mapping[str, Any], timeout_s: float | None) -> dict[str, Any]:
        """Send it a request and return the answer. Raises EngineError if it dies, reports an error or times out."""
        if self._busy:
            raise EngineError("the offline engine is in the middle of another request")
        self._busy = True
        self._write(json.dumps(request).encode() + b"\n")
        answer = self._read(timeout_s, "script.timeout_s=SECONDS", Progress())
        self._busy = False
        if "error" in answer:
            raise EngineError(with_log_tail(f"the offline engine failed: {answer['error']}", self.log))
        return answer

    def reset(self) -> bool | None:
        """Empty its caches. Returns True if that is proven, False if not, None if it has none."""
        offset = size(self.log)
        proven: bool | None = self.call({"op": "reset"}, 60.0).get("success")
        return log_proof(self.log, offset) is True if proven is False else proven

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        self.process.terminate()

    def wait_memory_released(self) -> None:
        """Wait until the engine has released its memory."""
        self.process.wait_memory_released()

    def stop(self) -> None:
        """Stop all its processes."""
        self.process.stop()

    def _write(self, line: bytes) -> None:
        pipe = self.process.stdin
        try:
            view = memoryview(line)
            while pipe is not None and view:
                view = view[pipe.write(view) or 0 :]
        except (OSError, ValueError) as error:
            raise self._died() from error

    def _read(self, timeout_s: float | None, hint: str, progress: Progress) -> dict[str, Any]:
        """Return the object of the next line. Raises EngineError on a timeout, at end of file, or if it is not JSON."""
        started = time.monotonic()
        while b"\n" not in self._buffer:
            age_s = time.monotonic() - started
            if timeout_s is not None and age_s > timeout_s:
                text = f"the offline engine did not answer within {timeout_s:g} s"
                raise EngineError(with_log_tail(text, self.log), hint=hint)
            progress.status(f"offline engine starting ({age_s:.0f} s){start_activity(self.log, self._start_phase)}")
            self._fill()
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return self._object(line)

    def _fill(self) -> None:
        if self.process.stdout is None:
            raise self._died()
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], POLL_S)[0]:
            return
        data = os.read(fd, READ_BYTES)
        if not data:
            raise self._died()
        self._buffer += data

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise EngineError(
                with_log_tail(f"the offline engine wrote {excerpt(line, 80)!r} instead of an answer", self.log)
            )
        return answer

    def _died(self) -> EngineError:
        self.process.wait(self.process.stop_timeout_s)
        code = self.process.exit_code
        how = describe_exit(code) if code is not None else "closed its output"
        return EngineError(with_log_tail(f"the offline engine {how}", self.log))
