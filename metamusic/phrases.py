"""The words of a prompt, before anything is embedded: `text:weight:stop @ where | text:weight ...`.

weight is a number from -10 to 10 or a formula over the music in round brackets, `storm:(2*bass - 0.5)`.
where is left, right, top, bottom, centre or border; `[picture]`, whose light parts say where; or any words, which
stand for the parts of the picture that look like them. A leading `-` turns it round: `a storm @ -sky`.
In a list of picture prompts the text is a picture: a path, `#7` for render 7, or a digest of 64 hex digits.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from metamusic.errors import SettingsError
from metamusic.formula import LARGEST, check_formula
from metamusic.settings import LARGEST_SEED

LARGEST_WEIGHT = LARGEST  # as the audio's
REGIONS = ("left", "right", "top", "bottom", "centre", "border")
_SPELLINGS = {"center": "centre"}  # it would be taken for words otherwise

_AT = re.compile(r"(?:^|\s)@(?=\s|$)")
_WHERE_CURE = (f"After a single @ stands {', '.join(REGIONS)}, a [picture], or words, and weight and stop before "
               "it: storm:0.5 @ -sky. A path cannot hold a |, which separates prompts: rename such a file.")


@dataclass(frozen=True)
class PromptSpec:
    """A text with its pull.

    weight: -10..10; negative pushes away. stop: the distance below which it stops pulling (-inf: never).
    formula: what the weight is computed from at each moment; if set, weight is 1.0 and unused.
    where: the part of the picture it acts on, as `parse_where` reads it ("": everywhere).
    """

    text: str
    weight: float = 1.0
    stop: float = -math.inf
    formula: str = ""
    where: str = ""


@dataclass(frozen=True)
class Where:
    """A part of the picture. value: the region's name, the picture's reference or the words; "" for everywhere."""

    kind: Literal["everywhere", "region", "picture", "words"]
    value: str = ""
    inverted: bool = False


EVERYWHERE = Where("everywhere")


def parse_prompts(line: str) -> tuple[PromptSpec, ...]:
    """All prompts of a line; SettingsError for a weight without a text, and for a formula or a place in error.

    Only numbers (and a formula) at the end are read as weight and stop, so that a text may hold colons itself:
    `rain at 12:30 pm:0.5` is the text "rain at 12:30 pm" with weight 0.5. A weight beyond 10 is refused:
    it is most often a number of the text, which `rain at 12:30:1:-inf` keeps. The place is what follows the
    last @ that stands alone; an address like a@b is none.
    """
    return tuple(_parse(part.strip()) for part in line.split("|") if part.strip())


def format_prompts(specs: Iterable[PromptSpec]) -> str:
    """The line that `parse_prompts` reads as these specs; SettingsError for one that no line can say."""
    return " | ".join(map(_format, specs))


def parse_weighted(line: str, what: str) -> tuple[tuple[str, float], ...]:
    """(name, weight) of each part of `name:weight | name`; a weight is 1 where none is given.

    what: the kind of thing for messages, as "judge". Raises SettingsError for a part without a name, with more
    than one colon, or with a weight that is no number in -10..10.
    """
    return tuple(_weighted(part.strip(), what) for part in line.split("|") if part.strip())


def parse_seeds(line: str) -> tuple[tuple[int, float], ...]:
    """(seed, weight) of each noise prompt, `7:0.5 | 8`; SettingsError for what is no seed."""
    found = parse_weighted(line, "noise prompt")
    for seed, _ in found:
        if not (seed.isascii() and seed.isdecimal() and int(seed) <= LARGEST_SEED):
            raise SettingsError(f"The noise prompt {seed!r} is not a seed, a whole number from 0 to {LARGEST_SEED}.",
                                "Write it as seed:weight, for example 7:0.5.")
    return tuple((int(seed), weight) for seed, weight in found)


def parse_where(text: str) -> Where:
    """The part of the picture that the words after @ mean; "" and "everywhere" are the whole of it.

    Raises SettingsError for an empty or unclosed [picture], for a `-` with nothing after it, for what no line can
    say, and for words that end in a number after a colon: those are a misplaced weight.
    """
    text = text.strip()
    if "|" in text or _AT.search(text):
        raise SettingsError(f"The place {text!r} holds a | or a single @, which begin another prompt or place.",
                            _WHERE_CURE)
    inverted = text.startswith("-")
    place = text.removeprefix("-").strip()
    name = _SPELLINGS.get(place.lower(), place.lower())
    if name in ("", "everywhere"):
        if inverted:
            raise SettingsError(f"The place {text!r} leaves nothing of the picture.", _WHERE_CURE)
        return EVERYWHERE
    if name in REGIONS:
        return Where("region", name, inverted)
    if place.startswith("[") or place.endswith("]"):
        return Where("picture", _reference(place), inverted)
    if _pull(place.split(":")):
        raise SettingsError(f"The place {text!r} ends in a weight.", _WHERE_CURE)
    return Where("words", place, inverted)


def _reference(place: str) -> str:
    """What stands in the square brackets."""
    if not (place.startswith("[") and place.endswith("]") and place[1:-1].strip()):
        raise SettingsError(f"The place {place!r} is not a picture in square brackets.",
                            f"Write it as [mask.png]. {_WHERE_CURE}")
    return place[1:-1].strip()


def _parse(part: str) -> PromptSpec:
    body, where = _split_place(part)
    fields = body.split(":")
    pull = _pull(fields)
    text = ":".join(fields[:len(fields) - len(pull)]).strip()
    weight = pull[0] if pull else 1.0
    _check_weight(weight, part)
    if not text.strip(": \t"):
        raise SettingsError(f"The prompt {part!r} has no text before its weight.",
                            "Write it as text:weight:stop, for example storm:0.5.")
    stop = pull[1] if len(pull) > 1 else -math.inf
    if isinstance(stop, str):
        raise SettingsError(f"The prompt {part!r} has a formula where its stop belongs.",
                            "The weight comes first: storm:(2*bass):0.3. If the number before the formula belongs "
                            "to the text, write the stop out: rain at 12:30:(2*bass):-inf.")
    if isinstance(weight, str):
        return PromptSpec(text, 1.0, stop, weight, where)
    return PromptSpec(text, weight, stop, "", where)


def _split_place(part: str) -> tuple[str, str]:
    """The prompt without its place, and the place, checked."""
    marks = list(_AT.finditer(part))
    if not marks:
        return part, ""
    where = part[marks[-1].end():].strip()
    if not where:
        raise SettingsError(f"The prompt {part!r} has an @ with no place after it.", _WHERE_CURE)
    parse_where(where)
    return part[:marks[-1].start()], where


def _pull(fields: list[str]) -> list[float | str]:
    """Weight and stop at the end of the fields, as far as they are there: numbers, or a formula's text.

    The first field is the text whatever it holds. `-inf` is a stop, but only after a weight.
    """
    found: list[float | str] = []
    for field in reversed(fields[1:][-2:]):
        value = _value(field.strip(), last=not found)
        if value is None:
            break
        found.insert(0, value)
    return [] if found == [-math.inf] else found


def _value(field: str, last: bool) -> float | str | None:
    """A field as a number or a formula, None if it is text."""
    if field.startswith("(") and field.endswith(")"):
        return field
    if field == "-inf" and last:
        return -math.inf
    return _number(field)


def _check_weight(weight: float | str, part: str) -> None:
    if isinstance(weight, str):
        try:
            check_formula(weight)
        except SettingsError as error:
            raise SettingsError(error.message, f"{error.cure} If the brackets belong to the text, write weight and "
                                               "stop out: sea (calm):(dusk):1:-inf.") from error
    elif abs(weight) > LARGEST_WEIGHT:
        raise SettingsError(f"The weight {weight:g} in {part!r} is outside -10 to 10.",
                            "If the number belongs to the text, write weight and stop out: rain at 12:30:1:-inf.")


def _format(spec: PromptSpec) -> str:
    """The shortest way to write a spec; what reads it decides which that is."""
    weight = spec.formula or _plain(spec.weight)
    stop = _plain(spec.stop)
    for pull in ("", f":{weight}", f":{weight}:{stop}"):
        for where in (f" @ {spec.where}",) if spec.where else ("", " @ everywhere"):
            line = f"{spec.text}{pull}{where}"
            if _reads_as(line, spec):
                return line
    parse_where(spec.where)  # a part that is wrong by itself says so
    if spec.formula:
        check_formula(spec.formula)
    raise SettingsError(f"The prompt {spec.text!r} of weight {weight} cannot be written as a line.",
                        "A text may not be empty or hold a |, and a weight is a number from -10 to 10.")


def _reads_as(line: str, spec: PromptSpec) -> bool:
    try:
        found = parse_prompts(line)
    except SettingsError:
        return False
    if len(found) != 1:
        return False
    everywhere = found[0].where == "everywhere" and not spec.where
    return spec == (PromptSpec(found[0].text, found[0].weight, found[0].stop, found[0].formula)
                    if everywhere else found[0])


def _plain(value: float) -> str:
    """A number as a person writes it, without losing a digit."""
    return repr(float(value)).removesuffix(".0")


def _weighted(part: str, what: str) -> tuple[str, float]:
    name, colon, field = (half.strip() for half in part.partition(":"))
    weight = _number(field) if colon else 1.0
    if not name or weight is None or abs(weight) > LARGEST_WEIGHT:
        raise SettingsError(f"The {what} {part!r} is not a name and a weight from -10 to 10.",
                            "Write it as name:weight, for example sketch:0.5, and several with | between.")
    return name, weight


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
