"""Parts that the dock widgets share: layouts, scrolling, and detection of a closed panel."""

from __future__ import annotations

import html
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QTextOption
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

LABEL_WIDTH = 96  # pixels; aligns the controls of several forms


class ScrollPanel(QWidget):
    """Dock widget that scrolls vertically and is at least as wide as its content."""

    def set_content(self, content: QWidget, *below: QWidget) -> None:
        """Fill the panel; widgets `below` do not scroll."""
        self._area = area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        content.installEventFilter(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area, 1)
        for widget in below:
            layout.addWidget(widget)

    def showEvent(self, event: Any) -> None:
        """Set the minimum width; the viewer's style, on which it depends, is known now."""
        super().showEvent(event)
        self._update_minimum_width()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Update the minimum width after a change of the content."""
        if event.type() == QEvent.Type.LayoutRequest and self.isVisible():
            self._update_minimum_width()
        return False

    def _update_minimum_width(self) -> None:
        bar = self._area.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(self._area.widget().minimumSizeHint().width() + bar)


class Section(QWidget):
    """Content below a title that a click shows or hides; hidden at first.

    The arrow is text of the button, so that it has the color of the theme.
    """

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        self._title, self._content = title, content
        self._button = QPushButton()
        self._button.setCheckable(True)
        self._button.setStyleSheet(
            "text-align: left; background: transparent; border: none; padding: 2px;"
        )
        self._button.setToolTip(tooltip(f"Show or hide: {title}."))
        self._button.toggled.connect(self._show)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        layout.addWidget(content)
        self._show(False)

    def isExpanded(self) -> bool:
        """Whether the content is shown."""
        return bool(self._button.isChecked())

    def expand(self, animate: bool = False) -> None:
        """Show the content."""
        self._button.setChecked(True)

    def collapse(self, animate: bool = False) -> None:
        """Hide the content."""
        self._button.setChecked(False)

    def _show(self, expanded: bool) -> None:
        self._button.setText(f"{'▾' if expanded else '▸'} {self._title}")
        self._content.setVisible(expanded)


class DockCloseWatcher(QObject):
    """Calls `on_closed` once, with this watcher, when a panel is closed or destroyed.

    A panel that was docked and has no parent any more was closed by the user. napari does not
    destroy it, and its slots would keep it alive, so it is closed and deleted here.
    """

    def __init__(self, panel: QWidget, on_closed: Callable[[DockCloseWatcher], None]) -> None:
        # With a parent it is not destroyed by the garbage collector, which runs in any thread.
        super().__init__(QCoreApplication.instance())
        self._panel: QWidget | None = panel
        self._on_closed = on_closed
        self._was_docked = panel.parent() is not None
        panel.installEventFilter(self)
        panel.destroyed.connect(self._end)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Called by Qt before each event of the panel; reacts to changes of its parent."""
        panel = self._panel
        if panel is not None and event.type() == QEvent.Type.ParentChange:
            if panel.parent() is not None:
                self._was_docked = True
            elif self._was_docked:
                self._end()
                panel.deleteLater()
        return False

    def _end(self) -> None:
        panel, self._panel = self._panel, None
        if panel is not None:
            with suppress(RuntimeError):  # parts of a destroyed window may be deleted already
                panel.close()
            self._on_closed(self)
            with suppress(RuntimeError):
                self.deleteLater()


def row(*widgets: QWidget, stretch: int = 0) -> QHBoxLayout:
    """Widgets side by side; the first one takes the remaining width if `stretch` is 1."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget, stretch)
        stretch = 0
    return layout


def flow(*widgets: QWidget) -> QFlowLayout:
    """Widgets side by side, in as many lines as the width needs."""
    layout = QFlowLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def tooltip(text: str) -> str:
    """HTML of a tooltip: Qt breaks the lines of HTML only."""
    return f"<p>{html.escape(text)}</p>"


def column(*items: Any, gap: int = 0) -> QWidget:
    """Widgets and layouts below each other, with a gap of so many pixels at the end."""
    widget = QWidget()
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, gap)
    add_items(layout, items)
    return widget


def add_items(layout: QVBoxLayout, items: Any) -> None:
    """Add widgets and layouts to a layout."""
    for item in items:
        (layout.addWidget if isinstance(item, QWidget) else layout.addLayout)(item)


def form(*rows: tuple[str, Any]) -> QWidget:
    """Labeled widgets or layouts below each other, aligned with the controls of settings."""
    widget = QWidget()
    layout = QFormLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)  # narrow panels, large fonts
    for text, field in rows:
        label = QLabel(text)
        label.setMinimumWidth(LABEL_WIDTH)
        layout.addRow(label, field)
    return widget


def button(
    text: str, help_text: str = "", clicked: Callable[[], object] | None = None
) -> QPushButton:
    """A button with a tooltip; `clicked` is called without arguments."""
    made = QPushButton(text)
    if help_text:
        made.setToolTip(tooltip(help_text))
    if clicked is not None:
        made.clicked.connect(lambda _=False: clicked())
    return made


def toggle(text: str, help_text: str = "") -> QPushButton:
    """A button with a tooltip that stays pressed."""
    made = button(text, help_text)
    made.setCheckable(True)
    return made


def wrapped_text() -> QPlainTextEdit:
    """A text of some lines that can be selected; long addresses are wrapped too."""
    text = QPlainTextEdit()
    text.setReadOnly(True)
    text.setWordWrapMode(QTextOption.WrapMode.WrapAnywhere)
    text.setFixedHeight(text.fontMetrics().lineSpacing() * 8)
    return text


def wrapped_label(text: str = "") -> QLabel:
    """A label whose text is wrapped."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return label
