"""Textual inversion: words in prompts as diffusers reads them, in every layout, and bad files."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pipelines
import pytest
import torch
from checkpoints import stored
from torch import Tensor

from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import Text
from inkdrop.convert.adapters.embedding import read_embedding, with_embedding
from inkdrop.convert.adapters.parts import texts_of
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.text_export import write_text_folders
from inkdrop.model import Model

pytestmark = pytest.mark.filterwarnings("ignore")  # of diffusers, about its own settings

PROMPT = "a red <style>, and a {} cat"


class Case:
    """diffusers' pipeline and the model that was read from it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.pipe, self.folder = pipelines.saved(folder, name), folder
        self.model, _ = open_checkpoint(folder)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: Any) -> Case:
    return Case("sd15", tmp_path_factory.mktemp("sd15"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: Any) -> Case:
    return Case("sdxl", tmp_path_factory.mktemp("sdxl"))


def vectors(count: int, width: int = 24) -> Tensor:
    torch.manual_seed(count)
    return torch.randn(count, width)


def said(pipe: Any, prompt: str, number: int = 1) -> Any:
    """What one of diffusers' text encoders says of a prompt with words of embeddings."""
    end = "" if number == 1 else f"_{number}"
    tokenizer, encoder = (getattr(pipe, part + end) for part in ("tokenizer", "text_encoder"))
    prompt = pipe.maybe_convert_prompt(prompt, tokenizer)
    ids = tokenizer(prompt, padding="max_length", max_length=32, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids, output_hidden_states=True)


def text_of(model: Model) -> Text:
    assert isinstance(model.text, Text)
    return model.text


@pytest.mark.parametrize("count", [1, 4])
def test_as_diffusers_reads_it(sd15: Case, tmp_path: Path, count: int) -> None:
    theirs = copy.deepcopy(sd15.pipe)
    own = vectors(count).squeeze(0)
    learned = stored(tmp_path / "learned_embeds.safetensors", {"<style>": own})
    other = stored(tmp_path / "blurry.safetensors", {"emb_params": vectors(count + 1)})
    theirs.load_textual_inversion(str(learned))
    theirs.load_textual_inversion(str(other), token="blurry")
    ours = with_embedding(with_embedding(sd15.model, learned), other)
    prompt = PROMPT.format("blurry")
    cond = text_of(ours).encode([prompt])
    expected = said(theirs, prompt).last_hidden_state
    assert torch.allclose(cond.tokens, expected, atol=1e-5)  # type: ignore[arg-type]
    before = text_of(sd15.model).encode([prompt]).tokens
    assert not torch.allclose(before, expected, atol=1e-2)  # type: ignore[arg-type]
    plain = [text_of(each).encode(["a red cat"]).tokens for each in (ours, sd15.model)]
    assert torch.equal(*plain)  # type: ignore[arg-type]


def test_both_encoders_of_sdxl(sdxl: Case, tmp_path: Path) -> None:
    both = {"clip_l": vectors(2, 8), "clip_g": vectors(2, 16)}
    path = stored(tmp_path / "glow.safetensors", both)
    theirs = copy.deepcopy(sdxl.pipe)
    for end, part in (("", "clip_l"), ("_2", "clip_g")):
        theirs.load_textual_inversion(
            {"glow": both[part]}, token="glow", tokenizer=getattr(theirs, f"tokenizer{end}"),
            text_encoder=getattr(theirs, f"text_encoder{end}"),
        )  # fmt: skip
    ours = with_embedding(sdxl.model, path)
    assert isinstance(ours.text, JoinedText)
    cond = ours.text.encode(["a glow cat"])
    first, second = (said(theirs, "a glow cat", number) for number in (1, 2))
    expected = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=2)
    assert torch.allclose(cond.tokens, expected, atol=1e-5)  # type: ignore[arg-type]
    width = second.text_embeds.shape[1]
    assert torch.allclose(cond.vector[:, :width], second.text_embeds, atol=1e-5)  # type: ignore[index]


def test_where_a_text_ends_by_its_largest_id(sdxl: Case, tmp_path: Path) -> None:
    """Settings of old mark the end by the largest id, which a word's ids are above."""
    shutil.copytree(sdxl.folder, tmp_path / "old")
    file = tmp_path / "old" / "text_encoder_2" / "config.json"
    about = json.loads(file.read_text())
    assert about["eos_token_id"] != 2
    file.write_text(json.dumps({**about, "eos_token_id": 2}))
    old, _ = open_checkpoint(tmp_path / "old")
    both = {"clip_l": vectors(1, 8), "clip_g": vectors(1, 16)}
    path = stored(tmp_path / "glow.safetensors", both)
    expected, found = (with_embedding(model, path) for model in (sdxl.model, old))
    assert found.text is not None and expected.text is not None
    for prompt in ("a glow cat", "cat"):
        a, b = (text.encode([prompt]).vector for text in (found.text, expected.text))
        assert a is not None and b is not None and torch.allclose(a, b, atol=1e-6)


def test_a_word_stands_by_itself(sd15: Case, tmp_path: Path) -> None:
    model = with_embedding(sd15.model, stored(tmp_path / "cat-x.safetensors",
                                              {"emb_params": vectors(2)}))  # fmt: skip
    model = with_embedding(model, stored(tmp_path / "cat.safetensors", {"emb_params": vectors(3)}))
    read, first = text_of(model).tokenizer, text_of(sd15.model).encoder.vocabulary
    own = {
        text: [piece.id - first for piece in read.pieces(text) if piece.id >= first]
        for text in (
            "cat", "Cat, CAT-X", "a cat-xy", "concatenate scat cats", "cat_x", "(cat)"
        )
    }  # fmt: skip
    assert own == {
        "cat": [2, 3, 4], "Cat, CAT-X": [2, 3, 4, 0, 1], "a cat-xy": [2, 3, 4],
        "concatenate scat cats": [], "cat_x": [], "(cat)": [2, 3, 4],
    }  # fmt: skip
    text = "ein 🐱 cat, ja"
    for piece in read.pieces(text):
        if piece.id >= first:
            assert text[piece.start : piece.stop] == "cat"


NAMED = ("<my-word>", "(cat)", "[x]", "[x:2]", "a AND b", "o_O:1.5", "猫", "고양이", "café", "glow")


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    "prompt",
    ["a {} cat", "({}:1.25)", "(a [{}] b)", "빛나는{}가", "白い{}。", "{},", "embedding:{} x"],
)
def test_a_word_of_any_name_is_read_wherever_it_stands(
    sd15: Case, tmp_path: Path, name: str, prompt: str
) -> None:
    own = vectors(2)
    model = with_embedding(sd15.model, stored(tmp_path / "a.safetensors", {"emb_params": own}),
                           unicodedata.normalize("NFD", name))  # fmt: skip
    text, first = text_of(model), text_of(sd15.model).encoder.vocabulary
    for form in ("NFC", "NFD"):
        tokens = text.tokenize([unicodedata.normalize(form, prompt.format(name))])
        assert (tokens.ids >= first).sum() == 2
        plain = text.tokenize([prompt.format("zzz").replace("embedding:", "")])
        weights = [each.weights[each.ids.ne(each.ids[0, 0, -1])].max() for each in (tokens, plain)]
        assert weights[0] == weights[1]


def test_letters_of_its_own_script_continue_a_word(sd15: Case, tmp_path: Path) -> None:
    model = sd15.model
    for word in ("glow", "cafe"):
        model = with_embedding(
            model, stored(tmp_path / f"{word}.safetensors", {"emb_params": vectors(1)})
        )
    first = text_of(sd15.model).encoder.vocabulary
    for prompt in ("glows", "aglow", "glow_x", "cafe\u0301", "glowé", "жglow"):
        assert (text_of(model).tokenize([prompt]).ids < first).all(), prompt


def test_vectors_of_a_word_stay_in_one_chunk(sd15: Case, tmp_path: Path) -> None:
    path = stored(tmp_path / "glow.safetensors", {"emb_params": vectors(10)})
    text = text_of(with_embedding(sd15.model, path))
    first = text_of(sd15.model).encoder.vocabulary
    for words in range(18, 31):
        ids = text.tokenize([" ".join(["a"] * words) + " glow"]).ids[0]
        own = (ids >= first).sum(1)
        assert sorted(own.tolist())[-1] == 10 and int(own.sum()) == 10
    assert text.tokenize(["a " * 25 + "glow"]).ids.shape[1] == 2


def test_weights_of_a_word(sd15: Case, tmp_path: Path) -> None:
    path = stored(tmp_path / "glow.safetensors", {"emb_params": vectors(3)})
    text = text_of(with_embedding(sd15.model, path))
    tokens = text.tokenize(["a (glow:1.25) cat"])
    own = tokens.ids >= text_of(sd15.model).encoder.vocabulary
    assert tokens.weights[own].tolist() == [1.25] * 3
    assert (tokens.weights[~own] == 1).all()


def test_a_model_folder_keeps_its_words(sd15: Case, sdxl: Case, tmp_path: Path) -> None:
    one = stored(tmp_path / "glow.safetensors", {"emb_params": vectors(3)})
    two = stored(
        tmp_path / "shine.safetensors", {"clip_l": vectors(2, 8), "clip_g": vectors(2, 16)}
    )
    for number, (case, path) in enumerate(((sd15, one), (sdxl, two))):
        model = with_embedding(case.model, path)
        model.save(tmp_path / str(number))
        again = Model.load(tmp_path / str(number))
        assert model.text is not None and again.text is not None
        prompts = ["a glow and a shine cat"]
        a, b = model.text.encode(prompts), again.text.encode(prompts)
        assert torch.equal(a.tokens, b.tokens)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="words of embeddings, which have no place"):
            write_text_folders(model, tmp_path)
    (tmp_path / "0" / "words.json").write_text('{"glow": "none"}')
    with pytest.raises(ValueError, match=r"words.json must map the word 'glow' to a list of ids"):
        Model.load(tmp_path / "0")


def test_all_else_is_shared_and_the_model_stays_as_it_was(sd15: Case, tmp_path: Path) -> None:
    path = stored(tmp_path / "glow.safetensors", {"emb_params": vectors(3)})
    before = text_of(sd15.model).encoder
    after = text_of(with_embedding(sd15.model, path)).encoder
    old = dict(before.named_parameters())  # type: ignore[attr-defined]
    new = dict(after.named_parameters())  # type: ignore[attr-defined]
    changed = [name for name in old if old[name] is not new[name]]
    assert changed == ["embedding.weight"]
    assert after.vocabulary == before.vocabulary + 3
    assert not text_of(sd15.model).tokenizer.words


def test_names(sd15: Case, tmp_path: Path) -> None:
    path = stored(tmp_path / "glow.safetensors", {"emb_params": vectors(2)})
    model = with_embedding(sd15.model, path, "my style")
    assert list(text_of(model).tokenizer.words) == ["my style"]
    with pytest.raises(ValueError, match="already has a word 'My Style'"):
        with_embedding(model, path, "My Style")
    with pytest.raises(ValueError, match="word is ' '; give it a name"):
        with_embedding(model, path, " ")
    several = stored(tmp_path / "two.safetensors", {"<a>": vectors(1), "<b>": vectors(2)})
    assert list(text_of(with_embedding(model, several)).tokenizer.words)[1:] == ["<a>", "<b>"]
    assert list(read_embedding(several, "c, d").words) == ["c", "d"]
    assert list(read_embedding(several, ["e", "f,g"]).words) == ["e", "f,g"]
    for wrong in ("c", "c,d,e", "c,C"):
        with pytest.raises(ValueError, match="holds the words <a>, <b>; give each a name of its"):
            read_embedding(several, wrong)
    with pytest.raises(ValueError, match="a name is for a file"):
        with_embedding(model, read_embedding(path), "c")


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        ({"emb_params": vectors(2, 768)}, "has vectors of 768, as sd1 has them, but .* reads 24$"),
        ({"emb_params": vectors(2, 1024)}, "as sd2 has them"),
        ({"<a>": vectors(1, 5)}, r"of 5, as no known family \(5\) has them"),
        ({"clip_l": vectors(1, 768), "clip_g": vectors(1, 1280)},
         "has vectors of 768 for clip_l and 1280 for clip_g, as sdxl has them, but .* reads 24$"),
        ({"emb_params": vectors(80)}, "has 80 vectors, not 1 to 75"),
        ({"emb_params": torch.full((1, 24), float("nan"))}, "NaN or infinite numbers"),
        ({"emb_params": torch.ones(1, 24, dtype=torch.int8)}, "holds whole numbers"),
        ({"<a>": torch.ones(1, 2, 24)}, r"is not an embedding: it has 1 weights that are"),
        ({"<a>": torch.ones(())}, "is not an embedding"),
        ({"<a>": torch.ones(0, 24)}, "has 0 vectors"),
        ({"<a>": torch.ones(3, 0)}, "has vectors without numbers"),
        ({"clip_l": vectors(1, 8), "clip_g": vectors(2, 16)}, "different numbers of vectors for"),
        ({}, "holds no words"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    sd15: Case, tmp_path: Path, weights: dict[str, Tensor], error: str
) -> None:
    with pytest.raises(ValueError, match=error) as caught:
        with_embedding(sd15.model, stored(tmp_path / "a.safetensors", weights))
    assert "\n" not in str(caught.value)


def test_sdxl_needs_both(sdxl: Case, tmp_path: Path) -> None:
    for weights, error in (
        ({"emb_params": vectors(1, 768)}, "as sd1 has them, but .* reads 8 for clip_l and 16"),
        ({"clip_g": vectors(1, 16)}, "has vectors of 16 for clip_g, as sdxl"),
    ):
        with pytest.raises(ValueError, match=error):
            with_embedding(sdxl.model, stored(tmp_path / "a.safetensors", weights))


def test_the_refiner_reads_one_of_two(sdxl: Case, tmp_path: Path) -> None:
    assert isinstance(sdxl.model.text, JoinedText)
    alone = dataclasses.replace(sdxl.model.text, parts=sdxl.model.text.parts[1:])
    model = dataclasses.replace(sdxl.model, text=alone)
    both = {"clip_l": vectors(2, 768), "clip_g": vectors(2, 16)}
    made = with_embedding(model, stored(tmp_path / "glow.safetensors", both))
    assert list(texts_of(made.text)["text_encoder_2"].tokenizer.words) == ["glow"]


def test_the_name_in_a_file_of_a1111_is_said(tmp_path: Path) -> None:
    for name, told in (("Glow", ""), ("old", " (it was made as 'old')")):
        path = tmp_path / "glow.safetensors"
        stored(path, {"string_to_param.*": vectors(2)}, {"name": name, "step": "500"})
        found = read_embedding(path)
        assert list(found.words) == ["glow"] and found.about() == f"word is 'glow'{told}"
        assert any("made as" in line for line in found.lines()) == bool(told)
        assert read_embedding(path, "old").about() == "word is 'old'" or name == "Glow"


def test_pickles_are_opened_only_where_they_are_trusted(sd15: Case, tmp_path: Path) -> None:
    old = {"string_to_token": {"*": torch.tensor(265)}, "name": "glow", "step": 500,
           "string_to_param": {"*": torch.nn.Parameter(vectors(2))}}  # fmt: skip
    torch.save(old, tmp_path / "glow.pt")
    torch.save({"<style>": vectors(1)[0]}, tmp_path / "learned_embeds.bin")
    for name, words in (("glow.pt", "glow"), ("learned_embeds.bin", "<style>")):
        with pytest.raises(ValueError, match="is a pickle"):
            read_embedding(tmp_path / name)
        found = read_embedding(tmp_path / name, options=ReadOptions(trust_pickle=True))
        model = with_embedding(sd15.model, found)
        assert list(text_of(model).tokenizer.words) == [words]


def test_what_it_is_in_words(tmp_path: Path) -> None:
    both = {"clip_l": vectors(2, 768), "clip_g": vectors(2, 1280)}
    assert read_embedding(stored(tmp_path / "glow.safetensors", both)).lines() == [
        "layout: an embedding (textual inversion)",
        "the word 'glow': 2 vectors of 768 for clip_l, of sdxl",
        "the word 'glow': 2 vectors of 1280 for clip_g, of sdxl",
    ]
    one = stored(tmp_path / "x.safetensors", {"<a>": vectors(1, 768)})
    assert read_embedding(one).lines()[1] == "the word '<a>': 1 vector of 768, of sd1"
