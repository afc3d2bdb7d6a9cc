"""MuQ-large-msd-iter: a music conformer over log-mel spectra (Zhu et al. 2025, arXiv 2501.01108).

The network is the `muq` package's own MuQ class.  It is meant for 24 kHz audio; see muq16k.py for
what the paper's released code did.

Three workarounds, each with what ends it:
- `muq/__init__.py` imports its text models, whose packages do not load beside a CPU build of torch
  (muq 0.1.0).  `muq.muq` is imported without running it; ends when the import is made lazy.
- `muq.muq.modules.features` imports torchaudio for one mel spectrogram (muq 0.1.0).  Our front end
  stands in for that module; ends with torchaudio wheels for the CPU build, or its removal there.
- From transformers 5.16 the conformer wants an attention implementation in its configuration and
  no longer returns hidden states when called by itself.  Both are added; ends with a muq release
  for transformers 5.16.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples, exact_div
from mmmos.extract.encoders.loadable import transformers
from mmmos.extract.encoders.locate import find
from mmmos.extract.encoders.mel import MUQ_HOP_SAMPLES as HOP_SAMPLES
from mmmos.extract.encoders.mel import MUQ_SAMPLE_RATE_HZ, MuqLogMel
from mmmos.extract.encoders.muq_fast import FastMuQ
from mmmos.extract.encoders.published import Pinned, Published, identify, untrained
from mmmos.extract.encoders.weights import WeightsMismatch, fill, network_sha256, read_state, seeded
from mmmos.store import files, sealed

FRAME_SAMPLES = 4 * HOP_SAMPLES
"""One frame is four log-mel spectra."""
SAMPLE_RATE_HZ = MUQ_SAMPLE_RATE_HZ
FRAME_RATE_HZ = SAMPLE_RATE_HZ / FRAME_SAMPLES
FRAMES = exact_div(crop_samples(SAMPLE_RATE_HZ), FRAME_SAMPLES)  # 250
RECIPE = 1
GFLOP_A_CROP = 426.0

PUBLISHED = Published(
    name="OpenMuQ/MuQ-large-msd-iter",
    folder="muq",
    files=("model.safetensors", "pytorch_model.bin"),
    revision="0562a57814f6f8bbd9fdea0a25921a2fce1a841a",
    pinned=(
        Pinned(
            "model.safetensors",
            1_333_825_096,
            "273febab2be02872c37d2c37e48a9d6c52c1c9392f3eeeabd498efa281ccb7a6",
        ),
        Pinned("config.json", 3_133, "237335ee27d8fb951ce778701a12a79e06c51ae636dd786f97e45f51ce532543"),
    ),
    size="1.33 GB",
    names=r"^model\.conformer\.",
    wanted="model.safetensors and config.json",
    source="https://huggingface.co/OpenMuQ/MuQ-large-msd-iter",
    licence="CC BY-NC 4.0 (https://huggingface.co/OpenMuQ/MuQ-large-msd-iter): not for commercial use",
    # Targets and head of pre-training, and parts of the conformer that rotary positions leave unused.
    unused=(
        "model.rvq.",
        "model.quantizer_",
        "model.linear.",
        "model.cls_token",
        "model.conformer.pos_conv_embed.",
        "model.conformer.embed_positions.",
    ),
)

CONFORMER: dict[str, Any] = {
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "conformer_conv_dropout": 0.1,
    "conv_depthwise_kernel_size": 31,
    "feat_extract_activation": "gelu",
    "hidden_act": "swish",
    "hidden_dropout": 0.1,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-5,
    "layerdrop": 0.0,
    "max_source_positions": 5000,
    "num_attention_heads": 16,
    "num_conv_pos_embedding_groups": 16,
    "num_conv_pos_embeddings": 128,
    "num_hidden_layers": 12,
    "position_embeddings_type": "rotary",
    "rotary_embedding_base": 10000,
}
FULL: dict[str, Any] = {
    "label_rate": 25,
    "codebook_size": 8192,
    "use_rvq_target": True,
    "conv_dim": 512,
    "encoder_dim": 1024,
    "encoder_depth": 12,
    "stat": {"melspec_2048_mean": 6.768444971712967, "melspec_2048_std": 18.417922652295623},
    "w2v2_config": CONFORMER,
}
"""The published config.json; one beside the weight file replaces it."""
CALCULATED_WITH = (
    "conv_depthwise_kernel_size",
    "hidden_act",
    "layer_norm_eps",
    "num_attention_heads",
    "position_embeddings_type",
    "rotary_embedding_base",
)
DESCRIPTIONS = {
    "architectures",
    "dtype",
    "model_type",
    "torch_dtype",
    "transformers_version",
    "_name_or_path",
}
"""Entries of a config.json that libraries add, and that say nothing about the arithmetic."""
MAX_CONFIG_BYTES = 1 << 20
TINY: dict[str, Any] = FULL | {
    "codebook_size": 8,
    "rvq_n_codebooks": 1,
    "conv_dim": 16,
    "encoder_dim": 32,
    "encoder_depth": 2,
    "w2v2_config": CONFORMER
    | {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2},
}


def load(options: LoadOptions, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Loaded:
    """MuQ with published or random weights: 13 hidden states [B, 250, 1024] at the rate it is meant for."""
    seed = options.random_seed
    if seed is not None:
        config = FULL if options.size == "full" else TINY
        model, origin = build(config, seed), untrained(PUBLISHED, seed)
    else:
        path = find(PUBLISHED, options.weights)
        config = read_config(path)
        state = read_state(path)
        model = build_from(config, path.with_name("config.json"))
        fill(model, state, PUBLISHED.unused, PUBLISHED.name, path)
        sha256 = network_sha256(state, PUBLISHED.unused, constants(config))
        origin = identify(PUBLISHED, path, sha256, full=constants(config) == constants(FULL))
    dim, layers = config["encoder_dim"], config["encoder_depth"] + 1
    fast = not options.stock
    samples = crop_samples(sample_rate_hz)
    network = FastMuQ(model, samples, options.arithmetic) if fast else StockMuQ(model)
    return Loaded(network, origin, dim, layers, fast)


def read_config(weight_file: Path) -> dict[str, Any]:
    """The published config.json with the values of the one beside a weight file, where there is one.

    Entries that are null count as absent.  WeightsMismatch for unknown entries and for what is not JSON.
    """
    path = weight_file.with_name("config.json")
    if not path.is_file():
        return FULL
    try:
        given = sealed.parse_json(files.read_bytes(path.resolve(), MAX_CONFIG_BYTES), "its text")
    except (OSError, ValueError) as error:
        raise WeightsMismatch(f"{path} cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise WeightsMismatch(f"{path} is not a table of settings")
    given = {name: value for name, value in given.items() if value is not None}
    known = {field.name for field in fields(import_muq().MuQConfig)}
    if unknown := sorted(set(given) - known - DESCRIPTIONS):
        raise WeightsMismatch(
            f"{path} has unknown entries: {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    config = FULL | {name: value for name, value in given.items() if name in known}
    for name in ("stat", "w2v2_config"):
        if not isinstance(config[name], dict):
            raise WeightsMismatch(f"{path}: {name} is {config[name]!r}, not a table")
    config["w2v2_config"] = {k: v for k, v in config["w2v2_config"].items() if v is not None}
    return config


def constants(config: dict[str, Any]) -> dict[str, Any]:
    """The entries of a config that the output depends on beside the tensors (sizes follow from those)."""
    return {
        "stat": {name: config["stat"].get(name) for name in FULL["stat"]},
        **{name: (CONFORMER | config["w2v2_config"])[name] for name in CALCULATED_WITH},
    }


def build_from(config: dict[str, Any], path: Path) -> nn.Module:
    """`build` for a config read from `path`; WeightsMismatch where the package cannot use its values."""
    try:
        return build(config, seed=0)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        raise WeightsMismatch(f"{path} does not describe a MuQ network: {error}") from error


def build(config: dict[str, Any], seed: int) -> nn.Module:
    """The package's MuQ, untrained, on every supported version of transformers."""
    config = deepcopy(config)
    config["w2v2_config"]["_attn_implementation"] = "sdpa"
    published_code = import_muq()
    with seeded(seed), warnings.catch_warnings():
        # The package uses a weight norm that torch deprecates, in a part that is never used.
        warnings.simplefilter("ignore", FutureWarning)
        model = published_code.MuQ(published_code.MuQConfig(**config))
    collect_hidden_states(model.model.conformer)
    return model


def import_muq() -> ModuleType:
    """`muq.muq` without the package's own __init__ and without torchaudio (see the file's head)."""
    if "muq.muq" in sys.modules:
        return sys.modules["muq.muq"]
    found = importlib.util.find_spec("muq")
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError("the muq package is not installed: pip install --no-deps muq")
    transformers()  # the package imports it
    package = ModuleType("muq")
    package.__path__ = list(found.submodule_search_locations)
    features = ModuleType("muq.muq.modules.features")
    features.MelSTFT = MuqLogMel  # type: ignore[attr-defined]
    stand_ins = {"muq": package, features.__name__: features}
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("muq.muq")
    finally:
        for name in stand_ins:
            del sys.modules[name]


def collect_hidden_states(conformer: nn.Module) -> None:
    """Give the conformer's output its hidden states: the input, each block's output, the last one normed."""
    states: list[Tensor] = []

    def start(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states[:] = [args[0]]

    def add(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    def finish(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        output["hidden_states"] = (*states[:-1], output["last_hidden_state"])
        states.clear()
        return output

    conformer.register_forward_pre_hook(start, with_kwargs=True)
    for block in conformer.layers:  # type: ignore[union-attr]
        block.register_forward_hook(add)
    conformer.register_forward_hook(finish)


class StockMuQ(nn.Module):
    """The package's own forward pass, its unused codebook head included."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, waves: Tensor) -> list[Tensor]:
        return list(self.model(waves).hidden_states)
