"""The shape of an autoencoder, and which sizes and codes go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class AutoencoderConfig:
    """Configuration of an autoencoder; each side of the code is 1 / factor of the data's.

    Stable Diffusion's is width 128, multipliers (1, 2, 4, 4), blocks 2, latent_channels 4, patch 1.

    dims: spatial axes: 1 for sound, 2 for pictures, 3 for volumes
    channels: of the data; latent_channels: of the code
    codes: entries of the codebook, for a quantized code (None: a Gaussian code)
    patch: side of the block of pixels in one position of the first level
    width: channels at the first level, before the multiplier
    multipliers: channels of each level in units of width; each level after the first halves the
        size
    blocks: residual blocks per level in the encoder; the decoder has one more
    middle_attention: self-attention between the two residual blocks at the lowest resolution
    code_conv: 1x1 convolutions before and after the code
    linear: a linear code of each block of factor^dims data positions, plus the network's code
    down_padding: padding of the strided convolution: both ends, or the far end only
    norm_groups, norm_eps: of the group norms
    ValueError for values that fit no network.
    """

    dims: int = 2
    channels: int = 3
    latent_channels: int = 4
    codes: int | None = None
    patch: int = 1
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    middle_attention: bool = True
    code_conv: bool = True
    linear: bool = False
    down_padding: Literal["symmetric", "asymmetric"] = "asymmetric"
    norm_groups: int = 32
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.dims not in (1, 2, 3):
            raise ValueError(f"dims is {self.dims} but must be 1, 2 or 3")
        if not self.multipliers:
            raise ValueError("multipliers is empty but needs one number for each level")
        if self.down_padding not in ("symmetric", "asymmetric"):
            raise ValueError(
                f"down_padding is {self.down_padding!r} but must be symmetric or asymmetric"
            )
        numbers = {
            name: getattr(self, name)
            for name in ("channels", "latent_channels", "patch", "width", "blocks", "norm_groups")
        } | {"multipliers": min(self.multipliers)}
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{name} is {number} but must be at least 1")
        if self.linear and self.code_conv:
            # The network's code starts at zero, which a 1x1 convolution after it would undo.
            raise ValueError("linear is True, which needs code_conv False; turn one of them off")
        if self.codes is not None and self.codes < 2:
            raise ValueError(f"codes is {self.codes}: a codebook needs at least 2 entries")
        for level, multiplier in enumerate(self.multipliers):
            if self.width * multiplier % self.norm_groups:
                raise ValueError(
                    f"level {level} has {self.width * multiplier} channels, not a multiple of"
                    f" norm_groups, {self.norm_groups}; change width or norm_groups"
                )

    @property
    def factor(self) -> int:
        """Data positions per position of the code, along each axis."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))


class Coding(Protocol):
    """The fields that the configurations of all autoencoders share."""

    @property
    def dims(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def latent_channels(self) -> int: ...
    @property
    def factor(self) -> int: ...


def check_sizes(config: Coding, sizes: Sequence[int]) -> None:
    """ValueError, with the nearest possible sizes, unless each is a multiple of the factor."""
    for size in sizes:
        if size % config.factor:
            low = size // config.factor * config.factor
            near = f"{low} and {low + config.factor}" if low else str(config.factor)
            raise ValueError(
                f"a size of {size} is not a multiple of {config.factor}, the factor between data"
                f" and code; the nearest possible: {near}"
            )


def check_same_code(small: Coding, big: Coding) -> None:
    """ValueError unless both autoencoders map the same data to codes of the same shape."""
    for name in ("dims", "channels", "latent_channels", "factor"):
        ours, theirs = getattr(small, name), getattr(big, name)
        if ours != theirs:
            raise ValueError(
                f"{name} is {ours}, but {theirs} in the autoencoder whose code is to be shared;"
                f" set {name} to {theirs}"
            )
