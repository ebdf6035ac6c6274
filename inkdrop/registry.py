"""One explicit dict per kind of part: the names used in model folders, and their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from inkdrop.codecs.codec import Codec
from inkdrop.codecs.identity import Identity
from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.conditioning.chunks import Padding
from inkdrop.conditioning.joined import JoinedConfig, JoinedText
from inkdrop.conditioning.known import Known
from inkdrop.conditioning.pretrained import PretrainedConfig, load_pretrained
from inkdrop.conditioning.text import Text, TextConditioner, TokenEncoder
from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.config import choose, dump, parse, short
from inkdrop.diffusion import parameterization as p
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.process import VE, VP, Flow, Process
from inkdrop.media.medium import Medium
from inkdrop.media.picture import Picture
from inkdrop.media.series import Series
from inkdrop.networks.clip import Clip, ClipConfig
from inkdrop.networks.dit import DiT, DiTConfig
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.networks.unet import UNet, UNetConfig
from inkdrop.weights import map_weights, on_meta, save_weights

MEDIA: dict[str, Medium] = {medium.name: medium for medium in (Picture(), Series())}

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

CODECS: dict[str, tuple[type[Any], Callable[[Any], Codec]]] = {
    "identity": (Identity, lambda config: config),
    "latent": (LatentConfig, Latent),
}


@dataclass(frozen=True)
class Encoder:
    """A kind of text encoder: its configuration, how to load its file, and the module to save."""

    config: type[Any]
    load: Callable[[Any, Path, torch.dtype | None], TokenEncoder]
    kept: Callable[[Any], nn.Module]


def _ours(config: type[Any], network: type[Any]) -> Encoder:
    """The kind of one of our own networks, whose file is complete."""

    def load(config: Any, file: Path, dtype: torch.dtype | None) -> TokenEncoder:
        with on_meta():
            encoder = network(config)
        return cast(TokenEncoder, map_weights(encoder, file, dtype))

    return Encoder(config, load, lambda encoder: encoder)


ENCODERS: dict[str, Encoder] = {
    "small": _ours(TextEncoderConfig, TextEncoder),
    "clip": _ours(ClipConfig, Clip),
    "pretrained": Encoder(PretrainedConfig, load_pretrained, lambda encoder: encoder.network),
}

JOINED = "joined"  # the kind of several text encoders together, each in its own folder

# No real part exceeds these. A hostile model.json could otherwise use up all memory or time.
MOST, LAYERS, LEVELS = 1_000_000, 256, 64
COUNTS = ("blocks", "depth", "transformer_depth", "layers", "encoder_blocks", "decoder_blocks")

T = TypeVar("T")


def medium(name: str) -> Medium:
    """The medium of this name; ValueError for an unknown one."""
    return choose("medium", name, MEDIA)


def build(kind: str, table: Mapping[str, type[T]], data: Mapping[str, Any], where: str) -> T:
    """A value from {"kind": name, ...its fields}; where: the source, for messages.

    ValueError for an unknown name or key, a wrong type, or an absurdly large number.
    """
    fields = _pairs(kind, data, where)
    name = str(fields.pop("kind", ""))
    cls, place = choose(kind, name, table), f"{where}, {kind} {short(name)}"
    _check_sane(fields, place)
    try:
        return parse(cls, fields, place)
    except OverflowError:
        raise ValueError(
            f"{place} has numbers of which nothing can be made: {short(fields)}"
        ) from None


def _pairs(kind: str, data: object, where: str) -> dict[str, Any]:
    """The description of a part, which a damaged file may have as null or a number."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: {kind!r} must be key-value pairs, not {type(data).__name__}")
    return dict(data)


def _check_sane(fields: Mapping[str, Any], where: str) -> None:
    """ValueError for a number larger than in any real model."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            _check_sane(value, where)
            continue
        numbers = value if isinstance(value, list | tuple) else (value,)
        most = LAYERS if name in COUNTS else MOST
        # A comparison that also finds NaN.
        if any(type(number) in (int, float) and not number <= most for number in numbers):
            raise ValueError(f"{where}: {short(name)} is {short(value)}; it must be at most {most}")
        if len(numbers) > LEVELS and (name in COUNTS or name == "multipliers"):
            raise ValueError(
                f"{where}: {name!r} has {len(numbers)} levels; it may have at most {LEVELS}"
            )


def _made(make: Callable[[Any], T], config: Any, where: str) -> T:
    """The value that a configuration describes; ValueError if it exceeds memory or integers."""
    try:
        return make(config)
    except (RuntimeError, OverflowError):
        raise ValueError(
            f"{where}: a part of these sizes cannot be created: {config}; get a model whose"
            " settings match its weights"
        ) from None


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
    return _made(NETWORKS[str(data["kind"])][1], config, where)


def describe_network(network: nn.Module) -> dict[str, Any]:
    """{"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in NETWORKS.items()}
    config = getattr(network, "config", None)
    if config is None:
        raise ValueError(
            f"a model whose network is a {type(network).__name__} cannot be saved; save the model"
            " that it was made from"
        )
    return describe(configs, config)


def build_codec(data: Mapping[str, Any], where: str) -> Codec:
    """A codec, with fresh weights if it has any, from {"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in CODECS.items()}
    config = build("codec", configs, data, where)
    return _made(CODECS[str(data["kind"])][1], config, where)


def describe_codec(codec: Codec) -> dict[str, Any]:
    """{"kind": name, ...its configuration}."""
    configs = {name: config for name, (config, _) in CODECS.items()}
    return describe(configs, codec.config)


def describe_text(text: TextConditioner) -> dict[str, Any]:
    """{"kind": name, ...}: an encoder's configuration and padding, or several joined parts."""
    if isinstance(text, JoinedText):
        parts = tuple(describe_text(part) for part in text.parts)
        return describe({JOINED: JoinedConfig}, JoinedConfig(parts, text.sizes, text.zeros))
    encoder = _text(text).encoder
    about = describe({name: kind.config for name, kind in ENCODERS.items()}, _config(encoder))
    padding = _text(text).padding
    return about if padding is None else {**about, "padding": dump(padding)}


def write_text(text: TextConditioner, folder: Path) -> None:
    """Writes text.safetensors and tokenizer.json, or subfolders text_1, text_2 ... with them."""
    if isinstance(text, JoinedText):
        for number, part in enumerate(text.parts, 1):
            (folder / f"text_{number}").mkdir()
            write_text(part, folder / f"text_{number}")
        return
    kind = ENCODERS[describe_text(text)["kind"]]
    save_weights(kind.kept(_text(text).encoder), folder / "text.safetensors")
    _text(text).tokenizer.write(folder)
    known = _text(text).known
    if known is not None:
        known.write(folder)


def read_text(
    data: Mapping[str, Any], folder: Path, where: str, dtype: torch.dtype | None = torch.float32
) -> TextConditioner:
    """The text encoder from `describe_text` and `write_text`; dtype: see `Model.load`."""
    fields = {"kind": "small", **_pairs("text", data, where)}  # old folders have no kind
    if fields["kind"] == JOINED:
        about = build("text", {JOINED: JoinedConfig}, fields, where)
        read = (
            _read_one(p, folder / f"text_{i}", where, dtype) for i, p in enumerate(about.parts, 1)
        )
        return JoinedText(tuple(read), about.sizes, about.zeros)
    return _read_one(fields, folder, where, dtype)


def _read_one(data: Mapping[str, Any], folder: Path, where: str, dtype: torch.dtype | None) -> Text:
    fields = dict(data)
    padding = fields.pop("padding", None)
    configs = {name: kind.config for name, kind in ENCODERS.items()}
    config = build("text", configs, fields, where)
    filled = None if padding is None else parse(Padding, padding, f"{where}, text, padding")
    encoder = ENCODERS[fields["kind"]].load(config, folder / "text.safetensors", dtype)
    tokenizer = Tokenizer.read(folder, vocabulary=encoder.vocabulary)
    return Text(tokenizer, encoder, filled, Known.read(folder))


def _text(text: TextConditioner) -> Text:
    if not isinstance(text, Text):
        raise ValueError(
            f"a model whose text encoder is a {type(text).__name__} cannot be saved; use a Text"
        )
    return text


def _config(encoder: TokenEncoder) -> Any:
    """An encoder's configuration; ValueError if a model folder cannot hold the encoder."""
    config = getattr(encoder, "config", None)
    if not any(type(config) is kind.config for kind in ENCODERS.values()):
        raise ValueError(
            f"a model with the text encoder {type(encoder).__name__} cannot be saved; keep using"
            " the folder that it came from"
        )
    return config
