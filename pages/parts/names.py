"""What renders and pictures are called on the screen."""

import re
from typing import TYPE_CHECKING

from pages.parts import numbers, store, words

if TYPE_CHECKING:
    from db import RenderRow

NAME = 40  # letters of a picture's name where it stands among other words
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def of_render(render: "RenderRow") -> str:
    """Title and number: titles repeat."""
    return f"{render.title} \u00b7 {render.id}"


def of_picture(reference: str) -> str:
    """What a picture is called that is named by its digest, or by #7 for render 7."""
    render = render_of(reference)
    if render is not None:
        return of_render(render)
    kept = store.open_store().get_picture(reference)
    return kept.name if kept else words.short(reference)


def in_text(text: str) -> str:
    """A text with the names of pictures instead of their digests."""
    return _DIGEST.sub(lambda found: words.short(of_picture(found[0]), NAME), text)


def render_of(reference: str) -> "RenderRow | None":
    """The render that #7 names, if there is one."""
    number = numbers.whole(reference[1:]) if reference.startswith("#") else None
    return store.open_store().get_render(number) if number is not None else None
