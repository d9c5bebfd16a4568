"""What people write, read for the form and written back."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metamusic.lyrics import parse_lyrics, read_lyrics
from metamusic.phrases import format_prompts, parse_prompts
from metamusic.story import parse_story
from metamusic.studio.library import short_name

if TYPE_CHECKING:
    from metamusic.lyrics import Line
    from metamusic.phrases import PromptSpec
    from metamusic.story import Story


def prompts_of(line: str) -> "tuple[PromptSpec, ...]":
    """The prompts of a line: words, or references to pictures. SettingsError as `parse_prompts`."""
    return parse_prompts(line)


def prompt_line(specs: "Iterable[PromptSpec]") -> str:
    """The line that `prompts_of` reads as these."""
    return format_prompts(specs)


def lyrics_lines(text: str) -> "tuple[Line, ...]":
    """Timed lyrics line by line, times in seconds of the song; SettingsError with the number of a bad line."""
    return parse_lyrics(text) if text.strip() else ()


def lyrics_of_file(content: bytes, filename: str) -> str:
    """The lyrics in a file somebody dropped, as text; SettingsError if it holds none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (short_name(Path(filename).name) or "lyrics.txt")
        path.write_bytes(content)
        return read_lyrics(path)


def story_of(text: str, every_s: float, fade_s: float) -> "Story":
    """A story's scenes; SettingsError with the number of a bad line."""
    return parse_story(text, every_s, fade_s)
