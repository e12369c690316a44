"""``engine=transformers``: the server of transformers, ``transformers serve``. Run by hand with version 5.19 on CPU.

It has no metrics and no request that empties caches, and refuses ``ignore_eos`` (``script.ignore_eos=false``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchhydra.engines.command import ServerProgram
from benchhydra.engines.flags import ProgramFlags, check_flags, flag_name, flag_words
from benchhydra.engines.programs import interpreter_path, package_facts
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option
from benchhydra.target import Target, is_path

PACKAGE = "transformers"
SOURCES = ("cli/serve.py", "commands/serving.py")


@option("engine", "transformers")
class Transformers(ServerProgram):
    """``transformers serve``, started and stopped by benchhydra."""

    python: str | None = knob(None, "Python interpreter with transformers[serving]; null: the one that runs benchhydra")

    def words(self, target: Target) -> Sequence[str]:
        """Return the words that start the server with one model for all requests."""
        flags = {
            "device": "cpu" if target.device == "cpu" else None,
            "dtype": target.dtype,
            "quantization": target.quantization,
        }
        flags |= {flag_name(key): value for key, value in self.args.items()}
        start = [self.interpreter(), "-m", "transformers.cli.transformers", "serve", self.model_name(target, "")]
        words = flag_words(flags, ProgramFlags.of_facts(self._facts()))
        return [*start, *words, "--host", "{host}", "--port", "{port}"]

    def environment(self, target: Target) -> dict[str, str]:
        """Return no network for a model that is a directory."""
        return {"HF_HUB_OFFLINE": "1"} if is_path(target.model) else {}

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no transformers that serves one model, or no such flag."""
        facts = self._facts()
        if not facts.get("version", "0").split(".")[0].isdecimal() or int(facts.get("version", "0").split(".")[0]) < 5:
            raise ConfigError(
                f"{self.interpreter()} has no transformers of version 5 or later",
                hint="pip install 'transformers[serving]>=5', or engine.python=PATH",
            )
        check_flags(f"transformers {facts['version']}", self.args, ProgramFlags.of_facts(facts))
        if target.chat_template is not None:
            raise ConfigError("transformers serve takes no model.chat_template")
        self.request_headers()

    def interpreter(self) -> str:
        """Return the interpreter with transformers."""
        return interpreter_path(self.python)

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model's path or id with its revision, as the server calls it in its answers."""
        return f"{target.model}@{target.revision or 'main'}"

    def version(self, base_url: str) -> str | None:
        """Return the version of the interpreter's transformers."""
        version: str | None = self._facts().get("version")
        return version

    def _facts(self) -> dict[str, Any]:
        return package_facts(self.interpreter(), PACKAGE, *SOURCES)
