"""How fast heads train, in turns with the ordinary way and with the bare matrix products, in one run.

    python -m tests.bench.sweep [--quick]

Sixteen configurations (paper's Table III), ten epochs of 3,500 training and 1,450 scored crops at the
real widths, synthetic features in memory at 6.25 Hz, one thread.  Three ways take turns, head by head,
each turn in a forked process of its own:

    floor     the matrix products that no implementation can leave out, in fp32, and nothing else, by
              the faster of the two libraries in torch (MKL, which torch.mm takes, and oneDNN)
    ordinary  nn.LSTM over concatenated frames, four nn.Sequential, torch.optim.Adam, a plain loop
    ours      heads.model and heads.training as they are (and with the opt-in bf16 projection)

A whole epoch of each aggregator is timed, the best of three turns counts, and it stands for the ten epochs
of its four losses (20 minutes); --quick times a few batches of each and scales up, after as many that are
not timed: a new process touches all of its memory for the first time in them, which an epoch hardly
notices.  Ends with one JSON line:
`multiple_of_floor` (at most 1.25 wanted), `multiple_of_mkl` (of the same products by torch.mm),
`speedup_vs_ordinary` (at least 1.6 wanted), `worst_difference` between ours and ordinary.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from mmmos.heads.config import AGGREGATOR_FIELDS, HeadConfig
from mmmos.heads.grids import DEFAULT_FRAME_RATE_HZ, configure
from mmmos.heads.network.losses import LOSSES
from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import Batch, Reading
from mmmos.heads.training.course import Course, Draws
from mmmos.heads.training.data import CPU, Features, Indices
from mmmos.heads.training.fit import train_epoch
from mmmos.heads.training.outputs import arithmetic, clip_outputs
from mmmos.store.schema import AES_AXES, Clip, EncoderSpec

TRAIN, SCORED, EPOCHS, LOSS_COUNT = 3500, 1450, 10, 4
GOALS = {"multiple_of_floor": 1.25, "speedup_vs_ordinary": 1.6}
FORK = multiprocessing.get_context("fork")
STOCK_S_PER_CROP = {"wavlm": 1.00, "muq": 2.34, "m2d": 0.34}
"""Published implementations on two quiet cores in fp32, used unless --encoders measures ours."""


def spec(name: str, rate_hz: float, frames: int, dim: int, layers: int) -> EncoderSpec:
    return EncoderSpec(
        name, "none", "none", "full", "mean", 16000, rate_hz, frames, dim, layers, "fp32", 1, "bench"
    )


WAVLM = spec("wavlm", 50.0, 499, 768, 13)
MUQ = spec("muq", 25.0, 250, 1024, 13)
M2D = spec("m2d", 6.25, 62, 3840, 12)
KINDS = {
    "BiEnc mlp": ((WAVLM, M2D), "mlp"),
    "TriEnc mlp": ((WAVLM, MUQ, M2D), "mlp"),
    "TriEnc blstm_h": ((WAVLM, MUQ, M2D), "blstm_h"),
    "TriEnc blstm_t": ((WAVLM, MUQ, M2D), "blstm_t"),
}
"""Table III has each of these with four losses."""


class Pool:
    """Stands in for `heads.data.Features`: one 10 s crop a clip, everything in memory."""

    def __init__(self, crops: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.counts = np.ones(crops, dtype=np.int64)
        self.first = np.arange(crops, dtype=np.int64)
        self.valid_s = np.full(crops, 10.0, dtype=np.float32)
        self.frames = {
            s.name: torch.randn(crops, 62, s.dim, generator=generator, dtype=torch.float32).half()
            for s in (WAVLM, MUQ, M2D)
        }
        self.means = {name: frames.float().mean(1) for name, frames in self.frames.items()}
        scores = torch.randn(crops, len(AES_AXES), generator=generator).double()
        self.targets = scores.float()
        self.clips = [
            Clip(f"c{n}", f"{n}.wav", split="train", scores=tuple(row))
            for n, row in enumerate(scores.tolist())
        ]
        self.device = CPU

    def rows(self, clips: Indices) -> Indices:
        return clips

    def batch(self, specs: Sequence[EncoderSpec], reading: Reading, rows: Indices) -> Batch:
        held = self.frames if reading.kind == "frames" else self.means
        at = torch.from_numpy(rows)
        return Batch(tuple(held[s.name][at] for s in specs), torch.from_numpy(self.valid_s[rows]))

    def __getitem__(self, clips: Indices) -> Tensor:
        """What the ordinary way is trained towards; ours has the same as its `Targets`."""
        return self.targets[torch.from_numpy(clips)]


class Ordinary(nn.Module):
    """The same function as a Head, made of ordinary modules with its weights."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.kind = head.config.aggregator
        dims = [s.dim for s in head.specs]
        self.register_buffer("center", torch.cat([getattr(head, f"center_{k}") for k in range(len(dims))]))
        self.register_buffer("gain", torch.cat([getattr(head, f"gain_{k}") for k in range(len(dims))]))
        width, hidden = head.config.width, head.config.hidden
        if self.kind != "mlp":
            self.lstm = nn.LSTM(sum(dims), width, batch_first=True, bidirectional=True)
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(head.aggregator.dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))
            for _ in head.axes
        )
        with torch.no_grad():
            self._copy(head)

    def _copy(self, head: Head) -> None:
        hidden = head.config.hidden
        for axis, tower in enumerate(self.towers):
            rows = slice(axis * hidden, (axis + 1) * hidden)
            tower[0].weight.copy_(head.towers.inner.weight[rows])
            tower[0].bias.copy_(head.towers.inner.bias[rows])
            tower[2].weight.copy_(head.towers.weight[axis])
            tower[2].bias.copy_(head.towers.bias[axis])
        if self.kind == "mlp":
            return
        module = head.aggregator
        weight = torch.cat(tuple(module.weights), 1) if self.kind == "blstm_t" else module.weight
        for direction, suffix in enumerate(("l0", "l0_reverse")):
            ours = [weight.unflatten(0, (2, -1))[direction], module.bias.unflatten(0, (2, -1))[direction]]
            for name, value in zip(("weight_ih", "bias_ih"), ours, strict=True):
                getattr(self.lstm, f"{name}_{suffix}").copy_(reordered(value))
            getattr(self.lstm, f"bias_hh_{suffix}").zero_()
            if self.kind == "blstm_t":
                getattr(self.lstm, f"weight_hh_{suffix}").copy_(reordered(module.recurrent[direction]))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = (torch.cat([f.float() for f in features], dim=-1) - self.center) * self.gain
        if self.kind == "blstm_t":
            x = self.lstm(x)[0].mean(1)
        elif self.kind == "blstm_h":
            x = self.lstm(x[:, None])[1][0].transpose(0, 1).flatten(1)
        return torch.cat([tower(x) for tower in self.towers], dim=1)


def reordered(value: Tensor) -> Tensor:
    """Our gates (output, input, [forget,] cell) in nn.LSTM's order; a missing forget gate is zero."""
    gates = list(value.chunk(4 if value.shape[0] % 512 == 0 else 3))
    if len(gates) == 3:
        gates.insert(2, torch.zeros_like(gates[0]))
    o, i, f, g = gates
    return torch.cat((i, f, g, o))


@dataclass(frozen=True)
class Times:
    """Seconds of one head-epoch (all training and all scored crops)."""

    floor: float
    floor_mkl: float
    floor_onednn: float
    ordinary: float
    ours: float
    ours_bf16: float


def head_of(kind: str, precision: str = "fp32") -> Head:
    specs, aggregator = KINDS[kind]
    config = configure("data-bench", [s.id for s in specs], aggregator, "ut", precision=precision)
    torch.manual_seed(0)
    return Head(config, specs, AES_AXES)


def onednn(x: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.ops.mkldnn._linear_pointwise(x, weight.T, None, "none", [], "")


LIBRARIES: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "floor_mkl": lambda x, weight, out: torch.mm(x, weight, out=out),
    "floor_onednn": onednn,
}
"""Both come with torch.  The faster one is the floor: on an AMD, MKL runs at half of its rate."""


def products(
    config: HeadConfig, specs: Sequence[EncoderSpec], train: int, scored: int, by: str
) -> Callable[[], None]:
    """The wide products of an epoch, bare: forward, the weight gradient, the recurrence both ways."""
    library = LIBRARIES[by]
    dim = sum(s.dim for s in specs)
    tower = 4 * config.hidden
    steps = 62 if config.aggregator == "blstm_t" else 1
    wide = {"mlp": tower, "blstm_h": 6 * config.width, "blstm_t": 8 * config.width}[config.aggregator]
    x, weight = torch.randn(config.batch * steps, dim), torch.randn(dim, wide)
    out, back = torch.empty(config.batch * steps, wide), torch.empty(dim, wide)
    states = torch.randn(2, config.batch, config.width)
    recurrent, gates = (
        torch.randn(2, config.width, 4 * config.width),
        torch.empty(2, config.batch, 4 * config.width),
    )
    turns = steps - 1
    batches, scored_batches = train / config.batch, scored / config.batch

    def forward() -> None:
        library(x, weight, out)
        for _ in range(turns):
            torch.bmm(states, recurrent, out=gates)

    def run() -> None:
        for _ in range(round(batches)):
            forward()
            library(x.T, out, back)
            for _ in range(turns):
                torch.bmm(gates, recurrent.transpose(1, 2), out=states)
        for _ in range(math.ceil(scored_batches)):
            forward()

    return run


def ours(heads: Sequence[Head], pool: Pool, train: Indices, scored: Indices) -> Callable[[], None]:
    features = cast(Features, pool)
    courses = [Course(head, Draws(0, CPU), features, scored) for head in heads]

    def run() -> None:
        train_epoch(courses, features, train, 1)
        clip_outputs(heads, features, scored)

    return run


def ordinary(head: Head, pool: Pool, train: Indices, scored: Indices) -> Callable[[], None]:
    model = Ordinary(head)
    optimizer = torch.optim.Adam(model.parameters(), lr=head.config.learning_rate)
    size = head.config.batch

    def run() -> None:
        order = np.random.default_rng(0).permutation(train)
        for at in range(0, len(order), size):
            rows = order[at : at + size]
            batch = pool.batch(head.specs, head.reading, rows)
            loss = LOSSES["ut"].function(model(batch.features), pool[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            for at in range(0, len(scored), size):
                model(pool.batch(head.specs, head.reading, scored[at : at + size]).features)

    return run


def measure(kind: str, pool: Pool, train: int, scored: int, rounds: int) -> Times:
    """The best of `rounds` turns of each way, scaled to a whole epoch where they are a part of one."""
    train_rows = np.arange(train, dtype=np.int64)
    scored_rows = np.arange(train, train + scored, dtype=np.int64)
    specs, _ = KINDS[kind]
    ways = {
        **{name: products(head_of(kind).config, specs, train, scored, name) for name in LIBRARIES},
        "ordinary": ordinary(head_of(kind), pool, train_rows, scored_rows),
        "ours": ours([head_of(kind)], pool, train_rows, scored_rows),
    }
    if "precision" in AGGREGATOR_FIELDS[KINDS[kind][1]]:
        ways["ours_bf16"] = ours([head_of(kind, "bf16")], pool, train_rows, scored_rows)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            best[name] = min(best[name], seconds_apart(way, warm=train < TRAIN))
    best.setdefault("ours_bf16", best["ours"])
    best["floor"] = min(best[name] for name in LIBRARIES)
    return Times(**{name: seconds * TRAIN / train for name, seconds in best.items()})


def seconds_apart(way: Callable[[], None], *, warm: bool = False) -> float:
    """Processor seconds of one turn in a forked process of its own, where `warm` of a second one there.

    Taking turns in one process, ours read 1.40 and 1.46 times the floor, and 1.20 to 1.28 without the
    ordinary way in between; freed memory that has to be faulted in afresh is the likely cause.
    """
    receiver, sender = FORK.Pipe(duplex=False)

    def turn() -> None:
        if warm:
            way()
        started = time.process_time()
        way()
        sender.send(time.process_time() - started)

    process = FORK.Process(target=turn)
    process.start()
    sender.close()
    seconds: float = receiver.recv()
    process.join()
    return seconds


def worst_difference(pool: Pool) -> float:
    """Largest difference of predictions, and of gradients over the largest gradient, over all kinds."""
    worst = 0.0
    rows = np.arange(16, dtype=np.int64)
    for kind in KINDS:
        head = head_of(kind)
        model, batch = Ordinary(head), pool.batch(head.specs, head.reading, rows)
        pairs = [(head(batch), model(batch.features))]
        for out in pairs[0]:
            LOSSES["ut"].function(out, pool[rows]).backward()
        inner = torch.cat([tower[0].weight.grad for tower in model.towers])
        pairs.append((head.towers.inner.weight.grad, inner))
        if kind == "TriEnc blstm_t":
            module = head.aggregator
            wide = torch.cat([w.grad for w in module.weights], 1).unflatten(0, (2, -1))
            for direction, suffix in enumerate(("l0", "l0_reverse")):
                for mine, name in ((wide, "weight_ih"), (module.recurrent.grad, "weight_hh")):
                    theirs = getattr(model.lstm, f"{name}_{suffix}").grad
                    pairs.append((reordered(mine[direction]), theirs))
        for number, (a, b) in enumerate(pairs):
            unit = 1.0 if number == 0 else float(b.abs().max())
            worst = max(worst, float((a - b).abs().max().detach()) / unit)
    return worst


def encoder_seconds(measured: bool) -> dict[str, float]:
    """Seconds a crop of each encoder: the published figures, or ours, measured now at full size."""
    if not measured:
        return STOCK_S_PER_CROP
    from mmmos.extract.encoders import load_encoder

    seconds = {}
    for name in STOCK_S_PER_CROP:
        encoder = load_encoder(name, random_seed=0, size="full", audio_recipe="bench")
        wave = torch.randn(1, 10 * encoder.spec.sample_rate_hz) * 0.1
        seconds[name] = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            encoder.hidden_states(wave)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few batches of each, scaled up; under 60 s")
    parser.add_argument("--encoders", action="store_true", help="measure the encoders' seconds a crop too")
    arguments = parser.parse_args()
    train, scored, rounds = (64, 27, 3) if arguments.quick else (TRAIN, SCORED, 3)
    pool = Pool(train + scored)
    with arithmetic(CPU):
        times = {}
        for kind in KINDS:
            # Pooled heads take microseconds a crop: more of them, for the clock's sake.
            times[kind] = measure(kind, pool, train, scored, rounds if "blstm_t" in kind else 3 * rounds)
            print(f"{kind:16}", {k: round(v, 3) for k, v in vars(times[kind]).items()}, "s a head-epoch")
        worst = worst_difference(pool)
    total = {
        name: EPOCHS * LOSS_COUNT * sum(getattr(t, name) for t in times.values())
        for name in ("floor", "floor_mkl", "ordinary", "ours", "ours_bf16")
    }
    crop_s = sum(encoder_seconds(arguments.encoders).values())
    crops = TRAIN + SCORED
    whole = {name: round(seconds) for name, seconds in total.items()}
    print(f"sixteen configurations, {EPOCHS} epochs, one thread:", whole, "s")
    looped = 16 * EPOCHS * crops * crop_s
    print(
        f"with the encoders in the loop ({crop_s:.2f} s a crop): {looped / 3600:.0f} h; "
        f"from the store: {crops * crop_s / 3600:.1f} h once, then {total['ours'] / 3600:.2f} h"
    )
    result = {
        "multiple_of_floor": round(total["ours"] / total["floor"], 3),
        "multiple_of_mkl": round(total["ours"] / total["floor_mkl"], 3),
        "speedup_vs_ordinary": round(total["ordinary"] / total["ours"], 3),
        "worst_difference": worst,
        "bf16_speedup": round(total["ours"] / total["ours_bf16"], 3),
        "frame_rate_hz": DEFAULT_FRAME_RATE_HZ,
        "quick": arguments.quick,
    }
    print("goals:", GOALS)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
