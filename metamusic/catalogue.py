"""The catalogue: public weights that can be fetched, as data (catalogue.toml), and what a user adds to it.

METAMUSIC_CATALOGUE names a further TOML file of the same form; its entries win. METAMUSIC_MIRRORS names
places to try first, for a team behind a proxy or with a server of its own: a base address, under which the
files lie by their names, or a TOML file:

    base = ["https://files.example.org/weights"]
    [files]
    "ViT-B-32.pt" = ["https://files.example.org/clip/ViT-B-32.pt"]

Only http and https are addresses; what is already on the disk is dropped into checkpoints/ instead.
"""

import os
import tomllib
from collections import Counter
from functools import lru_cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from metamusic.errors import PackError

Role = Literal["vqgan", "clip", "wav2clip"]
ROLES: tuple[Role, ...] = ("vqgan", "clip", "wav2clip")
Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
RESERVED = ("sketch", "dropped")  # comes with MetaMusic; where files are put by hand


class PublicFile(BaseModel):
    """One published file. bytes: its exact size, 0 if nobody states it; about: its size more or less.

    sha256 is "" where nobody states it; sha256_from says who does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    role: Role
    name: str = Field(pattern=r"^\w[\w.-]*$", max_length=128)
    urls: tuple[Address, ...] = Field(min_length=1)
    bytes: int = Field(0, ge=0)
    about: int = Field(0, ge=0)
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    sha256_from: str = ""
    licence: Line
    source: str = ""

    @model_validator(mode="after")
    def _sized(self) -> "PublicFile":
        if not self.bytes and not self.about:
            raise ValueError("give its size, `bytes` or `about`")
        return self

    @property
    def size(self) -> int:
        """Its size in bytes, more or less if nobody states it."""
        return self.bytes or self.about


class PublicPack(BaseModel):
    """Files that fit together. config: fields of VQGANConfig; clip_model: the CLIP's name in open_clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)
    title: Line
    vqgan: PublicFile | None = None
    clip: PublicFile
    wav2clip: PublicFile | None = None
    clip_model: str
    space: Annotated[Line, StringConstraints(pattern=r"\S")]
    config: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    card: str = ""

    @property
    def files(self) -> dict[Role, PublicFile]:
        """What it is made of, by role."""
        found = {role: getattr(self, role) for role in ROLES}
        return {role: file for role, file in found.items() if file is not None}

    @property
    def licence(self) -> str:
        """The licences of its parts, each said once, what it paints with first."""
        return " ".join(dict.fromkeys(f"{_LABELS[role]}: {file.licence}" for role, file in self.files.items()))

    @property
    def size(self) -> int:
        """Bytes of all its files, more or less."""
        return sum(file.size for file in self.files.values())

    @property
    def about(self) -> bool:
        """Whether that is an estimate."""
        return any(not file.bytes for file in self.files.values())


_OURS = (".part", ".json", ".lock", ".job", ".yaml")  # what lies beside the downloads
_LABELS: dict[Role, str] = {"vqgan": "VQGAN", "clip": "CLIP", "wav2clip": "Wav2CLIP"}


class Catalogue(BaseModel):
    """Every file and pack that is known, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, PublicFile]
    packs: dict[str, PublicPack]

    @model_validator(mode="after")
    def _distinct(self) -> "Catalogue":
        """Files lie under their names while they are fetched: of two with the same one would pass for the other."""
        names = Counter(file.name.lower() for file in self.files.values())
        for name, count in names.items():
            if count > 1 or name.endswith(_OURS):
                raise ValueError(f"a file cannot be called {name!r}" + (", which two are" if count > 1 else ""))
        if taken := self.packs.keys() & set(RESERVED):
            raise ValueError(f"a pack cannot be called {taken.pop()!r}")
        return self

    def pack(self, name: str) -> PublicPack:
        """The pack of that name; PackError if the catalogue has none."""
        if name not in self.packs:
            raise PackError(f"The catalogue has no pack {name!r}.", f"It has {', '.join(self.packs)}.")
        return self.packs[name]


def catalogue() -> Catalogue:
    """MetaMusic's own catalogue and what METAMUSIC_CATALOGUE adds; PackError if that cannot be read."""
    named = os.environ.get("METAMUSIC_CATALOGUE", "")
    return _catalogue(named, Path(named).stat().st_mtime_ns if named and Path(named).is_file() else 0)


@lru_cache(maxsize=4)
def _catalogue(named: str, _modified_ns: int) -> Catalogue:
    text = (resources("metamusic") / "catalogue.toml").read_text(encoding="utf-8")
    own, further = tomllib.loads(text), _toml(Path(named), "METAMUSIC_CATALOGUE") if named else {}
    try:
        return _built(_Tables(**own).over(_Tables(**further)))
    except ValidationError as error:
        reason = _first(error)
    except KeyError as error:
        reason = f"no file {error} in it"
    except TypeError as error:
        reason = str(error)
    raise PackError(f"{named or 'The catalogue'} cannot be understood: {reason}.",
                    "metamusic/catalogue.toml shows the form.")


class _Tables(BaseModel):
    """The form of a catalogue: tables of tables, whose fields are looked at one by one."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, dict[str, Any]] = {}
    packs: dict[str, dict[str, Any]] = {}

    def over(self, further: "_Tables") -> "_Tables":
        """Both, the further one first."""
        return _Tables(files=self.files | further.files, packs=self.packs | further.packs)


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    said = error.errors()[0]
    place = ".".join(map(str, said["loc"]))
    return f"{place}: {said['msg']}" if place else str(said["msg"])


def _built(values: _Tables) -> Catalogue:
    files = {key: PublicFile(**{**entry, "key": key}) for key, entry in values.files.items()}
    packs = {}
    for name, entry in values.packs.items():
        parts: dict[str, Any] = {key: files[value] if key in ROLES else value for key, value in entry.items()}
        parts |= {"name": name, "card": str(entry.get("card", "")).strip()}
        packs[name] = PublicPack(**parts)
    return Catalogue(files=files, packs=packs)


def _toml(path: Path, variable: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackError(f"{variable} names {path}, which cannot be read: {error}.",
                        f"Correct {variable}, or take it out of the environment.") from error


# -- where to fetch a file -------------------------------------------------------------------------------


def addresses(file: PublicFile) -> list[str]:
    """Where to look for a file: METAMUSIC_MIRRORS first, then its own addresses, each once."""
    return list(dict.fromkeys([*_mirrors(file.name), *file.urls]))


def _mirrors(name: str) -> list[str]:
    named = os.environ.get("METAMUSIC_MIRRORS", "")
    if not named:
        return []
    values: dict[str, Any] = {"base": named} if "://" in named else _toml(Path(named), "METAMUSIC_MIRRORS")
    try:
        mirrors = _Mirrors(**values)
    except ValidationError as error:
        raise PackError(f"METAMUSIC_MIRRORS cannot be understood: {_first(error)}.",
                        "It is an http or https address, or a TOML file with `base` and a table `files`; files that "
                        "are already on the disk are dropped into checkpoints/ instead.") from error
    return [*mirrors.files.get(name, ()), *(f"{base.rstrip('/')}/{quote(name)}" for base in mirrors.base)]


def _several(value: object) -> object:
    """An address may stand alone."""
    return [value] if isinstance(value, str) else value


def _web(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{value!r} is no http or https address")
    return value


_Addresses = Annotated[tuple[Annotated[str, AfterValidator(_web)], ...], BeforeValidator(_several)]


class _Mirrors(BaseModel):
    """Places to try first: under an address all files by their names, or addresses of single files."""

    model_config = ConfigDict(extra="forbid")

    base: _Addresses = ()
    files: dict[str, _Addresses] = {}
