"""Pretrained text encoders: what `transformers` says, folders to the bit, and all that is bad."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from captions import tokenizer
from encoders import SETTINGS, clip, encoder
from torch import Tensor

from inkdrop.conditioning.pretrained import Pretrained, PretrainedConfig, open_pretrained
from inkdrop.conditioning.text import Text
from inkdrop.model import Between, Model, Prompt
from inkdrop.networks.clip import Clip
from inkdrop.networks.text import TextEncoder

LENGTHS = torch.tensor([9, 4, 1])
MASK = torch.arange(9) < LENGTHS[:, None]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def of(text: Text) -> Pretrained | Clip:
    assert isinstance(text.encoder, Pretrained | Clip)
    return text.encoder


def ids_for(vocabulary: int) -> Tensor:
    """Whatever words; token 1 is what some take for padding."""
    return torch.randint(2, vocabulary, (3, 9))


def close(ours: Tensor, theirs: Tensor, mask: Tensor = MASK) -> None:
    torch.testing.assert_close(ours[mask], theirs[mask], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("model", sorted(SETTINGS))
def test_every_layer_is_what_transformers_says(tmp_path: Path, model: str) -> None:
    peer, ids = encoder(tmp_path, model), ids_for(400)
    said = peer(ids, attention_mask=MASK.long(), output_hidden_states=True)
    t5 = model.endswith("T5EncoderModel")
    last = of(open_pretrained(tmp_path))
    close(last(ids, MASK), said.last_hidden_state)
    assert last.width == 16 and last.vocabulary == 400 and not last.training
    assert not any(parameter.requires_grad for parameter in last.parameters())
    for layer in (-2, -4):
        bare = said.hidden_states[layer]
        want = peer.encoder.final_layer_norm(bare) if t5 else bare
        close(of(open_pretrained(tmp_path, layer=layer))(ids, MASK), want)
        if t5:
            close(of(open_pretrained(tmp_path, layer=layer, norm=False))(ids, MASK), bare)
    if t5:
        assert last.context == 512
        return
    assert last.context == (
        22 if model in ("MPNetModel", "RobertaModel", "XLMRobertaModel") else 24
    )
    full = torch.randint(2, 400, (1, last.context))
    close(
        last(full, torch.ones_like(full).bool()),
        peer(full).last_hidden_state,
        torch.ones_like(full).bool(),
    )


@torch.no_grad()
def test_weights_of_larger_models_have_one_in_them(tmp_path: Path) -> None:
    import transformers

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    both = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 400, "eos_token_id": 1, "bos_token_id": 0},
        vision_config={**small, "image_size": 28, "patch_size": 14},
        projection_dim=12,
    )
    t5 = transformers.T5Config(**SETTINGS["T5EncoderModel"])
    bert = transformers.BertConfig(**SETTINGS["BertModel"])
    for name, whole in (
        ("clip", transformers.CLIPModel(both)),
        ("t5", transformers.T5ForConditionalGeneration(t5)),
        ("bert", transformers.BertForMaskedLM(bert)),
    ):
        whole.eval().save_pretrained(tmp_path / name)
        tokenizer().write(tmp_path / name)
        ids = ids_for(400)
        part = {"clip": "text_model", "t5": "encoder", "bert": "bert"}[name]
        want = getattr(whole, part)(ids, attention_mask=MASK.long()).last_hidden_state
        close(of(open_pretrained(tmp_path / name))(ids, MASK), want)
    projected = of(open_pretrained(tmp_path / "clip", pooled="projected"))
    ids[:, 0] = 1
    _, vector = projected.read(ids, torch.ones_like(MASK))
    clip_model = transformers.CLIPModel.from_pretrained(tmp_path / "clip")
    torch.testing.assert_close(vector, clip_model.get_text_features(ids).pooler_output)
    assert vector is not None and vector.shape == (3, 12)


def model_with(text: Any, folder: Path) -> Model:
    return dataclasses.replace(tiny.model(tiny.data(folder)), text=text)


OPTIONS: dict[str, dict[str, Any]] = {
    "clip": {"layer": -2, "norm": False, "pooled": "none", "padded": True},
    "projected": {"pooled": "projected", "padded": True},
    "T5EncoderModel": {"layer": -2},
    "BertModel": {},
    "ModernBertModel": {},
}


@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_a_model_folder_holds_it_to_the_bit(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind in SETTINGS:
        encoder(source, kind)
    else:
        clip(source, projected=kind == "projected")
    first = model_with(open_pretrained(source, **OPTIONS[kind]), tmp_path)
    first.save(tmp_path / "a")
    shutil.rmtree(source)
    again = Model.load(tmp_path / "a")
    again.save(tmp_path / "b")
    for name in ("model.json", "text.safetensors", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    asked = [
        "a (red:1.4) dog",
        "",
        "붉은 집 " * 12,
        Between(Prompt("a dog"), Prompt("the sea"), 0.3),
    ]
    conds = [model.condition(list(asked)) for model in (first, again)]
    for mine, other in zip(*(cond._values() for cond in conds), strict=True):
        assert (mine is None) == (other is None)
        assert mine is None or (torch.equal(mine, other) and bool(mine.float().isfinite().all()))
    assert again.text is not None
    for network in again.text.networks:
        assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_a_model_older_than_the_kinds_loads_to_the_bit(tmp_path: Path) -> None:
    text = Text(tokenizer(), TextEncoder(dataclasses.replace(tiny.TEXT, vocabulary=400)))
    model = model_with(text, tmp_path)
    model.save(tmp_path / "a")
    about = json.loads((tmp_path / "a" / "model.json").read_text())
    assert about["text"].pop("kind") == "small"
    (tmp_path / "a" / "model.json").write_text(json.dumps(about))
    again = Model.load(tmp_path / "a").condition(["a red dog"])
    assert torch.equal(again.tokens, model.condition(["a red dog"]).tokens)  # type: ignore[arg-type]


def test_half_precision_and_other_devices_move_it_too(tmp_path: Path) -> None:
    clip(tmp_path / "source")
    model_with(open_pretrained(tmp_path / "source"), tmp_path).save(tmp_path / "a")
    model = Model.load(tmp_path / "a", dtype=torch.bfloat16)
    assert model.text is not None
    (network,) = model.text.networks
    assert next(network.parameters()).dtype == torch.bfloat16
    assert model.condition(["a red dog"]).tokens.dtype == torch.float32  # type: ignore[union-attr]
    model.to("meta")
    assert next(network.parameters()).is_meta


def test_a_long_prompt_is_read_in_chunks_and_nothing_in_one(tmp_path: Path) -> None:
    clip(tmp_path, pad="!")
    text = open_pretrained(tmp_path, padded=True)
    long = "a red dog on the hill, " * 4
    tokens = text.tokenize(["a dog", long])
    chunks = tokens.ids.shape[1]
    assert chunks > 1 and tokens.ids.shape == (2, chunks, 16)
    assert tokens.mask.any(2).tolist() == [[True] + [False] * (chunks - 1), [True] * chunks]
    assert torch.equal(tokens.mask.all(2), tokens.mask.any(2))
    nothing = text.tokenize([""]).ids[0, 0]
    assert nothing.tolist() == [*text.tokenizer.frame[0], *text.tokenizer.frame[1], *[0] * 14]
    cond = text.encode(["a dog", long])
    assert cond.tokens is not None and cond.tokens.shape == (2, 16 * chunks, 16)
    alone = of(text)(tokens.ids[1], tokens.mask[1]).flatten(0, 1)
    torch.testing.assert_close(cond.tokens[1], alone)
    torch.testing.assert_close(cond.tokens[0, :16], text.encode(["a dog"]).tokens[0])  # type: ignore[index]


def test_weights_of_words_change_them_and_a_walk_has_exact_ends(tmp_path: Path) -> None:
    clip(tmp_path, projected=True)
    text = open_pretrained(tmp_path, pooled="projected", padded=True)
    plain, ones, strong = (
        text.encode([p]) for p in ("a red dog", "a (red:1.0) dog", "a (red:2) dog")
    )
    assert torch.equal(plain.tokens, ones.tokens)  # type: ignore[arg-type]
    moved = (strong.tokens - plain.tokens)[0].norm(dim=1)  # type: ignore[operator]
    assert int(moved.argmax()) == 2
    torch.testing.assert_close(strong.tokens.mean(1), plain.tokens.mean(1))  # type: ignore[union-attr]
    assert torch.equal(strong.vector, plain.vector)  # type: ignore[arg-type]
    other = text.encode(["the sea " * 20])
    assert text.between(plain, other, 0) is plain and text.between(plain, other, 1) is other
    middle = text.between(plain, other, 0.5)
    assert middle.tokens is not None and bool(middle.tokens.isfinite().all())
    assert middle.tokens.shape == other.tokens.shape  # type: ignore[union-attr]


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "has 'auto_map', which needs custom code"),
        (
            {"quantization_config": {}},
            "has 'quantization_config', which needs",
        ),
        ({"architectures": ["EvilModel"]}, "names the class 'EvilModel', which is not a Bert"),
        ({"_class_name": "os.system"}, "names the class 'os.system', which is not a Bert"),
        (
            {"model_type": "brt"},
            r"model_type is 'brt' in .* are bert, .*Did you mean 'bert'",
        ),
        ({"model_type": "llama"}, "model_type is 'llama' in"),
        ({"hidden_act": "os.system"}, "cannot be opened as BertModel"),
        ({"hidden_size": 17}, "that BertConfig rejects|cannot be opened as BertModel"),
        (
            {"hidden_size": "many"},
            "that BertConfig rejects|cannot be opened as BertModel",
        ),
        ({"hidden_size": 32}, "has other shapes for 5. weights: "),
        ({"num_hidden_layers": 4}, r"for BertModel, lacks 16 weights: .* and 6 more"),
        ({"num_hidden_layers": 2}, r"does not use 16 weights: .*encoder\.layer\.2"),
        ({"vocab_size": 10}, r"other shapes for 1 weights: .*embeddings\.word_embeddings\.weight"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000 in the settings"),
        ({"hidden_size": 2**20}, "its settings give .* parameters, but there are .* weights"),
        ({"vocab_size": 10**9}, "its settings give .* parameters, but there are .* weights"),
    ],
)
def test_a_config_that_will_not_do(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    encoder(tmp_path, "BertModel")
    change(tmp_path / "config.json", **settings)
    with pytest.raises(ValueError, match=said) as caught:
        open_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_config_may_say_how_it_was_trained(tmp_path: Path) -> None:
    encoder(tmp_path, "BertModel")
    want = open_pretrained(tmp_path).encode(["a dog"]).tokens
    change(
        tmp_path / "config.json", temperature=1.0, bad_words_ids=None, _name_or_path="evil/model",
        attn_implementation="evil/kernels", _attn_implementation_autoset=True,
    )  # fmt: skip
    text = open_pretrained(tmp_path)
    assert torch.equal(text.encode(["a dog"]).tokens, want)  # type: ignore[arg-type]
    settings = of(text).config.settings
    assert not {"temperature", "_name_or_path", "attn_implementation"} & settings.keys()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("kind", "pretraind", "Did you mean 'pretrained'"),
        ("layr", -1, "unknown key 'layr'. Did you mean 'layer'"),
        ("layer", 0, "layer is 0 but must be -1, the last layer"),
        ("layer", -9, "layer is -9, but this BertModel has 3 layers"),
        ("pooled", "max", "pooled"),
        ("architecture", "os.system", "no text encoder 'os.system'"),
        ("padding", {"id": 1}, "padding"),
        ("padding", {"id": 10**6, "length": 16}, "the padding token is 1000000, but"),
        (
            "padding",
            {"id": 0, "length": 99},
            "padding length is 99, but the text encoder reads 1 to 24",
        ),
        ("settings", {}, "vocab_size is None in the settings of BertModel"),
    ],
)
def test_a_model_folder_that_was_changed(tmp_path: Path, key: str, value: Any, said: str) -> None:
    encoder(tmp_path / "source", "BertModel")
    model_with(open_pretrained(tmp_path / "source"), tmp_path).save(tmp_path / "a")
    file = tmp_path / "a" / "model.json"
    about = json.loads(file.read_text())
    about["text"][key] = value
    file.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=said) as caught:
        Model.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_settings_of_a_model_folder_that_are_not_declared(tmp_path: Path) -> None:
    encoder(tmp_path / "source", "BertModel")
    model_with(open_pretrained(tmp_path / "source"), tmp_path).save(tmp_path / "a")
    file = tmp_path / "a" / "model.json"
    about = json.loads(file.read_text())
    for name in ("attn_implementation", "auto_map", "hidden_siz"):
        changed = {**about["text"]["settings"], name: "evil/kernels"}
        file.write_text(json.dumps({**about, "text": {**about["text"], "settings": changed}}))
        with pytest.raises(ValueError, match=f"settings of BertModel have an unknown key '{name}'"):
            Model.load(tmp_path / "a")


def test_without_the_extra_its_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder(tmp_path / "source", "BertModel")
    model_with(open_pretrained(tmp_path / "source"), tmp_path).save(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "transformers", None)
    for act in (lambda: open_pretrained(tmp_path / "source"), lambda: Model.load(tmp_path / "a")):
        with pytest.raises(ValueError, match=r"needs transformers; .* 'inkdrop\[text\]'") as caught:
            act()
        assert "\n" not in str(caught.value)


def test_a_config_of_an_older_version(tmp_path: Path) -> None:
    encoder(tmp_path, "ModernBertModel", layer_types=["full_attention"] * 3)
    file = tmp_path / "config.json"
    about = json.loads(file.read_text())
    del about["layer_types"], about["rope_parameters"]
    file.write_text(
        json.dumps({**about, "global_attn_every_n_layers": 1, "global_rope_theta": 9.0})
    )
    settings = of(open_pretrained(tmp_path)).config.settings
    assert settings["layer_types"] == ["full_attention"] * 3
    assert settings["rope_parameters"]["full_attention"]["rope_theta"] == 9.0


def test_options_that_an_architecture_does_not_have() -> None:
    bert, t5 = SETTINGS["BertModel"], SETTINGS["T5EncoderModel"]
    with pytest.raises(ValueError, match="BertModel has no projection, only CLIP has"):
        PretrainedConfig("bert", bert, pooled="projected")
    with pytest.raises(ValueError, match="norm is False at layer -2, but BertModel"):
        PretrainedConfig("bert", bert, layer=-2, norm=False)
    with pytest.raises(ValueError, match="norm is False at layer -1, but T5EncoderModel"):
        PretrainedConfig("t5", t5, norm=False)


def test_what_is_missing_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        open_pretrained(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"there is no config\.json"):
        open_pretrained(tmp_path)
    encoder(tmp_path, "BertModel", vocab_size=10)
    with pytest.raises(ValueError, match="entries but the text encoder's vocabulary is 10"):
        open_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="there is no tokenizer in"):
        open_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"there is no model\.safetensors in"):
        open_pretrained(tmp_path)


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    encoder(tmp_path, "BertModel")
    (tmp_path / "model.safetensors").unlink()
    opened = tmp_path / "opened"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(opened),)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"are pytorch_model\.bin, a pickle, .* save them as saf"):
        open_pretrained(tmp_path)
    assert not opened.exists()


def test_other_models_do_without_the_library(tmp_path: Path) -> None:
    text = Text(tokenizer(), TextEncoder(dataclasses.replace(tiny.TEXT, vocabulary=400)))
    model_with(text, tmp_path).save(tmp_path / "a")
    code = (
        "import sys; from inkdrop.model import Model;"
        f"Model.load({str(tmp_path / 'a')!r}).condition(['a dog']); print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert "transformers" not in said.stdout.split()


def test_the_library_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip(tmp_path, eos_token_id=10_000)
    capsys.readouterr()
    open_pretrained(tmp_path)
    said = capsys.readouterr()
    assert said.out == said.err == ""
