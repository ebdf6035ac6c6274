"""Names of a TAESD's weights in diffusers (AutoencoderTiny) and in its own numbered files."""

from __future__ import annotations

from inkdrop.convert.files.keys import Naming, Rules
from inkdrop.networks.taesd import TAESDConfig

BLOCK: Rules = ((r"\.layers\.(?=\d\.\w+$)", ".conv."),)


def diffusers_naming(config: TAESDConfig) -> Naming:
    """The names in diffusers' AutoencoderTiny."""
    places = _encoder(config) | _decoder(config, clamp=0)
    halves = ((r"^(en|de)coder\.", r"\1coder.layers."),)
    return Naming(places, (*BLOCK, *halves))


def original_naming(config: TAESDConfig) -> Naming:
    """The original names; its decoder numbers the clamp of its input as a layer."""
    return Naming(_encoder(config) | _decoder(config, clamp=1), BLOCK)


def _encoder(config: TAESDConfig) -> dict[str, str]:
    layers = len(config.encoder_blocks) + sum(config.encoder_blocks) + 1
    return {f"encoder.{n}": f"encoder.{n}" for n in range(layers)}


def _decoder(config: TAESDConfig, clamp: int) -> dict[str, str]:
    """Theirs numbers a step up as two layers, the second with weights; ours is one layer."""
    places = {"decoder.0": f"decoder.{clamp}"}
    ours, theirs = 2, 2 + clamp
    for level, blocks in enumerate(config.decoder_blocks):
        if level:
            places[f"decoder.{ours}.conv"] = f"decoder.{theirs + 1}"
            ours, theirs = ours + 1, theirs + 2
        places |= {f"decoder.{ours + n}": f"decoder.{theirs + n}" for n in range(blocks)}
        ours, theirs = ours + blocks, theirs + blocks
    return places | {f"decoder.{ours}": f"decoder.{theirs}"}
