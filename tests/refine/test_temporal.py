"""Temporal smoothing of chrominance: flicker, motion, occlusion, scene changes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from napari_colorize.imaging.resample import resize
from napari_colorize.refine import temporal
from napari_colorize.refine.temporal import MAX_STRETCH, MEMORY, TemporalState, smooth_step

SIZE = 40, 48
ORANGE, BLUE = torch.tensor([-0.15, 0.2]), torch.tensor([0.2, -0.1])


def texture(*size: int, seed: int = 0) -> Tensor:
    """Random gray image (h, w) in [0, 1] with large and small structures."""
    return 0.5 * noise(*size, seed=seed, scale=3) + 0.5 * noise(*size, seed=seed + 1000, scale=9)


def noise(*size: int, seed: int, scale: int) -> Tensor:
    coarse = tuple(math.ceil(length / scale) + 1 for length in size)
    values = torch.rand(1, 1, *coarse, generator=torch.Generator().manual_seed(seed))
    return resize(values, size)[0, 0]


def random_uv(*size: int, seed: int = 0) -> Tensor:
    """Random chrominance (h, w, 2) with large structures."""
    return torch.stack(
        [0.4 * noise(*size, seed=seed + axis, scale=12) - 0.2 for axis in (10, 11)], dim=-1
    )


def flickering(uv: Tensor, frames: int, amount: float) -> list[Tensor]:
    """The chrominance with independent noise in every frame."""
    random = torch.Generator().manual_seed(1)
    return [uv + amount * torch.randn(uv.shape, generator=random) for _ in range(frames)]


def smoothed(grays: list[Tensor], uvs: list[Tensor], strength: float) -> list[TemporalState]:
    states: list[TemporalState] = []
    for gray, uv in zip(grays, uvs, strict=True):
        states.append(smooth_step(states[-1] if states else None, gray, uv, strength))
    return states


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm(dim=-1).mean())


def test_a_strength_of_0_returns_the_input():
    before = smooth_step(None, texture(*SIZE), random_uv(*SIZE, seed=5), 1.0)
    uv = random_uv(*SIZE)

    after = smooth_step(before, texture(*SIZE), uv, 0.0)

    torch.testing.assert_close(after.uv, uv, rtol=0, atol=0)


@pytest.mark.parametrize("strength", [0.3, 0.8, 1.0])
def test_noise_of_a_static_scene_is_reduced_as_predicted(strength):
    frames, amount = 24, 0.01
    uv = BLUE.expand(*SIZE, 2)

    last = smoothed([texture(*SIZE)] * frames, flickering(uv, frames, amount), strength)[-1]

    share = strength * MEMORY / (MEMORY + 1)
    # Variance of a plain mean at strength 1, and of an exponential mean otherwise.
    expected = 1 / frames if strength == 1 else (1 - share) / (1 + share)
    measured = float((last.uv - uv).var()) / amount**2
    assert measured == pytest.approx(expected, rel=0.1)


def test_colors_follow_a_pan():
    wide, colors = texture(40, 120), random_uv(40, 120)
    grays = [wide[:, 3 * time :][:, :48] for time in range(16)]
    truths = [colors[:, 3 * time :][:, :48] for time in range(16)]
    random = torch.Generator().manual_seed(2)
    flickered = [uv + 0.05 * torch.randn(2, generator=random) for uv in truths]

    constant = smoothed(grays, truths, 0.8)
    smooth = smoothed(grays, flickered, 0.8)

    moved = distance(truths[-1], truths[-4])  # error without motion compensation
    assert distance(constant[-1].uv, truths[-1]) < 0.1 * moved
    remaining = compensated_change([state.uv for state in smooth[-8:]])
    assert remaining < 0.35 * compensated_change(flickered[-8:])


def compensated_change(uvs: list[Tensor]) -> float:
    """Mean change of color between consecutive frames, after motion compensation."""
    jumps = [distance(now[:, :-3], last[:, 3:]) for last, now in itertools.pairwise(uvs)]
    return sum(jumps) / len(jumps)


def test_a_scene_change_restarts_the_mean():
    before = smoothed([texture(*SIZE)] * 5, [ORANGE.expand(*SIZE, 2)] * 5, 1.0)[-1]
    uv = BLUE.expand(*SIZE, 2)

    after = smooth_step(before, texture(*SIZE, seed=1), uv, 1.0)

    torch.testing.assert_close(after.uv, uv, rtol=0, atol=0)


def test_a_scene_change_is_detected_despite_black_bars():
    scene, other = texture(*SIZE), texture(*SIZE, seed=1)
    for gray in (scene, other):
        gray[:6] = gray[-6:] = 0
    before = smoothed([scene] * 5, [ORANGE.expand(*SIZE, 2)] * 5, 1.0)[-1]
    uv = BLUE.expand(*SIZE, 2)

    torch.testing.assert_close(smooth_step(before, other, uv, 1.0).uv, uv, rtol=0, atol=0)


def test_uncovered_pixels_use_the_current_colors():
    background, subject = texture(*SIZE), 0.7 * texture(16, 16, seed=3)
    grays, uvs = [], []
    for time in range(8):
        gray, uv = background.clone(), BLUE.repeat(*SIZE, 1)
        gray[12:28, 4 + 3 * time : 20 + 3 * time] = subject
        uv[12:28, 4 + 3 * time : 20 + 3 * time] = ORANGE
        grays.append(gray)
        uvs.append(uv)

    last = smoothed(grays, uvs, 1.0)[-1]

    wrong = (last.uv - uvs[-1]).norm(dim=-1) / (ORANGE - BLUE).norm()
    uncovered, subject_now = wrong[12:28, 4:24], wrong[14:26, 27:39]
    assert uncovered.mean() < 0.1
    assert subject_now.mean() < 0.1


def test_pixels_that_enter_the_frame_use_the_current_colors(monkeypatch):
    rows = texture(SIZE[0], 1).expand(*SIZE)  # a pan along rows of equal gray
    flow = torch.stack([torch.zeros(SIZE), torch.full(SIZE, 3.0)])
    monkeypatch.setattr(temporal, "_optical_flow", lambda before, now: flow)
    before = smooth_step(None, rows, ORANGE.expand(*SIZE, 2), 1.0)

    after = smooth_step(before, rows, BLUE.expand(*SIZE, 2), 1.0)

    entering = (after.uv - BLUE).norm(dim=-1) < 1e-6
    assert entering[:, -3:].all() and not entering[:, :-3].any()


def test_other_structure_of_the_same_mean_restarts_the_mean(monkeypatch):
    monkeypatch.setattr(temporal, "_optical_flow", lambda before, now: torch.zeros(2, *SIZE))
    one, other = texture(*SIZE), texture(*SIZE)
    for seed, gray in enumerate((one, other)):
        fine = torch.rand(20, 20, generator=torch.Generator().manual_seed(seed))
        gray[10:30, 10:30] = 0.5 + 0.06 * (fine - 0.5)
    before = smooth_step(None, one, ORANGE.expand(*SIZE, 2), 1.0)

    after = smooth_step(before, other, BLUE.expand(*SIZE, 2), 1.0)

    assert after.frames[14:26, 14:26].mean() < 1.1 and after.frames[:, 35:].min() > 1.9


def test_averaging_different_hues_keeps_the_chroma():
    hues = [torch.tensor([0.2, 0.0]), torch.tensor([0.0, 0.2])]
    uvs = [hues[time % 2].expand(*SIZE, 2) for time in range(12)]

    states = smoothed([texture(*SIZE)] * 12, uvs, 0.8)

    lengths = torch.stack([state.uv.norm(dim=-1).mean() for state in states])
    torch.testing.assert_close(lengths, torch.full((12,), 0.2), rtol=1e-3, atol=0)
    angles = torch.stack([torch.atan2(*state.uv[20, 20]) for state in states[6:]])
    assert angles.max() - angles.min() < 0.5 * math.pi / 2  # between the two hues


def test_opposite_hues_are_lengthened_by_a_limited_factor():
    gray, uv = texture(*SIZE), torch.tensor([0.2, 0.0]).expand(*SIZE, 2)
    before = smooth_step(None, gray, uv, 1.0)

    after = smooth_step(before, gray, -0.95 * uv, 1.0)

    # The mean of the two has a length of 0.005, and the root mean square is 0.195.
    expected = torch.full((20, 20), MAX_STRETCH * 0.005)
    torch.testing.assert_close(after.uv[10:30, 10:30, 0], expected, rtol=0, atol=1e-3)


def test_a_fade_scales_the_colors():
    scene, uv = texture(*SIZE), random_uv(*SIZE)
    light = torch.linspace(1, 0.2, 9)

    states = smoothed([part * scene for part in light], [part * uv for part in light], 1.0)

    for state, part in zip(states, light, strict=True):
        assert distance(state.uv, part * uv) < 0.01 * float((part * uv).norm(dim=-1).mean())


def test_changing_exposure_does_not_restart_the_mean():
    random = torch.Generator().manual_seed(0)
    gains = 1 + 0.1 * torch.randn(12, generator=random)

    states = smoothed(
        [gain * texture(*SIZE) for gain in gains], [random_uv(*SIZE)] * 12, strength=1.0
    )

    assert states[-1].frames.mean() > 11


@pytest.mark.parametrize(("gain", "frames"), [(1.8, 2), (1 / 1.8, 2), (4, 1), (1 / 4, 1)])
def test_a_large_change_of_exposure_restarts_the_mean(gain, frames):
    gray = texture(*SIZE) * min(1, 1 / gain)
    before = smooth_step(None, gray, ORANGE.expand(*SIZE, 2), 1.0)

    after = smooth_step(before, gain * gray, BLUE.expand(*SIZE, 2), 1.0)

    assert float(after.frames.mean()) == pytest.approx(frames, abs=0.1)


def test_a_dissolve_restarts_the_mean():
    one, other = texture(*SIZE), texture(*SIZE, seed=1)
    parts = torch.cat([torch.zeros(8), torch.linspace(0, 1, 13), torch.ones(4)])
    grays = [torch.lerp(one, other, part) for part in parts]
    uvs = [torch.lerp(ORANGE, BLUE, part).expand(*SIZE, 2) for part in parts]

    states = smoothed(grays, uvs, 1.0)

    errors = [
        distance(state.uv, uv) / float((ORANGE - BLUE).norm())
        for state, uv in zip(states, uvs, strict=True)
    ]
    assert max(errors) < 0.35  # a mean of 25 frames would be dominated by the first scene
    assert errors[-1] < 0.15


def test_another_size_restarts_the_mean():
    before = smooth_step(None, texture(*SIZE), random_uv(*SIZE), 1.0)
    uv = random_uv(20, 30)

    after = smooth_step(before, texture(20, 30), uv, 1.0)

    torch.testing.assert_close(after.uv, uv, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(40, 48), (150, 210)])
def test_the_state_is_small_and_does_not_grow(size):
    grays, uvs = [texture(*size)] * 6, [random_uv(*size)] * 6

    for state in smoothed(grays, uvs, 1.0):
        maps = state.gray, state.mean_gray, state.frames
        assert set(vars(state)) == {"uv", "gray", "mean_gray", "frames"}
        assert all(part.numel() < 1.05 * 64**2 for part in maps)
        assert state.uv.shape == (*size, 2)


def test_the_gray_can_be_larger_than_the_chrominance():
    fine = [texture(80, 144)[:, 4 * time :][:, :96] for time in range(4)]
    uvs = flickering(random_uv(*SIZE), 4, 0.01)
    coarse = [resize(gray[None, None], SIZE)[0, 0] for gray in fine]

    for one, other in zip(smoothed(fine, uvs, 0.8), smoothed(coarse, uvs, 0.8), strict=True):
        torch.testing.assert_close(one.uv, other.uv)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (5, 300)])
@pytest.mark.parametrize("level", [0.0, 0.5, None])
def test_tiny_black_and_flat_images_are_smoothed(size, level):
    gray = texture(*size) if level is None else torch.full(size, level)
    uvs = [torch.full((*size, 2), value) for value in (0.1, 0.2, 0.1, 0.2)]

    last = smoothed([gray] * 4, uvs, 1.0)[-1]

    assert bool(((last.uv > 0.149) & (last.uv < 0.16)).all())


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_a_strength_out_of_range_raises(strength):
    with pytest.raises(ValueError, match="between 0 and 1"):
        smooth_step(None, texture(*SIZE), random_uv(*SIZE), strength)
