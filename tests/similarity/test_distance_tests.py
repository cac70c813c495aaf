from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from topo.similarity.distance_tests import (
    GroupDistances,
    between_algorithms,
    embedded,
    family_gap,
    seed_effect,
    within_algorithms,
)

NAMES = ("er", "erk", "snip", "grasp")


def group(generator, *, effect=0.0, seed_shift=0.0, seeds=3, names=NAMES, model="m"):
    """Points of which the algorithm moves the middle by `effect` and the seed by `seed_shift`."""
    networks = pd.DataFrame([(n, s) for n in names for s in range(seeds)], columns=["pruner", "seed"])
    middles = {k: generator.normal(size=5) for k in (*names, *range(seeds))}
    points = generator.normal(size=(len(networks), 5))
    points += [effect * middles[r.pruner] + seed_shift * middles[r.seed] for r in networks.itertuples()]
    return GroupDistances("d", model, 0.9, networks, np.linalg.norm(points[:, None] - points, axis=2))


def test_means_against_a_loop():
    one_group = group(np.random.default_rng(0), effect=1)
    table = between_algorithms([one_group]).set_index(["pruner", "other"])
    d, networks = one_group.distances, one_group.networks
    for (one, other), row in table.iterrows():
        pairs = [
            d[i, j]
            for i, a in networks.iterrows()
            for j, b in networks.iterrows()
            if a["pruner"] == one and b["pruner"] == other and a["seed"] != b["seed"] and (one != other or i < j)
        ]
        assert row["pairs"] == len(pairs)
        assert row["distance"] == pytest.approx(np.mean(pairs))
    tested = within_algorithms([one_group], permutations=0)[0].set_index("pruner")
    assert tested.loc["er", "within"] == pytest.approx(table.loc[("er", "er"), "distance"])
    others = np.mean([table.loc[("er", o), "distance"] for o in NAMES[1:]])
    assert tested.loc["er", "between"] == pytest.approx(others)


def test_a_planted_similarity_is_detected_and_noise_is_not():
    generator = np.random.default_rng(0)
    planted, _ = within_algorithms([group(generator, effect=2, model=str(i)) for i in range(3)], permutations=199)
    assert (planted["p"] <= 0.05).all() and (planted["ratio"] < 0.8).all()
    nearest = within_algorithms([group(generator, effect=8)], permutations=199)[1]
    assert nearest["share"] > 0.9 and nearest["chance"] == pytest.approx(2 / 8) and nearest["p"] <= 0.01


@pytest.mark.slow
def test_noise_is_rejected_at_the_stated_rate():
    generator = np.random.default_rng(1)
    p = [within_algorithms([group(generator)], permutations=99, seed=i)[0]["p"].iloc[0] for i in range(150)]
    assert abs(np.mean(np.array(p) <= 0.05) - 0.05) < 0.045
    assert abs(np.mean(p) - 0.5) < 0.06


def recurring(generator, *, effect=0.0, without=(), seeds=2, names=tuple("abcdefgh")):
    """The same networks, but for little noise, at three sparsities; `without` lack a mark of their algorithm."""
    networks = pd.DataFrame([(n, s) for n in names for s in range(seeds)], columns=["pruner", "seed"])
    middles = {n: generator.normal(size=4) for n in names}
    points = generator.normal(size=(len(networks), 4))
    for i, name in enumerate(networks["pruner"]):
        points[i] += effect * (generator.normal(size=4) if name in without else middles[name])
    groups = []
    for sparsity in (0.8, 0.9, 0.95):
        moved = points + 0.1 * generator.normal(size=points.shape)
        distances = np.linalg.norm(moved[:, None] - moved, axis=2)
        groups.append(GroupDistances("d", "m", sparsity, networks, distances))
    return groups


@pytest.mark.slow
def test_networks_that_recur_at_every_sparsity_are_one_piece_of_evidence():
    generator = np.random.default_rng(4)
    p = []
    for seed in range(200):
        table, nearest = within_algorithms(recurring(generator), permutations=99, seed=seed)
        p.append([table["p"][0], table["p"][1:].min(), nearest["p"], (table["q"] < 0.05).any()])
    rates = (np.array(p)[:, [0, 2]] <= 0.05).mean(axis=0)
    assert (rates <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)).all() and np.mean(np.array(p)[:, 3]) <= 0.05


@pytest.mark.slow
def test_an_algorithm_without_a_mark_is_not_called_distinct_among_others_that_have_one():
    generator = np.random.default_rng(5)
    p, others = [], []
    for seed in range(100):
        groups = recurring(generator, effect=3.0, without="a", seeds=3)
        table = within_algorithms(groups, permutations=199, seed=seed)[0].set_index("pruner")
        p.append(table.loc["a", "p"])
        others.append(table.loc["b", "p"])
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)
    assert np.mean(np.array(others) <= 0.05) > 0.8


def test_families_are_permuted_among_algorithms():
    names = list("abcdef")
    families = dict(zip(names, ["x"] * 3 + ["y"] * 3, strict=True))
    rows = [(a, b, float(families[a] != families[b]) + 0.01 * i) for i, (a, b) in enumerate(permutations(names, 2))]
    pairs = pd.DataFrame(rows, columns=["pruner", "other", "distance"])
    gap = family_gap(pairs, families)
    # Of the ten ways to halve six algorithms one is as good.
    assert gap["p"] == pytest.approx(0.1) and gap["same"] < 0.3 < gap["different"]
    assert np.isnan(family_gap(pairs, dict.fromkeys(names, "x"))["p"])


def test_similarity_of_equal_seeds_is_not_attributed_to_algorithms():
    generator = np.random.default_rng(2)
    groups = [group(generator, seed_shift=5, model=str(i)) for i in range(4)]
    within = within_algorithms(groups, permutations=99)[0].iloc[0]
    assert within["ratio"] == pytest.approx(1, abs=0.1) and within["p"] > 0.05
    equal, unequal = seed_effect(groups)
    assert equal < 0.6 * unequal


def test_p_agrees_with_all_permutations():
    one_group = group(np.random.default_rng(3), effect=1, seeds=2, names=("er", "snip", "grasp"))
    order = np.arange(6).reshape(3, 2)
    gaps = []
    for p in permutations(range(3)):
        for q in permutations(range(3)):
            at = np.empty(6, dtype=int)
            at[order[:, 0]], at[order[:, 1]] = order[list(p), 0], order[list(q), 1]
            permuted = GroupDistances(
                "d", "m", 0.9, one_group.networks.iloc[at].reset_index(drop=True), one_group.distances
            )
            one = within_algorithms([permuted], permutations=0)[0].iloc[0]
            gaps.append(one["between"] - one["within"])
    exact = np.mean(np.array(gaps) >= gaps[0] - 1e-12)
    assert within_algorithms([one_group], permutations=99)[0].iloc[0]["p"] == pytest.approx(exact)


def test_with_one_seed_there_is_no_distance_within_an_algorithm():
    one_group = group(np.random.default_rng(0), seeds=1)
    tested, nearest = within_algorithms([one_group], permutations=9)
    assert tested[["within", "ratio", "p"]].isna().all(axis=None) and np.isnan(list(nearest.values())).all()
    assert between_algorithms([one_group])["pairs"].eq(1).all()
    assert np.isnan(seed_effect([one_group])).all()


def test_groups_of_other_algorithms_are_left_out_of_a_mean():
    generator = np.random.default_rng(0)
    first, second = group(generator, names=("er", "erk")), group(generator, names=("er", "snip"))
    tested = within_algorithms([first, second], permutations=9)[0].set_index("pruner")
    assert tested["groups"].to_dict() == {"all": 2, "er": 2, "erk": 1, "snip": 1}


def test_points_in_a_plane_are_recovered():
    points = np.random.default_rng(0).normal(size=(15, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    places, stress = embedded(distances)
    np.testing.assert_allclose(np.linalg.norm(places[:, None] - places, axis=2), distances, atol=1e-3)
    assert stress < 1e-4


def test_the_stress_is_kruskals_and_equal_distances_do_not_fit():
    distances = 1.0 - np.eye(12)
    places, stress = embedded(distances)
    shown = np.linalg.norm(places[:, None] - places, axis=2)
    assert stress == pytest.approx(np.sqrt(((shown - distances) ** 2).sum() / (distances**2).sum()))
    assert stress > 0.2
    assert embedded(np.zeros((3, 3)))[1] == 0
    assert embedded(np.array([[0.0, 1], [1, 0]]))[1] < 1e-6
