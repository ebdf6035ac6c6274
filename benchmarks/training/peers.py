"""The two peers, built and trained in their usual way: diffusers and denoising-diffusion-pytorch.

Both are class-conditional. Each keeps its own network, noise schedule, loss and optimizer settings.
For diffusers these are the ones of its unconditional training example, for the other library the
defaults of its classes.
"""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

T = 1000
# Labels are never dropped: models are compared without guidance, so every update should train the
# conditional prediction that is measured.
DROP = 0.0


class Peer(ABC):
    """A network with its own noise schedule and loss; pixels are in [-1, 1] throughout."""

    name: str
    width: int  # chosen for 2 to 3 million parameters
    network: nn.Module
    alpha_bar: Tensor  # [T] float64

    @abstractmethod
    def loss(self, x0: Tensor, label: Tensor) -> Tensor:
        """The peer's own training loss, a scalar, for pictures [B, C, H, W] and labels [B]."""

    @abstractmethod
    def eps(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The predicted noise [B, C, H, W] at timesteps t [B] in 0 .. T-1."""

    @abstractmethod
    def optimizer(self, lr: float) -> torch.optim.Optimizer:
        """The optimizer that the peer's own trainer uses."""


class Diffusers(Peer):
    """UNet2DModel with DDPMScheduler: linear betas, noise prediction, unweighted squared error."""

    name = "diffusers"
    width = 32

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        width: int,
        multipliers: tuple[int, ...] = (1, 1, 2, 4),
        attention: int = -2,
        blocks: int = 1,
    ) -> None:
        diffusers = importlib.import_module("diffusers")
        levels = len(multipliers)
        attends = [level == attention % levels for level in range(levels)]
        self.scheduler = diffusers.DDPMScheduler(num_train_timesteps=T, beta_schedule="linear")
        self.alpha_bar = self.scheduler.alphas_cumprod.double()
        self.network = diffusers.UNet2DModel(
            sample_size=size,
            in_channels=in_channels,
            out_channels=in_channels,
            num_class_embeds=10,
            layers_per_block=blocks,
            block_out_channels=tuple(width * m for m in multipliers),
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
            norm_num_groups=min(32, width // 4),
        )

    def loss(self, x0: Tensor, label: Tensor) -> Tensor:
        """The squared error of the noise at uniformly drawn timesteps."""
        noise = torch.randn_like(x0)
        t = torch.randint(0, T, (len(x0),))
        return F.mse_loss(self.eps(self.scheduler.add_noise(x0, noise, t), t, label), noise)

    def eps(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The predicted noise."""
        out: Tensor = self.network(x, t, class_labels=label).sample
        return out

    def optimizer(self, lr: float) -> torch.optim.Optimizer:
        """AdamW with the settings of the training example."""
        return torch.optim.AdamW(
            self.network.parameters(), lr=lr, betas=(0.95, 0.999), weight_decay=1e-6
        )


class DenoisingDiffusion(Peer):
    """The class-conditional U-Net and GaussianDiffusion of denoising-diffusion-pytorch."""

    name = "denoising-diffusion-pytorch"
    width = 24

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        width: int,
        multipliers: tuple[int, ...] = (1, 2, 2, 4),
    ) -> None:
        with _torchvision_stub():
            module = "denoising_diffusion_pytorch.classifier_free_guidance"
            theirs = importlib.import_module(module)
        self.network = theirs.Unet(
            dim=width,
            num_classes=10,
            cond_drop_prob=DROP,
            dim_mults=multipliers,
            channels=in_channels,
        )
        self.diffusion = theirs.GaussianDiffusion(self.network, image_size=size, timesteps=T)
        self.alpha_bar = self.diffusion.alphas_cumprod.double()

    def loss(self, x0: Tensor, label: Tensor) -> Tensor:
        """The library's own loss, which expects pictures in [0, 1]."""
        loss: Tensor = self.diffusion((x0 + 1) / 2, classes=label)
        return loss

    def eps(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The predicted noise; the label is never dropped."""
        out: Tensor = self.network(x, t, label, cond_drop_prob=0.0)
        return out

    def optimizer(self, lr: float) -> torch.optim.Optimizer:
        """Adam with the settings of the library's Trainer."""
        return torch.optim.Adam(self.network.parameters(), lr=lr, betas=(0.9, 0.99))


PEERS: dict[str, type[Diffusers | DenoisingDiffusion]] = {
    Diffusers.name: Diffusers,
    DenoisingDiffusion.name: DenoisingDiffusion,
}


def pad(x: Tensor) -> Tensor:
    """Pads [B, 1, 28, 28] to [B, 1, 32, 32] with a black border."""
    return F.pad(x, (2, 2, 2, 2), value=-1.0)


def crop(x: Tensor) -> Tensor:
    """Crops [B, 1, 32, 32] to its centre [B, 1, 28, 28]."""
    return x[:, :, 2:-2, 2:-2]


def grid(steps: int, kind: str) -> list[int]:
    """Descending timesteps of DDIM from T-1; "trailing" ends at T/steps - 1, "linspace" at 0."""
    if kind == "trailing":
        return [round(T - i * T / steps) - 1 for i in range(steps)]
    return torch.linspace(T - 1, 0, steps).round().long().tolist()


@torch.no_grad()
def ddim(peer: Peer, noise: Tensor, label: Tensor, *, steps: int = 50, kind: str) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, eq. 12) with x_0 clipped, from noise [B, C, H, W]."""
    times, x = grid(steps, kind), noise
    for t, s in zip(times, [*times[1:], None], strict=True):
        a = peer.alpha_bar[t].item()
        b = 1.0 if s is None else peer.alpha_bar[s].item()
        eps = peer.eps(x, torch.full((len(x),), t), label)
        x0 = ((x - (1 - a) ** 0.5 * eps) / a**0.5).clamp(-1, 1)
        # recompute the noise from the clipped x_0; with the unclipped one, x would leave its path
        eps = (x - a**0.5 * x0) / (1 - a) ** 0.5
        x = b**0.5 * x0 + (1 - b) ** 0.5 * eps
    return x


@contextmanager
def _torchvision_stub() -> Iterator[None]:
    """A stub that lets denoising-diffusion-pytorch import torchvision, which is unused here."""
    names = ("torchvision", "torchvision.transforms", "torchvision.utils", "torchvision.models")
    if "torchvision" in sys.modules:
        yield
        return
    modules = {name: ModuleType(name) for name in names}
    for name in names[1:]:
        setattr(modules[names[0]], name.split(".")[1], modules[name])
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
