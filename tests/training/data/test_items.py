from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_colorize_training import data
from napari_colorize_training.data import files_in, is_validation
from napari_colorize_training.rng import normal, uniform
from PIL import Image


def test_all_exported_names_exist():
    assert all(hasattr(data, name) for name in data.__all__)


def test_files_are_returned_unchanged(tmp_path):
    for number in range(3):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / f"{number}.png")

    files = dict(files_in(tmp_path))

    assert files == {f"{n}.png": (tmp_path / f"{n}.png").read_bytes() for n in range(3)}


def test_the_split_of_a_file_does_not_depend_on_its_name():
    contents = [str(number).encode() for number in range(4000)]

    held = [is_validation(content) for content in contents]

    assert np.mean(held) == pytest.approx(0.02, abs=0.01)
    assert is_validation(contents[7], share=1.0) and not is_validation(contents[7], share=0.0)


@pytest.mark.parametrize("draw", [uniform, normal])
def test_random_numbers_of_an_image_do_not_depend_on_others(draw):
    seeds = [torch.Generator().manual_seed(seed) for seed in range(4)]
    whole = draw(seeds, torch.empty(4, 1), 3, 5)

    last = draw([torch.Generator().manual_seed(3)], torch.empty(1, 1), 3, 5)

    assert whole.shape == (4, 3, 5)
    torch.testing.assert_close(last, whole[3:])


def test_each_image_needs_a_generator():
    with pytest.raises(ValueError, match="3 images require 3 generators, got 2"):
        uniform([torch.Generator()] * 2, torch.empty(3))


def test_uniform_numbers_are_within_their_limits():
    numbers = uniform(torch.Generator().manual_seed(0), torch.empty(1000), 2, low=-3.0, high=5.0)

    assert numbers.shape == (1000, 2)
    assert -3 <= float(numbers.min()) < -2.9 and 4.9 < float(numbers.max()) <= 5
