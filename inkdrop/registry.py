"""One explicit dict per kind of part: the names that stand in a model folder, and their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from inkdrop.codecs.identity import Identity
from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.conditioning.text import Text
from inkdrop.config import choose, dump, parse
from inkdrop.diffusion import parameterization as p
from inkdrop.diffusion.process import VE, VP, Discrete, Flow, Process
from inkdrop.networks.dit import DiT, DiTConfig
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.networks.unet import UNet, UNetConfig

PROCESSES: dict[str, type[Process]] = {"discrete": Discrete, "vp": VP, "ve": VE, "flow": Flow}

PARAMETERIZATIONS: dict[str, type[p.Parameterization]] = {
    "eps": p.Eps,
    "x0": p.X0,
    "v": p.V,
    "velocity": p.Velocity,
    "score": p.Score,
    "mean": p.Mean,
    "edm": p.EDM,
}

NETWORKS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "unet": (UNetConfig, UNet),
    "dit": (DiTConfig, DiT),
}

Codec = Identity | Latent

CODECS: dict[str, tuple[type[Any], Callable[[Any], Codec]]] = {
    "identity": (Identity, lambda config: config),
    "latent": (LatentConfig, Latent),
}

T = TypeVar("T")


def build(kind: str, table: Mapping[str, type[T]], data: Mapping[str, Any], where: str) -> T:
    """A value from {"kind": name, ...its fields}; ValueError for an unknown name or key."""
    fields = dict(data)
    name = str(fields.pop("kind", ""))
    return parse(choose(kind, name, table), fields, f"{where}, {kind} {name!r}")


def describe(table: Mapping[str, type[Any]], value: Any) -> dict[str, Any]:
    """{"kind": name, ...its fields}: the inverse of `build`."""
    for name, cls in table.items():
        if type(value) is cls:
            return {"kind": name, **dump(value)}
    raise ValueError(
        f"{type(value).__name__} is not in the registry; add it to inkdrop/registry.py"
    )


def build_network(data: Mapping[str, Any], where: str) -> nn.Module:
    """A network with fresh weights from {"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in NETWORKS.items()}
    config = build("network", configs, data, where)
    network = NETWORKS[str(data["kind"])][1](config)
    return network


def describe_network(network: nn.Module) -> dict[str, Any]:
    """{"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in NETWORKS.items()}
    return describe(configs, network.config)


def build_codec(data: Mapping[str, Any], where: str) -> Codec:
    """A codec, with fresh weights if it has any, from {"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in CODECS.items()}
    config = build("codec", configs, data, where)
    return CODECS[str(data["kind"])][1](config)


def describe_codec(codec: Codec) -> dict[str, Any]:
    """{"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in CODECS.items()}
    return describe(configs, codec.config if isinstance(codec, Latent) else codec)


def build_text(data: Mapping[str, Any], where: str) -> TextEncoder:
    """A text encoder with fresh weights from its configuration."""
    return TextEncoder(parse(TextEncoderConfig, data, f"{where}, text"))


def text_network(text: Text) -> TextEncoder:
    """The network of a text encoder that a model folder can hold; ValueError for another's."""
    if not isinstance(text.encoder, TextEncoder):
        raise ValueError(
            f"a model with the text encoder {type(text.encoder).__name__} cannot be saved here; it"
            " stays in its own folder"
        )
    return text.encoder


def describe_text(text: Text) -> dict[str, Any]:
    """The configuration of a text encoder."""
    return dump(text_network(text).config)
