"""What the timings of heads stand on: ours and the ordinary modules compute the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from mmmos.heads.training.outputs import one_thread
from tests.bench.sweep import KINDS, Pool, measure, seconds_apart, worst_difference


def times_of(kind: str) -> dict[str, float]:
    with one_thread():  # as the bench itself: a forked process has none of its parent's other threads
        return vars(measure(kind, Pool(24), train=16, scored=8, rounds=1))


@pytest.fixture(scope="module")
def fresh() -> Iterator[ProcessPoolExecutor]:
    """A process that may fork: where tests pretend to have a card, autograd has threads of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        yield process


def test_ours_agrees_with_ordinary_modules_at_the_real_widths() -> None:
    with one_thread():
        assert worst_difference(Pool(16)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_runs_and_is_scaled_to_a_whole_epoch(kind: str, fresh: ProcessPoolExecutor) -> None:
    times = fresh.submit(times_of, kind).result()
    assert set(times) == {"floor", "floor_mkl", "floor_onednn", "ordinary", "ours", "ours_bf16"}
    assert all(math.isfinite(seconds) and seconds > 0 for seconds in times.values())


def test_a_turn_leaves_nothing_behind_in_this_process() -> None:
    left: list[int] = []
    assert seconds_apart(lambda: left.append(1)) >= 0
    assert not left


def test_a_warm_turn_is_the_second_one_of_its_process(tmp_path: Path) -> None:
    def way() -> None:
        with (tmp_path / "turns").open("a") as file:
            file.write("x")

    for warm in (False, True):
        assert seconds_apart(way, warm=warm) >= 0
    assert (tmp_path / "turns").read_text() == "xxx"
