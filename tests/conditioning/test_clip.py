"""CLIP's text encoder: what `transformers` says, without it, and settings that will not do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from encoders import clip
from safetensors.torch import load_file, save_file

from inkdrop.conditioning.clip import longer, theirs
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.conditioning.text import Text
from inkdrop.model import Model
from inkdrop.networks.clip import Clip, ClipConfig


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def of(text: Text) -> Clip:
    assert isinstance(text.encoder, Clip)
    return text.encoder


@torch.no_grad()
@pytest.mark.parametrize("layer", [-1, -2, -4])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("pooled", ["none", "mean", "projected"])
def test_clip_is_what_transformers_says(
    tmp_path: Path, layer: int, norm: bool, pooled: Any
) -> None:
    peer = clip(tmp_path, projected=True)
    text = open_pretrained(tmp_path, layer=layer, norm=norm, pooled=pooled)
    tokens = text.tokenize(["a red dog", "on the sea", ""])
    ids, mask = tokens.ids[:, 0], tokens.mask[:, 0]
    said = peer(ids, attention_mask=mask.long(), output_hidden_states=True)
    want = said.hidden_states[layer]
    want = peer.text_model.final_layer_norm(want) if norm else want
    if layer == -1 and norm:
        assert torch.equal(want, said.last_hidden_state)
    ours, vector = of(text).read(ids, mask)
    torch.testing.assert_close(ours[mask], want[mask], atol=1e-5, rtol=1e-5)
    assert (vector is None) == (pooled != "projected")
    cond = text.encode(["a red dog", "on the sea", ""])
    assert cond.tokens is not None and cond.mask is not None
    torch.testing.assert_close(cond.tokens[mask], want[mask], atol=1e-5, rtol=1e-5)
    if pooled == "none":
        assert cond.vector is None
    elif pooled == "projected":
        torch.testing.assert_close(cond.vector, said.text_embeds)
        torch.testing.assert_close(vector, said.text_embeds)
    else:
        means = [row[m].mean(0) for row, m in zip(want, mask, strict=True)]
        torch.testing.assert_close(cond.vector, torch.stack(means), atol=1e-5, rtol=1e-5)


def test_older_names_of_weights_and_weights_in_shards(tmp_path: Path) -> None:
    clip(tmp_path / "a")
    words = ["a red dog"]
    want = open_pretrained(tmp_path / "a").encode(words).tokens
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    weights = load_file(tmp_path / "a" / "model.safetensors")
    names = sorted(weights)
    (tmp_path / "b" / "model.safetensors").unlink()
    index = dict[str, str]()
    for file, part in (("one", names[::2]), ("two", names[1::2])):
        shard = {f"text_model.{name.removeprefix('text_model.')}": weights[name] for name in part}
        shard |= {"text_model.embeddings.position_ids": torch.arange(16)} if file == "one" else {}
        save_file(shard, tmp_path / "b" / f"{file}.safetensors")
        index |= dict.fromkeys(shard, f"{file}.safetensors")
    with pytest.raises(ValueError, match="has 2 safetensors files but no model"):
        open_pretrained(tmp_path / "b")
    file = tmp_path / "b" / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": index}))
    assert torch.equal(open_pretrained(tmp_path / "b").encode(words).tokens, want)  # type: ignore[arg-type]
    file.write_text(json.dumps({"weight_map": {names[0]: "../a/model.safetensors"}}))
    with pytest.raises(ValueError, match="only a safetensors file in the same folder"):
        open_pretrained(tmp_path / "b")
    unlisted = next(iter(index))
    file.write_text(json.dumps({"weight_map": {n: f for n, f in index.items() if n != unlisted}}))
    with pytest.raises(ValueError, match=f"does not list '{unlisted}', which"):
        open_pretrained(tmp_path / "b")


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    clip(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({name: value.half() for name, value in weights.items()}, file)
    read = of(open_pretrained(tmp_path)).state_dict()
    assert {value.dtype for value in read.values()} == {torch.float32}
    want = longer({name: value.half().float() for name, value in weights.items()})
    assert len(read) == len(want)
    assert all(torch.equal(read[name], want[theirs(name)]) for name in read)


@torch.no_grad()
@pytest.mark.parametrize("eos", [2, None])
def test_the_projection_is_that_of_the_end(tmp_path: Path, eos: int | None) -> None:
    peer = clip(tmp_path, projected=True, **({} if eos is None else {"eos_token_id": eos}))
    text = open_pretrained(tmp_path, pooled="projected", padded=True)
    ids = text.tokenize(["a red dog", "", "on the sea"]).ids[:, 0]
    _, vector = of(text).read(ids, torch.ones_like(ids).bool())
    torch.testing.assert_close(vector, peer(ids).text_embeds)


def test_layers_that_nobody_reads_are_not_computed() -> None:
    config = ClipConfig(vocabulary=9, end=8, width=8, inner=8, layers=3, heads=2, layer=-3)
    made, ids = Clip(config), torch.tensor([[0, 3, 8]])
    want = made(ids, ids >= 0)
    for layer in made.layers[1:]:
        torch.nn.init.constant_(layer.first.bias, float("nan"))  # type: ignore[union-attr, arg-type]
    assert torch.equal(made(ids, ids >= 0), want)
    whole = Clip(dataclasses.replace(config, pooled="projected", projection=4))
    whole.load_state_dict({**made.state_dict(), "project.weight": torch.ones(4, 8)})
    tokens, vector = whole.read(ids, ids >= 0)
    assert torch.equal(tokens, want) and vector is not None and bool(vector.isnan().all())


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"hidden_act": "os.system"},
            r"config\.json: 'hidden_act' is 'os.system': Input should be",
        ),
        ({"hidden_size": 17}, "width is 17, not a multiple of heads, 2"),
        (
            {"hidden_size": "many"},
            r"config\.json: 'hidden_size' is 'many': Input should be a valid",
        ),
        ({"hidden_size": 32}, "has other shapes for 49 weights: "),
        ({"hidden_size": 2**40}, "width is 1099511627776 but must be from 1 to 16777216"),
        ({"num_hidden_layers": 4}, r"lacks 16 weights: .* and 6 more"),
        ({"num_hidden_layers": 2}, r"does not use 16 weights: .*encoder\.layers\.2"),
        ({"num_hidden_layers": 10**6}, "layers is 1000000 but must be from 0 to 256"),
        ({"num_attention_heads": 0}, "heads is 0 but must be from 1 to"),
        ({"vocab_size": 10}, "entries but the text encoder's vocabulary is 10"),
        ({"vocab_size": 10**9}, "vocabulary is 1000000000 but must be from 1 to 16777216"),
        ({"text_config": 3}, "text_config is 3 in .*config.json"),
    ],
)
def test_a_config_that_will_not_do(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    clip(tmp_path)
    change(tmp_path / "config.json", **settings)
    with pytest.raises(ValueError, match=said) as caught:
        open_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_config_may_say_how_it_was_trained(tmp_path: Path) -> None:
    clip(tmp_path)
    want = open_pretrained(tmp_path).encode(["a dog"]).tokens
    change(
        tmp_path / "config.json", temperature=1.0, bad_words_ids=None, _name_or_path="evil/model",
        attn_implementation="evil/kernels", _attn_implementation_autoset=True,
    )  # fmt: skip
    again = open_pretrained(tmp_path).encode(["a dog"]).tokens
    assert torch.equal(again, want)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("layer", 0, "layer is 0 but must be from -1, the last layer"),
        ("layer", -9, "layer is -9 but must be .* down to -4"),
        (
            "pooled",
            "projected",
            "pooled is 'projected' and projection is None",
        ),
        ("projection", 4, "pooled is 'mean' and projection is 4; .* others must leave it None"),
        ("activation", "os.system", "'activation' is 'os.system'"),
        ("widht", 16, "unknown key 'widht'. Did you mean 'width'"),
        ("width", 32, "has other shapes for 49 weights"),
    ],
)
def test_a_model_folder_that_was_changed(tmp_path: Path, key: str, value: Any, said: str) -> None:
    clip(tmp_path / "source")
    text = open_pretrained(tmp_path / "source")
    dataclasses.replace(tiny.model(tiny.data(tmp_path)), text=text).save(tmp_path / "a")
    file = tmp_path / "a" / "model.json"
    about = json.loads(file.read_text())
    about["text"][key] = value
    file.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=said) as caught:
        Model.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_sequence_beyond_the_context_is_refused(tmp_path: Path) -> None:
    clip(tmp_path)
    ids = torch.ones(1, 17, dtype=torch.int64)
    with pytest.raises(ValueError, match="has 17 tokens but this text encoder reads at most 16"):
        of(open_pretrained(tmp_path))(ids, ids.bool())


def test_it_needs_no_library(tmp_path: Path) -> None:
    clip(tmp_path)
    code = (
        "import sys; from inkdrop.conditioning.pretrained import open_pretrained;"
        f"open_pretrained({str(tmp_path)!r}).encode(['a dog']); print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert "transformers" not in said.stdout.split()
