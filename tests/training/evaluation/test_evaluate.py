from __future__ import annotations

import errno
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from napari_colorize_training.__main__ import app
from napari_colorize_training.evaluate_command import load_models, numbers_in
from napari_colorize_training.evaluation.evaluate import evaluate
from napari_colorize_training.evaluation.ground_truth import find_ground_truth
from napari_colorize_training.evaluation.metrics import ciede2000, colorfulness, psnr, to_gray
from napari_colorize_training.evaluation.quick_score import quick_score
from napari_colorize_training.evaluation.records import EvaluationConfig
from napari_colorize_training.evaluation.tables import summary
from PIL import Image
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of
from torch import Tensor
from typer.testing import CliRunner

from napari_colorize.analysis.expected_error import expected_error
from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.io.images import write_image

CAT = skimage.data.chelsea()[40:200:2, 100:300:2]


class ClassNetwork(TintNetwork):
    """A network that predicts two colors at a distance of `spread` with equal probability."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.register_buffer("centers", torch.tensor([[-spread, 0.05], [spread, 0.05]]))

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        return self.expected(self.logits(gray, self_attention))

    def logits(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        return torch.zeros_like(gray).expand(-1, 2, -1, -1)[..., ::4, ::4]

    def expected(self, logits: Tensor) -> Tensor:
        return torch.einsum("nkhw,kc->nchw", logits.softmax(1), self.centers)


@pytest.fixture
def folder(tmp_path):
    for index in range(3):
        Image.fromarray(np.roll(CAT, index * 9, axis=1)).save(tmp_path / f"cat{index}.png")
    return tmp_path


def column_of(models, data, **config):
    return evaluate(models, data, EvaluationConfig(**config)).models[0]


def test_gray_is_never_better_than_gray(tiny_colorizer):
    score = quick_score(tiny_colorizer, [CAT], saturation=0)

    assert score.psnr == score.psnr_gray
    assert score.ciede2000 == score.ciede2000_gray
    assert score.better_share == 0


def test_a_quick_score_accepts_any_function_of_gray():
    score = quick_score(lambda gray: CAT, [CAT])

    assert score.ciede2000 == 0 and score.better_share == 1
    assert score.colorfulness == pytest.approx(1)
    with pytest.raises(ValueError, match="no images"):
        quick_score(lambda gray: CAT, [])


def test_models_are_measured_on_the_same_images(tiny_colorizer, folder):
    models = {"tint": tiny_colorizer, "other": colorizer_of(ClassNetwork(0.1))}

    found = evaluate(models, folder)

    shown = tiny_colorizer(to_gray(CAT)).pixels
    first = found.models[0].images[0]
    assert found.images == ("cat0.png", "cat1.png", "cat2.png")
    assert [column.name for column in found.columns] == ["gray", "tint", "other"]
    assert first.psnr == pytest.approx(psnr(CAT, shown))
    assert first.ciede2000 == pytest.approx(ciede2000(CAT, shown))
    assert first.colorfulness == pytest.approx(colorfulness(shown))
    assert found.gray.mean("colorfulness") == 0 and found.gray.mean("uncolored") == 1
    gains = [
        gray.ciede2000 > figures.ciede2000
        for gray, figures in zip(found.gray.images, found.models[0].images, strict=True)
    ]
    assert found.models[0].better == np.mean(gains)


def test_evaluation_and_quick_score_agree(tiny_colorizer, folder):
    column = column_of({"tint": tiny_colorizer}, folder)
    score = quick_score(tiny_colorizer, [truth.rgb for truth in find_ground_truth(folder)])

    assert column.mean("psnr") == pytest.approx(score.psnr)
    assert column.mean("ciede2000") == pytest.approx(score.ciede2000)


def test_the_saturation_curve_does_not_run_the_network(tiny_colorizer, folder, monkeypatch):
    calls = []
    forward = TintNetwork.forward
    monkeypatch.setattr(
        TintNetwork,
        "forward",
        lambda self, *args, **more: calls.append(1) or forward(self, *args, **more),
    )

    curve = column_of(
        {"tint": tiny_colorizer}, folder, saturations=(0.0, 1.0, 3.0), calibration=False
    ).curve

    assert len(calls) == 3  # images
    assert curve[0].colorfulness == 0
    assert curve[1].psnr == pytest.approx(column_of({"tint": tiny_colorizer}, folder).mean("psnr"))
    assert curve[1].colorfulness < curve[2].colorfulness


def test_a_class_network_expects_the_distance_between_its_colors():
    gray = np.full((64, 64), 128, np.uint8)
    errors = []
    for spread in (0.0, 0.05, 0.1):
        colorizer = colorizer_of(ClassNetwork(spread))
        errors.append(expected_error(colorizer, colorizer(gray)).mean())

    # Both colors are as likely, so the error is their mean distance from the middle one.
    yuv = np.array([[[128 / 255, u, 0.05]] for u in (-0.1, 0, 0.1)])
    lab = skimage.color.rgb2lab(skimage.color.yuv2rgb(yuv))
    distance = np.mean(
        [skimage.color.deltaE_ciede2000(lab[1], other) for other in (lab[0], lab[2])]
    )
    assert errors[0] == pytest.approx(0, abs=1e-6)
    assert errors[0] < errors[1] < errors[2]
    assert errors[2] == pytest.approx(distance, rel=1e-3)


def test_other_networks_expect_errors_where_the_flipped_prediction_differs(folder):
    column = column_of({"handed": colorizer_of(UnevenNetwork())}, folder)

    assert "mirror" in column.uncertainty
    assert column.calibration is not None
    assert column.calibration.expected[0] < 0.5 < column.calibration.expected[-1]


def test_correct_expected_errors_have_a_high_rank_correlation(folder):
    class Half(ClassNetwork):
        """Expects small errors in the upper half, and large ones in the lower half."""

        def logits(self, gray, self_attention=True):
            logits = super().logits(gray, self_attention).clone()
            logits[:, 0, : logits.shape[2] // 2] = 9
            return logits

    calibration = column_of({"half": colorizer_of(Half(0.1))}, folder).calibration

    assert calibration is not None
    assert calibration.expected[0] == pytest.approx(0, abs=0.1)
    assert calibration.expected[-1] > 5


def test_gray_and_unreadable_images_are_skipped(tiny_colorizer, folder):
    Image.fromarray(to_gray(CAT)).save(folder / "gray.png")
    Image.fromarray(to_gray(CAT)).convert("RGB").save(folder / "gray too.jpg")
    (folder / "broken.png").write_bytes((folder / "cat0.png").read_bytes()[:200])

    found = evaluate({"tint": tiny_colorizer}, folder)

    assert len(found.images) == 3 and len(found.left_out) == 3
    assert summary(found).endswith(
        "; left out: 1 unreadable (broken.png), 2 gray (gray too.jpg, gray.png)."
    )


def test_at_most_three_images_of_a_problem_are_named(tiny_colorizer, folder):
    for number in range(5):
        (folder / f"z{number}.png").write_bytes(b"no image")

    found = evaluate({"tint": tiny_colorizer}, folder)

    assert "5 unreadable (z0.png, z1.png, z2.png and 2 more)" in summary(found)


def test_predicted_images_are_no_truth(tiny_colorizer, folder):
    colorized = tiny_colorizer(to_gray(CAT))
    write_image(folder / "mine.png", colorized.pixels, provenance=colorized.provenance)
    write_image(folder / "alone" / "a.png", colorized.pixels, provenance=colorized.provenance)
    stack = np.stack([colorized.pixels] * 3)
    write_image(folder / "alone" / "s.tif", stack, provenance=colorized.provenance)

    found = evaluate({"tint": tiny_colorizer}, folder)

    assert len(found.images) == 3
    assert "2 predicted by this program (alone/a.png, mine.png)" in summary(found)
    assert "1 unreadable (alone/s.tif)" in summary(found)
    with pytest.raises(ImageError, match="1 predicted by this program"):
        evaluate({"tint": tiny_colorizer}, folder / "alone")
    with pytest.raises(ImageError, match="was predicted by this program"):
        evaluate({"tint": tiny_colorizer}, folder / "alone" / "s.tif")


def test_models_get_the_gray_images_of_the_source(tiny_colorizer, tmp_path):
    negative = 255 - to_gray(CAT)
    for name, image in (("color", CAT), ("gray", negative)):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "cat.png")

    found = evaluate({"tint": tiny_colorizer}, tmp_path)

    np.testing.assert_array_equal(found.samples[0].gray, negative)
    assert found.models[0].images[0].psnr == pytest.approx(
        psnr(CAT, tiny_colorizer(negative).pixels)
    )


def test_models_get_degraded_gray_but_are_measured_on_clean_gray(tiny_colorizer, folder):
    clean = evaluate({"tint": tiny_colorizer}, folder, EvaluationConfig(calibration=False))
    degraded = evaluate(
        {"tint": tiny_colorizer},
        folder,
        EvaluationConfig(degrade="old-photograph", calibration=False),
    )
    again = evaluate(
        {"tint": tiny_colorizer},
        folder,
        EvaluationConfig(degrade="old-photograph", calibration=False),
    )

    assert degraded.gray == clean.gray
    assert degraded.models[0].mean("ciede2000") != clean.models[0].mean("ciede2000")
    assert not np.array_equal(degraded.samples[0].gray, clean.samples[0].gray)
    assert to_gray(degraded.samples[0].predicted[0]).astype(int) == pytest.approx(
        clean.samples[0].gray, abs=2
    )
    assert again.models[0].images == degraded.models[0].images


def test_groups_have_separate_figures(tiny_colorizer, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(CAT).save(tmp_path / name / "one.png")
    Image.fromarray(CAT[:, ::-1]).save(tmp_path / "b" / "two.png")

    found = evaluate({"tint": tiny_colorizer}, tmp_path, EvaluationConfig(group="folder"))

    assert found.group_members() == {"a": [0], "b": [1, 2]}
    assert found.gray.mean("psnr", [0]) == found.gray.images[0].psnr


def test_validation_uses_only_the_validation_split(tmp_path):
    from napari_colorize_training.data.cache import ImageCache, prepare

    random = np.random.default_rng(0)
    for number in range(60):
        pixels = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(tmp_path / f"{number}.png")

    chosen = {truth.name for truth in find_ground_truth(tmp_path, validation=True)}

    prepare(tmp_path, tmp_path / "cache")
    held = {image.name for image in ImageCache(tmp_path / "cache", validation=True)}
    assert chosen and chosen <= held


def test_a_video_is_measured_for_temporal_consistency(tiny_colorizer, tmp_path):
    for number in (1, 2, 10, 11, 12):  # sorted as text, 10 would come before 2
        shift = 2 * min(number, 8 - number % 10)
        Image.fromarray(np.roll(CAT, shift, axis=1)).save(tmp_path / f"frame{number}.png")

    class Flicker(TintNetwork):
        """Predicts another color in each call."""

        calls = 0

        def forward(self, gray, self_attention=True):
            Flicker.calls += 1
            uv = super().forward(gray, self_attention)
            return uv * 0 + 0.1 * (-1) ** Flicker.calls

    models = {"consistent": tiny_colorizer, "flicker": colorizer_of(Flicker())}

    found = evaluate(models, tmp_path, EvaluationConfig(stack=True, calibration=False))

    consistent, flicker = found.models
    assert found.images[1:3] == ("frame2.png", "frame10.png")
    assert flicker.warping_error > 5 * consistent.warping_error
    assert flicker.cdc > consistent.cdc
    assert found.truth_cdc is not None and found.gray.warping_error is not None


def test_frames_of_different_sizes_are_refused(tiny_colorizer, folder):
    Image.fromarray(CAT[:40]).save(folder / "cat9.png")

    with pytest.raises(ImageError, match="cat9.png differs in size from the frame before"):
        evaluate({"tint": tiny_colorizer}, folder, EvaluationConfig(stack=True, calibration=False))


def test_a_stack_in_one_file_is_a_video(tiny_colorizer, tmp_path):
    np.save(tmp_path / "video.npy", np.stack([CAT, CAT, CAT]))

    found = evaluate(
        {"tint": tiny_colorizer},
        tmp_path / "video.npy",
        EvaluationConfig(stack=True, calibration=False),
    )

    assert found.models[0].cdc == 0 and found.models[0].warping_error == pytest.approx(0, abs=1e-9)


def test_tiny_and_odd_images_are_measured(tiny_colorizer):
    found = evaluate({"tint": tiny_colorizer}, [CAT[:3, :5], CAT[:37, :53]])

    assert np.isnan(found.gray.images[0].ssim)
    assert found.gray.mean("ssim") == found.gray.images[1].ssim
    assert found.models[0].calibration is not None


def test_warnings_are_not_repeated_for_each_image(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(
            {"dull": colorizer_of(ClassNetwork(0.0))}, folder, EvaluationConfig(saturation=0.0)
        )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"saturations": (5.0,)}, "between 0 and 4"),
        ({"limit": 0}, "at least 1 image"),
        ({"degrade": "nosuch"}, "No degradation is named 'nosuch'"),
        ({"render_factor": 1000}, "render_factor"),
    ],
)
def test_invalid_settings_are_refused_before_the_first_image(
    tiny_colorizer, folder, wrong, sentence
):
    with pytest.raises(SettingsError, match=sentence):
        evaluate({"tint": tiny_colorizer}, folder, EvaluationConfig(**wrong))


def test_comma_separated_numbers_are_parsed():
    assert numbers_in("0.5, 1,2") == (0.5, 1.0, 2.0)
    assert numbers_in("") == ()
    with pytest.raises(ValueError, match="separated by commas"):
        numbers_in("a")


def test_a_model_given_twice_is_measured_once():
    assert list(load_models(["embedded", "embedded"], "cpu")) == ["embedded"]


def test_the_command_writes_table_json_and_html(folder):
    arguments = ["evaluate", "embedded", str(folder), "--limit", "1", "--no-calibration"]
    written = ["--json", str(folder / "out" / "r.json"), "--html", str(folder / "r.html")]

    result = CliRunner().invoke(app, [*arguments, *written])

    assert result.exit_code == 0, result.output
    assert "CIEDE2000" in result.stdout and "embedded" in result.stdout
    assert "image" not in result.stdout.splitlines()[-1]  # the bar is on stderr
    assert json.loads((folder / "out" / "r.json").read_text())["columns"]["embedded"]["psnr"] > 0
    assert (folder / "r.html").read_text().startswith("<!doctype html>")


def test_figures_are_printed_even_if_a_report_cannot_be_written(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_colorize_training.evaluation.html_report.to_html", lambda _: "")
    monkeypatch.setattr(Path, "write_text", full)
    written = ["--json", str(folder / "r.json"), "--html", str(folder / "r.html")]

    result = CliRunner().invoke(
        app, ["evaluate", str(folder), "--limit", "1", "--no-calibration", *written]
    )

    assert result.exit_code == 1 and "CIEDE2000" in result.stdout
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "r.json could not be written: the disk is full" in error
    assert "r.html could not be written: the disk is full" in error


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_the_command_replaces_no_file(folder, option):
    image = next(path for path in folder.iterdir() if path.is_file())
    before = image.read_bytes()

    result = CliRunner().invoke(app, ["evaluate", str(folder), "--limit", "1", option, str(image)])

    assert result.exit_code == 1 and "exists already" in result.stderr
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nosuch", "DATA"], "No model is named 'nosuch'"),
        (["embedded", "DATA/empty"], "has no images to measure on"),
        (["embedded", "DATA/nowhere"], "does not exist"),
        (["embedded", "DATA/gray"], "left out: 1 gray (one.png)"),
        (["embedded", "DATA", "--html", "DATA/empty"], "is a folder"),
        (["embedded", "DATA", "--backbone", "DATA/cat0.png"], "cat0.png"),
        (["embedded", "DATA", "--lpips", "DATA/none.pth"], "none.pth"),
        (["embedded", "DATA", "--group", "("], "regular expression"),
        ([], "DATA is missing. Usage"),
        (["embedded"], "DATA is missing: embedded is a model. Usage"),
        (["DATA/ft.safetensors"], "ft.safetensors is a model. Usage"),
    ],
)
def test_errors_of_the_command_are_one_line_and_nothing_is_written(folder, arguments, sentence):
    (folder / "empty").mkdir()
    (folder / "gray").mkdir()
    Image.fromarray(to_gray(CAT)).save(folder / "gray" / "one.png")
    given = [argument.replace("DATA", str(folder)) for argument in arguments]

    result = CliRunner().invoke(app, ["evaluate", *given, "--json", str(folder / "r.json")])

    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 2 if "Usage" in sentence or "regular" in sentence else 1
    assert len(lines) == 1 and sentence in lines[0]
    assert "Traceback" not in result.output
    assert not (folder / "r.json").exists()


@pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")
def test_12_bits_are_measured_like_8_bits(tiny_colorizer, tmp_path):
    import tifffile

    deep = CAT.astype(np.uint16) * 16
    for name, image in (("eight", CAT), ("twelve", deep)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "cat.tif", image, photometric="rgb")

    eight, twelve = (
        evaluate({"tint": tiny_colorizer}, tmp_path / name).models[0].mean("ciede2000")
        for name in ("eight", "twelve")
    )

    assert twelve == pytest.approx(eight, abs=0.3)
