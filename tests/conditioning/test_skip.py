"""Clip skip, beside transformers' hidden states, and where it does not apply."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from encoders import clip
from models import latent_text_model

from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.conditioning.skip import skipped
from inkdrop.conditioning.text import Text


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_layers_are_those_of_transformers(tmp_path: Path, layers: int) -> None:
    peer = clip(tmp_path, projected=True)
    text = open_pretrained(tmp_path)
    earlier, said = skipped(text, layers)
    assert isinstance(earlier, Text) and said == ""
    tokens = text.tokenize(["a red dog", ""])
    ids, mask = tokens.ids[:, 0], tokens.mask[:, 0]
    states = peer(ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    want = peer.text_model.final_layer_norm(states[-layers])
    found = earlier.encode(["a red dog", ""]).tokens
    assert found is not None
    torch.testing.assert_close(found[mask], want[mask], atol=1e-5, rtol=1e-5)
    # The text that was given reads its own layer still, and no weight was copied.
    own = text.encode(["a red dog", ""]).tokens
    assert own is not None and torch.equal(own, found) == (layers == 1)
    assert next(earlier.encoder.parameters()) is next(text.encoder.parameters())


def test_where_it_does_not_apply(tmp_path: Path) -> None:
    clip(tmp_path)
    text = open_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"clip_skip is 90: this text encoder has \d+ layers"):
        skipped(text, 90)
    joined = JoinedText((text, text))
    assert skipped(joined, 2)[0] is joined
    assert "clip skip 2 is not applied" in skipped(joined, 2)[1]
    for other in (None, latent_text_model().text):
        assert skipped(other, 1) == (other, "")
        with pytest.raises(ValueError, match="clip_skip is for models that read their words with"):
            skipped(other, 2)
