"""How fast the encoders run on this CPU beside the stock implementations, and how far they stray.

    python -m tests.bench.encoders [--quick] [--threads N] [--audio DIR] [--bf16] [--overhead-crops N]

Full-size networks with random weights (the arithmetic does not depend on them), batch norms moved
away from their start, one 10 s crop at a time.  Stock, ours and a large matrix product (by MKL and by
oneDNN, of which the faster counts) are timed in turns; a number is the best of its turns, because other work
on the machine only ever adds.  Every
table comes twice, in wall time and in processor time: where the machine is shared, processor time
with --threads 1 is the one to trust (two threads that wait for each other burn it, too).

    direct    multiply-adds of the stock network, convolutions done directly, over the matrix product's rate;
              no floor, because Winograd's algorithm does with fewer
    floor     multiply-adds that ours really does, over the same rate
    worst     largest difference of any hidden state, stored frame or layer mean, over its largest value
    overhead  wall time of the whole extraction (decode, resample, encode, write) over that of the
              three encoders alone on waves in memory, less one

Ends with one JSON line.  Audio: files below DIR (default: the rated audio of the shared data folder,
else a synthetic wave).  --bf16 adds our bfloat16 networks against the stock ones in float32.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.audio_info import AudioError
from mmmos.extract.decoding import read_crop, survey_file
from mmmos.extract.encoders import ENCODERS, load_encoder, m2d, muq, summarise, wavlm
from mmmos.extract.encoders.encoder import LoadOptions
from mmmos.extract.encoders.m2d_fast import FastM2D
from mmmos.extract.encoders.muq_fast import FastMuQ
from mmmos.extract.encoders.packed import Arithmetic, can_pack
from mmmos.extract.encoders.wavlm_fast import FastWavLM
from mmmos.extract.extraction import extract
from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.schema import Clip
from tests.conftest import SHARED
from tests.extract.encoders.golden import waveform

NAMES = ("wavlm", "muq", "m2d")
MODULES: dict[str, Any] = {"wavlm": wavlm, "muq": muq, "m2d": m2d}
"""Of one crop in the stock networks, convolutions done directly; a multiply-add is two."""
PEAK_SIDE = 2048
PRODUCTS: list[Callable[[Tensor, Tensor], Tensor]] = [torch.mm]
"""Matrix products whose fastest is the machine's rate: MKL's runs at half of it on an AMD."""
if can_pack():
    PRODUCTS.append(lambda x, weight: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))


@dataclass
class Clock:
    """Wall and processor seconds of each turn."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def time(self, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)
        return result


@dataclass(frozen=True)
class Row:
    """One encoder by one clock: seconds a crop, stock, ours, and for the products of the stock network
    (`direct_s`) and of ours (`floor_s`) at the machine's rate; relative differences."""

    name: str
    stock_s: float
    ours_s: float
    direct_s: float
    floor_s: float
    worst: float
    rms: float


def real_crops(folder: Path | None, count: int) -> list[dict[int, np.ndarray]]:
    """The first crop of up to `count` files, taken evenly from `folder`; else one synthetic wave."""
    rates_hz = {module.SAMPLE_RATE_HZ for module in MODULES.values()}
    files = sorted(p for p in folder.rglob("*") if p.suffix in {".wav", ".flac", ".ogg"}) if folder else []
    crops = []
    for path in files[:: max(1, len(files) // count)][:count]:
        try:
            info = survey_file(path)
        except AudioError:
            continue
        crop = crops_of(Clip("", str(path), audio=info.audio, duration_s=info.duration_s))[0]
        crops.append(read_crop(path, crop, rates_hz))
    return crops or [{rate_hz: waveform(10 * rate_hz, rate_hz)[0].numpy() for rate_hz in rates_hz}]


def shake(network: nn.Module) -> None:
    """Batch norms as after training: folding them has to be more than a multiplication by one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for tensor in (module.running_var, module.weight):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
                for tensor in (module.running_mean, module.bias):
                    tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))


def ours_of(name: str, stock: Any, arithmetic: Arithmetic) -> nn.Module:
    """Our forward pass with the very weights of a stock one."""
    if name == "wavlm":
        return FastWavLM(stock.model, wavlm.FRAMES, arithmetic).eval()
    if name == "muq":
        return FastMuQ(stock.model, 10 * muq.SAMPLE_RATE_HZ, arithmetic).eval()
    return FastM2D(stock.image, stock.model, arithmetic).eval()


def flop_of(network: nn.Module, wave: Tensor) -> float:
    """Operations of a network's matrix products and convolutions on one wave; a multiply-add is two."""

    def linear(x: list[int], *_: Any, out_shape: list[int], **__: Any) -> int:
        return 2 * math.prod(x) * out_shape[-1]

    def added(_: Any, a: list[int], b: list[int], **__: Any) -> int:
        return 2 * math.prod(a) * b[-1]

    def attention(q: list[int], k: list[int], v: list[int], *_: Any, **__: Any) -> int:
        return 2 * math.prod(q) * k[-2] + 2 * math.prod(v) * q[-2]

    aten, counted = torch.ops.aten, {torch.ops.aten.addmm_: added}
    counted[aten._scaled_dot_product_flash_attention_for_cpu] = attention
    if can_pack():
        counted[torch.ops.mkldnn._linear_pointwise] = linear
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        network(wave)
    return counter.get_total_flops()


def differences(ours: list[Tensor], theirs: list[Tensor]) -> tuple[float, float]:
    """Largest and rms relative difference over states, mean-rule frames and layer means."""
    valid = torch.tensor([ours[0].shape[1]])
    pairs = [*zip(ours, theirs, strict=True)]
    pairs += zip(summarise(ours, "mean", valid), summarise(theirs, "mean", valid), strict=True)
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    rms = max(float((a - b).square().mean().sqrt() / b.square().mean().sqrt()) for a, b in pairs)
    return worst, rms


@torch.inference_mode()
def compare(
    name: str, crops: list[dict[int, np.ndarray]], turns: int, arithmetic: Arithmetic
) -> tuple[Row, Row]:
    module = MODULES[name]
    stock = module.load(LoadOptions(random_seed=0, stock=True)).network.eval()
    shake(stock)
    ours = ours_of(name, stock, arithmetic)
    waves = [torch.from_numpy(crop[module.SAMPLE_RATE_HZ])[None] for crop in crops]
    square = torch.rand(PEAK_SIDE, PEAK_SIDE)
    peak_clocks = [Clock() for _ in PRODUCTS]
    stock_clock, ours_clock = Clock(), Clock()
    worst = rms = 0.0
    ours(waves[0])
    for turn in range(turns):
        wave = waves[turn % len(waves)]
        for product, clock in zip(PRODUCTS, peak_clocks, strict=True):
            clock.time(lambda product=product: product(square, square))
        theirs = stock_clock.time(lambda wave=wave: stock(wave))
        mine = ours_clock.time(lambda wave=wave: ours(wave))
        found = differences([state.float() for state in mine], theirs)
        worst, rms = max(worst, found[0]), max(rms, found[1])
    # How many matrix products like the timed one a crop amounts to.
    done = (ENCODERS[name].GFLOP_A_CROP * 1e9, flop_of(ours, waves[0]))
    direct, floor = (flop / (2 * PEAK_SIDE**3) for flop in done)
    clocks = ([stock_clock], [ours_clock], peak_clocks)
    wall_s, cpu_s = (
        [min(min(getattr(clock, kind)) for clock in these) for these in clocks]
        for kind in ("wall_s", "cpu_s")
    )
    return (
        Row(name, wall_s[0], wall_s[1], wall_s[2] * direct, wall_s[2] * floor, worst, rms),
        Row(name, cpu_s[0], cpu_s[1], cpu_s[2] * direct, cpu_s[2] * floor, worst, rms),
    )


def overhead(count: int, turns: int) -> tuple[float, float]:
    """What extraction adds to the three encoders, wall and processor time, as fractions of theirs."""
    encoders = [load_encoder(name, audio_recipe=AUDIO_RECIPE, random_seed=0) for name in NAMES]
    rates_hz = {encoder.spec.sample_rate_hz for encoder in encoders}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_audio(
            root / "a.flac", 0.1 * np.random.default_rng(0).standard_normal((441000 * count, 2)), 44100
        )
        info = survey_file(root / "a.flac")
        clip = Clip("a", "a.flac", audio=info.audio, duration_s=info.duration_s)
        waves = [read_crop(root / "a.flac", crop, rates_hz) for crop in crops_of(clip)]

        def alone() -> None:
            for wave in waves:
                for encoder in encoders:
                    encoder.hidden_states(torch.from_numpy(wave[encoder.spec.sample_rate_hz])[None])

        def whole(turn: int) -> None:
            extract(ClipTable((clip,)), root, encoders, root / f"features{turn}", quiet=True)

        whole(-1)  # imports and first touches of memory are no cost per crop
        alone_clock, whole_clock = Clock(), Clock()
        for turn in range(turns):
            alone_clock.time(alone)
            whole_clock.time(lambda turn=turn: whole(turn))
    wall, cpu = (min(getattr(whole_clock, k)) / min(getattr(alone_clock, k)) - 1 for k in ("wall_s", "cpu_s"))
    return wall, cpu


def print_table(title: str, rows: list[Row]) -> Row:
    """The rows and their sum, which is returned."""
    print(f"\n{title}")
    print("encoder   stock s   ours s  ratio  direct s x direct  floor s  x floor  worst difference")
    together = total(rows)
    for row in (*rows, together):
        print(
            f"{row.name:8} {row.stock_s:8.3f} {row.ours_s:8.3f} {row.stock_s / row.ours_s:6.2f} "
            f"{row.direct_s:9.3f} {row.ours_s / row.direct_s:8.2f} {row.floor_s:8.3f} "
            f"{row.ours_s / row.floor_s:8.2f}  {row.worst:.1e} (rms {row.rms:.1e})",
            flush=True,
        )
    return together


def total(rows: list[Row]) -> Row:
    """Seconds added up, differences at their worst."""
    added = (sum(getattr(row, kind) for row in rows) for kind in ("stock_s", "ours_s", "direct_s", "floor_s"))
    return Row("all", *added, max(r.worst for r in rows), max(r.rms for r in rows))


def tables(
    title: str, names: list[str], crops: list[dict[int, np.ndarray]], turns: int, arithmetic: Arithmetic
) -> tuple[Row, Row]:
    """Both tables of one number type; returns their sums."""
    pairs = [compare(name, crops, turns, arithmetic) for name in names]
    wall, cpu = (list(rows) for rows in zip(*pairs, strict=True))
    return print_table(f"{title}, wall time", wall), print_table(f"{title}, processor time", cpu)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two turns on one crop")
    parser.add_argument("--turns", type=int, help="default 8, 2 with --quick")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encoders", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--audio", type=Path, help="folder of real audio files")
    parser.add_argument("--bf16", action="store_true", help="our bfloat16 networks, too")
    parser.add_argument("--overhead-crops", type=int, help="crops of the overhead's file (0: leave it out)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    turns = arguments.turns or (2 if arguments.quick else 8)
    default = SHARED / "data" / "rated_audio"
    folder = arguments.audio or (default if default.exists() else None)
    crops = real_crops(folder, 1 if arguments.quick else 8)
    print(f"{len(crops)} crops, {turns} turns, {arguments.threads} threads, random weights")

    wall, cpu = tables("float32", arguments.encoders, crops, turns, Arithmetic())
    result = {
        "worst_error": wall.worst,
        "speedup_vs_stock": round(wall.stock_s / wall.ours_s, 3),
        "multiple_of_direct": round(wall.ours_s / wall.direct_s, 3),
        "multiple_of_floor": round(wall.ours_s / wall.floor_s, 3),
        "cpu_speedup_vs_stock": round(cpu.stock_s / cpu.ours_s, 3),
        "cpu_multiple_of_direct": round(cpu.ours_s / cpu.direct_s, 3),
        "cpu_multiple_of_floor": round(cpu.ours_s / cpu.floor_s, 3),
    }
    if arguments.bf16:
        title = "bfloat16 against stock float32"
        wall, cpu = tables(title, arguments.encoders, crops, turns, Arithmetic(torch.bfloat16))
        result["bf16_speedup_vs_stock"] = round(wall.stock_s / wall.ours_s, 3)
        result["bf16_cpu_speedup_vs_stock"] = round(cpu.stock_s / cpu.ours_s, 3)
        result["bf16_worst_rms"] = wall.rms
    count = (2 if arguments.quick else 6) if arguments.overhead_crops is None else arguments.overhead_crops
    if count:
        wall_share, cpu_share = overhead(count, turns=2 if arguments.quick else 4)
        print(f"\noverhead of the whole extraction: wall {wall_share:.1%}, processor {cpu_share:.1%}")
        result |= {"overhead": round(wall_share, 4), "overhead_cpu": round(cpu_share, 4)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
