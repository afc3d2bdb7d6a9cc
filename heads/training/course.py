"""One head in training: its weights, its optimiser, its random numbers, and how its epochs went."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.network.targets import Targets
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.outputs import Seen
from mmmos.heads.training.waves import Wave

EXPLODED = 1e4
"""Losses are of order one on z-scored targets; a mean beyond this is not coming back."""


class DivergedError(RuntimeError):
    """The loss of a training run became NaN, infinite or absurd; the message says when."""


@dataclass(frozen=True)
class Epoch:
    """Mean losses of one epoch; `dev_loss` is None without a dev split."""

    number: int
    train_loss: float
    dev_loss: float | None


class Draws:
    """A stream of random numbers of its own: nobody else's draws change it, and it changes nobody's."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.card = seed, [device] * (device.type == "cuda")
        self.states: list[Tensor] = []

    @contextmanager
    def here(self) -> Iterator[None]:
        """Random numbers inside the block are this stream's."""
        with torch.random.fork_rng(devices=self.card):
            if self.states:
                torch.set_rng_state(self.states[0])
                for device, state in zip(self.card, self.states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            else:
                torch.manual_seed(self.seed)
            yield
            self.states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.card)]


class Course:
    """One head on its way.

    Parameters
    ----------
    head
        Untrained; it moves to the device of the features.
    draws
        Those that it was initialised with.
    dev
        Numbers of the clips that tell when to stop.

    Attributes
    ----------
    seen
        What the head gave for them after its last epoch.
    """

    def __init__(self, head: Head, draws: Draws, features: Features, dev: Indices) -> None:
        self.config: HeadConfig = head.config
        self.draws = draws
        targets = Targets(head, features.clips)
        self.dev = dev[targets.rated[dev]]
        self.targets = targets.to(features.device)
        self.head = head.to(features.device)
        self.optimizer = torch.optim.AdamW(
            head.parameters(),
            lr=head.config.learning_rate,
            weight_decay=head.config.weight_decay,
            fused=True,
        )
        self.curve: list[Epoch] = []
        self.seen: Seen | None = None
        self.best, self.best_loss = 0, math.inf
        self.best_state = copy.deepcopy(head.state_dict())
        self.total: Tensor = torch.zeros((), dtype=torch.float64, device=features.device)

    @property
    def has_ended(self) -> bool:
        """Whether there are no more epochs, or the last ones were no better."""
        done = len(self.curve)
        return done >= self.config.epochs or done - self.best >= self.config.patience

    def step(self, wave: Wave) -> None:
        """One step of the optimiser.  The loss stays on the device: a look at it would wait for a card."""
        if self.config.dropout:
            with self.draws.here():
                self._step(wave)
        else:
            self._step(wave)

    def _step(self, wave: Wave) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.head.for_loss(wave.batch(self.head))
        loss = self.head.loss.function(outputs, self.targets[wave.clips])
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach().double() * len(wave)

    def end_epoch(self, clips: int, dev_loss: Tensor | None) -> Epoch:
        """Read the losses of an epoch of so many clips, the one look at the device, and keep what is best.

        DivergedError for a loss that is not finite or absurdly large.
        """
        mean = self.total / clips
        train_loss, *dev = torch.stack([mean] if dev_loss is None else [mean, dev_loss]).tolist()
        epoch = Epoch(len(self.curve) + 1, train_loss, dev[0] if dev else None)
        _refuse_divergence(epoch)
        self.total.zero_()
        self.curve.append(epoch)
        if epoch.dev_loss is None or epoch.dev_loss < self.best_loss:
            self.best, self.best_loss = epoch.number, math.inf if epoch.dev_loss is None else epoch.dev_loss
            self.best_state = copy.deepcopy(self.head.state_dict())
        return epoch

    def take_best(self) -> Head:
        """The head as it was after its best epoch."""
        self.head.load_state_dict(self.best_state)
        return self.head.eval()


def _refuse_divergence(epoch: Epoch) -> None:
    for name, loss in (("train", epoch.train_loss), ("dev", epoch.dev_loss)):
        if loss is not None and not abs(loss) < EXPLODED:
            what = "is not finite" if not math.isfinite(loss) else f"is {loss:.3g}"
            raise DivergedError(
                f"the {name} loss {what} after epoch {epoch.number}; try a lower learning rate"
            )
