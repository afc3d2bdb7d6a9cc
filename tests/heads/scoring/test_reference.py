"""Where clips lie among the training domains."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.scoring.reference import Reference, make_reference


def features(rng: np.random.Generator, count: int, centre: float) -> dict[str, np.ndarray]:
    return {
        "a-1": rng.normal(centre, 2.0, (count, 6)).astype(np.float32),
        "b-2": rng.normal(-centre, 0.1, (count, 40)).astype(np.float32),
    }


def both(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate((one[name], other[name])) for name in one}


def made(rng: np.random.Generator) -> Reference:
    train = both(features(rng, 200, 3.0), features(rng, 200, -3.0))
    held_out = both(features(rng, 200, 3.0), features(rng, 200, -3.0))
    return make_reference(train, ["music"] * 200 + ["speech"] * 200, held_out)


def test_distances_are_in_units_of_training(rng: np.random.Generator) -> None:
    reference = made(rng)
    new = features(rng, 500, 3.0)
    near, far = reference.distances(new).T
    assert np.median(near) == pytest.approx(1.0, abs=0.08)
    # By hand: both encoders count the same, sqrt((1 + (6/2)^2 + 1 + (6/0.1)^2) / 2).
    assert np.median(far) == pytest.approx(np.sqrt((2 + 9 + 3600) / 2), rel=0.02)


def test_known_audio_is_placed_and_strange_audio_is_flagged(rng: np.random.Generator) -> None:
    reference = made(rng)
    domains, farness = reference.place(both(features(rng, 1000, 3.0), features(rng, 1000, -3.0)))
    assert domains == ["music"] * 1000 + ["speech"] * 1000
    assert (farness > 1).mean() < 0.03
    assert reference.place(features(rng, 100, 5.0))[1].min() > 1


def test_every_domain_has_its_own_limit(rng: np.random.Generator) -> None:
    """Strange audio near a narrow domain shows, although a wide one has clips that lie farther out."""

    def wide(count: int, centre: float, width: float) -> dict[str, np.ndarray]:
        return {"a-1": rng.normal(centre, width, (count, 30)).astype(np.float32)}

    train, held_out = (both(wide(400, 10.0, 3.0), wide(400, -10.0, 0.5)) for _ in range(2))
    reference = make_reference(train, ["sound"] * 400 + ["speech"] * 400, held_out)
    far, near = reference.limits
    assert far > 4 * near
    assert reference.place(wide(50, -8.0, 0.5))[1].min() > 1, "four deviations of speech away from speech"
    for centre, width in ((10.0, 3.0), (-10.0, 0.5)):
        assert (reference.place(wide(2000, centre, width))[1] > 1).mean() < 0.03
    about = reference.about()
    assert Reference.from_parts(about, reference.arrays(), {"a-1": 30}).limits == (far, near)
    old = Reference.from_parts({**about, "limit": 2.5}, reference.arrays(), {"a-1": 30})
    assert old.limits == (2.5, 2.5)
    assert old.about()["limit"] == 2.5, "the id of an old bundle stays"
    with pytest.raises(ValueError, match="limits"):
        Reference.from_parts({**about, "limit": [1.0]}, reference.arrays(), {"a-1": 30})


def test_without_domains_there_is_one_without_a_name(rng: np.random.Generator) -> None:
    reference = make_reference(features(rng, 50, 1.0), [""] * 50)
    assert reference.domains == ("",)
    assert reference.place(features(rng, 50, 1.0))[1].min() <= 1


def test_clips_without_a_domain_do_not_shift_those_with_one(rng: np.random.Generator) -> None:
    known = features(rng, 60, 1.0)
    reference = make_reference(both(known, features(rng, 60, 50.0)), ["music"] * 60 + [""] * 60)
    np.testing.assert_allclose(reference.means["a-1"][0], known["a-1"].mean(axis=0), rtol=1e-5)


def test_a_feature_that_hardly_varies_in_training_makes_nothing_strange(rng: np.random.Generator) -> None:
    """Its deviation is raised to a thousandth of the typical one, or any other value were very far."""
    train, new = features(rng, 200, 1.0), features(rng, 200, 1.0)
    train["a-1"][:, 0] = 7.0
    new["a-1"][:, 0] = 7.0 + 1e-3
    reference = make_reference(train, ["music"] * 200, features(rng, 200, 1.0) | {"a-1": train["a-1"]})
    typical = np.sqrt(np.square(train["a-1"].std(axis=0)).mean())
    assert reference.deviations["a-1"][0] == pytest.approx(1e-3 * typical, rel=0.01)
    assert reference.deviations["a-1"][1] == pytest.approx(2.0, rel=0.2)
    assert np.median(reference.distances(new)) == pytest.approx(1.0, abs=0.1)
    assert (reference.place(new)[1] > 1).mean() < 0.05


def test_parts_come_together_again_and_others_do_not(rng: np.random.Generator) -> None:
    reference = made(rng)
    dims = {"a-1": 6, "b-2": 40}
    again = Reference.from_parts(reference.about(), reference.arrays(), dims)
    new = features(rng, 10, 2.0)
    np.testing.assert_array_equal(again.distances(new), reference.distances(new))
    forged = reference.arrays()
    forged["deviation/a-1"] = np.zeros(6, np.float32)
    for about, arrays, sizes in [
        (reference.about(), reference.arrays(), {"a-1": 6}),
        (reference.about(), reference.arrays(), {"a-1": 7, "b-2": 40}),
        (reference.about(), forged, dims),
        ({**reference.about(), "limit": float("nan")}, reference.arrays(), dims),
        ({**reference.about(), "domains": []}, reference.arrays(), dims),
    ]:
        with pytest.raises(ValueError, match="reference"):
            Reference.from_parts(about, arrays, sizes)
