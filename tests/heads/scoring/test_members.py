"""Every member scores every window, whatever stands beside it in the batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.front import Front, Window
from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.members import Members, heads_turn
from mmmos.store.schema import AES_AXES
from tests.heads.scoring.made_bundle import made_bundle


def two_members() -> Members:
    front = Front([load_encoder("logmel", audio_recipe=AUDIO_RECIPE)], Compute(device="cpu"))
    made = [made_bundle(front.specs, seed=seed) for seed in (0, 3)]
    heads = {str(n): head for n, one in enumerate(made) for head in one.heads.values()}
    return Members(replace(made[0], heads=heads, weights=(0.5, 0.5)), front)


def three_windows() -> list[Window]:
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.1, (3, 240000)).astype(np.float32)
    return [Window(0.0, s, True, False, {24000: w}) for s, w in zip((10, 4, 1), waves, strict=True)]


def test_a_window_has_the_scores_that_it_has_alone() -> None:
    members, windows = two_members(), three_windows()
    front = members.front
    with torch.inference_mode():
        together = members.scores(front.encode(windows), [10, 4, 1])
        alone = [members.scores(front.encode([w]), [w.valid_s]) for w in windows]
    assert together.shape == (3, 2, 4)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)
    assert not torch.allclose(together[:, 0], together[:, 1])


LENGTHS_S = (10.0, 2.0, 0.5, 4.99, 10.0, 1.0, 7.3, 0.04, 9.99, 3.0, 2.0, 2.0)
"""Of windows: whole ones, several alike, one shorter than a frame."""


@pytest.mark.parametrize("axes", [AES_AXES.names, ("MOS",)], ids=["four axes", "one axis"])
@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_scores_are_the_same_bits_whatever_the_batch(aggregator: str, axes: tuple[str, ...]) -> None:
    """So that answers depend neither on parts, tasks and workers, nor on the order of a list.

    One encoder has a width that fills no vector register, and so has the recurrence.
    """
    members, draws = two_members(), torch.Generator().manual_seed(1)
    (one,) = members.front.specs
    specs = [one, replace(one, name="other", frame_rate_hz=50.0, frames=499, dim=51, layers=3)]
    sizes = {"width": 10} if aggregator.startswith("blstm") else {}
    config = configure("data", [spec.id for spec in specs], aggregator, "ut", hidden=30, **sizes)
    support = 7 if aggregator in ("kernel_ridge", "svr") else 0
    head = Head(config, specs, axes, support=support).eval()
    for tensor in (*head.parameters(), *(of for name, of in head.named_buffers() if "support" in name)):
        torch.nn.init.normal_(tensor, std=0.1, generator=draws)
    if support:
        head.towers.dual.normal_(generator=draws)
    members.heads = [head]
    count = len(LENGTHS_S)
    encoded = {
        spec.id: (
            torch.randn(count, spec.frames, spec.frame_dim, generator=draws).half(),
            torch.randn(count, spec.layers, spec.dim, generator=draws),
        )
        for spec in specs
    }

    def scores(numbers: list[int]) -> torch.Tensor:
        of_these = {name: (frames[numbers], means[numbers]) for name, (frames, means) in encoded.items()}
        with torch.inference_mode(), heads_turn(members.front.device):
            return members.scores(of_these, [LENGTHS_S[n] for n in numbers])

    whole, order = scores(list(range(count))), list(range(count))
    assert len(whole.unique()) > len(axes)
    for numbers in (order, order[::-1], [5 * n % 12 for n in order]):
        for size in (1, 2, 3, 5, 9):
            for at in range(0, count, size):
                some = numbers[at : at + size]
                assert torch.equal(scores(some), whole[some]), some


def test_heads_have_one_thread_and_leave_the_encoders_theirs() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with heads_turn(torch.device("cpu")):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_thread_that_first_looks_at_torch_while_heads_run_keeps_all_its_threads() -> None:
    """Several people at one page: one's waves may be mixed down while another's heads run."""
    before, looked, over = torch.get_num_threads(), threading.Event(), threading.Event()
    found = []

    def another() -> None:
        found.append(torch.get_num_threads())
        looked.set()
        assert over.wait(60)
        with heads_turn(torch.device("cpu")):
            pass
        found.append(torch.get_num_threads())

    torch.set_num_threads(2)
    try:
        thread = threading.Thread(target=another)
        with heads_turn(torch.device("cpu")):
            thread.start()
            assert looked.wait(60)
        over.set()
        thread.join()
        with ThreadPoolExecutor(1) as later:
            found.append(later.submit(torch.get_num_threads).result())
        assert found == [2, 2, 2]
    finally:
        torch.set_num_threads(before)


def test_a_thread_that_kept_one_has_all_after_its_next_turn() -> None:
    before = torch.get_num_threads()

    def work() -> int:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(1) as process:
            process.submit(torch.set_num_threads, 2).result()
        with heads_turn(torch.device("cpu")):
            pass
        return torch.get_num_threads()

    try:
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(work).result() == 2
    finally:
        torch.set_num_threads(before)


def test_where_memory_does_not_suffice_half_of_the_windows_are_scored_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = two_members()
    encoded = members.front.encode(three_windows())
    expected = members.scores(encoded, [10, 4, 1])
    plain, asked = members._scores, []

    def tight(of_part: dict, valid_s: list[float]) -> torch.Tensor:
        asked.append(len(valid_s))
        if len(valid_s) > 1:
            raise RuntimeError("CUDA error: out of memory")
        return plain(of_part, valid_s)

    monkeypatch.setattr(members, "_scores", tight)
    torch.testing.assert_close(members.scores(encoded, [10, 4, 1]), expected, atol=1e-4, rtol=0)
    assert asked == [3, 1, 1, 1]
