"""Audio models of `transformers` by their name on the hub or a folder: waves in, hidden states out."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from mmmos.extract.encoders.published import Origin
from mmmos.extract.encoders.weights import network_sha256, seeded
from mmmos.store.schema import CROP_SECONDS, TENSORS

TRUST = "MMMOS_TRUST_REMOTE_CODE"
"""Set to 1, lets code from the hub run where there is no option to say so."""

USUAL_RATE_HZ = 16000
PREPARED = "input_features"
"""What models over spectrograms take; the others take `input_values`."""


@dataclass(frozen=True)
class HubModel:
    """A model with what could be read about it; `frame_rate_hz` is None where nothing tells it."""

    network: nn.Module
    origin: Origin
    sample_rate_hz: int
    frame_rate_hz: float | None


def open_model(repository: str, revision: str, seed: int | None, *, trust: bool) -> HubModel:
    """Load a model, or build it untrained from `seed`; ValueError says what could not be had."""
    where: dict[str, Any] = {"trust_remote_code": trust or os.environ.get(TRUST) == "1"}
    if revision:
        where["revision"] = revision
    try:
        config = AutoConfig.from_pretrained(repository, **where)
        if seed is None:
            model = AutoModel.from_pretrained(repository, config=config, dtype=torch.float32, **where)
        else:
            with seeded(seed):
                model = AutoModel.from_config(config, trust_remote_code=where["trust_remote_code"])
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = (
            ". Its code would have to run here: --trust-remote-code"
            if "trust_remote_code" in str(error)
            else ""
        )
        raise ValueError(f"hf:{repository} cannot be loaded: {first[:300]}{hint}") from None
    extractor = _extractor(repository, where)
    rate_hz = int(
        getattr(extractor, "sampling_rate", 0) or getattr(config, "sampling_rate", 0) or USUAL_RATE_HZ
    )
    network = HiddenStates(model, extractor)
    return HubModel(
        network, _origin(repository, config, network, seed), rate_hz, _frame_rate(config, rate_hz)
    )


class HiddenStates(nn.Module):
    """Waves [B, n] to the hidden states of a model, or of its encoder, for the frames of the crop."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        takes_features = PREPARED in (getattr(model, "main_input_name", ""), *_inputs(extractor))
        self.model = model.get_encoder() if hasattr(model, "get_encoder") and takes_features else model
        self.extractor: Any = extractor if takes_features else None
        self.rate_hz = int(getattr(extractor, "sampling_rate", USUAL_RATE_HZ))
        self.normalise = bool(getattr(extractor, "do_normalize", False)) and not takes_features

    @property
    def settings(self) -> dict[str, Any]:
        """What else than the tensors the states depend on."""
        prepared = self.extractor.to_dict() if self.extractor is not None else {}
        return {"model": type(self.model).__name__, "normalise": self.normalise, "prepared": prepared}

    def forward(self, waves: Tensor) -> list[Tensor]:
        if self.extractor is not None:
            return self._from_features(waves)
        if self.normalise:
            # As its feature extractor does, over the whole crop.
            deviation = torch.sqrt(waves.var(dim=1, keepdim=True, correction=0) + 1e-7)
            waves = (waves - waves.mean(dim=1, keepdim=True)) / deviation
        return list(self.model(waves, output_hidden_states=True).hidden_states or ())

    def _from_features(self, waves: Tensor) -> list[Tensor]:
        """Through the model's own feature extractor; frames of the padding beyond the crop are cut off."""
        crops = [np.asarray(wave.cpu(), dtype=np.float32) for wave in waves]
        features = self.extractor(crops, sampling_rate=self.rate_hz, return_tensors="pt")[PREPARED]
        states = self.model(features.to(waves.device), output_hidden_states=True).hidden_states or ()
        padded_s = float(getattr(self.extractor, "chunk_length", 0) or CROP_SECONDS)
        share = min(1.0, CROP_SECONDS / padded_s)
        return [state[:, : max(1, round(state.shape[1] * share))] for state in states]


def _inputs(extractor: Any) -> list[str]:
    return list(getattr(extractor, "model_input_names", None) or ())


def _extractor(repository: str, where: dict[str, Any]) -> Any:
    try:
        return AutoFeatureExtractor.from_pretrained(repository, **where)
    except (OSError, ValueError, KeyError):
        return None  # a model over waves may do without


def _frame_rate(config: Any, rate_hz: int) -> float | None:
    """From the strides of its convolutions, where it has such."""
    strides = getattr(config, "conv_stride", None)
    return rate_hz / float(np.prod(strides)) if isinstance(strides, list | tuple) else None


def _origin(repository: str, config: Any, network: HiddenStates, seed: int | None) -> Origin:
    licence = _licence(repository)
    if seed is not None:
        return Origin("random", f"random:{seed}", licence)
    revision = getattr(config, "_commit_hash", None) or "local"
    about = json.dumps([network.settings, revision], sort_keys=True, default=str)
    tensors = network_sha256(network.model.state_dict(), ())
    both = hashlib.sha256(f"{tensors} {about}".encode()).hexdigest()
    name = Path(repository).name if Path(repository).is_dir() else repository
    return Origin(f"{name}@{revision}", TENSORS + both, licence)


def _licence(repository: str) -> str:
    """The terms that the model card names."""
    try:
        card = Path(repository) / "README.md"
        if not Path(repository).is_dir():
            card = Path(hf_hub_download(repository, "README.md"))
        found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8"), flags=re.M)
    except Exception:  # whatever the hub or the network says, the terms are then not known
        found = None
    return f"{found[1]}, as its model card says" if found else "not stated by its publisher"
