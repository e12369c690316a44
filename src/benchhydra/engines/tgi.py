"""``engine=tgi``: Hugging Face's text-generation-inference. Written from the documentation of version 3; not run by CI.

It has no request that empties its prefix cache, so each point gets a new server (or ``engine.env.PREFIX_CACHING=0``).
"""

from __future__ import annotations

from collections.abc import Sequence

from benchhydra.engines.command import ServerProgram
from benchhydra.engines.flags import check_flags, flag_name, flag_words
from benchhydra.engines.placeholders import refuse_secrets
from benchhydra.engines.programs import help_flags, require_program, served_version
from benchhydra.registry import knob, option
from benchhydra.target import Target, is_path

LAUNCHER = "text-generation-launcher"


@option("engine", "tgi")
class Tgi(ServerProgram):
    """text-generation-inference, started and stopped by benchhydra."""

    program: list[str] = knob([LAUNCHER], "words that start the launcher")

    def __post_init__(self) -> None:
        refuse_secrets("engine.program", self.program)

    def words(self, target: Target) -> Sequence[str]:
        """Return the words that start the launcher."""
        flags = {
            "model_id": target.model,
            "revision": target.revision,
            "dtype": target.dtype,
            "quantize": target.quantization,
            "max_total_tokens": target.max_model_len,
            "num_shard": target.gpus if target.gpus > 1 else None,
        }
        flags |= {flag_name(key): value for key, value in self.args.items()}
        start = self._start()
        return [*start, *flag_words(flags, help_flags(*start)), "--hostname", "{host}", "--port", "{port}"]

    def environment(self, target: Target) -> dict[str, str]:
        """Return no network for a model that is a directory."""
        return {"HF_HUB_OFFLINE": "1"} if is_path(target.model) else {}

    def check(self, target: Target) -> None:
        """Raise ConfigError if there is no launcher, or it has no such flag."""
        check_flags(LAUNCHER, self.args, help_flags(*self._start()))
        self.request_headers()

    def model_name(self, target: Target, base_url: str) -> str:
        """Return the model's id: TGI answers with it, whatever name a request has."""
        return target.model

    def weights(self, target: Target) -> str | None:
        """Return what ``engine.args.quantize`` asks for, or the target's: TGI has a name of its own for this flag."""
        quantize = {flag_name(key): value for key, value in self.args.items()}.get("quantize")
        return str(quantize) if quantize else super().weights(target)

    def version(self, base_url: str) -> str | None:
        """Return the version in ``/info``."""
        return served_version(f"{base_url}/info", self.request_headers())

    def _start(self) -> tuple[str, ...]:
        hint = f"engine.program=[PATH/{LAUNCHER}], or engine=attach for a container"
        return (require_program((self.program or [LAUNCHER])[0], "engine.program", hint), *self.program[1:])
