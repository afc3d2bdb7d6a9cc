"""The encoders, one file each, with the same constants and the same `load` (paper III-A).

To add one: write a file that defines what encoder.EncoderModule lists, and add a line to ENCODERS.
The command line, the tests of the contract, the tables' GFLOP and the model card then know it,
because its cost and its licence are part of the spec that is stored with its features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import torch

from mmmos.extract.encoders import aes, fullband, logmel, m2d, muq, muq16k, wavlm
from mmmos.extract.encoders.encoder import Encoder, EncoderModule, LoadOptions
from mmmos.extract.encoders.layers import check_rule, summarise
from mmmos.extract.encoders.licences import require_permissive
from mmmos.extract.encoders.locate import assign
from mmmos.extract.encoders.own import is_own, own_encoder
from mmmos.extract.encoders.precision import PRECISIONS, family, require_gain
from mmmos.extract.encoders.published import earlier_spec
from mmmos.extract.encoders.weights import WeightsMismatch, WeightsMissing
from mmmos.store.console import say
from mmmos.store.names import choose
from mmmos.store.schema import EncoderSpec

__all__ = [
    "ENCODERS",
    "Encoder",
    "WeightsMismatch",
    "WeightsMissing",
    "columns_of",
    "find_weights",
    "load_encoder",
    "summarise",
]

ENCODERS: dict[str, EncoderModule] = {
    "wavlm": wavlm,
    "muq": muq,
    "muq16k": muq16k,
    "m2d": m2d,
    "aes": aes,
    "logmel": logmel,
    "fullband": fullband,
}

SIZES = ("full", "tiny")


def columns_of(spec: EncoderSpec) -> tuple[str, ...]:
    """What each number of an encoder's frames is; () where that cannot be said in words."""
    columns: tuple[str, ...] = getattr(ENCODERS.get(spec.name), "COLUMNS", ())
    return columns if len(columns) == spec.frame_dim else ()


def find_weights(names: Sequence[str], weights: Path | None) -> dict[str, Path | None]:
    """The `weights` to give to `load_encoder` for each name, after all their files were looked for.

    Raises as `locate.assign`, before anything is fetched.
    """
    named = [name for name in names if not is_own(name)]
    modules = {name: ENCODERS[choose("encoder", name, ENCODERS)] for name in named}
    wanted = {name: module.PUBLISHED for name, module in modules.items() if module.PUBLISHED is not None}
    return dict.fromkeys(names) | assign(wanted, weights)


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
    forced: bool = False,
    runs_on: str = "",
    stored: Iterable[EncoderSpec] = (),
    trust: bool = False,
    permissive: bool = False,
) -> Encoder:
    """One encoder, ready to run on `device`, with the spec that names its features.

    Parameters
    ----------
    name : str
        A name in ENCODERS.
    audio_recipe : str
        The decoding, resampling and crop rule, recorded in the spec.
    weights : Path, optional
        Folder or file with pretrained weights.  None: the hub, or its local cache when offline.
    random_seed : int, optional
        Build the architecture untrained from this seed; the spec says so.
    size : {"full", "tiny"}
        "tiny" is for untrained encoders only.
    layer : str
        Rule for the stored frames: "mean", "last", "all" or a layer's number.
    precision : {"fp32", "tf32", "bf16", "fp16"}
        Arithmetic of the forward pass, see `precision`.
    stock : bool
        Use the published implementation throughout: in fp32 equal to 1e-4, slower on a CPU.
    forced : bool
        Take the precision also where it is slower than fp32.
    runs_on : str, optional
        "cpu" or "cuda": where the features are made, when this process needs the spec alone.
    stored : iterable of EncoderSpec
        Specs of features that are there already.  Where an earlier version made one of them from this
        very weight file, the encoder takes that spec, see `published`.

    trust : bool
        Run code that comes with a model of the hub (`own`).
    permissive : bool
        Refuse an encoder whose terms are not known to allow commercial use.

    Raises
    ------
    ValueError
        For unknown choices, refused terms, and a precision that `device` does not have or gains nothing from.
    WeightsMissing
        Where pretrained weights are not found; the message says which file to put where.
    WeightsMismatch
        Where a weight file does not belong to this encoder.
    """
    choose("size", size, SIZES)
    choose("precision", precision, PRECISIONS)
    device = torch.device(device)
    module: EncoderModule
    if is_own(name):
        precise = LoadOptions(weights, random_seed, size, stock, precision, on_cpu=device.type == "cpu")
        own = own_encoder(name, precise, trust=trust)
        module, name = cast(EncoderModule, own), own.name
    else:
        module = ENCODERS[choose("encoder", name, ENCODERS)]
    if not runs_on and module.PUBLISHED is not None:
        require_gain(precision, device, forced=forced)
    runs_on = runs_on or device.type
    options = LoadOptions(weights, random_seed, size, stock, precision, on_cpu=runs_on == "cpu")
    if size == "tiny" and random_seed is None and module.PUBLISHED is not None:
        raise ValueError(f"{name}: no pretrained weights exist in size tiny; give a seed for random ones")
    loaded = module.load(options)
    if permissive:
        require_permissive(name, loaded.origin.licence)
    weightless = loaded.origin.weights == "none"
    spec = EncoderSpec(
        name=name,
        checkpoint=loaded.origin.checkpoint,
        weights=loaded.origin.weights,
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
        partial_frames=getattr(module, "PARTIAL_FRAMES", False),
        arithmetic="" if weightless else family(precision, runs_on, stock=stock),
        gflop=module.GFLOP_A_CROP,
        licence=loaded.origin.licence,
    )
    if module.PUBLISHED is not None:
        spec = earlier_spec(spec, module.PUBLISHED, loaded.origin, stored)
    if loaded.origin.note and spec.weights == loaded.origin.weights:
        say(loaded.origin.note)
    return Encoder(spec, loaded, device)
