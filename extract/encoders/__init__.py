"""The encoders, one file each, behind one contract (paper III-A).

To add one: a file with SAMPLE_RATE_HZ, FRAME_RATE_HZ, FRAMES, RECIPE and load(), and one line in
ENCODERS; the contract tests and the command line take it from there.
"""

from __future__ import annotations

from pathlib import Path

import torch

from mmmos.extract.encoders import loadable  # noqa: F401  before the first import of transformers

# isort: split
from mmmos.extract.encoders import logmel, m2d, muq, muq16k, wavlm
from mmmos.extract.encoders.encoder import Encoder, EncoderModule, LoadOptions
from mmmos.extract.encoders.layers import check_rule, summarise
from mmmos.extract.encoders.weights import WeightsMismatch, WeightsMissing
from mmmos.store.names import choose
from mmmos.store.schema import EncoderSpec

__all__ = ["ENCODERS", "Encoder", "WeightsMismatch", "WeightsMissing", "load_encoder", "summarise"]

ENCODERS: dict[str, EncoderModule] = {
    "wavlm": wavlm,
    "muq": muq,
    "muq16k": muq16k,
    "m2d": m2d,
    "logmel": logmel,
}

SIZES = ("full", "tiny")
PRECISIONS = ("fp32", "bf16")


def load_encoder(
    name: str,
    *,
    audio_recipe: str,
    weights: Path | None = None,
    random_seed: int | None = None,
    size: str = "full",
    layer: str = "mean",
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    stock: bool = False,
) -> Encoder:
    """One encoder, ready to run on `device`, with the spec that names its features.

    weights:     folder or file with pretrained weights; None: the hub, its cache when offline.
    random_seed: the same architecture untrained, `size` "full" or "tiny"; said in the spec.
    layer:       rule for the stored frames, "mean", "last", "all" or a layer's number.
    stock:       the published implementation throughout; the same numbers to 1e-4, slower on CPU.
    Raises ValueError for unknown choices, WeightsMissing where pretrained weights are not found.
    """
    module = ENCODERS[choose("encoder", name, ENCODERS)]
    choose("size", size, SIZES)
    choose("precision", precision, PRECISIONS)
    device = torch.device(device)
    options = LoadOptions(weights, random_seed, size, stock, precision, on_cpu=device.type == "cpu")
    if size == "tiny" and random_seed is None and module.PUBLISHED is not None:
        raise ValueError(f"{name}: no pretrained weights exist in size tiny; give a seed for random ones")
    loaded = module.load(options)
    weightless = loaded.weights == "none"
    spec = EncoderSpec(
        name=name,
        checkpoint=loaded.checkpoint,
        weights=loaded.weights,
        # Without weights there is one size and one precision, whatever was asked for the others.
        size="full" if weightless else size,
        layer=check_rule(layer, loaded.layers),
        sample_rate_hz=module.SAMPLE_RATE_HZ,
        frame_rate_hz=module.FRAME_RATE_HZ,
        frames=module.FRAMES,
        dim=loaded.dim,
        layers=loaded.layers,
        precision="fp32" if weightless else precision,
        recipe=module.RECIPE,
        audio=audio_recipe,
    )
    return Encoder(spec, loaded, device)
