"""What can go wrong for a user, and what to do about it.

MetaMusicError
├── SettingsError     a setting that is unknown, out of range or from a newer version
├── SongError         an audio file that is missing, unreadable, silent of a sound track or too short
├── PictureError      a picture that is missing, unreadable, too large or not there yet
├── PackError         weights that are missing, damaged or made for another space
├── StoreError        the data folder or the database
│   └── DiskFullError no room for what is about to be written
└── EncodingError     ffmpeg refused, or the finished film is not as long as its sound

Pages and the command line show `message` and `cure`; everything else is a bug and keeps its traceback.
"""


class MetaMusicError(Exception):
    """Something a user can mend: what was expected and what came, and the step that mends it."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()

    def __reduce__(self) -> tuple[type["MetaMusicError"], tuple[str, str]]:
        return type(self), (self.message, self.cure)


class SettingsError(MetaMusicError):
    """A setting that is unknown, out of range or from a newer version."""


class SongError(MetaMusicError):
    """An audio file that is missing, unreadable or too short."""


class PictureError(MetaMusicError):
    """A picture that is missing, unreadable, too large or not there yet."""


class PackError(MetaMusicError):
    """Weights that are missing, damaged or made for another space."""


class StoreError(MetaMusicError):
    """The data folder or the database cannot be used as asked."""


class DiskFullError(StoreError):
    """No room for what is about to be written."""


class EncodingError(MetaMusicError):
    """ffmpeg refused, or the finished film does not match its sound."""
