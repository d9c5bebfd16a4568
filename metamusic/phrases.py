"""The words of a prompt, before anything is embedded: `text:weight:stop | text:weight ...`."""

import math
from dataclasses import dataclass

from metamusic.errors import SettingsError

LARGEST_WEIGHT = 10.0  # as the audio's


@dataclass(frozen=True)
class PromptSpec:
    """A text with its pull. `stop` is the distance below which it stops pulling (-inf: never)."""

    text: str
    weight: float = 1.0
    stop: float = -math.inf


def parse_prompts(line: str) -> tuple[PromptSpec, ...]:
    """All prompts of a line; SettingsError for a weight without a text.

    Only numbers at the end are read as weight and stop, so that a text may hold colons itself:
    `rain at 12:30 pm:0.5` is the text "rain at 12:30 pm" with weight 0.5. A weight beyond 10 is refused:
    it is most often a number of the text.
    """
    return tuple(_parse(part.strip()) for part in line.split("|") if part.strip())


def _parse(part: str) -> PromptSpec:
    fields = part.split(":")
    numbers: list[float] = []
    while len(fields) > 1 and len(numbers) < 2 and (value := _number(fields[-1])) is not None:
        numbers.insert(0, value)
        fields.pop()
    text = ":".join(fields).strip()
    if numbers and abs(numbers[0]) > LARGEST_WEIGHT:
        raise SettingsError(f"The weight {numbers[0]:g} in {part!r} is outside -10 to 10.",
                            "If the number belongs to the text, add a weight: rain at 12:30:1.")
    if not text.strip(":"):
        raise SettingsError(f"The prompt {part!r} has no text before its weight.",
                            "Write it as text:weight:stop, for example storm:0.5.")
    return PromptSpec(text, *numbers)


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
