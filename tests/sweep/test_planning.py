"""Planning is pure: no point is lost or doubled, every server has one group, whatever the order of the arguments."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.config import BenchConfig
from benchhydra.engines import ServerSpec
from benchhydra.engines.vllm import Vllm
from benchhydra.errors import ConfigError
from benchhydra.points import Identity, PlannedPoint, point_identity
from benchhydra.result import single_point_overrides
from benchhydra.search.intervals import mean_interval, narrow_enough
from benchhydra.sweep.group.job import GroupJob, decode_job
from benchhydra.sweep.plan.axes import Axis, expand
from benchhydra.sweep.plan.groups import arrange_repeats, group_by_server
from benchhydra.sweep.plan.point_names import SLUG_LENGTH, directory_name, point_label
from benchhydra.sweep.plan.resume import EarlierResult
from benchhydra.sweep.plan.versions import kept_versions, refuse_mixed_versions

SPECS = [ServerSpec(kind="http", argv=(name,)) for name in "abc"]


def planned(server: int, point: int, repeat: int = 0) -> PlannedPoint:
    name = f"{server}-{point}"
    return PlannedPoint(overrides=(f"p={name}",), directory=name, identity=Identity(name, "", repeat))


def spec_of(point: PlannedPoint) -> ServerSpec:
    return SPECS[int(point.directory.partition("-")[0])]


def specs_of(points: list[PlannedPoint]) -> dict[Identity, ServerSpec | None]:
    return {point.identity: spec_of(point) for point in points}


points = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=30, unique=True).map(
    lambda pairs: [planned(*pair) for pair in pairs]
)


@given(points)
def test_every_point_is_in_one_group_and_every_server_has_one(group_points: list[PlannedPoint]) -> None:
    groups = group_by_server(group_points, specs_of(group_points))
    assert Counter(p for g in groups for p in g.points) == Counter(group_points)
    assert len(groups) == len({spec_of(p) for p in group_points})
    assert all(spec_of(p) == g.spec for g in groups for p in g.points)


@given(points.flatmap(lambda group_points: st.tuples(st.just(group_points), st.permutations(group_points))))
def test_the_number_of_starts_does_not_depend_on_the_order(both: tuple[list[PlannedPoint], list[PlannedPoint]]) -> None:
    group_points, shuffled = both
    assert len(group_by_server(shuffled, specs_of(group_points))) == len(
        group_by_server(group_points, specs_of(group_points))
    )


@pytest.mark.parametrize("order", ["blocked", "interleaved", "shuffled"])
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_every_order_keeps_all_points(order: str, count: int, repeats: int, seed: int) -> None:
    group_points = [planned(0, p, r) for r in range(repeats) for p in range(count)]
    arranged = arrange_repeats(group_points, order, seed)
    assert Counter(arranged) == Counter(group_points)
    assert arrange_repeats(group_points, order, seed) == arranged


def test_blocked_and_interleaved_orders() -> None:
    group_points = [planned(0, p, r) for p in range(2) for r in range(3)]
    shown = {
        order: [(p.directory, p.identity.repeat) for p in arrange_repeats(group_points, order, 0)]
        for order in ("blocked", "interleaved")
    }
    assert shown["blocked"] == [("0-0", 0), ("0-0", 1), ("0-0", 2), ("0-1", 0), ("0-1", 1), ("0-1", 2)]
    assert shown["interleaved"] == [("0-0", 0), ("0-1", 0), ("0-0", 1), ("0-1", 1), ("0-0", 2), ("0-1", 2)]


def axis(key: str, *values: object) -> Axis:
    return Axis(key, tuple(f"{key}={value}" for value in values))


def test_axes_multiply() -> None:
    made = expand([axis("qps", 1, 5, 10), axis("model", "a", "b"), axis("seqs", 64, 128)])
    assert len(made) == len(set(made)) == 12
    assert made[0] == ("qps=1", "model=a", "seqs=64")


def test_zipped_axes_are_paired() -> None:
    made = expand(
        [axis("num_prompts", 150, 300), axis("model", "a", "b"), axis("qps", 0.5, 1)], [["num_prompts", "qps"]]
    )
    assert set(made) == {
        ("num_prompts=150", "qps=0.5", "model=a"),
        ("num_prompts=150", "qps=0.5", "model=b"),
        ("num_prompts=300", "qps=1", "model=a"),
        ("num_prompts=300", "qps=1", "model=b"),
    }


@pytest.mark.parametrize(
    ("zips", "message"),
    [
        ([["qps", "nothing"]], "which is not swept"),
        ([["qps", "model"]], "different lengths"),
        ([["qps", "qps"]], "twice"),
    ],
)
def test_a_malformed_zip_is_refused(zips: list[list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand([axis("qps", 1, 2, 3), axis("model", "a", "b")], zips)


@given(st.lists(st.text(min_size=1, max_size=60), max_size=6))
def test_directory_names_are_safe(overrides: list[str]) -> None:
    name = directory_name(overrides)
    assert name and "/" not in name and not name.startswith(".") and len(name) <= SLUG_LENGTH + 9
    assert directory_name([*overrides, "x=1"]) != name


def test_seeds_repeats_and_interpreters_are_separate_points_with_one_key() -> None:
    base = {"qps": 1.0, "seed": 0, "repeat": 0, "engine": {"python": None, "env": {}}}
    for change in ({"seed": 1}, {"repeat": 2}, {"engine": {"python": "/b/python", "env": {}}}, {"qps": 2.0}):
        assert point_identity({**base, **change}) != point_identity(base)
    assert point_identity({**base, "seed": 1}).point_key == point_identity(base).point_key
    assert (
        point_identity({**base, "engine": {"python": None, "env": {"A": "1"}}}).point_key
        != point_identity(base).point_key
    )


def test_a_job_is_the_same_after_encoding() -> None:
    job = GroupJob(sweep_id="s", sweep_dir="/d", number=3, points=(planned(0, 1, 2),), hydra_overrides=("a=b",))
    back = decode_job(job.encode())
    assert [(p.overrides, p.directory, p.identity) for p in back.points] == [
        (p.overrides, p.directory, p.identity) for p in job.points
    ]
    assert (back.sweep_id, back.number, back.hydra_overrides) == ("s", 3, ("a=b",))
    with pytest.raises(ConfigError):
        decode_job("nonsense")


def test_versions_are_compared_engine_by_engine() -> None:
    """A sweep over two builds has two versions on purpose; one build that has changed since is refused."""
    configs = {Identity(name, "", 0): BenchConfig(engine=Vllm(python=f"/{name}/python")) for name in "ab"}
    results = [
        EarlierResult(directory=Path(), identity=identity, believable=True, engine_version=version, wall_s=None)
        for identity, version in zip(configs, ("1", "2"), strict=True)
    ]
    versions = kept_versions(results, configs)
    assert versions == {"vllm /a/python": ("1",), "vllm /b/python": ("2",)}
    refuse_mixed_versions(versions, [], configs)
    with pytest.raises(ConfigError, match="versions 1, 3 of engine vllm /a/python"):
        refuse_mixed_versions({"vllm /a/python": ("1", "3")}, [], configs)


def test_a_point_is_named_after_the_keys_that_vary() -> None:
    overrides = ["script=serving", "++engine.args.x=1", "qps=2", "repeat=1"]
    assert point_label(overrides, ("qps", "engine.args.x")) == "engine.args.x=1 qps=2 repeat=1"
    assert directory_name(overrides, ("qps",)).startswith("qps=2,repeat=1,script=serving")
    of_the_sweep = ["repeats=3", "search=repeats", "search.ci=x:2%", "sweep.zip=[[a,b]]", "+sweep.order=shuffled"]
    assert single_point_overrides([*overrides, *of_the_sweep]) == overrides


def test_intervals_of_repeats() -> None:
    assert mean_interval([5.0]) is None
    mean, half = mean_interval([9.0, 10.0, 11.0]) or (0.0, 0.0)
    assert mean == pytest.approx(10) and half == pytest.approx(2.4841, abs=1e-3)  # t(0.975, 2) / sqrt(3)
    assert narrow_enough([10.0, 10.01, 9.99], 0.02)
    assert not narrow_enough([5.0, 15.0], 0.02)
