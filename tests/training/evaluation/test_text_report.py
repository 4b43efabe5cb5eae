from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import skimage.data
from napari_colorize_training.evaluation.evaluate import evaluate
from napari_colorize_training.evaluation.html_report import to_html, write_html
from napari_colorize_training.evaluation.sheets import preview_sheet, sample_sheet
from napari_colorize_training.evaluation.text_report import refuse_unwritable, to_text, write_json
from PIL import Image
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.errors import OutputError

CAT = skimage.data.chelsea()[40:200:2, 100:300:2]


@pytest.fixture(scope="module")
def evaluation():
    models = {"one <b>": colorizer_of(TintNetwork()), "two": colorizer_of(TintNetwork())}
    return evaluate(models, [CAT, CAT[:, ::-1], CAT[:8, :8]])


class Checker(HTMLParser):
    """Collects the resources of a page, and open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_table_is_aligned_and_lists_what_was_not_measured(evaluation):
    text = to_text(evaluation)
    lines = text.splitlines()

    head = next(line for line in lines if line.endswith("truth"))
    error = next(line for line in lines if line.startswith("CIEDE2000"))
    # Numbers end where their column's name ends.
    assert error[: head.index("gray") + 4].endswith(f"{evaluation.gray.mean('ciede2000'):.2f}")
    assert error.endswith(f"{evaluation.models[1].mean('ciede2000'):.2f}")
    assert "not measured: give --lpips FILE" in text
    assert "not measured: give --backbone FILE" in text
    assert not any(line != line.rstrip() for line in lines)


def test_json_has_all_figures_and_no_nan(evaluation, tmp_path):
    write_json(evaluation, tmp_path / "r.json")

    found = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    column = found["columns"]["two"]
    assert column["ciede2000"] == pytest.approx(evaluation.models[1].mean("ciede2000"))
    assert len(column["curve"]) == 4 and len(column["calibration"]["measured"]) == 10
    assert len(found["each"]) == found["images"] == 3
    assert found["each"][2]["gray"]["ssim"] is None  # smaller than the window
    assert found["each"][0]["two"]["psnr"] == evaluation.models[1].images[0].psnr


def test_the_html_is_self_contained_and_all_tags_are_closed(evaluation, tmp_path):
    write_html(evaluation, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    checker = Checker()

    checker.feed(page)

    assert checker.open == []
    assert checker.loaded and all(item.startswith("data:image/jpeg") for item in checker.loaded)
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "<b>" not in page and "one &lt;b&gt;" in page


def test_the_sheets_of_a_report_are_embedded_images(evaluation):
    sheets = re.findall(r"base64,([^\"]+)", to_html(evaluation))

    assert len(sheets) == 1 + 2 * 2  # samples; best and worst of two models
    size = Image.open(io.BytesIO(base64.b64decode(sheets[0]))).size
    assert size[0] > 4 * 256  # gray, two models, truth


def test_best_and_worst_are_selected_by_improvement_over_gray(evaluation):
    gains = [
        gray.ciede2000 - own.ciede2000
        for gray, own in zip(evaluation.gray.images, evaluation.models[1].images, strict=True)
    ]

    best = evaluation.best["two"][0].name
    worst = evaluation.worst["two"][0].name
    assert best == evaluation.images[int(np.argmax(gains))]
    assert worst == evaluation.images[int(np.argmin(gains))]


def test_a_preview_has_gray_prediction_and_truth_in_rows():
    gray = np.full((40, 40), 128, np.uint8)
    red, blue = np.zeros((2, 40, 40, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200

    sheet = np.asarray(preview_sheet([(gray, red, blue), (gray, blue, red)]))

    third, half = sheet.shape[1] // 3, sheet.shape[0] // 2
    places = [(row, column) for row in (0, 1) for column in (0, 1, 2)]
    shown = [
        sheet[row * half + half * 6 // 10, column * third + third // 2] for row, column in places
    ]
    expected = [(128,) * 3, (200, 0, 0), (0, 0, 200), (128,) * 3, (0, 0, 200), (200, 0, 0)]
    np.testing.assert_allclose(shown, expected, atol=2)


def test_a_sample_sheet_has_the_models_results(tiny_colorizer):
    wide = sample_sheet(tiny_colorizer, [CAT, CAT[:40]])

    assert wide.mode == "RGB" and wide.width > 3 * 256


def test_unwritable_paths_are_refused(tmp_path):
    (tmp_path / "file").write_text("")

    refuse_unwritable(None, tmp_path / "new" / "r.json")
    with pytest.raises(OutputError, match="is a folder"):
        refuse_unwritable(tmp_path)
    with pytest.raises(OutputError, match="could not be written"):
        refuse_unwritable(tmp_path / "file" / "r.json")
    assert list((tmp_path / "new").iterdir()) == []
