"""Rules that the panels have in common, without Qt and without a kernel."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import SOON, LayeredNetwork
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.display import DisplayRange, StackColors
from napari_colorize.errors import ColorizeError, ImageError, SettingsError
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.palette_transfer import Reference
from napari_colorize.session import ColorizeSession, messages
from napari_colorize.session.events import MainThreadRelay
from napari_colorize.session.presenter import PLANES_AHEAD, Presenter, SourceColors

EMPTY = "Choose an image."


class ManualTimer:
    """A timer that never calls by itself; tests use `Presenter.flush`."""

    def __init__(self, function):
        self.is_active = False

    def start(self):
        self.is_active = True

    def stop(self):
        self.is_active = False


class Panel:
    """A front end without a toolkit: a presenter and everything that it displays."""

    def __init__(self, model, **presenter_options):
        self.session = ColorizeSession(model=model)
        self.relay = MainThreadRelay()
        self.presenter = Presenter(
            self.session, self.relay, ManualTimer, empty_status=lambda: EMPTY, **presenter_options
        )
        self.statuses, self.results, self.stored = [], [], []
        self.presenter.status_changed.connect(lambda: self.statuses.append(self.presenter.status))
        self.presenter.events.result_ready.connect(self.results.append)
        self.presenter.plane_stored.connect(lambda _, index, result: self.stored.append(index))

    def open(self, stack):
        colors = SourceColors(
            lambda: StackColors(stack, DisplayRange(False, (0, 255))), leading_axes=1
        )
        self.presenter.show(colors, source=stack, plane=(0,), rgb=False)
        return self.settle() and colors

    def show_again(self, colors):
        self.presenter.show(colors, source=colors.colors.source, plane=(0,), rgb=False)

    def deliver(self):
        assert self.session.wait(SOON)
        self.relay.deliver()

    def settle(self):
        while True:
            self.deliver()
            if not self.presenter.flush() and self.session.wait(0):
                return self


@pytest.fixture
def panel():
    panel = Panel(colorizer_of(TintNetwork()))
    yield panel
    panel.session.close()


@pytest.fixture
def blocked_panel():
    """A panel whose network can be stopped before a layer."""
    network = LayeredNetwork()
    panel = Panel(colorizer_of(network))
    panel.network = network
    yield panel
    network.unblock()
    panel.session.close()


@pytest.fixture
def stack(ramp):
    return np.stack([(ramp * 255).astype(np.uint8)] * 4)


def chroma_of(colors):
    """Difference between the channels of each plane: 0 for gray."""
    return [int(np.ptp(plane.astype(int), axis=-1).max()) for plane in colors.colors.array()]


def test_a_stack_that_was_colorized_as_a_whole_follows_the_settings(panel, stack):
    colors = panel.open(stack)
    panel.presenter.colorize_stack()
    panel.settle()
    assert min(chroma_of(colors)) > 0

    panel.presenter.set_settings(saturation=0)
    assert panel.presenter.is_update_pending and colors.colors.array() is None
    panel.settle()

    assert chroma_of(colors) == [0] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"model": colorizer_of(TintNetwork())},
        {"blend_with": colorizer_of(TintNetwork())},
        {"time_axis": -3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_input_that_changes_pixels_makes_the_stack_stale(panel, stack, change):
    colors = panel.open(stack)

    panel.presenter.update(**change)

    assert not colors.colors.is_current((0,))


def test_changes_while_another_source_is_displayed_make_a_stack_stale(panel, stack):
    colors = panel.open(stack)
    panel.presenter.colorize_stack()
    panel.settle()
    panel.open(255 - stack)

    panel.presenter.set_settings(saturation=0)
    panel.settle()
    panel.show_again(colors)

    assert not colors.colors.is_current((1,)) and panel.presenter.is_update_pending
    panel.settle()
    assert chroma_of(colors) == [0] * 4


def test_an_update_that_was_pending_is_made_when_the_source_is_displayed_again(panel, stack):
    colors = panel.open(stack)
    panel.presenter.colorize_stack()
    panel.settle()

    panel.presenter.set_settings(saturation=0)
    assert panel.presenter.is_update_pending
    panel.open(255 - stack)
    panel.show_again(colors)
    panel.settle()

    assert chroma_of(colors) == [0] * 4


def test_a_source_that_is_displayed_again_without_changes_stays_current(panel, stack):
    colors = panel.open(stack)
    panel.presenter.colorize_stack()
    panel.settle()
    panel.open(255 - stack)

    panel.show_again(colors)

    assert colors.colors.all_current() and not panel.presenter.is_update_pending


def test_another_plane_makes_nothing_stale(panel, stack):
    colors = panel.open(stack)

    panel.presenter.show_plane((4,), plane=(1,))

    assert colors.colors.is_current((0,))


def test_a_stack_that_was_not_colorized_as_a_whole_is_not_updated(panel, stack):
    panel.open(stack)

    panel.presenter.set_settings(saturation=0)

    assert not panel.presenter.is_update_pending


def test_a_stopped_run_ends_the_updates(blocked_panel, stack):
    colors = blocked_panel.open(stack)
    blocked_panel.network.is_blocked = True
    blocked_panel.presenter.colorize_stack()
    blocked_panel.network.wait_until_blocked()

    blocked_panel.presenter.cancel()
    blocked_panel.network.unblock()
    blocked_panel.settle()
    blocked_panel.presenter.set_settings(saturation=0)

    assert not colors.follows_settings and not blocked_panel.presenter.is_update_pending
    assert any(status.startswith("Stopped after") for status in blocked_panel.statuses)


def test_a_run_that_is_stopped_before_its_first_plane_ends_the_updates(blocked_panel, stack):
    colors = blocked_panel.open(stack)
    blocked_panel.network.is_blocked = True
    blocked_panel.presenter.set_settings(render_factor=9)  # is predicted before the run
    blocked_panel.network.wait_until_blocked()

    blocked_panel.presenter.colorize_stack()
    blocked_panel.presenter.cancel()
    blocked_panel.network.unblock()
    blocked_panel.settle()

    assert not colors.follows_settings


def test_a_change_during_a_run_is_followed_after_it(blocked_panel, stack):
    colors = blocked_panel.open(stack)
    blocked_panel.network.is_blocked = True
    blocked_panel.presenter.colorize_stack()
    blocked_panel.network.wait_until_blocked()

    blocked_panel.presenter.set_settings(saturation=0)
    blocked_panel.presenter.flush()
    blocked_panel.network.unblock()
    blocked_panel.settle()

    assert chroma_of(colors) == [0] * 4


def test_discarded_planes_are_gray_again(blocked_panel, stack):
    colors = blocked_panel.open(stack)
    before = colors.colors
    blocked_panel.network.is_blocked = True
    blocked_panel.presenter.colorize_stack()
    blocked_panel.network.wait_until_blocked()

    blocked_panel.presenter.cancel(keep=False)
    blocked_panel.network.unblock()
    blocked_panel.settle()

    assert colors.colors is not before
    assert [colors.colors.is_current((plane,)) for plane in range(4)] == [True, *[False] * 3]


def test_an_array_that_the_user_holds_is_not_changed(panel, stack):
    colors = panel.open(stack)
    colors.renewed_per_run = True
    panel.presenter.colorize_stack()
    panel.settle()
    held = colors.colors.array()
    copy = held.copy()

    panel.presenter.set_settings(saturation=0)
    panel.settle()

    np.testing.assert_array_equal(held, copy)
    assert chroma_of(colors) == [0] * 4


def test_the_run_of_a_removed_source_is_stopped(blocked_panel, stack):
    colors = blocked_panel.open(stack)
    blocked_panel.network.is_blocked = True
    blocked_panel.presenter.colorize_stack()
    blocked_panel.network.wait_until_blocked()

    blocked_panel.presenter.forget(colors)
    assert not blocked_panel.presenter.is_running
    blocked_panel.network.unblock()
    blocked_panel.settle()

    assert "of 4" not in blocked_panel.presenter.status


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0, 1, range(2, 2 + PLANES_AHEAD)),
        (9, 8, range(8 - PLANES_AHEAD, 8)),
        (1, 0, []),
        (0, 4, [8, 12]),  # played with a step
    ],
)
def test_planes_are_prefetched_in_the_direction_of_play(panel, ramp, first, second, expected):
    long = np.stack([(ramp * 255).astype(np.uint8)] * 14)
    panel.open(long)
    panel.presenter.show_plane((14,), plane=(first,))
    panel.settle()
    panel.stored.clear()

    panel.presenter.show_plane((14,), plane=(second,))
    panel.settle()

    assert sorted(panel.stored) == [(plane,) for plane in expected]


def test_current_planes_are_not_prefetched(panel, stack):
    panel.open(stack)
    panel.presenter.colorize_stack()
    panel.settle()
    panel.stored.clear()

    panel.presenter.show_plane((4,), plane=(1,))
    panel.settle()

    assert panel.stored == []


def test_without_a_direction_nothing_is_prefetched(panel, ramp):
    grid = np.broadcast_to((ramp * 255).astype(np.uint8), (3, 3, *ramp.shape)).copy()
    colors = SourceColors(lambda: StackColors(grid, DisplayRange(False, (0, 255))))
    panel.presenter.show(colors, source=grid, plane=(0, 0), rgb=False)
    panel.settle()

    panel.presenter.show_plane((3, 3), plane=(1, 1))
    panel.settle()

    assert panel.stored == [] and colors.colors.is_current((1, 1))


def test_recommended_values_are_those_in_use(panel, stack):
    before = panel.presenter.recommended()
    panel.open(stack)

    used = panel.presenter.recommended()

    assert before["render_factor"] > 0 and "saturation" in before
    assert (used["render_factor"], used["saturation"]) == (4, 1.0)


def test_unsupported_settings_are_reset_and_named(panel, stack):
    panel.open(stack)

    panel.presenter.set_settings(fidelity="ipol")
    panel.settle()

    assert panel.presenter.settings.fidelity == "exact"
    assert "compact" in panel.presenter.settings_without_effect["fidelity"]


def test_settings_without_effect_are_named_with_the_reason(panel, stack):
    panel.open(stack)
    assert "second model" in panel.presenter.settings_without_effect["blend"]
    assert "reference image" in panel.presenter.settings_without_effect["reference_strength"]

    reference = Reference(np.full((8, 8, 3), 0.5))
    panel.presenter.update(
        blend_with=colorizer_of(TintNetwork()), guides=Guides(reference=reference)
    )

    without_effect = panel.presenter.settings_without_effect
    assert not {"blend", "reference_strength"} & without_effect.keys()


def test_the_status_describes_source_work_and_result(panel, stack):
    panel.presenter.show_default_status()
    assert panel.presenter.status == EMPTY

    panel.open(stack)

    assert "Colorizing…" in panel.statuses
    assert panel.presenter.status.endswith("Colors are predicted, not measured.")


def test_an_error_stays_until_the_user_changes_something(panel, stack):
    panel.open(stack)
    panel.presenter.show_error(ColorizeError("Something is wrong."))
    panel.presenter.show_default_status()
    assert panel.presenter.is_error and panel.presenter.status == "Something is wrong."

    panel.presenter.set_settings(saturation=2)
    panel.settle()

    assert not panel.presenter.is_error and "predicted" in panel.presenter.status


def test_errors_of_the_worker_are_reported_as_background_errors(panel, stack):
    errors = []
    panel.presenter.background_error.connect(errors.append)

    panel.presenter.show(None, source=stack, plane=(9,))
    panel.settle()

    assert len(errors) == 1 and panel.presenter.status == str(errors[0])
    assert isinstance(errors[0], ImageError) and "no plane (9,)" in panel.presenter.status


def test_the_end_of_a_run_stays_in_the_status(panel, stack):
    panel.open(stack)

    panel.presenter.colorize_stack()
    panel.settle()

    assert panel.presenter.status == "Done: 4 of 4."
    assert any(status.startswith("Plane 1 of 4") for status in panel.statuses)


def test_a_sweep_proposes_factors_around_the_one_in_use(panel, stack):
    panel.open(stack)
    swept = []
    panel.presenter.events.sweep_ready.connect(lambda factor, result: swept.append(factor))

    factors = panel.presenter.sweep()
    panel.settle()

    assert swept == factors == messages.factors_around(4)


def test_a_sweep_waits_for_the_end_of_a_run(blocked_panel, stack):
    blocked_panel.open(stack)
    blocked_panel.network.is_blocked = True
    blocked_panel.presenter.colorize_stack()

    with pytest.raises(ImageError, match="Wait until all planes are done"):
        blocked_panel.presenter.sweep()


def test_the_front_end_adds_settings_of_the_layer(stack):
    from dataclasses import replace

    panel = Panel(
        colorizer_of(TintNetwork()), session_settings=lambda chosen: replace(chosen, gamma=2.0)
    )
    panel.open(stack)

    panel.presenter.set_settings(saturation=2)

    assert panel.presenter.settings.gamma == 1 and panel.session.settings.gamma == 2
    panel.session.close()


def test_unknown_settings_are_refused(panel):
    with pytest.raises(SettingsError, match="no setting 'knob'"):
        panel.presenter.set_settings(knob=1)


def test_results_that_are_outdated_are_not_displayed(panel, stack):
    panel.open(stack)
    panel.results.clear()

    panel.presenter.set_settings(saturation=2)
    assert panel.session.wait(SOON)
    panel.presenter.set_settings(saturation=3)
    panel.settle()

    assert [result.settings.saturation for result in panel.results] == [3]
    assert panel.presenter.notes == "\n".join(panel.results[0].notes)


def test_nothing_is_received_after_close(panel, stack):
    panel.presenter.show(None, source=stack)
    panel.presenter.close()

    panel.deliver()

    assert panel.results == []
