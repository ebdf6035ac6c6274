"""Notes about what the words of a request will not do, before it is sampled."""

from __future__ import annotations

from collections.abc import Iterator

from inkdrop.conditioning.chunks import plain
from inkdrop.conditioning.known import Known, listed
from inkdrop.conditioning.text import Text
from inkdrop.events import Note
from inkdrop.model import Model
from inkdrop.tasks.request import Request, negatives_of, prompts_of


def unheard(model: Model, request: Request, name: str | None) -> Iterator[Note]:
    """Notes on an empty prompt, words that the model has never read, and the nearest it has.

    name: by which `inkdrop info` finds the model, if any
    """
    if model.text is None:
        return
    if request.prompt is not None and not request.prompt.strip():
        yield Note(
            "the prompt is empty, so every sample is whatever the model comes to, and guidance has"
            " no effect"
        )
    known = model.text.known if isinstance(model.text, Text) else None
    if known is None or not isinstance(model.text, Text):
        return
    where = "" if name is None else f"; `inkdrop info {name}` lists all"
    for prompt in dict.fromkeys(prompts_of(request)):
        text = plain(model.text.tokenizer, prompt)
        wanted = prompt not in negatives_of(request)
        said = _said(known, text, together=wanted)
        if said:
            near = known.nearest(text)
            names = f"; the nearest names it knows are {listed(near)}" if near else ""
            yield Note(f"the model {said}{names}{where}")


def _said(known: Known, text: str, *, together: bool) -> str:
    """What the model has not read, as the end of a sentence; "" if it has read it all."""
    if strange := known.strange(text):
        nothing = "" if known.has_any(text) else ", so its picture can be of anything"
        return f"has never read {listed(strange)}{nothing}"
    if together and not known.together(text):
        return f"has never read all of {text.strip()!r} together, so it mixes what it knows"
    return ""
