"""A head: standardisation, aggregator, one small MLP per axis, and the way back to the labels' scale.

All that a score depends on is stored with the weights: the encoders' full specs, the statistics of
features and targets in the training split, the calibration.  A head file is safetensors with one
JSON text in its header; reading it runs no code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.aggregators import aggregator_of
from mmmos.heads.network.losses import RATING_LEVELS, level_values, loss_of
from mmmos.heads.network.products import at_least
from mmmos.heads.network.projections import Layout, Projections
from mmmos.heads.network.reading import Batch
from mmmos.heads.network.towers import FAR, towers_of
from mmmos.store import files, sealed
from mmmos.store.names import differences
from mmmos.store.schema import Axes, EncoderSpec, Scale
from mmmos.store.specs import spec_of

HEAD_FORMAT = 1
MAX_HEAD_BYTES, MAX_HEADER_BYTES = 1 << 32, 1 << 22
FORGED = (
    SafetensorError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    EOFError,
)  # fmt: skip
"""What reading a forged or torn file may raise."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "I64": torch.int64}
"""What safetensors calls the types of numbers."""
DEFAULT_SCALE = Scale()

FLOOR = 1e-3
"""Share of a feature's own level below which its deviation is not believed: stored frames are that coarse."""

ROOM = 1.0
"""How far beyond the values of the training clips a feature may go, in its deviations there."""


@dataclass(frozen=True)
class Statistics:
    """Of one encoder's features over the training crops: mean, deviation, smallest and largest value."""

    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor


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
    layout
        Of the towers of a published head (see `projections`), whose scores are not held to the scale.  None:
        a head of ours.
    support
        Training clips that a kernel compares with; 0 for heads without one.
    limited
        Whether features are held within what training saw (all heads but those of earlier versions).
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
        layout: Layout | None = None,
        support: int = 0,
        limited: bool = True,
    ) -> None:
        super().__init__()
        config.check_sizes()
        self.config, self.specs, self.axes, self.scale = config, tuple(specs), tuple(axes), scale
        self.limited = limited
        self.loss = loss_of(config.loss, config.tau)
        self.layout = layout
        self.aggregator = aggregator_of(self.specs, config, len(axes))
        self.reading = self.aggregator.reading
        outputs = RATING_LEVELS if self.loss.distribution else 1
        if layout is None:
            self.towers = towers_of(self.aggregator, config, len(axes), outputs, support)
        else:
            self.towers = Projections(self.aggregator.dim, len(axes), layout)
        for index, spec in enumerate(self.specs):
            self.register_buffer(f"center_{index}", torch.zeros(self.reading.shape(spec)))
            self.register_buffer(f"gain_{index}", torch.ones(self.reading.shape(spec)))
            if limited:
                for name, value in (("low", -math.inf), ("high", math.inf)):
                    end = torch.full(self.reading.shape(spec), value)
                    self.register_buffer(f"{name}_{index}", end.clamp(-FAR, FAR))
        for name, value in (("target_mean", 0.0), ("target_std", 1.0), ("slope", 1.0), ("offset", 0.0)):
            self.register_buffer(name, torch.full((len(axes),), value, dtype=torch.float64))

    def set_statistics(self, features: Sequence[Statistics], mean: Tensor, std: Tensor) -> None:
        """Statistics of each encoder's features, mean and deviation of the scores [A], all of training.

        A feature's deviation counts as FLOOR of its level at least; one that never varies in training is
        centred and left at its own unit.
        """
        for index, of in enumerate(features):
            least = torch.maximum(of.deviation, FLOOR * of.mean.abs())
            varies = of.deviation > 1e-6 * of.mean.abs() + 1e-12
            gain = torch.where(varies, 1 / least, 1.0)
            getattr(self, f"center_{index}").copy_(of.mean)
            getattr(self, f"gain_{index}").copy_(gain)
            if self.limited:
                # What never varied was never learnt from, so it may not speak: both limits are 0 then.
                for name, end, room in (("low", of.low, -ROOM), ("high", of.high, ROOM)):
                    z = torch.where(varies, (end - of.mean) * gain + room, 0.0)
                    getattr(self, f"{name}_{index}").copy_(z)
        self.target_mean.copy_(mean)
        self.target_std.copy_(std)

    def standardised(self, batch: Batch) -> list[Tensor]:
        """Each encoder's features as z-scores, outside of training held within what training saw."""
        made = []
        for index, x in enumerate(batch.features):
            # In place on a copy: fresh memory for every step costs as much as the arithmetic.
            z = x.to(torch.float32, copy=True)
            z.sub_(getattr(self, f"center_{index}")).mul_(getattr(self, f"gain_{index}"))
            if self.limited and not self.training:
                z.clamp_(getattr(self, f"low_{index}"), getattr(self, f"high_{index}"))
            made.append(z)
        return made

    def vectors(self, batch: Batch) -> Tensor:
        """[B, dim], or [B, A, dim]: what the towers are given."""
        vectors: Tensor = self.aggregator(self.standardised(batch), batch.valid_s)
        return vectors

    def outputs(self, batch: Batch) -> Tensor:
        """[B, A, 1] z-scored predictions, or [B, A, RATING_LEVELS] logits under a distribution loss."""
        vectors = self.vectors(batch)
        # In training dropout draws for each row.
        outputs: Tensor = self.towers(vectors if self.training else at_least(vectors))
        return outputs[: len(vectors)]

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
            sealed.KEY: sealed.BLANK,
            "format": HEAD_FORMAT,
            "config": asdict(self.config),
            "encoders": [asdict(spec) for spec in self.specs],
            "axes": list(self.axes),
            "scale": self.scale.to_json(),
            "record": dict(record or {}),
            "limited": self.limited,
        }
        if self.layout is not None:
            about["layout"] = asdict(self.layout)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        data = save(tensors, metadata={"head": json.dumps(about, sort_keys=True)})
        files.write_atomic(path, sealed.seal(data))

    @staticmethod
    def load(path: Path) -> Head:
        """The head of a file; ValueError with the reason for anything that is not one.

        The architecture is laid out without memory first and must match the file's tensors by name,
        shape and type, so that a forged header cannot ask for more than the file holds.
        """
        # Links are followed: the hub's cache is made of them.
        real = Path(path).resolve()
        try:
            header = _header(real)
            head = _blank(sealed.parse_json(header["__metadata__"]["head"], "its description"), header)
            data = files.read_bytes(real, MAX_HEAD_BYTES)
            _fill(head, load(data))
        except FORGED as error:
            raise ValueError(f"{path} is not a head of this project: {error}") from error
        sealed.is_sealed(data, path)
        return head


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: name -> type, shape and place of each tensor, and the metadata."""
    fd = files.open_regular(path)
    try:
        size, start = files.size_of(fd), bytearray(8)
        files.read_into(fd, start, 0)
        length = int.from_bytes(start, "little")
        if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        text = bytearray(length)
        files.read_into(fd, text, 8)
    finally:
        files.close(fd)
    header = sealed.parse_json(bytes(text), "its header")
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _blank(about: Any, header: Mapping[str, Any]) -> Head:
    """The head that a description is of, without memory, if it has the tensors that the header names."""
    if not isinstance(about, dict) or about.get("format") != HEAD_FORMAT:
        raise ValueError(f"its header has no description of format {HEAD_FORMAT}")
    config = HeadConfig.from_json(about["config"])
    specs = [spec_of(spec, "its encoder") for spec in about["encoders"]]
    if tuple(spec.id for spec in specs) != config.encoders:
        raise ValueError("its encoders are not those of its config")
    Axes(tuple(about["axes"]))  # refuses what cannot be names of axes
    layout = Layout(**about["layout"]) if "layout" in about else None
    # The file holds as many rows as it says, so a forged one cannot ask for more memory than it fills.
    support = int(header["towers.support"]["shape"][0]) if "towers.support" in header else 0
    limited = bool(about.get("limited", False))  # heads of earlier versions have no limits
    with torch.device("meta"):
        head = Head(config, specs, about["axes"], Scale(**about["scale"]), layout, support, limited)
    expected = {name: (tuple(value.shape), value.dtype) for name, value in head.state_dict().items()}
    found = {
        name: (tuple(one["shape"]), DTYPES.get(one["dtype"], one["dtype"]))
        for name, one in header.items()
        if name != "__metadata__"
    }
    if lines := differences(expected, found):
        raise ValueError(f"tensors differ from the config's (expected first): {'; '.join(lines[:3])}")
    return head


def _fill(head: Head, tensors: Mapping[str, Tensor]) -> None:
    """Give a blank head its tensors; ValueError for values that no training gives."""
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ValueError("it holds values that are not finite")
    head.load_state_dict(dict(tensors), assign=True)
    head.eval()
