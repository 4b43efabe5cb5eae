"""Layout that the dock widgets share."""

from __future__ import annotations

import pytest

import napari_colorize.napari as plugin


@pytest.mark.parametrize("name", ["ColorizeWidget", "ExploreWidget", "FinetuneWidget"])
def test_no_panel_is_narrower_than_its_content(make_napari_viewer, qtbot, name):
    panel = getattr(plugin, name)(make_napari_viewer())
    panel.resize(50, 700)

    with qtbot.waitExposed(panel):
        panel.show()

    area = panel._area
    assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    panel.close()
    panel.controller.close()
