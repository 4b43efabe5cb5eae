from __future__ import annotations

import pytest
import torch
from napari_colorize_training.loop.losses import critic_loss
from napari_colorize_training.models.critics import CRITICS, PATCH_FIELDS, build_critic
from torch import nn

from napari_colorize.errors import SettingsError
from napari_colorize.networks.layers import SelfAttention

SMALL = {
    "patch": {"width": 4},
    "deoldify": {"width": 8},
    "sagan": {"width": 8},
    "dense": {},
    "encoder": {"widths": (4, 4, 4, 4, 4, 4)},
    "dcgan": {"width": 4},
}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


PLAIN = [name for name in CRITICS if name != "features"]  # which needs a feature network


@pytest.mark.parametrize("side", [64, 96, 131, 160])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", PLAIN)
def test_every_critic_accepts_images_of_training_sizes(name, channels, side):
    critic = build_critic(name, in_channels=channels, **SMALL[name])

    logits = critic(torch.randn(2, channels, side, side))

    assert logits.shape[:2] == (2, 1) and logits.ndim in (2, 4)
    assert logits.numel() > 0 and logits.isfinite().all()


@pytest.mark.parametrize("name", PLAIN)
def test_a_critic_gets_gradients_from_real_and_generated_images(name):
    torch.manual_seed(0)
    critic = build_critic(name, **SMALL[name])
    real, fake = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)

    # Two passes before one way back: spectral norm changes its buffers in each.
    sum(critic_loss(critic(real), critic(fake), "bce")).backward()

    gradients = {key: item.grad for key, item in critic.named_parameters()}
    assert all(item is not None and item.isfinite().all() for item in gradients.values())
    assert sum(float(item.abs().sum()) for item in gradients.values()) > 0


def test_pix2pixs_critic_has_its_published_size_and_map():
    critic = build_critic("patch")

    assert round(count(critic) / 1e6, 2) == 2.77
    assert critic(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize("field", PATCH_FIELDS)
def test_a_logit_has_its_receptive_field(field):
    """Return the side, px, of the square in which a central logit has gradients."""
    torch.manual_seed(0)
    critic = build_critic("patch", field=field, width=2).double().eval()
    side = 64 if field < 70 else 192 if field < 142 else 512
    x = torch.randn(1, 3, side, side, dtype=torch.float64, requires_grad=True)

    logits = critic(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()

    rows, columns = x.grad.abs().sum((0, 1)).nonzero().unbind(1)
    assert int(rows.max() - rows.min()) + 1 == field
    assert int(columns.max() - columns.min()) + 1 == field


@pytest.mark.parametrize("field", PATCH_FIELDS)
def test_the_receptive_field_may_exceed_the_image(field):
    critic = build_critic("patch", field=field, width=2)

    assert critic(torch.randn(1, 3, 64, 64)).numel() > 0


def test_an_unknown_field_is_refused():
    with pytest.raises(SettingsError, match="1, 16, 34, 70, 142, 286"):
        build_critic("patch", field=71)


def test_the_dense_critic_has_its_published_size():
    critic = build_critic("dense")

    assert count(critic) == 1_907_905
    assert critic.dense[0].in_features == 1024
    assert critic(torch.zeros(1, 3, 120, 120)).shape == (1, 1)


def test_the_dense_critic_can_be_made_for_another_size():
    assert build_critic("dense", side=92)(torch.zeros(1, 3, 92, 92)).shape == (1, 1)
    assert build_critic("dense", side=160)(torch.zeros(1, 3, 64, 80)).shape == (1, 1)
    with pytest.raises(SettingsError, match="at least 92 px"):
        build_critic("dense", side=91)


def test_deoldifys_critic_has_its_published_layers():
    critic = build_critic("deoldify", width=8)

    convs = [part for part in critic.modules() if isinstance(part, nn.Conv2d)]
    shapes = [(conv.out_channels, conv.kernel_size[0], conv.stride[0]) for conv in convs]
    assert shapes == [
        (8, 4, 2),
        *((8, 3, 1), (16, 4, 2)),
        *((16, 3, 1), (32, 4, 2)),
        *((32, 3, 1), (64, 4, 2)),
        *((64, 3, 1), (1, 4, 1)),
    ]
    assert all(hasattr(conv, "weight_orig") for conv in convs)
    dropped = [part.p for part in critic.modules() if isinstance(part, nn.Dropout2d)]
    assert dropped == [0.075, 0.15, 0.15, 0.15]
    kinds = [type(part) for part in critic]
    assert kinds.index(SelfAttention) == 5 and kinds.count(SelfAttention) == 1


@pytest.mark.parametrize("name", ["deoldify", "sagan"])
def test_spectral_norm_limits_every_convolution(name):
    torch.manual_seed(0)
    critic = build_critic(name, width=8)
    x = torch.randn(2, 3, 64, 64)

    for _ in range(30):  # power iteration converges
        critic(x)
    critic.eval()(x)

    for part in critic.modules():
        if isinstance(part, nn.Conv2d):
            largest = torch.linalg.matrix_norm(part.weight.detach().flatten(1), ord=2)
            assert float(largest) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("attentions", [0, 1, 2])
def test_the_number_of_sagans_attention_layers_is_an_option(attentions):
    critic = build_critic("sagan", width=8, attentions=attentions)

    assert sum(isinstance(part, SelfAttention) for part in critic) == attentions
    with pytest.raises(SettingsError, match="0, 1 or 2"):
        build_critic("sagan", attentions=3)


def kinds_of(**options: bool) -> set[type[nn.Module]]:
    return {type(part) for part in build_critic("dcgan", width=4, **options).modules()}


def test_each_stabilizer_of_dcgan_can_be_switched_off():
    assert {nn.BatchNorm2d, nn.LeakyReLU} <= kinds_of()
    assert not {nn.MaxPool2d, nn.ReLU} & kinds_of()
    assert nn.BatchNorm2d not in kinds_of(batch_norm=False)
    assert nn.MaxPool2d in kinds_of(strides=False)
    assert nn.LeakyReLU not in kinds_of(leaky=False) and nn.ReLU in kinds_of(leaky=False)


def test_pix2pixs_initial_weights_are_small():
    torch.manual_seed(0)
    critic = build_critic("patch")

    convs = [part for part in critic.modules() if isinstance(part, nn.Conv2d)]
    norms = [part for part in critic.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(float(conv.weight.detach().std()) == pytest.approx(0.02, rel=0.1) for conv in convs)
    assert all(float(norm.weight.detach().mean()) == pytest.approx(1, abs=0.01) for norm in norms)
    assert all(not conv.bias.any() for conv in convs if conv.bias is not None)


def test_an_unknown_critic_or_option_is_refused_by_name():
    with pytest.raises(SettingsError, match="Choose one of: patch, deoldify"):
        build_critic("patchgan")
    with pytest.raises(SettingsError, match="has no option 'depth'. Available: in_channels, field"):
        build_critic("patch", depth=3)


class Bands(nn.Module):
    """Stand-in for a pretrained network: the image at two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, rgb: torch.Tensor) -> list[torch.Tensor]:
        x = self.conv(rgb)
        return [nn.functional.avg_pool2d(x, 4), nn.functional.avg_pool2d(x, 8)]


@pytest.mark.parametrize("channels", [3, 4])
def test_the_feature_critic_uses_every_map_and_trains_only_its_heads(channels):
    torch.manual_seed(0)
    critic = build_critic("features", features=Bands(), in_channels=channels, width=8)
    critic.requires_grad_(True)
    critic.features.requires_grad_(False)
    real, fake = torch.rand(2, 2, channels, 64, 80) * 2 - 1
    fake.requires_grad_(True)

    logits = critic(fake)
    sum(critic_loss(critic(real), logits, "hinge")).backward()

    assert logits.shape[:2] == (2, 2)
    assert all(item.grad is not None for item in critic.heads.parameters())
    assert critic.features.conv.weight.grad is None
    assert fake.grad.abs().sum() > 0  # the generator gets gradients


def test_the_feature_critic_accepts_only_rgb():
    with pytest.raises(SettingsError, match="RGB"):
        build_critic("features", features=Bands(), in_channels=2)
