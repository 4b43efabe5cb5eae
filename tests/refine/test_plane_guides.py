"""Guides per plane of a stack, given as a callable."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import SOON
from stand_ins import HintedNetwork, TintNetwork, colorizer_of

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.session import ColorizeSession

SIZE = (48, 64)


@pytest.fixture
def stack(ramp):
    return np.stack([ramp, ramp[:, ::-1], ramp * 0.5, ramp])


def red_dot(*position: int) -> Guides:
    return Guides(hints=Hints.from_points([position], [(1, 0, 0)], 2, SIZE))


def guides_of(index: tuple[int, ...]) -> Guides | None:
    """Return a mask for the second plane, a hint for the third, and nothing for the others."""
    mask = np.zeros(SIZE, bool)
    mask[:20] = True
    return {1: Guides(mask=mask), 2: red_dot(20, 20)}.get(index[-1])


def test_each_plane_of_a_stack_uses_its_own_guides(stack):
    colorizer = colorizer_of(TintNetwork())
    planes = dict(colorizer.iter_planes(stack, guides=guides_of))

    for index, result in planes.items():
        expected = colorizer(stack[index], guides=guides_of(index), contrast_limits=(0, 1))
        np.testing.assert_array_equal(result.pixels, expected.pixels)
        assert ("guides" in result.provenance) == (index in [(1,), (2,)])
    assert not np.array_equal(planes[2,].pixels, colorizer(stack[2]).pixels)


def test_images_of_a_stream_are_indexed_by_position(stack):
    colorizer = colorizer_of(TintNetwork())
    planes = dict(colorizer.iter_planes(stack, guides=guides_of))
    streamed = list(colorizer.stream(stack, guides=guides_of, contrast_limits=(0, 1)))

    for position, result in enumerate(streamed):
        np.testing.assert_array_equal(result.pixels, planes[position,].pixels)


def test_a_network_with_hint_input_gets_the_hints_of_each_plane(stack):
    network = HintedNetwork()
    colorizer = colorizer_of(network, architecture="zhang-siggraph17")
    planes = dict(colorizer.iter_planes(stack, guides=guides_of))
    chroma = [result.chroma.uv.abs().max() for result in planes.values()]

    assert chroma[2] > 0.05 > 1e-3 > max(chroma[0], chroma[1], chroma[3])
    assert network.batches == [1] * 4  # hints differ between planes, so planes are not batched

    list(colorizer.iter_planes(stack))
    assert network.batches[4:] == [4]


def test_guides_of_another_size_or_in_a_fidelity_mode_raise(stack):
    colorizer = colorizer_of(TintNetwork(), architecture="deoldify-wide")
    small = Guides(mask=np.ones((3, 3), bool))

    with pytest.raises(ImageError, match="expected 64 x 48 pixels .width x height., got 3 x 3"):
        list(colorizer.iter_planes(stack, guides=lambda index: small))
    with pytest.raises(SettingsError, match="no guides"):
        colorizer.iter_planes(stack, guides=guides_of, fidelity="ipol")


def test_a_session_requests_guides_once_per_displayed_plane(stack):
    colorizer = colorizer_of(TintNetwork())
    requested = []

    def guides(index):
        requested.append(index)
        return guides_of(index)

    with ColorizeSession(source=stack, plane=(2,), model=colorizer, guides=guides) as session:
        assert session.wait(SOON)
        session.set_settings(saturation=2.0)
        assert session.wait(SOON)
        expected = colorizer(stack[2], guides=guides_of((2,)), contrast_limits=(0, 1), saturation=2)
        np.testing.assert_array_equal(session.result.pixels, expected.pixels)
        assert requested == [(2,)]

        session.plane = (1,)
        assert session.wait(SOON)
        session.guides = None
        assert session.wait(SOON)
    assert requested == [(2,), (1,)]


NETWORKS = [(TintNetwork, "compact"), (HintedNetwork, "zhang-siggraph17")]


@pytest.mark.parametrize(("network", "architecture"), NETWORKS)
@pytest.mark.parametrize("temporal_smoothing", [0.0, 0.5])
def test_a_session_run_uses_the_guides_of_each_plane(
    stack, temporal_smoothing, network, architecture
):
    colorizer = colorizer_of(network(), architecture=architecture)
    planes = {}
    with ColorizeSession(source=stack, plane=(3,), model=colorizer, guides=guides_of) as session:
        session.set_settings(temporal_smoothing=temporal_smoothing)
        assert session.wait(SOON)
        session.plane_ready.connect(lambda index, result, _: planes.setdefault(index, result))
        session.colorize_stack()
        assert session.wait(SOON)

    assert len(planes) == 4
    expected = colorizer.iter_planes(stack, guides=guides_of, temporal_smoothing=temporal_smoothing)
    for index, result in expected:
        np.testing.assert_array_equal(planes[index].pixels, result.pixels)


@pytest.mark.parametrize(("network", "architecture"), NETWORKS)
def test_planes_displayed_again_use_the_same_guides(stack, network, architecture):
    colorizer, failed = colorizer_of(network(), architecture=architecture), []
    with ColorizeSession(source=stack, model=colorizer, guides=guides_of) as session:
        session.failed.connect(failed.append)
        for plane in (None, (1,), (2,), (3,), (2,), (1,), (2,)):
            session.plane = plane
            assert session.wait(SOON)
            expected = colorizer(
                stack[plane or (0,)], guides=guides_of(plane or (0,)), contrast_limits=(0, 1)
            )
            np.testing.assert_array_equal(session.result.pixels, expected.pixels)
    assert failed == []


def test_a_session_passes_hints_to_a_network_with_hint_input(stack):
    colorizer = colorizer_of(HintedNetwork(), architecture="zhang-siggraph17")
    with ColorizeSession(source=stack, plane=(2,), model=colorizer, guides=guides_of) as session:
        assert session.wait(SOON)
        hinted = session.result.chroma.uv.abs().max()
        session.guides = lambda index: None
        assert session.wait(SOON)

        assert hinted > 0.05 > 1e-3 > session.result.chroma.uv.abs().max()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Guides(hints="a.png"), "hints must be a Hints object, got str"),
        (lambda: Guides(reference=np.zeros((3, 3, 3))), "reference must be a Reference object"),
        (lambda: Guides(mask="a.png"), "got a path: load the file first"),
        (lambda: red_dot(20, 20).hints, "guides must be a Guides object"),
        (lambda: lambda index: red_dot(20, 20).hints, "guides must be a Guides object"),
        (dict, "guides must be a Guides object, .* got dict"),
    ],
)
def test_invalid_guides_raise(stack, given, message):
    colorizer = colorizer_of(TintNetwork())
    with pytest.raises(ImageError, match=message):
        list(colorizer.iter_planes(stack, guides=given()))


def test_a_result_rejects_other_objects_as_guides(ramp):
    with pytest.raises(ImageError, match="guides must be a Guides object"):
        colorizer_of(TintNetwork())(ramp).with_(guides=red_dot(20, 20).hints)
