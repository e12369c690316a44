"""An interpreter whose vLLM has slower steps: a build with a planted slowdown, or steps of one length."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

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

            def slower(self, *args, **kwargs):
                begin = time.monotonic()
                time.sleep({added_s})
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
    """Write a wrapper of an interpreter and return it. Each step of vLLM's model takes longer, or at least so long."""
    module = program.parent / f"{program.name}-modules" / "sitecustomize.py"
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(SLOWER.replace("{added_s}", str(added_ms / 1000)).replace("{least_s}", str(least_ms / 1000)))
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(module.parent))} exec {shlex.quote(python)} "$@"\n')
    program.chmod(0o755)
    return program
