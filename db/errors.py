"""What the store refuses, with a cure each; `metamusic.studio` hands them on as its own StoreError.

StoreProblem
├── NotFound        a song, render or preset that is not there
├── NewerDatabase   written by a newer MetaMusic than this one
└── DiskFull        no room for what is about to be written
"""


class StoreProblem(Exception):
    """The data folder or the database cannot be used as asked."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.message, self.cure)


class NotFound(StoreProblem):
    """A song, render or preset that is not there."""


class NewerDatabase(StoreProblem):
    """The database was written by a newer MetaMusic than this one."""


class DiskFull(StoreProblem):
    """No room for what is about to be written."""
