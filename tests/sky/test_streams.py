"""Random streams are named by their keys alone."""

import numpy as np

from varistar.sky.streams import opaque_id, stream


def test_a_key_names_one_stream() -> None:
    first = stream(88, "star", "clump", 17).random(5)
    np.testing.assert_array_equal(first, stream(88, "star", "clump", 17).random(5))


def test_other_keys_and_seeds_name_other_streams() -> None:
    keys = [(88, "star", "clump", 17), (88, "star", "clump", 18), (88, "noise", "clump", 17), (89, "star", "clump", 17)]
    draws = {stream(*key).random() for key in keys}
    assert len(draws) == len(keys)


def test_text_and_number_of_the_same_look_differ() -> None:
    assert stream(1, "a", 1).random() != stream(1, "a", "1").random()


def test_numpys_integers_and_text_are_pythons() -> None:
    assert stream(1, "field", np.int64(4)).random() == stream(1, "field", 4).random()
    assert stream(1, np.str_("field"), 4).random() == stream(1, "field", 4).random()
    assert opaque_id(1, "field", np.int32(4)) == opaque_id(1, "field", 4)


def test_streams_are_uncorrelated() -> None:
    draws = np.array([stream(3, "field", i).standard_normal(2000) for i in range(20)])
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    # 190 correlations of 2000 numbers: the largest is below 4.5 / sqrt(2000) but for one run in a thousand
    assert np.abs(correlations).max() < 4.5 / np.sqrt(2000)


def test_ids_are_unique_and_say_nothing() -> None:
    ids = [opaque_id(88, "star", kind, i) for kind in ("clump", "rotator") for i in range(5000)]
    assert len(set(ids)) == len(ids)
    assert {len(i) for i in ids} == {18} and all(i.isascii() and i.isdigit() for i in ids)
    clump, rotator = np.array(ids[:5000], dtype=float), np.array(ids[5000:], dtype=float)
    assert abs(clump.mean() - rotator.mean()) < 5 * clump.std() * np.sqrt(2 / 5000)
