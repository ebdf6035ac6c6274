"""The names of LoRAs' weights as tables: PEFT's, diffusers', kohya's, ComfyUI's and others'.

Each of our weights has several names there; a pair's name, made uniform, is one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import nn

from inkdrop.conditioning.clip import theirs as clip_name
from inkdrop.config import nearest
from inkdrop.convert.adapters.parts import FIRST, SECOND, UNET, texts_of
from inkdrop.convert.files.keys import Rules, renamed
from inkdrop.convert.sd.unet_keys import diffusers_naming, ldm_naming
from inkdrop.convert.sd.versions import title, version_of
from inkdrop.model import Model
from inkdrop.networks.clip import Clip
from inkdrop.networks.unet import UNet

NUMBERED = "lora_diffusion"
# How a weight's name ends, its role in the pair, and the library with such names.
ENDS = (
    (r"\.lora_A(\.\w+)?\.weight", "down", "PEFT"),
    (r"\.lora_B(\.\w+)?\.weight", "up", "PEFT"),
    (r"\.lora_down\.weight", "down", "kohya"),
    (r"\.lora_up\.weight", "up", "kohya"),
    (r"\.lora_mid\.weight", "mid", "kohya"),
    (r"(\.lora|_lora|\.lora_linear_layer)\.down\.weight", "down", "diffusers"),
    (r"(\.lora|_lora|\.lora_linear_layer)\.up\.weight", "up", "diffusers"),
    (r"(?<=:\d):down|(?<=:\d\d):down|(?<=:\d\d\d):down", "down", NUMBERED),
    (r"(?<=:\d):up|(?<=:\d\d):up|(?<=:\d\d\d):up", "up", NUMBERED),
    (r"\.alpha", "alpha", ""),
)
# What names contain in adapters of other kinds, and what these are called.
OTHERS = (
    (r"\.hada_", "a LoHa (hada_)"),
    (r"\.lokr_", "a LoKr (lokr_)"),
    (r"dora_scale|lora_magnitude_vector", "a DoRA (with a scale of every weight's length)"),
    (r"\.oft_|\.oft\.", "an OFT"),
    (r"\.boft", "a BOFT"),
    (r"\.[ab][12]\.weight$", "a GLoRA"),
    (r"\.on_input$", "an (IA)^3"),
    (r"\.diff(_b)?$", "a file of whole differences (diff)"),
    (r"\.[wb]_norm$", "a file of changed norms (w_norm)"),
    (r"\.lora_[AB](\.\w+)?\.bias$|\.lora_(up|down)\.bias$", "a LoRA with biases"),
    (r"^bundle_emb\.", "a LoRA with embeddings bundled (bundle_emb)"),
)
# How names begin in LoRAs for denoisers that are not U-Nets.
TRANSFORMERS = r"(lora_)?(unet[._])?" \
    r"(transformer[._]|(double|single|joint)_(transformer_)?blocks|blocks[._]\d)"  # fmt: skip

# From a name in a file of any of these libraries to a part's name and a weight's name in its folder
# or, for a U-Net, in a single file.
SPELLINGS: Rules = (
    (r"^base_model\.model\.", ""),
    # ComfyUI's and OneTrainer's, and the prefixes of single files.
    (r"^(model\.)?diffusion_model\.", f"{UNET}."),
    (r"^(text_encoders\.)?clip_l\.(transformer\.)?", f"{FIRST}."),
    (r"^(text_encoders\.)?clip_g\.(transformer\.)?", f"{SECOND}."),
    (r"^(cond_stage_model|conditioner\.embedders\.0)\.transformer\.", f"{FIRST}."),
    # Kohya's prefixes before names with dots, as some trainers write them.
    (r"^lora_unet\.", f"{UNET}."),
    (r"^lora_te1?\.", f"{FIRST}."),
    (r"^lora_te2\.", f"{SECOND}."),
    # LyCORIS', around a network of diffusers or transformers.
    (r"^lycoris_(text_model_)?(?=encoder_layers_)", "lora_te_text_model_"),
    (r"^lycoris_", "lora_unet_"),
    (r"\.processor\b", ""),
    (r"^(?=(down_blocks|up_blocks|mid_block|conv_in|conv_out|time_embedding|add_embedding)\b)",
     f"{UNET}."),
    (r"^(?=(text_model|text_projection|encoder)\b)", f"{FIRST}."),
    (r"^(text_encoder(?:_2)?)\.encoder\.", r"\1.text_model.encoder."),
    (r"\.self_attn\.to_out(\.0)?$", ".self_attn.out_proj"),
    (r"\.self_attn\.to_([qkv])$", r".self_attn.\1_proj"),
    (r"\.to_out$", ".to_out.0"),
)  # fmt: skip
# The prefixes of kohya's names. The first encoder is te if it is alone, te1 beside another.
KOHYA = {UNET: ("lora_unet_",), FIRST: ("lora_te_", "lora_te1_"), SECOND: ("lora_te2_",)}


class Target(NamedTuple):
    """A weight of a model: its part, and its name in the part's network."""

    part: str
    name: str


class Ending(NamedTuple):
    """A weight's name split: its pair, its role there (up, down, mid, alpha), and the library."""

    base: str
    role: str
    layout: str


def split_name(name: str) -> Ending | None:
    """A weight's name split into its pair and its role there; None if it is not a LoRA's."""
    for pattern, role, layout in ENDS:
        match = re.search(f"(?:{pattern})$", name)
        if match:
            return Ending(renamed(name[: match.start()], SPELLINGS), role, layout)
    return None


def other_kind(name: str) -> str | None:
    """The kind of adapter that has a weight of this name; None for a LoRA."""
    return next((what for pattern, what in OTHERS if re.search(pattern, name)), None)


def part_of(base: str) -> str:
    """The part that a pair belongs to, by the start of its name."""
    for part, kohya in KOHYA.items():
        if base.startswith((f"{part}.", f"{part}:", *kohya)):
            return part
    return "unknown"


def networks_of(model: Model, where: str) -> dict[str, nn.Module]:
    """The networks that a LoRA can change, by the names of their parts.

    ValueError for a model that is not of Stable Diffusion's kind, or whose weights are packed.
    """
    if not isinstance(model.network, UNet) or model.network.config.cross_attention_dim is None:
        raise ValueError(
            f"{where} is a LoRA for Stable Diffusion's U-Nets, but this model's network is not one"
            f" ({type(model.network).__name__})"
        )
    if "input.weight" not in dict(model.network.named_parameters()):
        raise ValueError(
            f"{where} cannot be merged into weights that an engine laid out or that are in half"
            " precision; merge it first, then use `prepare` or `halved`"
        )
    encoders = {name: text.encoder for name, text in texts_of(model.text).items()}
    return {UNET: model.network, **{n: e for n, e in encoders.items() if isinstance(e, Clip)}}


def version_title(model: Model) -> str:
    """The version of Stable Diffusion that a model is, in words."""
    assert isinstance(model.network, UNet)
    found = version_of(model.network.config)
    return "of no known family" if found is None else title(found, model.network.config)


def targets(networks: Mapping[str, nn.Module]) -> dict[str, Target]:
    """Every name that a pair can have in a file -> the weight that it edits."""
    found = dict[str, Target]()
    for part, network in networks.items():
        for name, value in network.named_parameters():
            if value.ndim < 2 or not name.endswith(".weight") or "embedding." in name:
                continue
            for theirs in _names(part, network, name):
                assert theirs not in found, f"two weights are called {theirs}"
                found[theirs] = Target(part, name)
    return found


def folder_names(part: str, network: nn.Module) -> dict[str, Target]:
    """The names of a part's weights in diffusers' folders -> the weights."""
    names = [n for n, _ in network.named_parameters() if n.endswith(".weight")]
    return {_folder_name(network, name): Target(part, name) for name in names}


def _folder_name(network: nn.Module, name: str) -> str:
    if isinstance(network, UNet):
        theirs = diffusers_naming(network.config).theirs(name)
    else:
        theirs = clip_name(name)
    return theirs.removesuffix(".weight")


def _names(part: str, network: nn.Module, name: str) -> Iterator[str]:
    """The names of a weight's pair in all layouts but the numbered one."""
    theirs = {_folder_name(network, name)}
    if isinstance(network, UNet):
        theirs.add(ldm_naming(network.config).theirs(name).removesuffix(".weight"))
    yield from (f"{part}.{each}" for each in theirs)
    flat = {each.replace(".", "_") for each in theirs}
    for begin in KOHYA[part]:
        yield from (begin + each for each in flat)


def hint(base: str, known: Mapping[str, Target], looks: str | None, model: Model) -> str:
    """What may be wrong with a pair that finds no weight: another version, or a misspelt name.

    looks: the version that the LoRA seems to be for
    """
    assert isinstance(model.network, UNet)
    own = version_of(model.network.config)
    if looks is not None and (own is None or own.name != looks):
        return f"; it looks like a LoRA for {looks}"
    return f".{near}" if (near := nearest(base, known)) else ""
