"""Losses between predicted and rated scores, per axis, then averaged over the axes (paper III-C).

Conventions
    pred   [B, A] z-scored predictions; [B, A, RATING_LEVELS] logits for the distribution loss.
    truth  [B, A] z-scored scores, NaN where an axis was not rated; such places carry neither loss
           nor gradient, and an axis without any (pairs: two) rated clip is left out of the average.
           [B, A, RATING_LEVELS] level probabilities for the distribution loss, NaN where not rated.
    Pairs are the ordered ones with i != j; a clip's pair with itself is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from mmmos.store.names import choose
from mmmos.store.schema import Scale

MARGIN = 0.1
"""Differences of differences up to this are free in `con` (UTMOS22, section 3.2)."""

TAU = 0.5
"""Errors up to this are free in `ut`, in z-scored units: the value of the MMMOS code; UTMOS22 has 0.25.
`HeadConfig.tau` names another."""

HUBER_DELTA = 1.0
"""Errors beyond one standard deviation of the scores count linearly."""

RATING_LEVELS = 10
"""Ordinal levels of the listener distribution: the ratings 1-10."""

SOFTNESS_LEVELS = 0.5
"""Deviation of the Gaussian that spreads one rating over neighbouring levels."""


@dataclass(frozen=True)
class Loss:
    """A loss and what a head trained with it needs.

    Parameters
    ----------
    function
        (pred, truth) -> scalar, see the module's conventions.
    calibrate
        True where the loss does not pin level and spread to those of the scores; heads trained with it
        get a per-axis affine calibration fitted on train predictions.
    distribution
        True where pred and truth are distributions over RATING_LEVELS.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    calibrate: bool = False
    distribution: bool = False


def _mask(pred: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """pred and truth [B, A] with entries that are not rated set to 0, and [B, A] which entries are rated."""
    rated = ~torch.isnan(truth)
    return torch.where(rated, pred, 0.0), torch.where(rated, truth, 0.0), rated


def _axis_mean(per_axis: Tensor, present: Tensor) -> Tensor:
    """Mean over the axes that are present; 0 (with a zero gradient) where none is."""
    return torch.where(present, per_axis, 0.0).sum() / present.sum().clamp(min=1)


def _pointwise(values: Tensor, rated: Tensor) -> Tensor:
    counts = rated.sum(0)
    return _axis_mean((values * rated).sum(0) / counts.clamp(min=1), counts > 0)


def _pairwise(values: Tensor, rated: Tensor) -> Tensor:
    """values [B, B, A] averaged over pairs of two different rated clips."""
    pairs = rated[:, None] & rated[None, :]
    pairs = pairs & ~torch.eye(len(rated), dtype=torch.bool, device=rated.device)[:, :, None]
    counts = pairs.sum((0, 1))
    return _axis_mean((values * pairs).sum((0, 1)) / counts.clamp(min=1), counts > 0)


def _gaps(x: Tensor) -> Tensor:
    return x[:, None] - x[None, :]


def contrastive(pred: Tensor, truth: Tensor) -> Tensor:
    """`con`: mean over pairs of relu(|gap predicted - gap rated| - 0.1).

    UTMOS22's formula (Saeki et al. 2022, section 3.2); its code divides by twice as much, because
    it sums the unordered pairs and averages over all of them.  Blind to a common shift.
    """
    p, t, rated = _mask(pred, truth)
    return _pairwise(torch.relu((_gaps(p) - _gaps(t)).abs() - MARGIN), rated)


def utmos(pred: Tensor, truth: Tensor, tau: float = TAU) -> Tensor:
    """`ut`: mean of (p - t)^2 where |p - t| > tau, plus half of `con` (UTMOS22; tau of the MMMOS code)."""
    p, t, rated = _mask(pred, truth)
    error = p - t
    clipped = torch.where(error.abs() > tau, error.square(), 0.0)
    return _pointwise(clipped, rated) + 0.5 * contrastive(pred, truth)


def quality_comparison(pred: Tensor, truth: Tensor) -> Tensor:
    """`dcq`: mean over pairs of (gap predicted - gap rated)^2 - gap predicted * sign(gap rated).

    As the MMMOS paper and code have it; the DCQ paper adds an MSE.  The linear term pushes each
    pair 0.5 beyond its true gap.  Blind to a common shift.
    """
    p, t, rated = _mask(pred, truth)
    gap_p, gap_t = _gaps(p), _gaps(t)
    return _pairwise((gap_p - gap_t).square() - gap_p * gap_t.sign(), rated)


def concordance(pred: Tensor, truth: Tensor) -> Tensor:
    """`ccc`: 1 - 2 cov / (var_p + var_t + (mean_p - mean_t)^2), population moments (Lin 1989).

    In [0, 2]; 0 only at perfection.  The MMMOS code mixes the unbiased variance with the biased
    covariance, which costs 1/B at perfection.  Two clips at least must be rated on an axis.
    """
    p, t, rated = _mask(pred, truth)
    counts = rated.sum(0)
    n = counts.clamp(min=1)
    mean_p, mean_t = p.sum(0) / n, t.sum(0) / n
    dev_p, dev_t = (p - mean_p) * rated, (t - mean_t) * rated
    covariance = (dev_p * dev_t).sum(0) / n
    spread = dev_p.square().sum(0) / n + dev_t.square().sum(0) / n + (mean_p - mean_t).square()
    safe = torch.where(spread > 0, spread, 1.0)
    return _axis_mean(1 - 2 * covariance / safe, counts > 1)


def mean_squared(pred: Tensor, truth: Tensor) -> Tensor:
    """`mse`: mean of (p - t)^2."""
    p, t, rated = _mask(pred, truth)
    return _pointwise((p - t).square(), rated)


def huber(pred: Tensor, truth: Tensor) -> Tensor:
    """`huber`: (p - t)^2 / 2 up to one standard deviation of error, linear beyond (Huber 1964)."""
    p, t, rated = _mask(pred, truth)
    return _pointwise(torch.nn.functional.huber_loss(p, t, reduction="none", delta=HUBER_DELTA), rated)


def listeners(logits: Tensor, truth: Tensor) -> Tensor:
    """`listeners`: divergence KL(truth || prediction) between distributions over ordinal levels, in nats.

    truth comes from `soft_levels`; the cross entropy less the truth's own entropy, so that
    perfection costs 0.
    """
    rated = ~torch.isnan(truth).any(-1)
    q = torch.where(rated[..., None], truth, 1.0 / truth.shape[-1])
    log_p = torch.log_softmax(logits, dim=-1)
    return _pointwise((torch.xlogy(q, q) - q * log_p).sum(-1), rated)


def listwise(pred: Tensor, truth: Tensor) -> Tensor:
    """`listmle`: negative log likelihood of the rated order under a Plackett-Luce model, per rated clip.

    ListMLE (Xia et al., ICML 2008): each clip in turn is drawn, with probabilities softmax(pred), from
    itself and the clips rated below it.  Clips with equal scores compete in one draw each (Breslow's rule
    for ties), so that their order in the batch cannot matter.  Blind to a common shift.
    """
    p, t, rated = _mask(pred, truth)
    below = (t[None, :] <= t[:, None]) & rated[None, :]  # [i, j, A]: j competes with i
    rivals = torch.where(below, p[None, :], -torch.inf)
    lost = torch.logsumexp(torch.where(rated[:, None], rivals, 0.0), dim=1) - p
    counts = rated.sum(0)
    return _axis_mean(torch.where(rated, lost, 0.0).sum(0) / counts.clamp(min=1), counts > 1)


def soft_levels(truth: Tensor, ratings: Sequence[Sequence[Sequence[float]]], levels: Tensor) -> Tensor:
    """[N, A, RATING_LEVELS] probabilities: each listener's rating spread over the levels by a Gaussian.

    Parameters
    ----------
    truth
        [N, A] mean scores on the labels' scale, NaN where not rated (NaN comes back).
    ratings
        Per clip and axis the single ratings; where there are none the mean stands for them.
    levels
        [RATING_LEVELS] or [A, RATING_LEVELS] their values in ascending order; a rating below the lowest
        counts to it.
    """
    of_axes = levels.expand(truth.shape[1], -1)
    target = torch.full((*truth.shape, levels.shape[-1]), torch.nan, dtype=torch.float64)
    for clip, axis in torch.isfinite(truth).nonzero().tolist():
        levels = of_axes[axis]
        step = (levels[1] - levels[0]) * SOFTNESS_LEVELS
        single = torch.tensor(ratings[clip][axis] or [truth[clip, axis].item()], dtype=torch.float64)
        kernel = torch.softmax(
            -((levels - single[:, None].clamp(levels[0], levels[-1])) / step).square() / 2, -1
        )
        target[clip, axis] = kernel.mean(0)
    return target.float()


LOSSES = {
    "con": Loss(contrastive, calibrate=True),
    "ut": Loss(utmos),
    "dcq": Loss(quality_comparison, calibrate=True),
    "ccc": Loss(concordance),
    "mse": Loss(mean_squared),
    "huber": Loss(huber),
    "listeners": Loss(listeners, calibrate=True, distribution=True),
    "listmle": Loss(listwise, calibrate=True),
}


def level_values(scale: Scale, device: torch.device | None = None) -> Tensor:
    """[RATING_LEVELS] the ratings on a scale: 1, 2 .. 10 for the scale 0-10, as no rating is 0.

    [A, RATING_LEVELS] where the axes have scales of their own.
    """
    if scale.ends:
        return torch.stack([level_values(scale.axis(number), device) for number in range(len(scale.ends))])
    bottom = scale.low + (scale.high - scale.low) / RATING_LEVELS if scale.low == 0 else scale.low
    return torch.linspace(bottom, scale.high, RATING_LEVELS, dtype=torch.float64, device=device)


def loss_of(name: str, tau: float = TAU) -> Loss:
    """The loss of that name; `tau` is read by `ut` alone.  ValueError for a name that is unknown."""
    found = LOSSES[choose("loss", name, LOSSES)]
    if found.function is utmos and tau != TAU:
        return replace(found, function=partial(utmos, tau=tau))
    return found
