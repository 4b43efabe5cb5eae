from __future__ import annotations

import numpy as np
import pytest
from recorder import LayeredNetwork
from stand_ins import TintNetwork, colorizer_of
from torch import nn

from napari_colorize.errors import ColorizeError, ImageError, SettingsError
from napari_colorize.networks.layers import SelfAttention


class AttentiveNetwork(LayeredNetwork):
    """Ends in self-attention, which changes nothing but can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = SelfAttention(1, norm=None)
        for part in (self.attention.query, self.attention.key):
            nn.init.constant_(part.weight, 3.0)

    def forward(self, gray, self_attention=True):
        self.attention(gray[..., ::8, ::8], self_attention)
        return super().forward(gray, self_attention)


@pytest.fixture
def network():
    return AttentiveNetwork()


def points(heard):
    return [found.point for found in heard.all("attention_ready")]


def test_attention_is_of_the_plane_looked_at_as_it_is_shown(session, heard, network, ramp):
    stack = np.stack([ramp, ramp * 300])
    session.update(source=stack, plane=(1,))
    session.set_settings(gamma=2.0, render_factor=3)

    session.request_attention((40, 60))
    found = heard.wait_for("attention_ready")

    expected = session.model.attention_map(
        stack[1], (40, 60), gamma=2.0, render_factor=3, contrast_limits=(0, 300)
    )
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert (found.point, found.size) == ((40, 60), ramp.shape)
    names = [name for name, _ in heard.said]
    assert names.index("result_ready") < names.index("attention_ready")


def test_attention_is_of_the_picture_shown_not_of_other_limits(session, heard, ramp):
    stack = np.stack([ramp, ramp * 300])
    session.source = pytest.importorskip("dask.array").from_array(stack, chunks=(1, 48, 64))
    session.colorize_stack()
    heard.settled()
    session.set_settings(saturation=2.0)  # from now on between the limits of the whole stack

    session.request_attention((40, 60))
    found = heard.wait_for("attention_ready")

    expected = session.model.attention_map(ramp, (40, 60), contrast_limits=(0, 300))
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_the_newest_point_wins(session, heard, network, ramp):
    network.held = True
    session.source = ramp
    network.wait_until_held()

    for row in range(5):
        session.request_attention((row, 0))
    network.let_go()

    assert points(heard.settled()) == [(4, 0)]


@pytest.mark.parametrize("change", ["source", "plane", "refresh", "cancel"])
@pytest.mark.parametrize("question", ["attend", "judge"])
def test_a_question_about_what_is_gone_is_dropped(session, heard, network, ramp, question, change):
    session.source = np.stack([ramp, 1 - ramp])
    heard.settled()
    network.held = True
    session.plane = (1,)
    network.wait_until_held()

    session.request_attention((0, 0)) if question == "attend" else session.request_expected_error()
    {
        "source": lambda: session.update(source=1 - ramp),
        "plane": lambda: session.update(plane=(0,)),
        "refresh": session.refresh,
        "cancel": session.cancel,
    }[change]()
    network.let_go()
    heard.settled()

    assert (
        not heard.all("attention_ready")
        and not heard.all("expected_error_ready")
        and not heard.all("failed")
    )


def test_other_settings_are_waited_for(session, heard, network, ramp):
    session.source = ramp
    heard.settled()
    network.held = True
    session.request_expected_error()
    network.wait_until_held()  # asked again, for the mirror image

    session.set_settings(render_factor=9)
    network.let_go()
    heard.settled()

    ((result, _),) = heard.all("expected_error_ready")
    assert result.settings.render_factor == 9 and result is session.result


def test_the_error_is_of_the_picture_shown(session, heard, ramp):
    session.update(source=ramp)
    session.set_settings(saturation=2.0)

    session.request_expected_error()
    result, errors = heard.wait_for("expected_error_ready")

    assert result is session.result
    np.testing.assert_array_equal(errors, session.model.expected_error(result))
    assert errors.shape == ramp.shape and errors.dtype == np.float32


def test_questions_come_before_the_rest_of_a_run(session, heard, network, ramp, monkeypatch):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = np.stack([ramp] * 5)
    heard.settled()
    network.held = True
    session.colorize_stack()
    network.wait_until_held()

    session.request_attention((1, 1))
    session.request_expected_error()
    network.let_go()
    heard.settled()

    names = [
        name
        for name, _ in heard.said
        if name in ("plane_ready", "attention_ready", "expected_error_ready")
    ]
    assert names == ["plane_ready", "attention_ready", "expected_error_ready"] + ["plane_ready"] * 4


def test_a_network_without_attention_says_so_and_goes_on(session, heard, ramp):
    session.update(source=ramp, model=colorizer_of(TintNetwork()))
    session.request_attention((0, 0))

    error = heard.wait_for("failed")

    assert isinstance(error, SettingsError) and "no self-attention" in str(error)
    session.set_settings(saturation=2.0)
    assert len(heard.settled().all("failed")) == 1
    assert heard.all("result_ready")[-1].settings.saturation == 2.0


def test_a_point_outside_is_told(session, heard, ramp):
    session.source = ramp
    session.request_attention((48, 0))

    assert isinstance(heard.wait_for("failed"), ImageError)


def test_there_must_be_something_to_ask_about(session, ramp):
    for ask in (session.request_expected_error, lambda: session.request_attention((0, 0))):
        with pytest.raises(ImageError, match="choose one first"):
            ask()
    session.source = ramp
    session.close()
    with pytest.raises(ColorizeError, match="closed"):
        session.request_expected_error()
