"""A head: standardisation, aggregator, one small MLP per axis, and the way back to the labels' scale.

All that a score depends on is stored with the weights: the encoders' full specs, the statistics of
features and targets in the training split, the calibration.  A head file is safetensors with one
JSON text in its header; reading it runs no code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.losses import LOSSES, RATING_LEVELS
from mmmos.heads.network.reading import Batch, Reading
from mmmos.store import files
from mmmos.store.names import choose, differences
from mmmos.store.schema import Axes, EncoderSpec, Scale

HEAD_FORMAT = 1
DEFAULT_SCALE = Scale()


class Towers(nn.Module):
    """Independent MLPs dim -> hidden -> outputs, one per axis, the first layer as one product."""

    def __init__(self, dim: int, hidden: int, axes: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.axes, self.dropout = axes, nn.Dropout(dropout)
        self.inner = nn.Linear(dim, axes * hidden)
        bound = 1 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(axes, outputs, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(axes, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """[B, dim], or [B, A, dim] with a vector for each axis -> [B, A, outputs]."""
        if x.dim() == 3:
            weight = self.inner.weight.unflatten(0, (self.axes, -1))
            hidden = torch.einsum("bad,ahd->bah", x, weight) + self.inner.bias.unflatten(0, (self.axes, -1))
        else:
            hidden = self.inner(x).unflatten(-1, (self.axes, -1))
        hidden = self.dropout(torch.relu(hidden))
        return torch.einsum("bah,aoh->bao", hidden, self.weight) + self.bias


class Head(nn.Module):
    """One trained (or fresh) head.

    Parameters
    ----------
    specs
        The encoders' specs, in the config's order.
    axes
        Those rated in training.
    scale
        That of the labels.
    """

    target_mean: Tensor
    target_std: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(
        self,
        config: HeadConfig,
        specs: Sequence[EncoderSpec],
        axes: Sequence[str],
        scale: Scale = DEFAULT_SCALE,
    ) -> None:
        super().__init__()
        self.config, self.specs, self.axes, self.scale = config, tuple(specs), tuple(axes), scale
        kind = AGGREGATORS[choose("aggregator", config.aggregator, AGGREGATORS)]
        self.loss = LOSSES[choose("loss", config.loss, LOSSES)]
        self.reading = Reading(kind.reads, config.frame_rate_hz)
        self.aggregator = kind(self.specs, config, len(axes))
        outputs = RATING_LEVELS if self.loss.distribution else 1
        self.towers = Towers(self.aggregator.dim, config.hidden, len(axes), outputs, config.dropout)
        for index, spec in enumerate(self.specs):
            self.register_buffer(f"center_{index}", torch.zeros(self.reading.shape(spec)))
            self.register_buffer(f"gain_{index}", torch.ones(self.reading.shape(spec)))
        for name, value in (("target_mean", 0.0), ("target_std", 1.0), ("slope", 1.0), ("offset", 0.0)):
            self.register_buffer(name, torch.full((len(axes),), value, dtype=torch.float64))

    def set_statistics(self, features: Sequence[tuple[Tensor, Tensor]], mean: Tensor, std: Tensor) -> None:
        """(mean, deviation) of each encoder's features and of the scores [A], all over the train split.

        A feature that never varies in training is centred and left at its own unit.
        """
        for index, (center, deviation) in enumerate(features):
            getattr(self, f"center_{index}").copy_(center)
            gain = torch.where(deviation > 1e-6 * center.abs() + 1e-12, 1 / deviation, 1.0)
            getattr(self, f"gain_{index}").copy_(gain)
        self.target_mean.copy_(mean)
        self.target_std.copy_(std)

    def outputs(self, batch: Batch) -> Tensor:
        """[B, A, 1] z-scored predictions, or [B, A, RATING_LEVELS] logits under a distribution loss."""
        features = [
            # In place on a copy: fresh memory for every step costs as much as the arithmetic.
            x.to(torch.float32, copy=True)
            .sub_(getattr(self, f"center_{index}"))
            .mul_(getattr(self, f"gain_{index}"))
            for index, x in enumerate(batch.features)
        ]
        return self.towers(self.aggregator(features, batch.valid_s))

    def for_loss(self, batch: Batch) -> Tensor:
        """What the head's loss takes: [B, A], or [B, A, RATING_LEVELS] under a distribution loss."""
        outputs = self.outputs(batch)
        return outputs if self.loss.distribution else outputs.squeeze(-1)

    def z_scores(self, outputs: Tensor) -> Tensor:
        """[..., A] z-scored predictions from what `for_loss` returned: a distribution's expected level."""
        if not self.loss.distribution:
            return outputs
        levels = level_values(self.scale, outputs.device) - self.target_mean[:, None]
        levels /= self.target_std[:, None]
        return (outputs.softmax(-1) * levels.to(outputs.dtype)).sum(-1)

    def forward(self, batch: Batch) -> Tensor:
        """[B, A] z-scored predictions, before calibration."""
        return self.z_scores(self.for_loss(batch))

    def to_scale(self, z: Tensor) -> Tensor:
        """[..., A] z-scored predictions -> float64 on the labels' scale, calibrated; not clipped to it."""
        return (z.double() * self.slope + self.offset) * self.target_std + self.target_mean

    @torch.no_grad()
    def scores(self, batch: Batch) -> Tensor:
        """[B, A] float64 predictions of crops on the labels' scale."""
        return self.to_scale(self(batch))

    def save(self, path: Path, record: Mapping[str, Any] | None = None) -> None:
        """Write the head as one safetensors file; `record` (JSON values) is stored beside it and not read."""
        about = {
            "format": HEAD_FORMAT,
            "config": asdict(self.config),
            "encoders": [asdict(spec) for spec in self.specs],
            "axes": list(self.axes),
            "scale": asdict(self.scale),
            "record": dict(record or {}),
        }
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        files.write_atomic(path, save(tensors, metadata={"head": json.dumps(about, sort_keys=True)}))

    @staticmethod
    def load(path: Path) -> Head:
        """The head of a file; ValueError with the reason for anything that is not one.

        The architecture is laid out without memory first and must match the file's tensors by name,
        shape and type, so that a forged header cannot ask for more than the file holds.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("head", "null"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _build(about, tensors)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{path} is not a head of this project: {error}") from error


def _build(about: Any, tensors: Mapping[str, Tensor]) -> Head:
    if not isinstance(about, dict) or about.get("format") != HEAD_FORMAT:
        raise ValueError(f"its header has no description of format {HEAD_FORMAT}")
    config = HeadConfig.from_json(about["config"])
    specs = [EncoderSpec(**spec) for spec in about["encoders"]]
    if tuple(spec.id for spec in specs) != config.encoders:
        raise ValueError("its encoders are not those of its config")
    Axes(tuple(about["axes"]))  # refuses what cannot be names of axes
    with torch.device("meta"):
        head = Head(config, specs, about["axes"], Scale(**about["scale"]))
    expected = {name: (tuple(value.shape), value.dtype) for name, value in head.state_dict().items()}
    found = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    if lines := differences(expected, found):
        raise ValueError(f"tensors differ from the config's (expected first): {'; '.join(lines[:3])}")
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ValueError("it holds values that are not finite")
    head.load_state_dict(dict(tensors), assign=True)
    return head.eval()


def level_values(scale: Scale, device: torch.device | None = None) -> Tensor:
    """[RATING_LEVELS] the ratings on a scale: 1, 2 .. 10 for the scale 0-10, as no rating is 0."""
    bottom = scale.low + (scale.high - scale.low) / RATING_LEVELS if scale.low == 0 else scale.low
    return torch.linspace(bottom, scale.high, RATING_LEVELS, dtype=torch.float64, device=device)
