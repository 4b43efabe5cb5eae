"""RenderRequest: normalized inputs, and keys that contain exactly what matters for a step."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.session import ColorizeSession
from napari_colorize.session.request import INPUTS, RenderRequest
from napari_colorize.settings import REFINING, ColorizeSettings

SOURCE = np.zeros((2, 4, 4), np.uint8)
OTHER_VALUES = {
    "render_factor": 9,
    "saturation": 2.5,
    "self_attention": False,
    "contrast_limits": (1.0, 2.0),
    "gamma": 2.0,
    "fidelity": "ipol",
    "retry_smaller": False,
    "retry_on_cpu": False,
}


def request_with(**settings) -> RenderRequest:
    return RenderRequest(source=SOURCE, settings=ColorizeSettings(**settings))


@pytest.mark.parametrize("name", ["contrast_limits", "gamma", "fidelity"])
def test_the_input_key_contains_what_changes_the_gray_plane(name):
    other = request_with(**{name: OTHER_VALUES[name]})

    assert other.input_key != request_with().input_key


@pytest.mark.parametrize("name", sorted(OTHER_VALUES.keys() - {"saturation"}))
def test_the_prediction_key_contains_the_settings_of_the_prediction(name):
    other = request_with(**{name: OTHER_VALUES[name]})

    assert other.prediction_key() != request_with().prediction_key()


def test_the_prediction_key_leaves_out_what_only_rendering_uses():
    others = [
        request_with(saturation=2.5),
        request_with(provenance=False),
        request_with(edges=False),
        request_with(shadows=0.5),
        request_with(blend_by="confidence"),  # without a second model
    ]

    assert {other.prediction_key() for other in others} == {request_with().prediction_key()}


def test_every_setting_is_in_one_of_the_keys():
    known = {*OTHER_VALUES, *REFINING, "provenance"}

    assert known == {item.name for item in fields(ColorizeSettings)}


def test_saturation_is_part_of_the_prediction_of_other_fidelities():
    keys = [
        request_with(fidelity="ipol", saturation=saturation).prediction_key()
        for saturation in (1.0, 2.0)
    ]

    assert keys[0] != keys[1]


def test_blending_by_confidence_needs_another_prediction():
    blended = request_with(blend_by="confidence").replace(blend_with="ddcolor")
    by_mean = request_with().replace(blend_with="ddcolor")

    assert blended.needs_confidence and not by_mean.needs_confidence
    assert blended.prediction_key() != by_mean.prediction_key()


def test_a_recommended_render_factor_equals_the_same_explicit_one():
    assert request_with().prediction_key(7) == request_with(render_factor=7).prediction_key(9)


def test_an_index_of_zeros_is_the_first_plane():
    request = RenderRequest(source=SOURCE)

    assert request.plane_key == request.replace(plane=(0,)).plane_key
    assert request.plane_key != request.replace(plane=(1,)).plane_key


def test_a_new_source_starts_a_generation_without_plane_and_guides():
    before = RenderRequest(source=SOURCE, plane=(1,), rgb=False, time_axis=0)

    after = before.with_changes(source=SOURCE.copy(), model="ddcolor")

    assert (after.plane, after.rgb, after.time_axis) == (None, None, None)
    assert after.generation == before.generation + 1 and after.model == "ddcolor"


def test_equal_changes_return_the_same_request():
    request = RenderRequest(source=SOURCE, plane=(1,))

    assert request.with_changes(plane=[1], settings=ColorizeSettings(), device="auto") is request
    assert request.with_changes(plane=(0,)) is not request


def test_inputs_are_normalized():
    request = RenderRequest(model=Path("model.pt"), plane=[np.int64(1)], device=np.str_("cpu"))

    assert (request.model, request.plane, request.device) == ("model.pt", (1,), "cpu")


def test_invalid_inputs_are_refused():
    with pytest.raises(TypeError, match="no 'color'"):
        RenderRequest(color=1)
    with pytest.raises(SettingsError, match="must be ColorizeSettings"):
        RenderRequest(settings={"saturation": 1})
    with pytest.raises(ImageError, match="whole numbers"):
        RenderRequest(plane=(1.5,))


def test_a_request_is_immutable():
    with pytest.raises(AttributeError, match="immutable"):
        RenderRequest().plane = (1,)


def test_a_session_has_the_same_inputs_as_a_request():
    with ColorizeSession(plane=(1,), rgb=False) as session:
        values = {name: getattr(session, name) for name in INPUTS}

        assert values == {name: each.default for name, each in INPUTS.items()} | {
            "plane": (1,),
            "rgb": False,
        }
        session.time_axis = 1
        assert session.time_axis == 1


def test_every_input_is_documented():
    assert all(each.__doc__ for each in INPUTS.values())
