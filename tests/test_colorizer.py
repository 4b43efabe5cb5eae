from __future__ import annotations

import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.color import rgb2yuv
from stand_ins import TintNetwork
from stand_ins import colorizer_of as with_network

from napari_colorize import Colorizer
from napari_colorize import colorizer as module
from napari_colorize.errors import (
    ColorizeNote,
    ColorizeWarning,
    ImageError,
    OutOfMemoryError,
    SettingsError,
)
from napari_colorize.imaging.intensity_range import FROM_DATA, declared_range
from napari_colorize.imaging.planes import HAD_COLOR, NOT_FINITE
from napari_colorize.networks import ARCHITECTURES


class LimitedNetwork(TintNetwork):
    """Network that raises an out-of-memory error above a number of pixels per batch."""

    def __init__(self, pixels: int, calls: list[torch.Size] | None = None) -> None:
        super().__init__()
        self.pixels, self.calls = pixels, [] if calls is None else calls

    def forward(self, gray, self_attention=True):
        self.calls.append(gray.shape)
        if gray.numel() > self.pixels:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return super().forward(gray, self_attention)


class GrayNetwork(TintNetwork):
    """Network that predicts no color."""

    def forward(self, gray, self_attention=True):
        return super().forward(gray, self_attention) * 0


@pytest.mark.parametrize("saturation", [0, 1, 4])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 300), (64, 48)])
def test_luminance_equals_the_input(tiny_colorizer, shape, saturation):
    gray = np.random.default_rng(0).random(shape, dtype=np.float32)

    result = tiny_colorizer(gray, saturation=saturation)

    np.testing.assert_allclose(rgb2yuv(result.rgb)[..., 0], gray, atol=2e-6)


def test_bright_is_orange_and_dark_is_blue(tiny_colorizer, ramp):
    rgb = tiny_colorizer(ramp).rgb

    assert rgb[40, 32, 0] > rgb[40, 32, 2] + 0.1
    assert rgb[8, 32, 2] > rgb[8, 32, 0] + 0.1


def test_saturation_changes_without_running_the_network(ramp):
    network = LimitedNetwork(10**9)
    result = with_network(network)(ramp)

    vivid = result.with_(saturation=2.0)

    assert len(network.calls) == 1
    np.testing.assert_array_equal(vivid.rgb, with_network(TintNetwork())(ramp, saturation=2.0).rgb)
    assert vivid.provenance["settings"]["saturation"] == 2.0


def test_settings_of_the_prediction_cannot_be_changed_afterwards(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match="call the Colorizer again with render_factor"):
        tiny_colorizer(ramp).with_(render_factor=9)


def test_self_attention_is_switched_at_run_time(tiny_colorizer, ramp):
    on, off = (tiny_colorizer(ramp, self_attention=choice) for choice in (True, False))

    torch.testing.assert_close(on.chroma.uv, 2 * off.chroma.uv)


def test_settings_default_to_the_recommendations_of_the_checkpoint(ramp):
    result = with_network(TintNetwork(), render_factor=12, saturation=2.0)(ramp)

    assert result.settings.render_factor == result.chroma.render_factor == 12
    assert result.settings.saturation == 2.0


def test_a_torch_tensor_gives_a_torch_tensor(tiny_colorizer, ramp):
    from_torch = tiny_colorizer(torch.from_numpy(ramp)).rgb

    assert isinstance(from_torch, torch.Tensor)
    np.testing.assert_array_equal(from_torch, tiny_colorizer(ramp).rgb)


def test_bfloat16_tensors_keep_their_type(tiny_colorizer, ramp):
    assert tiny_colorizer(torch.from_numpy(ramp).bfloat16()).rgb.dtype == torch.bfloat16


def test_a_dask_array_gives_a_dask_array(tiny_colorizer, ramp):
    array = pytest.importorskip("dask.array").from_array(ramp, chunks=16)

    colors = tiny_colorizer(array).rgb

    assert type(colors) is type(array)
    np.testing.assert_array_equal(colors.compute(), tiny_colorizer(ramp).rgb)


def test_numpy_converts_a_result_to_an_array(tiny_colorizer, ramp):
    result = tiny_colorizer(ramp)

    np.testing.assert_array_equal(np.asarray(result), result.rgb)


def test_planes_are_colorized_like_single_images(tiny_colorizer):
    stack = np.random.default_rng(0).integers(0, 256, (3, 2, 20, 30), dtype=np.uint8)

    planes = dict(tiny_colorizer.iter_planes(stack))

    assert list(planes) == [(first, second) for first in range(3) for second in range(2)]
    np.testing.assert_array_equal(planes[2, 1].rgb, tiny_colorizer(stack[2, 1]).rgb)


def test_small_planes_share_a_run_of_the_network():
    network = LimitedNetwork(10**9)

    list(with_network(network).iter_planes(np.zeros((5, 20, 30), np.uint8)))

    assert len(network.calls) == 1
    assert network.calls[0][0] == 5


def test_batches_contain_every_plane():
    stack = np.random.default_rng(0).integers(0, 256, (9, 16, 16), dtype=np.uint8)
    colorizer = with_network(TintNetwork(), render_factor=16)  # four planes at a time

    assert [index for index, _ in colorizer.iter_planes(stack)] == [(i,) for i in range(9)]


def test_planes_are_computed_on_demand():
    network = LimitedNetwork(10**9)
    stack = np.zeros((100, 20, 30), np.uint8)

    next(with_network(network, render_factor=40).iter_planes(stack))

    assert sum(shape[0] for shape in network.calls) == 1


def test_planes_of_a_stack_share_its_limits(tiny_colorizer):
    stack = np.stack([np.full((8, 8), value, np.int32) for value in (-100, 0, 100)])

    with pytest.warns(ColorizeNote, match=FROM_DATA.format(-100, 100)):
        grays = [result.gray.mean() for _, result in tiny_colorizer.iter_planes(stack)]

    np.testing.assert_allclose(grays, [0, 0.5, 1])


def test_large_planes_go_one_by_one(monkeypatch):
    monkeypatch.setattr(module, "PLANE_PIXELS", 20 * 30)
    network = LimitedNetwork(10**9)

    list(with_network(network).iter_planes(np.zeros((3, 20, 30), np.uint8)))

    assert [shape[0] for shape in network.calls] == [1, 1, 1]


@pytest.mark.parametrize("limits", [None, (0, 1)])
def test_a_stack_without_planes_raises_before_iteration(tiny_colorizer, limits):
    with pytest.raises(ImageError, match="no planes"):
        tiny_colorizer.iter_planes(np.zeros((0, 20, 30)), contrast_limits=limits)


def test_a_wrong_setting_raises_before_the_first_plane(tiny_colorizer):
    with pytest.raises(SettingsError):
        tiny_colorizer.iter_planes(np.zeros((2, 20, 30)), saturation=9)


def test_nan_from_the_network_gives_a_warning_and_stays_gray(ramp):
    class NaNNetwork(TintNetwork):
        def forward(self, gray, self_attention=True):
            return super().forward(gray) * float("nan")

    with pytest.warns(ColorizeWarning, match="returned NaN"):
        result = with_network(NaNNetwork())(ramp)

    np.testing.assert_allclose(result.rgb[..., 0], ramp, atol=1e-6)


def test_predict_warns_like_a_call(ramp):
    with pytest.warns(ColorizeWarning, match="5 was used"):
        with_network(LimitedNetwork(10_000), render_factor=10).predict(ramp)


def test_dask_stacks_are_computed_plane_by_plane(tiny_colorizer):
    dask_array = pytest.importorskip("dask.array")
    computed = []

    def load(block, block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return block + 1

    stack = dask_array.zeros((6, 20, 30), chunks=(1, 20, 30), dtype=np.uint8).map_blocks(
        load, dtype=np.uint8
    )
    computed.clear()
    planes = with_network(TintNetwork(), render_factor=40).iter_planes(stack)
    next(planes)

    assert set(computed) == {0}


def test_colors_of_an_image_are_replaced_with_a_note(tiny_colorizer):
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)

    with pytest.warns(ColorizeNote, match="had colors"):
        result = tiny_colorizer(image)

    assert HAD_COLOR in result.notes
    assert HAD_COLOR in result.provenance["notes"]


def test_a_warning_names_the_line_of_the_caller(tiny_colorizer):
    with pytest.warns(ColorizeWarning) as caught:
        tiny_colorizer(np.full((20, 20), 128, np.uint8))

    assert caught[0].filename == __file__


def test_nan_in_the_image_gives_a_warning_and_stays(tiny_colorizer, ramp):
    ramp = ramp.copy()
    ramp[3, 4] = np.nan

    with pytest.warns(ColorizeWarning, match=NOT_FINITE):
        result = tiny_colorizer(ramp)

    assert np.isnan(result.rgb).any(axis=-1).sum() == 1
    assert np.isnan(result.rgb[3, 4]).all()


def test_almost_no_color_gives_a_warning(ramp):
    with pytest.warns(ColorizeWarning, match="almost no color .* Try another render factor"):
        with_network(GrayNetwork())(ramp)


def test_almost_no_color_of_an_even_image_is_explained(tiny_colorizer):
    with pytest.warns(ColorizeWarning, match="almost no contrast.* set other contrast limits"):
        tiny_colorizer(np.full((20, 20), 128, np.uint8))


@pytest.mark.parametrize("level", [0.25, 0.4, 0.5, 0.6, 0.75])
@pytest.mark.parametrize("noise", [0, 0.03])
def test_blank_pages_and_frames_stay_gray(level, noise):
    values = np.random.default_rng(0).normal(level, noise, (180, 240)).clip(0, 1)

    with pytest.warns(ColorizeWarning, match="almost no color"):
        colors = Colorizer.from_pretrained("embedded")(values).rgb

    assert np.ptp(colors, axis=-1).max() < 0.02


def test_exhausted_memory_reduces_the_render_factor_with_a_warning(ramp):
    limited = with_network(LimitedNetwork(100 * 100), render_factor=10)

    with pytest.warns(ColorizeWarning, match="exhausted at render factor 10: 5 was used"):
        result = limited(ramp)

    assert result.chroma.render_factor == result.settings.render_factor == 5
    assert any("exhausted" in note for note in result.provenance["notes"])


def test_batches_that_exhaust_memory_are_split_into_planes():
    network = LimitedNetwork(64 * 64 * 2)
    limited = with_network(network, fit="square")

    with warnings.catch_warnings():
        warnings.simplefilter("error", ColorizeWarning)
        stack = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
        results = [result for _, result in limited.iter_planes(stack)]

    assert len(results) == 4
    assert all(result.chroma.render_factor == 4 for result in results)


def test_without_retries_the_error_names_a_render_factor_that_fits(ramp):
    limited = with_network(LimitedNetwork(100 * 100), render_factor=10)

    with pytest.raises(OutOfMemoryError, match="10 does not fit.*use render_factor=5"):
        limited(ramp, retry_smaller=False)


def test_if_nothing_fits_an_error_is_raised(ramp):
    with pytest.raises(OutOfMemoryError, match="nor does any smaller"):
        with_network(LimitedNetwork(0))(ramp)


def test_a_memory_limit_that_does_not_suffice_is_named(ramp, monkeypatch):
    monkeypatch.setenv("NAPARI_COLORIZE_MAX_MEMORY", "1KB")
    with pytest.raises(OutOfMemoryError, match="Raise the memory limit of 1KB"):
        with_network(LimitedNetwork(0))(ramp)


def test_other_errors_of_the_network_are_not_treated_as_exhausted_memory(ramp):
    class FailingNetwork(TintNetwork):
        def forward(self, gray, self_attention=True):
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        with_network(FailingNetwork())(ramp)


def test_two_threads_give_the_results_of_one(tiny_colorizer):
    images = np.random.default_rng(0).random((8, 30, 40))
    alone = [tiny_colorizer(image, saturation=1 + i / 4).rgb for i, image in enumerate(images)]
    together: dict[int, np.ndarray] = {}

    def work(first: int) -> None:
        for index in range(first, 8, 2):
            result = tiny_colorizer(images[index], saturation=1 + index / 4)
            together[index] = result.rgb

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for index, expected in enumerate(alone):
        np.testing.assert_array_equal(together[index], expected)


def test_provenance_can_be_switched_off(tiny_colorizer, ramp):
    assert tiny_colorizer(ramp).provenance["model"] == "tint"
    assert tiny_colorizer(ramp, provenance=False).provenance == {}


def test_a_stack_instead_of_an_image_is_refused(tiny_colorizer):
    with pytest.raises(ImageError, match="iter_planes"):
        tiny_colorizer(np.zeros((5, 20, 30)))


def test_a_fidelity_is_refused_for_other_networks(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match="compact"):
        tiny_colorizer(ramp, fidelity="deoldify")


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_network_built_without_attention_refuses_the_setting(ramp, layers):
    options = {"encoder": "resnet18-layer3", "width": 0.0625, "attention": layers}
    network = ARCHITECTURES["deoldify-other"].create(**options).eval()
    colorizer = with_network(network, architecture="deoldify-other")

    assert colorizer.architecture.has_self_attention == (layers > 0)
    if layers == 0:
        with pytest.raises(SettingsError, match="self-attention"):
            colorizer(ramp, self_attention=False)


def test_each_blended_model_has_the_saturation_that_it_recommends(ramp):
    first = with_network(TintNetwork(), saturation=2.0)
    second = with_network(TintNetwork(), name="second", saturation=1.0)

    result = first(ramp, blend_with=second, blend=1.0)

    assert result.settings.saturation == 2.0
    np.testing.assert_allclose(result.rgb, second(ramp).rgb, atol=1e-3)


def test_guides_of_a_stream_are_requested_by_the_number_of_the_image(tiny_colorizer, ramp):
    requested = []

    def guides(index):
        requested.append(index)

    results = list(tiny_colorizer.stream([ramp] * 40, guides=guides))

    assert len(results) == 40
    assert requested == [(number,) for number in range(40)]


def test_batches_of_a_stream_are_bounded():
    network = LimitedNetwork(10**9)

    list(with_network(network).stream([np.zeros((20, 30), np.uint8)] * 40))

    assert [shape[0] for shape in network.calls] == [1, 16, 16, 7]


def test_a_saturation_of_zero_is_not_replaced_by_the_recommended_one(ramp):
    result = with_network(TintNetwork(), saturation=2.0)(ramp, saturation=0)

    assert result.settings.saturation == 0


def test_the_contrast_limits_of_a_constant_image_are_not_recorded(tiny_colorizer):
    with pytest.warns(ColorizeWarning):
        result = tiny_colorizer(np.full((8, 9), -5, np.int32))

    assert result.settings.contrast_limits is None


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_the_network_gets_black_instead_of_nan(tiny_colorizer, ramp):
    black, missing = ramp.copy(), ramp.copy()
    black[40:], missing[40:] = 0, np.nan

    torch.testing.assert_close(tiny_colorizer.predict(missing).uv, tiny_colorizer.predict(black).uv)


def test_a_stack_of_12_bits_has_one_note_and_its_range_in_every_record(tiny_colorizer):
    stack = np.stack([np.full((8, 8), value, np.uint16) for value in (4000, 20, 300)])

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", ColorizeNote)
        results = [result for _, result in tiny_colorizer.iter_planes(stack)]

    notes = [str(each.message) for each in shown if each.category is ColorizeNote]
    assert len(notes) == 1
    assert "0 and 4095" in notes[0]
    for result in results:
        assert notes[0] in result.notes
        assert result.settings.contrast_limits == (0, 4095)
        assert result.provenance["intensity_range"] == {
            "limits": [0, 4095],
            "source": "12 significant bits",
        }
        assert result.pixels.max() <= 4095


def test_limits_are_no_declared_range(tiny_colorizer, ramp):
    with pytest.raises(SettingsError, match=r"give limits as contrast_limits=\(low, high\)"):
        tiny_colorizer(ramp, declared_range=(0, 100))


def test_a_declared_range_is_used_unless_limits_are_given(tiny_colorizer, ramp):
    image = (ramp * 2000).astype(np.int16) - 1000
    window = declared_range((-160, 240), "DICOM window")

    with pytest.warns(ColorizeNote, match="DICOM window"):
        declared = tiny_colorizer(image, declared_range=window)
    chosen = tiny_colorizer(image, declared_range=window, contrast_limits=(0, 9))

    assert declared.settings.contrast_limits == (-160, 240)
    assert declared.provenance["intensity_range"]["source"] == "DICOM window"
    assert chosen.settings.contrast_limits == (0, 9)
    assert not any("DICOM" in note for note in chosen.notes)


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_the_rule_of_the_training_is_used_if_nothing_is_given_or_declared(ramp):
    trained = with_network(TintNetwork())
    trained = replace(trained, checkpoint=replace(trained.checkpoint, contrast_limits="data"))
    image = (ramp * 700).astype(np.uint16) + 5
    window = declared_range((0, 700), "ImageJ display range")

    assert trained(image).plane.limits == (image.min(), image.max())
    assert trained(image, declared_range=window).plane.limits == (0, 700)
    assert trained(image, contrast_limits="dtype").plane.limits == (0, 65535)
    _, first = next(trained.iter_planes(np.stack([image, image * 2])))
    assert first.plane.limits == (image.min(), 2 * image.max())


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
@pytest.mark.parametrize("factor", [4, 16])
def test_colors_do_not_depend_on_the_scale_of_the_values(tiny_colorizer, ramp, factor):
    image = (255 * ramp).astype(np.uint8)
    scaled = image.astype(np.uint16) * factor

    expected = pytest.approx(tiny_colorizer(image).chroma.mean(), rel=0.05)

    assert tiny_colorizer(scaled).chroma.mean() == expected
    (result,) = tiny_colorizer.stream([scaled])
    assert result.chroma.mean() == expected
