from __future__ import annotations

import numpy as np
import pytest
from recorder import LayeredNetwork
from stand_ins import TintNetwork, colorizer_of
from torch import nn

from napari_colorize.errors import ColorizeError, ImageError, SettingsError
from napari_colorize.networks.layers import SelfAttention


class AttentiveNetwork(LayeredNetwork):
    """Ends in a self-attention layer without effect on the colors."""

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


def points(signals):
    return [found.point for found in signals.all("attention_ready")]


def test_attention_is_computed_for_the_displayed_plane(session, signals, network, ramp):
    stack = np.stack([ramp, ramp * 300])
    session.update(source=stack, plane=(1,))
    session.set_settings(gamma=2.0, render_factor=3)

    session.request_attention((40, 60))
    found = signals.wait_for("attention_ready")

    expected = session.model.attention_map(
        stack[1], (40, 60), gamma=2.0, render_factor=3, contrast_limits=(0, 300)
    )
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert (found.point, found.size) == ((40, 60), ramp.shape)
    names = [name for name, _ in signals.emitted]
    assert names.index("result_ready") < names.index("attention_ready")


def test_attention_uses_the_limits_of_the_displayed_result(session, signals, ramp):
    stack = np.stack([ramp, ramp * 300])
    session.source = pytest.importorskip("dask.array").from_array(stack, chunks=(1, 48, 64))
    session.colorize_stack()
    signals.wait_idle()
    session.set_settings(saturation=2.0)  # from now on between the limits of the whole stack

    session.request_attention((40, 60))
    found = signals.wait_for("attention_ready")

    expected = session.model.attention_map(ramp, (40, 60), contrast_limits=(0, 300))
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_the_newest_point_wins(session, signals, network, ramp):
    network.is_blocked = True
    session.source = ramp
    network.wait_until_blocked()

    for row in range(5):
        session.request_attention((row, 0))
    network.unblock()

    assert points(signals.wait_idle()) == [(4, 0)]


@pytest.mark.parametrize("change", ["source", "plane", "refresh", "cancel"])
@pytest.mark.parametrize("query", ["attend", "judge"])
def test_a_query_about_another_source_or_plane_is_dropped(
    session, signals, network, ramp, query, change
):
    session.source = np.stack([ramp, 1 - ramp])
    signals.wait_idle()
    network.is_blocked = True
    session.plane = (1,)
    network.wait_until_blocked()

    session.request_attention((0, 0)) if query == "attend" else session.request_expected_error()
    {
        "source": lambda: session.update(source=1 - ramp),
        "plane": lambda: session.update(plane=(0,)),
        "refresh": session.refresh,
        "cancel": session.cancel,
    }[change]()
    network.unblock()
    signals.wait_idle()

    assert (
        not signals.all("attention_ready")
        and not signals.all("expected_error_ready")
        and not signals.all("failed")
    )


def test_a_query_waits_for_changed_settings(session, signals, network, ramp):
    session.source = ramp
    signals.wait_idle()
    network.is_blocked = True
    session.request_expected_error()
    network.wait_until_blocked()  # second prediction, of the flipped image

    session.set_settings(render_factor=9)
    network.unblock()
    signals.wait_idle()

    ((result, _),) = signals.all("expected_error_ready")
    assert result.settings.render_factor == 9 and result is session.result


def test_the_expected_error_is_that_of_the_displayed_result(session, signals, ramp):
    session.update(source=ramp)
    session.set_settings(saturation=2.0)

    session.request_expected_error()
    result, errors = signals.wait_for("expected_error_ready")

    assert result is session.result
    np.testing.assert_array_equal(errors, session.model.expected_error(result))
    assert errors.shape == ramp.shape and errors.dtype == np.float32


def test_queries_are_answered_before_the_rest_of_a_run(
    session, signals, network, ramp, monkeypatch
):
    monkeypatch.setattr("napari_colorize.colorizer.BATCH_PLANES", 1)
    session.source = np.stack([ramp] * 5)
    signals.wait_idle()
    network.is_blocked = True
    session.colorize_stack()
    network.wait_until_blocked()

    session.request_attention((1, 1))
    session.request_expected_error()
    network.unblock()
    signals.wait_idle()

    names = [
        name
        for name, _ in signals.emitted
        if name in ("plane_ready", "attention_ready", "expected_error_ready")
    ]
    assert names == ["plane_ready", "attention_ready", "expected_error_ready"] + ["plane_ready"] * 4


def test_a_network_without_attention_fails_and_the_session_continues(session, signals, ramp):
    session.update(source=ramp, model=colorizer_of(TintNetwork()))
    session.request_attention((0, 0))

    error = signals.wait_for("failed")

    assert isinstance(error, SettingsError) and "no self-attention" in str(error)
    session.set_settings(saturation=2.0)
    assert len(signals.wait_idle().all("failed")) == 1
    assert signals.all("result_ready")[-1].settings.saturation == 2.0


def test_a_point_outside_the_image_fails(session, signals, ramp):
    session.source = ramp
    session.request_attention((48, 0))

    assert isinstance(signals.wait_for("failed"), ImageError)


def test_a_query_without_source_is_refused(session, ramp):
    for ask in (session.request_expected_error, lambda: session.request_attention((0, 0))):
        with pytest.raises(ImageError, match="choose one first"):
            ask()
    session.source = ramp
    session.close()
    with pytest.raises(ColorizeError, match="closed"):
        session.request_expected_error()
