from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from napari_colorize_training.evaluation import metrics
from napari_colorize_training.evaluation.frechet import Moments, frechet_distance, quadrants
from scipy.linalg import sqrtm
from scipy.stats import entropy, spearmanr
from skimage.color import rgb2lab, yuv2rgb

from napari_colorize.networks.vision import torchvision_models


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return skimage.data.chelsea()[:120, 100:260]


@pytest.fixture(scope="module")
def faded(photograph) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, photograph.shape)
    return (photograph * 0.8 + 20 + noise).clip(0, 255).astype(np.uint8)


def as_batch(rgb: np.ndarray) -> torch.Tensor:
    return torch.tensor(rgb).movedim(-1, 0)[None].double()


def test_psnr_and_ssim_agree_with_torchmetrics(photograph, faded):
    torchvision_models()  # torchmetrics imports torchvision, which needs its cure
    functional = pytest.importorskip("torchmetrics.functional.image")
    pair = as_batch(faded), as_batch(photograph)

    assert metrics.psnr(photograph, faded) == pytest.approx(
        float(functional.peak_signal_noise_ratio(*pair, data_range=255.0)), abs=1e-6
    )
    # torchmetrics pads the border by mirroring; Wang et al. take whole windows only.
    _, everywhere = functional.structural_similarity_index_measure(
        *pair, data_range=255.0, return_full_image=True
    )
    whole = everywhere[..., 5:-5, 5:-5].mean()
    assert metrics.ssim(photograph, faded) == pytest.approx(float(whole), abs=1e-6)


def test_metrics_of_known_images():
    truth = np.full((4, 4, 3), 100, np.uint8)

    assert metrics.psnr(truth, truth + 10) == pytest.approx(20 * np.log10(255 / 10))
    assert metrics.ciede2000(truth, truth) == 0
    assert metrics.colorfulness(truth) == 0
    assert metrics.colorfulness(np.full((4, 4, 3), (200, 100, 50), np.uint8)) == pytest.approx(
        0.3 * np.hypot(100, 100)
    )
    assert np.isnan(metrics.ssim(truth, truth))  # smaller than its window


def test_colorfulness_uses_signed_opponents_and_its_variant_absolute_ones():
    red_and_cyan = np.zeros((2, 2, 3), np.uint8)
    red_and_cyan[0] = (200, 0, 0)
    red_and_cyan[1] = (0, 200, 200)

    # Signed: rg is 200 and -200, yb is 100 and -100; their means vanish.
    assert metrics.colorfulness(red_and_cyan) == pytest.approx(np.hypot(200, 100))
    # Absolute: nothing deviates, and the means are all there is.
    assert metrics.colorfulness_abs(red_and_cyan) == pytest.approx(0.3 * np.hypot(200, 100))


def test_pixels_with_a_chroma_below_two_are_uncolored():
    lab = rgb2lab(np.array([[[100, 100, 100], [100, 100, 102], [200, 60, 60]]], np.uint8))

    assert np.hypot(*lab[0, 1, 1:]) < 2 < np.hypot(*lab[0, 2, 1:])
    assert metrics.uncolored_share(lab) == pytest.approx(2 / 3)


def flat_image_with_chroma(chroma: np.ndarray) -> np.ndarray:
    """Gray of equal luminance with `chroma` in U and -`chroma` in V, (Y, X)."""
    yuv = np.stack([np.full_like(chroma, 0.5), chroma, -chroma], -1)
    return np.rint(255 * yuv2rgb(yuv)).clip(0, 255).astype(np.uint8)


def test_patchiness_is_the_mean_chroma_step_between_reduced_pixels():
    side = 4 * metrics.PATCH_SIDE  # reduced four times
    truth = flat_image_with_chroma(np.full((side, side + 80), 0.05))
    halves = flat_image_with_chroma(np.full((side, side + 80), 0.05))
    halves[:, 80:] = flat_image_with_chroma(np.full((side, side), -0.05))
    smooth = metrics.smooth_area(truth)

    columns = metrics.PATCH_SIDE + 20 - 1  # differences between neighbors
    assert smooth.shape == (metrics.PATCH_SIDE - 1, columns) and smooth.all()
    assert metrics.patchiness(truth, smooth) == 0
    # One column of differences sees the step of 0.1 in both U and V.
    step = 100 * np.hypot(0.1, 0.1) / columns
    assert metrics.patchiness(halves, smooth) == pytest.approx(step, rel=0.02)
    enlarged = halves.repeat(2, axis=0).repeat(2, axis=1)
    assert metrics.patchiness(enlarged, smooth) == pytest.approx(step, rel=0.02)


def test_patches_are_not_sought_at_edges_of_the_truth():
    gray = np.full((80, 80, 3), 100, np.uint8)
    gray[:, 40:] = 200
    colored = flat_image_with_chroma(np.where(np.arange(80) < 40, 0.1, -0.1)[None].repeat(80, 0))

    for truth in (gray, colored):
        smooth = metrics.smooth_area(truth)
        assert not smooth[:, 19].any() and smooth[:, :19].all() and smooth[:, 20:].all()

    busy = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.isnan(metrics.patchiness(busy, np.zeros((39, 39), bool)))


def test_gray_is_rounded_rec_601_luminance():
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)

    gray = metrics.to_gray(rgb)

    np.testing.assert_array_equal(gray, np.rint(rgb @ [0.299, 0.587, 0.114]))
    assert metrics.to_gray(gray) is gray


def test_color_consistency_is_the_jensen_shannon_divergence_of_histograms():
    frames = np.random.default_rng(0).integers(0, 200, (7, 20, 30, 3), dtype=np.uint8)
    frames[3:] += 40  # the light changes
    consistency = metrics.ColorConsistency()

    for frame in frames:
        consistency.add(frame)

    counts = [[np.bincount(f[..., c].ravel(), minlength=256) for c in range(3)] for f in frames]
    means = []
    for channel in range(3):
        for distance in (1, 2, 4):
            jumps = []
            for one, other in zip(counts, counts[distance:], strict=False):
                p, q = one[channel] / 600, other[channel] / 600
                middle = (p + q) / 2
                jumps.append((entropy(p, middle) + entropy(q, middle)) / 2)
            means.append(np.mean(jumps))
    assert consistency.value() == pytest.approx(np.mean(means))


def test_a_constant_video_is_consistent():
    consistency = metrics.ColorConsistency()
    assert np.isnan(consistency.value())

    for _ in range(3):
        consistency.add(np.full((4, 4, 3), 9, np.uint8))

    assert consistency.value() == 0


def test_colors_that_move_with_the_image_have_no_warping_error(photograph):
    before, now = photograph[:, 2:], photograph[:, :-2]  # everything went two pixels to the right
    motion = metrics.motion_between(metrics.to_gray(before), metrics.to_gray(now))
    inner = np.s_[20:-20, 20:-20]

    flickers = now.copy()
    flickers[..., 0] //= 2

    assert np.median(motion.flow[1][inner]) == pytest.approx(-2, abs=0.1)
    assert motion.visible[inner].mean() > 0.9
    consistent = metrics.warping_error(before, now, motion)
    assert consistent < 1e-3
    assert metrics.warping_error(before, flickers, motion) > 20 * consistent
    assert consistent < np.square(now / 255.0 - before / 255.0).mean() / 2  # motion is followed


def test_pixels_that_become_visible_are_not_compared(photograph):
    before = metrics.to_gray(photograph)
    now = before.copy()
    now[40:80, 40:100] = np.random.default_rng(0).integers(0, 256, (40, 60))

    visible = metrics.motion_between(before, now).visible

    assert visible[50:70, 55:85].mean() < 0.8 * visible[95:, :].mean()


def test_calibration_sorts_by_expected_error():
    random = np.random.default_rng(0)
    expected = random.random((10, 10))
    measured = expected * 2 + random.random((10, 10)) / 10

    found = metrics.calibrate(expected, measured, parts=4)

    assert found.rank_correlation == pytest.approx(
        spearmanr(expected.ravel(), measured.ravel()).statistic
    )
    assert list(found.expected) == sorted(found.expected) and len(found.expected) == 4
    assert found.expected[0] == pytest.approx(np.sort(expected.ravel())[:25].mean())
    assert np.mean(found.measured) == pytest.approx(measured.mean())
    assert np.isnan(metrics.calibrate(np.ones(9), random.random(9)).rank_correlation)


def gathered(vectors: np.ndarray) -> Moments:
    moments = Moments()
    for part in np.array_split(vectors, 3):
        moments.add(part)
    return moments


def test_accumulated_moments_equal_those_of_all_vectors():
    vectors = np.random.default_rng(0).normal(3, 1, (50, 4))

    moments = gathered(vectors)

    np.testing.assert_allclose(moments.mean, vectors.mean(0))
    np.testing.assert_allclose(moments.covariance, np.cov(vectors.T))


def test_the_frechet_distance_agrees_with_the_formula():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(200, 5)), random.normal(1, 2, (200, 5)) @ random.random((5, 5))
    a, b = np.cov(one.T), np.cov(other.T)

    distance = frechet_distance(gathered(one), gathered(other))

    mean = np.square(one.mean(0) - other.mean(0)).sum()
    assert distance == pytest.approx(mean + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def test_the_frechet_distance_is_valid_for_fewer_vectors_than_dimensions():
    vectors = np.random.default_rng(0).normal(size=(6, 40))

    assert frechet_distance(gathered(vectors), gathered(vectors)) == pytest.approx(0, abs=1e-9)
    # Moved as a whole, only the means differ.
    moved = frechet_distance(gathered(vectors), gathered(vectors + 0.5))
    assert moved == pytest.approx(40 * 0.25)


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 6, 3), (1, 1, 3)])
def test_quadrants_cover_the_image_and_are_not_empty(shape):
    rgb = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

    parts = quadrants(rgb)

    assert all(part.size for part in parts)
    assert set(np.concatenate([part.ravel() for part in parts])) == set(rgb.ravel())


def test_the_backbone_depends_on_color_and_refuses_other_files(shared, photograph):
    from napari_colorize_training.evaluation.frechet import Backbone

    from napari_colorize.errors import CheckpointError

    backbone = Backbone(shared / "backbones" / "mobilenetv2_100.safetensors")
    gray = metrics.to_gray(photograph)[..., None].repeat(3, -1)

    features = backbone(photograph)

    assert features.shape == (5, 320)
    assert np.abs(features - backbone(gray)).mean() > 0.01
    with pytest.raises(CheckpointError, match="MobileNetV2|mobilenetv2"):
        Backbone(shared / "backbones" / "resnet18_to_layer3.safetensors")


def test_lpips_reads_its_network_from_a_file(tmp_path, photograph, faded):
    from napari_colorize_training.evaluation.frechet import lpips_from

    from napari_colorize.errors import CheckpointError

    pytest.importorskip("torchmetrics")
    torch.manual_seed(0)
    network = torchvision_models().squeezenet1_1(weights=None)
    torch.save(network.state_dict(), tmp_path / "squeezenet.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")

    distance = lpips_from(tmp_path / "squeezenet.pth")

    assert distance(photograph, photograph) == 0
    assert 0 < distance(photograph, faded) < 2
    assert np.isnan(distance(photograph[:8], faded[:8]))
    with pytest.raises(CheckpointError, match="no network of LPIPS"):
        lpips_from(tmp_path / "other.pth")
