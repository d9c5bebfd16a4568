"""File names as people write them."""

from pathlib import Path

from metamusic.errors import SettingsError


def path_of(name: str | Path, what: str) -> Path:
    """The path that a name means, `~` and `~somebody` written out; SettingsError if it cannot be one.

    what: what the name is for, at the beginning of the message, as "The output".
    """
    if "\0" in str(name):
        raise SettingsError(f"{what} {shortened(str(name))!r} holds a null byte, which no file name does.",
                            "Correct the name.")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{what} {shortened(str(name))!r} names the home of somebody who has none here.",
                            "Write the path out, or put ./ before a name that begins with ~.") from error


def shortened(text: str) -> str:
    """A text as far as a message has room for it."""
    return text if len(text) <= 60 else f"{text[:57]}..."
