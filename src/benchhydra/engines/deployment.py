"""How an engine is deployed: the specs of its replicas and of the router in front of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchhydra.engines import Engine, ServerSpec
from benchhydra.engines.flags import flag_name
from benchhydra.engines.placeholders import refuse_secrets
from benchhydra.engines.programs import require_program
from benchhydra.engines.routers import Router, router_of
from benchhydra.errors import ConfigError
from benchhydra.registry import check_choices
from benchhydra.target import Target

#: Flags of the number of GPUs that a model is spread over, which replicas have in common.
TENSOR_PARALLEL_SIZES = frozenset(("tensor_parallel_size", "tp_size", "num_shard"))


def deployed(engine: Engine, spec: ServerSpec, target: Target) -> ServerSpec:
    """Return the spec with the specs of all replicas and the router. Raises ConfigError if they do not fit it."""
    check_choices(engine)
    router = _router(engine)
    if engine.replicas < 1:
        raise ConfigError(f"engine.replicas={engine.replicas} must be at least 1")
    for name, items in (("replica_args", engine.replica_args), ("replica_env", engine.replica_env)):
        if len(items) > engine.replicas:
            raise ConfigError(f"engine.{name} has {len(items)} items for engine.replicas={engine.replicas}")
    if engine.replicas == 1 and router is None and not engine.replica_args and not engine.replica_env:
        return spec
    if spec.kind != "http":
        raise ConfigError(f"engine.replicas={engine.replicas}: only servers that benchhydra starts have replicas")
    replicas = tuple(
        _replica(engine, _item(engine.replica_args, number), _item(engine.replica_env, number), target)
        for number in range(engine.replicas)
    )
    if router is None:
        return dataclasses.replace(spec, replicas=replicas)
    return dataclasses.replace(
        spec,
        replicas=replicas,
        router=router.words,
        router_ready_path=router.ready_path or spec.ready_path,
        router_config=router.config,
    )


def _item(items: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    """Return what one replica has beside the others; {} if there are fewer items."""
    return items[number] if number < len(items) else {}


def _replica(engine: Engine, more_args: dict[str, Any], more_env: dict[str, str], target: Target) -> ServerSpec:
    """Return the spec of a replica with further flags and variables. Raises ConfigError if it has no such flag."""
    replica = dataclasses.replace(
        engine,
        args={**engine.args, **more_args},
        env={**engine.env, **more_env},
        replicas=1,
        replica_args=[],
        replica_env=[],
    )
    if more_args:
        replica.check(target)
        sizes = TENSOR_PARALLEL_SIZES & {flag_name(key) for key in more_args}
        if sizes or replica.gpu_count(target) != engine.gpu_count(target):
            names = ", ".join(sorted(sizes)) or "a parallel size"
            raise ConfigError(
                f"engine.replica_args sets {names}: all replicas must have the same number of GPUs",
                hint="engine.args.NAME=... sets it for all",
            )
    return replica.server(target)


def _router(engine: Engine) -> Router | None:
    """Return the router with the path of its program. Raises ConfigError if there is none, or no such flag."""
    if engine.router is not None and engine.router_command:
        raise ConfigError("engine.router and engine.router_command exclude each other")
    if engine.router_command:
        refuse_secrets("engine.router_command", engine.router_command)
        program, *words = engine.router_command
        return Router((require_program(program, "engine.router_command"), *words))
    return None if engine.router is None else router_of(engine.router, engine.router_args)
