"""Temporal smoothing of stacks and streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins import TintNetwork, colorizer_of
from torch import Tensor

from napari_colorize.errors import SettingsError
from napari_colorize.sequence_smoothing import checked_axis


class FlickeringNetwork(TintNetwork):
    """Adds another color cast to every image."""

    def __init__(self) -> None:
        super().__init__()
        self._random = torch.Generator().manual_seed(0)

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        uv = super().forward(gray, self_attention) * 0 + 0.1
        return uv + torch.randn(len(uv), 2, 1, 1, generator=self._random) * 0.02


@pytest.fixture
def scene(ramp):
    return np.ascontiguousarray(np.random.default_rng(0).permuted(ramp, axis=1))


def casts(results):
    return np.array([np.mean(result.pixels[..., 0] - result.gray) for result in results])


def colored(stack, **settings):
    colorizer = colorizer_of(FlickeringNetwork())
    return [result for _, result in colorizer.iter_planes(stack, **settings)]


def test_smoothing_reduces_flicker_of_a_static_scene(scene):
    stack = np.stack([scene] * 12)

    before, after = colored(stack), colored(stack, temporal_smoothing=1.0)

    assert casts(after)[4:].std() < 0.5 * casts(before)[4:].std()


def test_without_smoothing_planes_are_independent(scene):
    stack = np.stack([scene] * 3)

    for alone, result in zip(colored(stack), colored(stack, temporal_smoothing=0.0), strict=True):
        np.testing.assert_array_equal(alone.pixels, result.pixels)


def test_sequences_of_different_channels_do_not_mix(scene):
    other = np.ascontiguousarray(scene[::-1])
    both = np.stack([np.stack([scene, other])] * 5)  # (t, c, y, x)

    together = dict(
        colorizer_of(TintNetwork()).iter_planes(both, temporal_smoothing=1.0, time_axis=0)
    )

    for channel in range(2):
        alone = colorizer_of(TintNetwork()).iter_planes(both[:, channel], temporal_smoothing=1.0)
        for (time,), result in alone:
            np.testing.assert_array_equal(result.pixels, together[time, channel].pixels)


def test_a_stream_is_smoothed_like_a_stack(scene):
    stack = np.stack([np.roll(scene, shift, axis=1) for shift in range(6)])
    colorizer = colorizer_of(TintNetwork())

    streamed = colorizer.stream(iter(stack), temporal_smoothing=0.8)

    for (_, expected), result in zip(
        colorizer.iter_planes(stack, temporal_smoothing=0.8), streamed, strict=True
    ):
        np.testing.assert_array_equal(result.pixels, expected.pixels)


def test_a_stream_reads_no_further_than_a_batch(scene):
    read = []

    def frames():
        for number in range(1000):
            read.append(number)
            yield scene

    stream = colorizer_of(TintNetwork()).stream(frames())
    for _ in range(3):
        next(stream)

    assert len(read) < 40


def test_smoothing_can_be_removed_but_not_changed(scene):
    last = colored(np.stack([scene] * 3), temporal_smoothing=0.8)[-1]

    alone = last.with_(temporal_smoothing=0.0)

    assert last.chroma.smoothed_uv is not None
    assert (alone.pixels != last.pixels).any()
    with pytest.raises(SettingsError, match="colorize the stack again"):
        last.with_(temporal_smoothing=0.4)


@pytest.mark.parametrize("axis", [2, -3])
def test_an_invalid_time_axis_is_refused(scene, axis):
    with pytest.raises(SettingsError, match="There is no axis"):
        colorizer_of(TintNetwork()).iter_planes(scene[None, None], time_axis=axis)


def test_a_time_axis_is_a_number(scene):
    with pytest.raises(SettingsError, match="time_axis must be the number of an axis, not 't'"):
        colorizer_of(TintNetwork()).iter_planes(scene[None, None], time_axis="t")


def test_negative_axes_count_from_the_end():
    assert checked_axis(-1, 3) == 2
    assert checked_axis(None, 0) is None
