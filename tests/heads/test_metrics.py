"""Every metric against a plain double-loop reference, and its behaviour at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from mmmos.heads.metrics import METRICS, composite, lcc, mse, mse_parts, ranks, srcc, system_means


def reference_mse(p, t):
    return sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) / len(p)


def reference_lcc(p, t):
    mean_p, mean_t = sum(p) / len(p), sum(t) / len(t)
    top = sum((a - mean_p) * (b - mean_t) for a, b in zip(p, t, strict=True))
    return top / math.sqrt(sum((a - mean_p) ** 2 for a in p) * sum((b - mean_t) ** 2 for b in t))


def reference_ranks(values):
    return [sum(v < x for v in values) + (1 + sum(v == x for v in values)) / 2 for x in values]


def reference_srcc(p, t):
    return reference_lcc(reference_ranks(p), reference_ranks(t))


def reference_ktau(p, t):
    sign = lambda x: (x > 0) - (x < 0)  # noqa: E731
    pairs = [(i, j) for i in range(len(p)) for j in range(i)]
    top = sum(sign(p[i] - p[j]) * sign(t[i] - t[j]) for i, j in pairs)
    untied_p = sum(p[i] != p[j] for i, j in pairs)
    untied_t = sum(t[i] != t[j] for i, j in pairs)
    return top / math.sqrt(untied_p * untied_t)


REFERENCES = {"mse": reference_mse, "lcc": reference_lcc, "srcc": reference_srcc, "ktau": reference_ktau}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_matches_the_double_loop(name, ties, shift, rng):
    for n in (3, 4, 17, 60):
        p, t = rng.normal(5, 2, n), rng.normal(5, 2, n)
        if ties:
            p, t = np.round(p), np.round(t)
            p[0], t[0] = 11.0, 12.0
        got = METRICS[name](p + shift, t + shift)
        assert got == pytest.approx(REFERENCES[name]((p + shift).tolist(), (t + shift).tolist()), abs=1e-12)


@given(st.lists(st.integers(0, 6)))
def test_ranks_are_those_of_scipy_and_ties_share_theirs(values):
    assert ranks(np.array(values, dtype=np.float64)).tolist() == rankdata(values).tolist()


def test_hand_worked_values():
    p, t = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]
    assert mse(p, t) == pytest.approx(0.5)
    assert lcc(p, t) == pytest.approx(0.8)
    assert srcc(p, t) == pytest.approx(0.8)
    assert METRICS["ktau"](p, t) == pytest.approx(4 / 6)
    assert METRICS["ktau"]([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(2 * 3))


CORRELATIONS = [name for name, metric in METRICS.items() if metric.varied]
ERRORS = [name for name, metric in METRICS.items() if metric.better == "low"]


@pytest.mark.parametrize("name", METRICS)
def test_perfection_and_its_opposite(name):
    t = np.array([1.0, 4.0, 2.5, 9.0])
    assert METRICS[name](t, t) == (0.0 if name in ERRORS else pytest.approx(1.0, abs=1e-15))
    if name in CORRELATIONS:
        assert METRICS[name](-t, t) == pytest.approx(-1.0, abs=1e-15)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_says_which_way_is_better(name, rng):
    truth = rng.normal(5, 1, 200)
    near, far = (METRICS[name](truth + rng.normal(0, noise, 200), truth) for noise in (0.2, 2.0))
    assert (near < far) == (METRICS[name].better == "low")


@pytest.mark.parametrize("name", CORRELATIONS)
def test_undefined_is_none_with_a_reason(name):
    varied, flat = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    rounding = [0.3, 0.1 + 0.2, 0.3]
    for p, t, reason in [
        (flat, varied, "all predictions are equal"),
        (varied, flat, "all ratings are equal"),
        (rounding, varied, "all predictions are equal"),
        ([1.0], [1.0], "a correlation needs 3 items, there are 1"),
        ([1.0, 2.0], [1.0, 4.0], "a correlation needs 3 items, there are 2"),
        ([], [], "no rated clips"),
    ]:
        assert METRICS[name](p, t) is None
        assert METRICS[name].why_undefined(p, t) == reason
    assert METRICS[name].why_undefined(varied, varied) == ""


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_nothing_is_undefined_and_of_constants_is_not(name):
    error = METRICS[name]
    assert error([], []) is None
    assert error.why_undefined([], []) == "no rated clips"
    assert error([2.0, 2.0], [1.0, 1.0]) == 1.0
    assert error.why_undefined([2.0, 2.0], [1.0, 1.0]) == ""


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_and_unequal_input_is_refused(name, bad):
    with pytest.raises(ValueError, match="not finite"):
        METRICS[name]([1.0, bad, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not finite"):
        METRICS[name]([1.0, 3.0, 2.0], [1.0, 2.0, bad])
    with pytest.raises(ValueError, match="equally long"):
        METRICS[name]([1.0, 2.0], [1.0, 2.0, 3.0])


ratings = st.lists(st.integers(0, 10).map(float), min_size=2, max_size=25)


@given(ratings, st.randoms(use_true_random=False))
def test_order_of_clips_and_of_sides_do_not_matter(truth, random):
    pred = [value + random.choice([-1.0, 0.0, 2.0]) for value in truth]
    order = random.sample(range(len(truth)), len(truth))
    for metric in METRICS.values():
        value = metric(pred, truth)
        shuffled = metric([pred[i] for i in order], [truth[i] for i in order])
        swapped = metric(truth, pred)
        if value is None:
            assert shuffled is None
            assert swapped is None
            assert metric.why_undefined(pred, truth)
        else:
            assert math.isfinite(value)
            assert shuffled == pytest.approx(value, abs=1e-12)
            assert swapped == pytest.approx(value, abs=1e-12)


@given(ratings)
def test_ranks_ignore_monotone_changes_and_lcc_positive_affine_ones(truth):
    pred = [value * value for value in reversed(truth)]
    for name, change in [("srcc", math.exp), ("ktau", math.exp), ("lcc", lambda x: 0.01 * x - 7)]:
        before, after = METRICS[name](pred, truth), METRICS[name](pred, [change(x) for x in truth])
        assert after == (None if before is None else pytest.approx(before, abs=1e-9))


def test_composite_is_the_mean_of_the_axes_present_on_both_sides():
    pred = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]])
    truth = np.array([[2.0, 2.0, 2.0, 6.0], [np.nan, 5.0, np.nan, 7.0], [np.nan] * 4])
    p, t = composite(pred, truth)
    np.testing.assert_allclose(p, [2.5, 3.0, np.nan])
    np.testing.assert_allclose(t, [3.0, 6.0, np.nan])


def test_system_means_are_in_alphabetical_order():
    names, means = system_means([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]], ["b", "a", "b"])
    assert names == ("a", "b")
    np.testing.assert_allclose(means, [[2.0, 20.0], [2.5, 25.0]])
    with pytest.raises(ValueError, match="2 values for 1"):
        system_means([1.0, 2.0], ["a"])


@pytest.mark.parametrize(
    ("pred", "truth", "level", "spread", "rest"),
    [
        ([1, 3], [2, 6], 4.0, 1.0, 0.0),  # means 2 and 4, deviations 1 and 2, in line
        ([1, 3], [6, 2], 4.0, 1.0, 8.0),  # the same the other way round: 2 * 1 * 2 * (1 - -1)
        ([1, 1], [2, 6], 9.0, 4.0, 0.0),  # a constant: what it lacks is the spread
        ([5], [3], 4.0, 0.0, 0.0),
    ],
)
def test_the_mse_in_parts_of_hand_worked_values(pred, truth, level, spread, rest):
    parts = mse_parts(pred, truth)
    assert parts == pytest.approx((level, spread, rest))
    assert sum(parts) == pytest.approx(mse(pred, truth))


def test_the_mse_of_nothing_has_no_parts():
    assert mse_parts([], []) is None


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=30))
def test_parts_of_the_mse_sum_to_it(pairs):
    pred, truth = zip(*pairs, strict=True)
    parts = mse_parts(pred, truth)
    assert sum(parts) == pytest.approx(mse(pred, truth), abs=1e-9)
    assert min(parts) > -1e-9
