"""Composing many points fast: one full composition for each set of chosen options; plain values are set on a copy.

A full composition takes 80 ms; 79 ms of it depend only on the chosen options.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from benchhydra.config import BenchConfig, plain_config


class Composer:
    """Composes the points of a sweep. ``compositions``: the number of full compositions so far."""

    def __init__(self, loader: ConfigLoaderImpl, config_name: str | None, hydra_overrides: Sequence[str]) -> None:
        self._loader = loader
        self._config_name = config_name
        self._hydra_overrides = list(hydra_overrides)
        self._parser = OverridesParser.create(config_loader=loader)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about missing search paths: Hydra has already warned
            _, self._repo = loader._parse_overrides_and_create_caching_repo(config_name, self._hydra_overrides)
        self._bases: dict[tuple[str, ...], bytes] = {}  # pickled
        self._groups: dict[str, bool] = {}
        self._parsed: dict[str, Override] = {}
        self.compositions = 0

    def __call__(self, overrides: Sequence[str]) -> tuple[BenchConfig, dict[str, Any]]:
        """(config object, the same as plain data) of a point. Raises ConfigError, or what Hydra raises."""
        config: Any = OmegaConf.to_object(self.config(overrides))
        return config, plain_config(config)

    def config(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a point, without the node ``hydra``."""
        parsed = [self._parse(override) for override in overrides]
        choices = tuple(str(override.input_line) for override in parsed if self._is_choice(override))
        config: DictConfig = pickle.loads(self._base(choices))  # noqa: S301 - our own bytes; six times faster than a deep copy
        self._loader._apply_overrides_to_config([o for o in parsed if not self._is_choice(o)], config)
        return config

    def full_config(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a point with the node ``hydra``, which configures launchers."""
        self.compositions += 1
        return self._loader.load_configuration(
            config_name=self._config_name,
            overrides=[*self._hydra_overrides, *overrides],
            run_mode=RunMode.MULTIRUN,
        )

    def _base(self, choices: tuple[str, ...]) -> bytes:
        if choices not in self._bases:
            self.compositions += 1
            config = self._loader.load_configuration(
                config_name=self._config_name, overrides=[*self._hydra_overrides, *choices], run_mode=RunMode.RUN
            )
            with open_dict(config):
                del config["hydra"]
            self._bases[choices] = pickle.dumps(config)
        return self._bases[choices]

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._parser.parse_overrides([text])[0]
        return self._parsed[text]

    def _is_choice(self, override: Override) -> bool:
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = bool(self._repo.group_exists(key))
        return self._groups[key] and not isinstance(override.value(), dict)
