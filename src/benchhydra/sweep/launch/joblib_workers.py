"""Makes the workers of joblib end with the process of the sweep, also after SIGKILL and before they have a job.

Without it they measure all their points, or wait for a job until joblib's time limit of five minutes.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import suppress
from functools import partial


def end_workers_with_this_process() -> None:
    """Let each worker that joblib starts from now on end when this process has ended."""
    from joblib.parallel import BACKENDS, register_parallel_backend  # start-up time: only with this launcher

    backend = BACKENDS["loky"]
    if not isinstance(backend, partial):
        register_parallel_backend("loky", partial(backend, initializer=end_with, initargs=(os.getpid(),)))


def end_with(pid: int) -> None:
    """End this process when process ``pid`` has ended; the initializer of a worker."""
    threading.Thread(target=_terminate_after, args=(pid,), daemon=True, name="end-with-sweep").start()


def _terminate_after(pid: int) -> None:
    with suppress(OSError):  # it has ended already, or the kernel has no pidfd
        poll = select.poll()
        poll.register(os.pidfd_open(pid), select.POLLIN)
        poll.poll()
    while os.getppid() == pid:
        time.sleep(0.5)
    while True:  # the first signal may end a load in order, after which the worker waits for another group
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2)
