from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from napari_colorize_training.__main__ import app
from napari_colorize_training.data.decode import content_digest
from napari_colorize_training.evaluation.calibration import (
    calibrate_model,
    discriminant,
    expected_and_measured,
    fit_curve,
)
from napari_colorize_training.evaluation.non_photographs import non_photograph
from napari_colorize_training.models.export import record_validation
from PIL import Image
from typer.testing import CliRunner

from napari_colorize.analysis.expected_error import expected_error
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.zoo.weights import read_weights, write_weights

CAT = skimage.data.chelsea()


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = CompactUNet(upsampled=(8, 8, 8), widths=(8, 8, 8))
    torch.nn.init.normal_(network.head.weight, std=2.0)
    path = tmp_path / "model.safetensors"
    metadata = {"architecture": "compact", "license": "BSD-3-Clause"}
    write_weights(path, network.state_dict(), metadata)
    return path


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index, left in enumerate(range(0, 200, 10)):
        Image.fromarray(CAT[:160, left : left + 200]).save(folder / f"{index}.png")
    return folder


def test_the_curve_is_monotone_and_covers_every_error():
    random = np.random.default_rng(0)
    uncalibrated = random.uniform(2, 20, 5000)
    measured = 0.5 * uncalibrated + random.normal(0, 3, uncalibrated.size)

    curve = fit_curve(uncalibrated, measured)

    assert (np.diff(curve[0]) > 0).all() and (np.diff(curve[1]) >= 0).all()
    assert curve[0, 0] == 0 and curve[0, -1] > 100
    np.testing.assert_allclose(curve[1, 1:-1], 0.5 * curve[0, 1:-1], atol=0.6)


def test_the_discriminant_separates_and_is_scaled():
    random = np.random.default_rng(0)
    photographs, others = random.normal(size=(2, 2000, 20))
    others[:, :5] += 2

    *weights, bias = discriminant(photographs, others)

    assert np.mean(photographs @ weights + bias > 0) == pytest.approx(0.035, abs=0.02)
    assert np.median(others @ weights + bias) == pytest.approx(1, abs=0.1)


def test_drawn_images_are_gray_and_depend_on_the_seed_alone():
    for seed in range(60):
        one, other = (non_photograph(np.random.default_rng(seed), [CAT[..., 0]]) for _ in "ab")
        assert one.dtype == np.uint8 and one.ndim == 2 and one.std() > 0
        np.testing.assert_array_equal(one, other)


def test_a_calibrated_model_expects_its_mean_error(model, photographs):
    result = calibrate_model(model, photographs, validation=False)

    curve = result.curve
    colorizer = Colorizer.from_pretrained(model, precision="float32")
    rgb = np.asarray(Image.open(photographs / "0.png"))
    uncalibrated, measured = expected_and_measured(colorizer, rgb)
    expected = expected_error(colorizer, colorizer(rgb))
    assert curve.shape[0] == 2 and (result.images, result.written) == (20, ("calibration",))
    assert abs(expected.mean() - measured.mean()) < abs(uncalibrated.mean() - measured.mean())
    assert read_weights(model).metadata["license"] == "BSD-3-Clause"


def test_calibration_can_be_repeated_also_through_a_link(model, photographs):
    first = calibrate_model(model, photographs, validation=False).curve
    content = model.read_bytes()
    link = model.with_name("link.safetensors")
    link.symlink_to(model)

    again = calibrate_model(link, photographs, validation=False).curve
    np.testing.assert_allclose(again, first)

    assert model.read_bytes() == content and link.is_symlink()


def test_the_command_prints_the_curve(model, photographs):
    Image.fromarray(CAT[..., 0]).save(photographs / "gray.png")

    result = CliRunner().invoke(app, ["calibrate", str(model), str(photographs), "--all"])

    assert result.exit_code == 0, result.output
    sentence, uncalibrated, measured = result.stdout.splitlines()
    assert sentence == (
        f"Calibrated on 20 images; left out: 1 gray (gray.png). Written to {model}: calibration."
    )
    assert uncalibrated.startswith("uncalibrated error  ") and len(uncalibrated.split()) == 24
    assert measured.startswith("measured CIEDE2000  ")
    assert "calibration" in read_weights(model).state


def test_images_that_the_training_held_back_are_used(model, photographs):
    images = [np.asarray(Image.open(photographs / f"{number}.png")) for number in range(20)]
    record_validation(model, [content_digest(photographs / f"{n}.png") for n in range(19)])

    with pytest.raises(ImageError, match="has 19 color images for validation"):
        calibrate_model(model, photographs)
    record_validation(model, [content_digest(image) for image in images])
    found = calibrate_model(model, images)
    assert found.images == 20 and found.split == "validation images of model.safetensors"


def test_a_network_without_classes_cannot_be_calibrated(tmp_path, photographs):
    network = ARCHITECTURES["lab-autoencoder"].create(widths=(8, 8, 8, 8))
    path = tmp_path / "other.safetensors"
    write_weights(path, network.state_dict(), {"architecture": "lab-autoencoder"})

    with pytest.raises(SettingsError, match="color classes"):
        calibrate_model(path, photographs)


def test_with_too_few_color_images_nothing_is_written(model, photographs):
    (photographs / "0.png").unlink()
    Image.fromarray(CAT[..., 0]).save(photographs / "gray.png")
    content = model.read_bytes()

    with pytest.raises(ImageError, match=r"has 19 color images, .*left out: 1 gray \(gray\.png\)"):
        calibrate_model(model, photographs, validation=False)
    with pytest.raises(ImageError, match="color images for validation, .* or use --all"):
        calibrate_model(model, photographs)

    assert model.read_bytes() == content
