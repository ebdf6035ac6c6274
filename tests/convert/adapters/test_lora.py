"""LoRAs of every layout merged into models, against diffusers' own loading and fusing."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any

import loras
import pipelines
import pytest
import torch
from loras import Pairs
from safetensors.torch import save_file
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.conditioning.joined import JoinedText
from inkdrop.convert.adapters.embedding import read_embedding
from inkdrop.convert.adapters.kinds import LORA
from inkdrop.convert.adapters.lora import read_lora
from inkdrop.convert.adapters.lora_keys import folder_names, split_name
from inkdrop.convert.adapters.merge import with_lora
from inkdrop.convert.adapters.open import with_adapters
from inkdrop.convert.adapters.parts import texts_of
from inkdrop.convert.families import adapter_at, kind_of_file
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.stored import held
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.unet_keys import ldm_naming
from inkdrop.engines import prepare
from inkdrop.engines.halved import halved
from inkdrop.events import Note
from inkdrop.model import Model

pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")  # of peft and diffusers

PARTS = {"sd15": ("unet", "text_encoder"), "sdxl": ("unet", "text_encoder", "text_encoder_2")}
WEIGHT = 0.7


class Case:
    """diffusers' pipeline and the model that was read from it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.parts = name, PARTS[name]
        self.pipe = pipelines.saved(folder, name)
        self.model, _ = open_checkpoint(folder)

    @cache  # noqa: B019
    def pairs(self, layers: str = loras.ATTENTION) -> Pairs:
        return loras.pairs(self.pipe, self.parts, layers=layers)

    def fused(self, weights: Any, weight: float = WEIGHT, **how: Any) -> Any:
        """diffusers' pipeline with a LoRA fused."""
        made = copy.deepcopy(self.pipe)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.load_lora_weights(weights, **how)
            made.fuse_lora(lora_scale=weight)
            made.unload_lora_weights()
        return made

    @cache  # noqa: B019
    def fused_by_kohyas_names(self) -> Any:
        """diffusers' pipeline with the pairs of attention and text fused, with an alpha of 2."""
        return self.fused(loras.kohya(self.pairs()))


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def case(request: Any, tmp_path_factory: Any) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: Any) -> Case:
    return Case("sd15", tmp_path_factory.mktemp("sd15"))


def networks(model: Model) -> dict[str, nn.Module]:
    texts = {name: text.encoder for name, text in texts_of(model.text).items()}
    return {"unet": model.network, **texts}  # type: ignore[dict-item]


def distance(model: Model, theirs: Any) -> float:
    """The largest difference between the weights of a model and of diffusers' pipeline."""
    worst = 0.0
    for part, network in networks(model).items():
        expected = dict(getattr(theirs, part).named_parameters())
        short = {name.removeprefix("text_model."): value for name, value in expected.items()}
        for name, (_, own) in folder_names(part, network).items():
            value = short[f"{name.removeprefix('text_model.')}.weight"]
            found = network.get_parameter(own)
            worst = max(worst, float((found - value.view_as(found)).abs().max()))
    return worst


def stored(folder: Path, weights: dict[str, Tensor], **metadata: str) -> Path:
    save_file(weights, folder / "lora.safetensors", metadata or None)
    return folder / "lora.safetensors"


@pytest.mark.parametrize(
    "write", [loras.peft, loras.diffusers_new, loras.diffusers_old, loras.kohya]
)
def test_as_diffusers_fuses_it(
    case: Case, tmp_path: Path, write: Callable[[Pairs], dict[str, Tensor]]
) -> None:
    weights = write(case.pairs())
    theirs = case.fused(dict(weights))
    assert distance(case.model, theirs) > 0.1
    ours = with_lora(case.model, stored(tmp_path, weights), WEIGHT)
    assert distance(ours, theirs) < 1e-5
    assert distance(case.model, case.pipe) == 0  # the model that was given is what it was


def test_pictures_and_words_change_as_they_should(case: Case, tmp_path: Path) -> None:
    theirs = case.fused(loras.peft(case.pairs()))
    ours = with_lora(case.model, stored(tmp_path, loras.peft(case.pairs())), WEIGHT)
    assert ours.text is not None
    cond = ours.text.encode(["a red cat"])
    assert cond.tokens is not None
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([500.0])
    added = None
    if isinstance(ours.text, JoinedText):
        assert cond.vector is not None
        words = cond.vector.shape[1] - 256 * len(ours.text.sizes)
        added = {
            "text_embeds": cond.vector[:, :words],
            "time_ids": torch.tensor([ours.text.sizes]),
        }
        ids = theirs.tokenizer_2("a red cat", padding="max_length", return_tensors="pt").input_ids
        said = theirs.text_encoder_2(ids).text_embeds
        assert torch.allclose(cond.vector[:, :words], said, atol=1e-5)
    with torch.no_grad():
        expected = theirs.unet(x, t, cond.tokens, added_cond_kwargs=added).sample
        found = ours.network(x, t, Cond(tokens=cond.tokens, vector=cond.vector))
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("write", [loras.peft, loras.kohya])
def test_convolutions(
    case: Case, tmp_path: Path, write: Callable[[Pairs], dict[str, Tensor]]
) -> None:
    pairs = loras.pairs(case.pipe, ("unet",), layers=loras.CONVOLUTION)
    assert {pair.down.shape[2:] for pair in pairs.values()} == {(), (1, 1), (3, 3)}
    weights = write(pairs)
    ours = with_lora(case.model, stored(tmp_path, weights), WEIGHT)
    assert distance(ours, case.fused(dict(weights))) < 1e-5


def ldm_names(case: Case, layers: str) -> dict[str, Tensor]:
    """kohya's file for a U-Net with the names of LDM."""
    naming, weights = ldm_naming(case.model.network.config), {}  # type: ignore[attr-defined]
    places = folder_names("unet", case.model.network)
    for (_, name), pair in loras.pairs(case.pipe, ("unet",), layers=layers).items():
        theirs = naming.theirs(places[name].name).removesuffix(".weight").replace(".", "_")
        weights[f"lora_unet_{theirs}.lora_down.weight"] = pair.down
        weights[f"lora_unet_{theirs}.lora_up.weight"] = pair.up
        weights[f"lora_unet_{theirs}.alpha"] = torch.tensor(1.5)
    return weights


def test_names_of_ldm(case: Case, tmp_path: Path) -> None:
    both = f"{loras.ATTENTION}|{loras.CONVOLUTION}"
    weights = ldm_names(case, loras.ATTENTION if case.name == "sd15" else both)
    assert any(name.startswith("lora_unet_input_blocks_4_1_") for name in weights)
    own = {} if case.name == "sdxl" else {"unet_config": case.pipe.unet.config}
    theirs = case.fused(dict(weights), **own)
    assert distance(with_lora(case.model, stored(tmp_path, weights), WEIGHT), theirs) < 1e-5


def flat(begins: dict[str, str]) -> Callable[[str, str], str]:
    return lambda part, name: begins[part] + name.replace(".", "_")


def dotted(begins: dict[str, str]) -> Callable[[str, str], str]:
    return lambda part, name: f"{begins[part]}.{name}"


# The names of a pair in the files of further programs, for SDXL's parts and those of SD 1.
CLIPS = {"text_encoder": "text_encoders.clip_l.transformer",
         "text_encoder_2": "text_encoders.clip_g.transformer"}  # fmt: skip
NAMES: dict[str, Callable[[str, str], str]] = {
    "ComfyUI": dotted({"unet": "diffusion_model", **CLIPS}),
    "a single file": dotted(
        {"unet": "model.diffusion_model", "text_encoder": "cond_stage_model.transformer", **CLIPS}
    ),
    "OneTrainer": dotted({"unet": "unet", "text_encoder": "clip_l", "text_encoder_2": "clip_g"}),
    "OneTrainer's older": flat(
        {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    ),
    "LyCORIS": flat(
        {"unet": "lycoris_", "text_encoder": "lycoris_", "text_encoder_2": "lora_te2_"}
    ),
    "kohya's prefixes with dots": dotted(
        {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    ),
    "PEFT around a part": dotted(
        {"unet": "base_model.model.unet", "text_encoder": "base_model.model.text_encoder",
         "text_encoder_2": "base_model.model.text_encoder_2"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("ldm", [False, True])
@pytest.mark.parametrize("names", NAMES)
def test_names_of_further_programs(case: Case, tmp_path: Path, names: str, ldm: bool) -> None:
    naming = ldm_naming(case.model.network.config)  # type: ignore[attr-defined]
    places = folder_names("unet", case.model.network)
    weights = dict[str, Tensor]()
    for (part, name), pair in case.pairs().items():
        if ldm and part == "unet":
            name = naming.theirs(places[name].name).removesuffix(".weight")
        base = NAMES[names](part, name)
        weights |= {f"{base}.lora_down.weight": pair.down, f"{base}.lora_up.weight": pair.up}
        weights[f"{base}.alpha"] = torch.tensor(2.0)
    path = stored(tmp_path, weights)
    assert adapter_at(path) is LORA
    ours = with_lora(case.model, path, WEIGHT)
    assert distance(ours, case.fused_by_kohyas_names()) < 1e-5


@pytest.mark.parametrize(
    "alpha",
    [
        torch.tensor(2),
        torch.tensor([2]),
        torch.tensor(2, dtype=torch.int32),
        torch.tensor(2.0, dtype=torch.float64),
        torch.tensor([2.0], dtype=torch.bfloat16),
        torch.tensor([[2.0]], dtype=torch.float16),
    ],
    ids=lambda alpha: f"{alpha.dtype} {list(alpha.shape)}",
)
def test_alphas_of_any_type(sd15: Case, tmp_path: Path, alpha: Tensor) -> None:
    weights = loras.kohya(sd15.pairs())
    theirs = with_lora(sd15.model, stored(tmp_path, weights))
    typed = {n: alpha.clone() if n.endswith(".alpha") else v for n, v in weights.items()}
    ours = with_lora(sd15.model, stored(tmp_path, typed))
    for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_alphas_of_their_own(sd15: Case, tmp_path: Path) -> None:
    """In closed form: diffusers forgets the alphas of attention where they differ."""
    weights = loras.kohya(sd15.pairs())
    alphas = [name for name in weights if name.endswith(".alpha")]
    for number, name in enumerate(alphas):
        weights[name] = torch.tensor([0.5, 1.0, 6.0][number % 3])
    ours = with_lora(sd15.model, stored(tmp_path, weights), -WEIGHT)
    places = folder_names("unet", sd15.model.network)
    for number, ((part, name), pair) in enumerate(sd15.pairs().items()):
        if part != "unet":
            continue
        own = places[name].name
        old, new = (m.network.get_parameter(own) for m in (sd15.model, ours))
        product = (pair.up.flatten(1) @ pair.down.flatten(1)).view_as(old)
        scale = -WEIGHT * [0.5, 1.0, 6.0][number % 3] / 3
        assert torch.allclose(new, old + scale * product, atol=1e-6)


def test_several_add_up_in_any_order_and_weights_are_shared(sd15: Case, tmp_path: Path) -> None:
    whole = loras.peft(sd15.pairs())
    some = {name: value for name, value in whole.items() if ".down_blocks." in name}
    first = read_lora(stored(tmp_path, whole))
    (tmp_path / "more").mkdir()
    second = read_lora(stored(tmp_path / "more", some))
    one = with_lora(with_lora(sd15.model, first, 0.5), second, 0.25)
    other = with_lora(with_lora(sd15.model, second, 0.25), first, 0.5)
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    only = with_lora(sd15.model, second)
    edited = [
        name
        for name, value in only.network.named_parameters()
        if value is not sd15.model.network.get_parameter(name)
    ]
    assert len(edited) == len(some) // 2 and all(name.startswith("down.") for name in edited)
    assert only.text is sd15.model.text
    assert not any(p.requires_grad for p in only.network.parameters())


def test_stored_in_the_models_type(sd15: Case, tmp_path: Path) -> None:
    half = copy.deepcopy(sd15.model).to("cpu", torch.bfloat16)
    ours = with_lora(half, stored(tmp_path, loras.peft(sd15.pairs())))
    assert {p.dtype for p in ours.network.parameters()} == {torch.bfloat16}
    full = with_lora(sd15.model, tmp_path / "lora.safetensors")
    for a, b in zip(ours.network.parameters(), full.network.parameters(), strict=True):
        assert torch.allclose(a.float(), b, rtol=0.02, atol=0.02)


def test_loras_that_take_convolutions_apart(sd15: Case, tmp_path: Path) -> None:
    name = "down.0.stages.0.block.conv1.weight"
    old = sd15.model.network.get_parameter(name)
    up, down = torch.randn(old.shape[0], 2, 1, 1), torch.randn(2, old.shape[1], 1, 1)
    mid, x = torch.randn(2, 2, 3, 3), torch.randn(1, old.shape[1], 5, 5)
    base = "lora_unet_down_blocks_0_resnets_0_conv1"
    weights = {"lora_down": down, "lora_up": up, "lora_mid": mid}
    path = stored(tmp_path, {f"{base}.{role}.weight": value for role, value in weights.items()})
    new = with_lora(sd15.model, path, 0.5).network.get_parameter(name)
    conv = nn.functional.conv2d
    expected = conv(x, old, padding=1) + 0.5 * conv(conv(conv(x, down), mid, padding=1), up)
    found = conv(x, new, padding=1)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_folders_of_peft(sd15: Case, tmp_path: Path) -> None:
    import peft

    unet = copy.deepcopy(sd15.pipe.unet)
    told = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "to_v", "conv1"], rank_pattern={"conv1": 2},
        alpha_pattern={"conv1": 3, "attn2.to_v": 5}, init_lora_weights=False,
    )  # fmt: skip
    made = peft.get_peft_model(unet, told)
    made.save_pretrained(tmp_path / "unet")
    text = peft.get_peft_model(
        copy.deepcopy(sd15.pipe.text_encoder),
        peft.LoraConfig(r=2, target_modules=["q_proj"], use_rslora=True, init_lora_weights=False),
    )
    text.save_pretrained(tmp_path / "text_encoder")
    theirs = copy.deepcopy(sd15.pipe)
    theirs.unet = made.merge_and_unload()
    assert distance(with_lora(sd15.model, tmp_path / "unet"), theirs) < 1e-5
    theirs.text_encoder = text.merge_and_unload()
    assert distance(with_lora(sd15.model, tmp_path), theirs) < 1e-5
    assert read_lora(tmp_path).lines()[2] == "rank: 2 to 4"


def test_strength_in_the_header_of_diffusers(sd15: Case, tmp_path: Path) -> None:
    import peft
    from diffusers import StableDiffusionPipeline
    from diffusers.training_utils import _collate_lora_metadata

    made = copy.deepcopy(sd15.pipe)
    told = peft.LoraConfig(
        r=4, lora_alpha=10, target_modules=["to_k"], alpha_pattern={"attn2.to_k": 3},
        init_lora_weights=False,
    )  # fmt: skip
    made.unet.add_adapter(told)
    weights = peft.get_peft_model_state_dict(made.unet)
    header = _collate_lora_metadata({"unet": made.unet})
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=weights, **header)
    theirs = sd15.fused(str(tmp_path))
    assert distance(with_lora(sd15.model, tmp_path, WEIGHT), theirs) < 1e-5


# The order of layers in diffusers' blocks until 0.13, when such files were made, and since.
OLD = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj",
       "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")  # fmt: skip


def numbered(case: Case, *, old: bool, extended: bool = False) -> tuple[dict[str, Tensor], Any]:
    """A file of lora_diffusion, counted through diffusers' modules, and the pairs in it."""
    classes = {"Attention", "GEGLU", "CrossAttention", *(["ResnetBlock2D"] if extended else [])}
    names = list[str]()
    for base, module in case.pipe.unet.named_modules():
        if type(module).__name__ == "BasicTransformerBlock" and old:
            names += [f"{base}.{layer}" for layer in OLD]
        if type(module).__name__ in classes and not (old and ".transformer_blocks." in base):
            names += [f"{base}.{n}" for n, m in module.named_modules()
                      if isinstance(m, nn.Linear | nn.Conv2d)]  # fmt: skip
    layers = {"unet": names, "text_encoder": []}
    for base, module in case.pipe.text_encoder.named_modules():
        if type(module).__name__ == "CLIPAttention":
            layers["text_encoder"] += [f"{base}.{n}" for n, _ in module.named_children()]
    weights, found = {}, {}
    torch.manual_seed(0)
    for part, own in layers.items():
        for number, name in enumerate(own):
            shape = getattr(case.pipe, part).get_submodule(name).weight.shape
            up = 0.1 * torch.randn(shape[0], 2, *[1] * (len(shape) - 2))
            down = torch.randn(2, *shape[1:])
            weights |= {f"{part}:{number}:up": up, f"{part}:{number}:down": down}
            found[part, name] = loras.Both(up, down)
    header = {"unet": json.dumps(sorted(classes)), "text_encoder": '["CLIPAttention"]'}
    return weights, (found, header)


@pytest.mark.parametrize(("old", "extended"), [(True, False), (False, False), (False, True)])
def test_numbered_pairs(sd15: Case, tmp_path: Path, old: bool, extended: bool) -> None:
    weights, (pairs, header) = numbered(sd15, old=old, extended=extended)
    ours = with_lora(sd15.model, stored(tmp_path, weights, **header), WEIGHT)
    theirs = copy.deepcopy(sd15.pipe)
    for (part, name), pair in pairs.items():
        weight = getattr(theirs, part).get_submodule(name).weight
        with torch.no_grad():
            weight += WEIGHT * (pair.up.flatten(1) @ pair.down.flatten(1)).view_as(weight)
    assert distance(ours, theirs) < 1e-5
    assert (
        "a LoRA with names of lora_diffusion" in read_lora(tmp_path / "lora.safetensors").lines()[0]
    )


def test_words_that_come_along(sd15: Case, tmp_path: Path) -> None:
    weights, (_, header) = numbered(sd15, old=True)
    vector = torch.randn(24)
    path = stored(tmp_path, {**weights, "<s1>": vector}, **header, **{"<s1>": "<embed>"})
    text = texts_of(with_lora(sd15.model, path).text)["text_encoder"]
    assert "<s1>" in text.tokenizer.words
    table = text.encoder.embedding.weight  # type: ignore[attr-defined]
    assert torch.equal(table[-1], vector)


def test_words_that_come_along_have_an_order_and_can_have_other_names(
    sd15: Case, tmp_path: Path
) -> None:
    weights, (_, header) = numbered(sd15, old=True)
    names = [f"<s{i}>" for i in (10, 2, 1)]
    own = {name: torch.randn(24) for name in names}
    paths = [
        stored(tmp_path / each, {**weights, **own}, **header, **dict.fromkeys(names, "<embed>"))
        for each in ("a", "b")
        if not (tmp_path / each).mkdir()
    ]
    assert list(read_lora(paths[0]).words) == ["<s1>", "<s2>", "<s10>"]
    assert list(read_embedding(paths[0], "x,y,z").words) == ["x", "y", "z"]
    twice = [(str(path), 0.5) for path in paths]
    with pytest.raises(ValueError, match=r"already has a word '<s1>'.*--embedding .*=word"):
        made(with_adapters(sd15.model, twice, [], ["a"]))
    model, notes = made(with_adapters(sd15.model, twice, [(str(paths[1]), "x,y,z")], ["a <s1> x"]))
    text = texts_of(model.text)["text_encoder"]
    assert set(text.tokenizer.words) == {"x", "y", "z", "<s1>", "<s2>", "<s10>"}
    table = text.encoder.embedding.weight  # type: ignore[attr-defined]
    for word, old in (("x", "<s1>"), ("<s2>", "<s2>"), ("z", "<s10>")):
        assert torch.equal(table[text.tokenizer.words[word][0]], own[old])
    assert notes == [
        f"embedding {paths[1]}: its words are 'x', 'y', 'z'; in no prompt stand 'y', 'z'",
        f"LoRA {paths[0]}: its words are '<s1>', '<s2>', '<s10>'; in no prompt stand '<s2>',"
        " '<s10>'",
    ]


def made(steps: Generator[Note, None, Model]) -> tuple[Model, list[str]]:
    """The model, and what was said."""
    notes = list[str]()
    while True:
        try:
            notes.append(next(steps).text)
        except StopIteration as end:
            return end.value, notes


def test_a_lora_that_changes_nothing_is_said(sd15: Case, tmp_path: Path) -> None:
    said = {}
    for name, (weight, factor) in {
        "works": (0.5, 1.0), "off": (0.0, 1.0), "zero": (1.0, 0.0), "tiny": (1.0, 1e-30)
    }.items():  # fmt: skip
        (tmp_path / name).mkdir()
        shape = sd15.pipe.unet.mid_block.attentions[0].proj_in.weight.shape
        pair = {GOOD: torch.randn(2, *shape[1:]), UP: factor * torch.randn(shape[0], 2, *shape[2:])}
        path = str(stored(tmp_path / name, pair))
        said[name] = made(with_adapters(sd15.model, [(path, weight)], [], ["a"]))[1]
    assert said["works"] == []
    assert all(
        "changes no weight of the model" in said[name][0] for name in ("off", "zero", "tiny")
    )
    assert "its strength is 0" in said["off"][0] and "its numbers are 0" in said["zero"][0]


def looking_like(width: int, depth: int = 0) -> dict[str, Tensor]:
    base = f"lora_unet_down_blocks_1_attentions_0_transformer_blocks_{depth}_attn2_to_k"
    return {f"{base}.lora_down.weight": torch.ones(4, width),
            f"{base}.lora_up.weight": torch.ones(640, 4)}  # fmt: skip


GOOD = "unet.mid_block.attentions.0.proj_in.lora_A.weight"
UP = GOOD.replace("lora_A", "lora_B")


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        (looking_like(2048, 1), r"does not fit this model \(sd1\): 1 of its 1 pairs find no weight:"
                                r" lora_unet_\S+ \[640, 2048\]; it looks like a LoRA for sdxl$"),
        (looking_like(1024), r"of other shapes: .*; it looks like a LoRA for sd2$"),
        (looking_like(768), r"pairs are for weights of other shapes: lora_unet_\S+ \[640, 768\]$"),
        ({"unet.mid_block.attentions.0.proj_inn.lora_A.weight": torch.ones(2, 4),
          "unet.mid_block.attentions.0.proj_inn.lora_B.weight": torch.ones(4, 2)},
         r"Did you mean 'unet.mid_block.attentions.0.proj_in'\?"),
        ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": torch.ones(2, 4),
          "transformer.single_transformer_blocks.0.attn.to_k.lora_B.weight": torch.ones(4, 2)},
         "it looks like a LoRA for a transformer, such as Flux or SD 3"),
        ({"diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight": torch.ones(2, 4),
          "diffusion_model.double_blocks.0.img_attn.qkv.lora_B.weight": torch.ones(4, 2)},
         "it looks like a LoRA for a transformer, such as Flux or SD 3"),
        ({"lora_unet_a.hada_w1_a": torch.ones(2, 2)}, r"is a LoHa \(hada_\), which is not read"),
        ({"lora_unet_a.lokr_w1": torch.ones(2, 2)}, "is a LoKr"),
        ({"lora_unet_a.dora_scale": torch.ones(2, 2)}, "is a DoRA"),
        ({"unet.a.lora_magnitude_vector": torch.ones(2)}, "is a DoRA"),
        ({"lora_unet_a.oft_blocks": torch.ones(2, 2)}, "is an OFT"),
        ({"lora_unet_a.diff": torch.ones(2, 2)}, "whole differences"),
        ({"unet.a.lora_B.bias": torch.ones(2)}, "with biases"),
        ({"bundle_emb.a.clip_l": torch.ones(2)}, "embeddings bundled"),
        ({"unet.a.weight": torch.ones(2, 2)}, r"1 weights that are not a LoRA's: unet.a.weight"),
        ({"conv_in.alpha": torch.ones(())}, "lacks the weight up of the pair unet.conv_in"),
        ({GOOD: torch.ones(2, 4)}, "lacks the weight up of the pair unet.mid_block.attentions.0"),
        ({GOOD: torch.ones(2, 4), UP: torch.ones(4, 3)}, "which cannot be multiplied"),
        ({GOOD: torch.ones(2, 4, dtype=torch.int8), UP: torch.ones(4, 2)}, "holds whole numbers"),
        ({GOOD: torch.ones(2, 4), UP: torch.ones(4, 2),
          GOOD.replace("lora_A", "lora.up"): torch.ones(4, 2)}, "has two weights"),
        ({"unet:0:up": torch.ones(4, 2), "unet:0:down": torch.ones(2, 4)},
         "numbers 1 pairs for unet, but this model has 144 such weights"),
        ({}, "holds no pair of weights"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    sd15: Case, tmp_path: Path, weights: dict[str, Tensor], error: str
) -> None:
    with pytest.raises(ValueError, match=error) as caught:
        with_lora(sd15.model, stored(tmp_path, weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["lora_A", "lora_B", "alpha"])
def test_numbers_that_are_not_finite(sd15: Case, tmp_path: Path, value: float, where: str) -> None:
    weights = {name: v.clone() for name, v in loras.peft(sd15.pairs()).items()}
    weights["unet.mid_block.attentions.0.proj_in.alpha"] = torch.ones(1)
    name = next(n for n in weights if where in n)
    weights[name].view(-1)[0] = value
    with pytest.raises(ValueError, match="NaN or infinite numbers in"):
        with_lora(sd15.model, stored(tmp_path, weights))
    with pytest.raises(ValueError, match="it must be finite"):
        with_lora(sd15.model, tmp_path / "lora.safetensors", value)


def test_sums_that_a_type_cannot_hold(sd15: Case, tmp_path: Path) -> None:
    half = copy.deepcopy(sd15.model).to("cpu", torch.float16)
    with pytest.raises(ValueError, match=r"larger than torch.float16 holds"):
        with_lora(half, stored(tmp_path, loras.peft(sd15.pairs())), 1e7)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"use_dora": True}, "use_dora = True, which is not read here"),
        ({"peft_type": "LOHA"}, "peft_type = 'LOHA'"),
        ({"lora_alpha": "big"}, "lora_alpha is 'big'"),
        ({"alpha_pattern": {"(a+)+b": 1}}, "give plain names"),
    ],
)
def test_settings_of_peft_that_are_not_read(
    tmp_path: Path, change: dict[str, Any], error: str
) -> None:
    save_file(
        {GOOD: torch.ones(2, 4), UP: torch.ones(4, 2)}, tmp_path / "adapter_model.safetensors"
    )
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, **change}
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=error):
        read_lora(tmp_path)


def test_paths_that_hold_no_lora(sd15: Case, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no LoRA"):
        with_lora(sd15.model, tmp_path / "lost.safetensors")
    with pytest.raises(ValueError, match=r"neither adapter_config.json nor pytorch_lora_weights"):
        read_lora(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has no adapter_model.safetensors"):
        read_lora(tmp_path)


def test_pickles_are_opened_only_where_they_are_trusted(sd15: Case, tmp_path: Path) -> None:
    path = tmp_path / "lora.pt"
    weights = loras.kohya(sd15.pairs())
    torch.save(weights, path)
    with pytest.raises(ValueError, match="is a pickle"):
        read_lora(path)
    ours = with_lora(sd15.model, path, WEIGHT, ReadOptions(trust_pickle=True))
    again = with_lora(sd15.model, stored(tmp_path, weights), WEIGHT)
    for a, b in zip(ours.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl")])
def test_what_it_is_in_words(tmp_path: Path, width: int, family: str) -> None:
    lines = read_lora(stored(tmp_path, looking_like(width))).lines()
    assert lines == [
        "layout: a LoRA with names of kohya",
        f"family: {family}",
        "rank: 4",
        f"edits: 1 weights, {(640 + width) * 4 / 1e6:.1f} million numbers, float32",
        "unet: 1 weights",
    ]


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    from inkdrop.runs import own_folder

    box = Model.load(own_folder("emoji")[0])
    path = stored(tmp_path, looking_like(768))
    with pytest.raises(ValueError, match=r"for Stable Diffusion's U-Nets, but this .*\(DiT\)"):
        with_lora(box, path)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("down_blocks.0.attn1.processor.to_out_lora.up.weight",
         "unet.down_blocks.0.attn1.to_out.0"),
        ("base_model.model.mid_block.attn2.to_k.lora_B.weight", "unet.mid_block.attn2.to_k"),
        ("unet.conv_in.lora_B.default.weight", "unet.conv_in"),
        ("text_encoder_2.encoder.fc1.lora_B.weight", "text_encoder_2.text_model.encoder.fc1"),
        ("text_model.encoder.self_attn.to_q_lora.up.weight",
         "text_encoder.text_model.encoder.self_attn.q_proj"),
        ("text_encoder.text_model.self_attn.to_out_lora.up.weight",
         "text_encoder.text_model.self_attn.out_proj"),
        ("diffusion_model.input_blocks.1.1.proj_in.lora_up.weight",
         "unet.input_blocks.1.1.proj_in"),
        ("lycoris_down_blocks_0_attn1_to_k.lora_up.weight",
         "lora_unet_down_blocks_0_attn1_to_k"),
        ("lycoris_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
         "lora_te_text_model_encoder_layers_0_mlp_fc1"),
        ("clip_g.text_model.encoder.layers.0.mlp.fc1.lora_up.weight",
         "text_encoder_2.text_model.encoder.layers.0.mlp.fc1"),
        ("lora_te.text_model.encoder.layers.0.mlp.fc1.lora_B.weight",
         "text_encoder.text_model.encoder.layers.0.mlp.fc1"),
        ("unet:12:up", "unet:12"),
    ],
)  # fmt: skip
def test_spellings(name: str, base: str) -> None:
    ending = split_name(name)
    assert ending is not None and ending.base == base and ending.role == "up"
    assert kind_of_file({name: held(torch.ones(1, 1))}) is LORA


@pytest.mark.parametrize("change", [halved, lambda model: prepare(model, "packed")])
def test_weights_in_another_form_take_none(sd15: Case, tmp_path: Path, change: Any) -> None:
    path = stored(tmp_path, loras.peft(sd15.pairs()))
    with pytest.raises(ValueError, match="merge it first, then use `prepare` or `halved`"):
        with_lora(change(copy.deepcopy(sd15.model)), path)
