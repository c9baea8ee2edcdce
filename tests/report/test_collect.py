"""Which images are drawn."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.artifacts.run_folder import read_run
from headstart.report.collect import collect, sample

labels = st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=40)


@given(labels, st.integers(1, 30), st.integers(0, 100))
def test_every_class_is_drawn_before_any_is_drawn_twice(labels, most, seed):
    rows = sample(labels, most=most, rng=np.random.default_rng(seed))
    chosen = [labels[row] for row in rows]
    known = [label for label in labels if label is not None]
    assert len(rows) == len(set(rows)) == min(most, len(known))
    assert None not in chosen
    assert chosen == sorted(chosen)
    for label in set(known):
        full = chosen.count(label) == known.count(label)
        assert full or chosen.count(label) >= max(map(chosen.count, set(known))) - 1


def test_the_same_seed_draws_the_same_images(make_run):
    run = read_run(make_run(["cat", "dog"], each=40))
    one, same, other = collect(run), collect(run), collect(run, seed=1)
    assert (one.samples, one.random) == (same.samples, same.random)
    assert (one.samples, one.random) != (other.samples, other.random)
    assert len(set(one.samples)) == 24
    assert len(set(one.random)) == 6
