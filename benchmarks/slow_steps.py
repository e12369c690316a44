"""An interpreter whose vLLM has slower steps: a build with a planted slowdown, or steps of one length."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

#: Steps of ``least_ms`` begin so many times that apart.
PERIOD = 1.25
#: A module ``sitecustomize``, which Python imports when it starts.
SLOWER = """
import importlib.abc, importlib.util, sys, time

class SlowerSteps(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "vllm.v1.worker.gpu_model_runner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            original = module.GPUModelRunner.execute_model
            next_s = [0.0]

            def slower(self, *args, **kwargs):
                now = time.monotonic()
                begin = max(now, next_s[0])
                next_s[0] = begin + {period_s}
                time.sleep(begin - now + {added_s})
                result = original(self, *args, **kwargs)
                time.sleep(max(0.0, begin + {least_s} - time.monotonic()))
                return result

            module.GPUModelRunner.execute_model = slower

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, SlowerSteps())
"""


def write_interpreter(
    program: Path, *, added_ms: float = 0.0, least_ms: float = 0.0, python: str = sys.executable
) -> Path:
    """Write a wrapper of an interpreter and return it. Each step of vLLM's model takes longer, or at least so long.

    Steps of ``least_ms`` begin ``PERIOD`` times that apart at least. What the engine does between two of them is then
    part of the pause, and a core that gets slower or faster does not change how many steps it does in a second.
    """
    module = program.parent / f"{program.name}-modules" / "sitecustomize.py"
    module.parent.mkdir(parents=True, exist_ok=True)
    text = SLOWER.replace("{added_s}", str(added_ms / 1000)).replace("{least_s}", str(least_ms / 1000))
    module.write_text(text.replace("{period_s}", str(PERIOD * least_ms / 1000)))
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(module.parent))} exec {shlex.quote(python)} "$@"\n')
    program.chmod(0o755)
    return program
