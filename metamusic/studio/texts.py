"""Lyrics and stories that settings name as files, and all other files that settings name."""

import os
import re
from pathlib import Path

from metamusic.errors import SettingsError
from metamusic.lyrics import read_lyrics
from metamusic.material import is_digest, places, render_id_of
from metamusic.settings import RenderSettings
from metamusic.studio.paths import path_of, shortened

SUFFIXES = {"lyrics": (".lrc", ".srt", ".csv", ".txt"), "story": (".txt",)}
OTHER_TEXTS = (".md", ".doc", ".docx", ".odt", ".rtf", ".pdf")  # people keep texts in these; they are not read
_TIME = re.compile(r"\[?\d+:\d\d")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def read_texts(settings: RenderSettings, paths_allowed: bool) -> RenderSettings:
    """Lyrics and story that are the name of a file, as what stands in it; anything else stays as it is.

    A name is one line that does not begin with a time and ends as such files do, or is the name of a file.
    Raises SettingsError for an address, for a file that is no plain text, and where paths are not allowed.
    """
    return settings.changed(**{name: _text_of(getattr(settings, name), name, paths_allowed) for name in SUFFIXES})


def named_files(settings: RenderSettings) -> dict[Path, str]:
    """Every file that the settings name, with the setting that does: lyrics, story, pictures. Raises as `read_texts`,
    and SettingsError where prompts or story cannot be read."""
    found = {}
    for setting in SUFFIXES:
        if (path := _named(getattr(settings, setting), setting, paths_allowed=True)) is not None:
            found[path] = setting
    for reference, setting in places(read_texts(settings, paths_allowed=True)).items():
        if not is_digest(reference) and render_id_of(reference) is None:
            found[path_of(reference, setting)] = setting
    return found


def _text_of(text: str, setting: str, paths_allowed: bool) -> str:
    path = _named(text, setting, paths_allowed)
    if path is None:
        return text
    return read_lyrics(path) if setting == "lyrics" else _read_story(path)


def _named(text: str, setting: str, paths_allowed: bool) -> Path | None:
    """The file that a text names, None for one that is meant as it stands."""
    name = text.strip()
    if not name or "\n" in name or _TIME.match(name):
        return None
    if _ADDRESS.match(name):
        raise SettingsError(f"{setting} names an address, {shortened(name)!r}; nothing is fetched from the network.",
                            "Save the text and name its file.")
    a_name = name.lower().endswith((*SUFFIXES[setting], *OTHER_TEXTS))
    if not a_name and not (paths_allowed and os.path.isfile(name)):
        return None
    if not paths_allowed:
        raise SettingsError(f"{setting} names a file of this computer, {shortened(name)!r}.",
                            "Drop the file on the page, or paste its text.")
    path = path_of(name, setting)
    if path.suffix.lower() not in SUFFIXES[setting]:
        raise SettingsError(f"{setting} names the file {shortened(path.name)!r}, which does not end in "
                            f"{' or '.join(SUFFIXES[setting])}.",
                            "Save it as plain text under such a name. Words that are no file begin with a time: "
                            "0:00 and then the words.")
    return path


def _read_story(path: Path) -> str:
    """The text of a story's file; how long it may be, the setting says."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The story {str(path)!r} cannot be read: {error.strerror}.",
                            "Check the name; it is looked for from the current folder.") from error
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"The story {path.name!r} is not text in UTF-8.",
                            "Save it as plain text (UTF-8) in an editor.") from error
