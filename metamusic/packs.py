"""Packs: sets of weights that fit together, each in a folder of its own with a manifest.

    checkpoints/sketch/pack.json              name, title, space, licence, files with size and sha256,
                                              the shapes of the networks, settings that suit the pack
    checkpoints/sketch/vqgan.safetensors ...  the weights, single precision in use; on disk half where we
                                              trained them, and as they were published otherwise

A pack is checked before it is used: every file there, whole and unchanged, everything in one space.
What does not fit is refused with what was expected, what came and the cure; nothing is replaced by
something similar. Torch is imported only by what loads or writes weights: listing packs is cheap.
`metamusic.conversion` makes packs of published weights.

Letters: M pictures in the bank, D embedding width, h w latent cells, H W pixels.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from metamusic.errors import PackError, SettingsError, StoreError
from metamusic.settings import CHECKOUT, RenderSettings, folder_named
from metamusic.weights import sizes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from metamusic.perceptor import Perceptor, PerceptorConfig
    from metamusic.vqgan import VQGAN, VQGANConfig

__all__ = ["Bank", "Models", "PackFile", "PackInfo", "available", "check", "check_place", "checkpoints", "load",
           "make_folder", "memory_need", "remove_pack", "sha256_of", "write_manifest", "write_pack", "write_tensors"]

_log = logging.getLogger(__name__)

MANIFEST = "pack.json"
FORMAT = 1

# What a pack may hold. The perceptor comes either whole or as the files that were published, of which
# the audio tower is there only if the pack hears.
Role = Literal["vqgan", "perceptor", "clip", "audio", "bank"]


def checkpoints() -> Path:
    """The folder of all packs: METAMUSIC_CHECKPOINTS, or checkpoints/ in the checkout."""
    return folder_named("METAMUSIC_CHECKPOINTS") or CHECKOUT / "checkpoints"


def make_folder(folder: Path) -> Path:
    """Make a folder among the packs if need be; StoreError where that cannot be, or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("nothing may be written there")
    except OSError as error:
        raise StoreError(f"The folder {folder} cannot be used: {error.strerror or error}.",
                         "Set METAMUSIC_CHECKPOINTS to a folder that you may write to.") from error
    return folder


# -- the manifest -------------------------------------------------------------------------------------


class PackFile(BaseModel):
    """One file of a pack. A plain name: a manifest cannot reach out of its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^\w[\w.-]*$")
    bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


PACK_NAME = r"^[a-z0-9][a-z0-9_.-]*$"
PackName = Annotated[str, StringConstraints(pattern=PACK_NAME, max_length=64)]


class PackInfo(BaseModel):
    """What a pack says of itself.

    vqgan and perceptor: the fields of VQGANConfig and PerceptorConfig; vqgan is None for a pack that
    can only judge. defaults: settings that suit this pack better than the general ones. card: what it
    was trained on and what it cannot do, Markdown. asserted: of an imported pack, what only the person
    who imported it can know, and which files it was made from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: PackName
    title: str
    space: str = Field(min_length=1)
    licence: str
    card: str = ""
    files: dict[Role, PackFile]
    vqgan: dict[str, Any] | None = None
    perceptor: dict[str, Any]
    defaults: dict[str, Any] = {}
    asserted: dict[str, Any] = {}

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return checkpoints() / self.name

    @property
    def digest(self) -> str:
        """sha256 over all that can change a pixel: the files, and the shapes they are loaded into."""
        content = {"files": {role: file.sha256 for role, file in self.files.items()},
                   "vqgan": self.vqgan, "perceptor": self.perceptor}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def cell(self) -> int:
        """Side in px of the square that one code of its VQGAN paints; 1 for a pack that cannot paint."""
        if self.vqgan is None:
            return 1
        return int(self.vqgan.get("unshuffle", 1)) * 2 ** (len(self.vqgan["ch_mult"]) - 1)

    def path(self, role: Role) -> Path:
        """The file of a role; KeyError if the pack has none."""
        return self.folder / self.files[role].file


def available() -> list[PackInfo]:
    """Every pack whose manifest can be read, by name; whether its files are whole is for `check`."""
    found = []
    for name in _names():
        try:
            found.append(_read_manifest(name))
        except PackError as error:
            _log.warning("Passed over a pack: %s", error)
    return found


def _names() -> list[str]:
    """Folders with a manifest; what begins with a dot is on its way in or out."""
    folders = (manifest.parent.name for manifest in checkpoints().glob(f"*/{MANIFEST}"))
    return sorted(name for name in folders if not name.startswith("."))


def check_place(name: str) -> None:
    """PackError where what lies in a pack's place is no pack, so that it can be neither used nor replaced."""
    place = checkpoints() / name
    if not os.path.lexists(place) or name in _names():
        return
    what = "folder" if place.is_dir() else "file" if place.exists() else "link that leads nowhere"
    raise PackError(f"There is a {what} {place}, which is no pack: it has no {MANIFEST}.",
                    "Move it away, or take another name.")


def check(name: str) -> PackInfo:
    """The pack, if it can be used; otherwise PackError with what was expected, what came and the cure.

    Every file's size is compared, and its sha256 once per process for as long as it lies unchanged.
    """
    info = _read_manifest(name)
    _check_roles(info)
    _check_spaces(info)
    try:
        RenderSettings.parse({**info.defaults, "pack": name})
    except SettingsError as error:
        raise PackError(f"Pack {name!r} asks for settings that do not exist: {error.message}",
                        _cure(name)) from error
    for file in info.files.values():
        _check_file(info.folder / file.file, file, name)
    return info


def _read_manifest(name: str) -> PackInfo:
    """The manifest of a pack; PackError if there is none or it cannot be understood."""
    path = checkpoints() / name / MANIFEST
    try:
        values = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise PackError(f"There is no pack {name!r} in {checkpoints()}; "
                        f"there is {', '.join(_names()) or 'none at all'}.",
                        _cure(name)) from None
    except (OSError, ValueError) as error:
        raise PackError(f"{path} cannot be read: {error}.", _cure(name)) from error
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise PackError(f"Pack {name!r} has format {version}; this MetaMusic knows up to {FORMAT}.",
                        "Update MetaMusic.")
    try:
        info = PackInfo.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise PackError(f"{path} is not a manifest: {place}: {first['msg']}.", _cure(name)) from error
    if info.name != name:
        raise PackError(f"The folder {name!r} holds a pack that calls itself {info.name!r}.",
                        f"Rename the folder to {info.name!r}.")
    return info


def _check_roles(info: PackInfo) -> None:
    """A VQGAN that is described is there, and the perceptor is whole in one of its forms."""
    roles: set[str] = set(info.files)
    if ("vqgan" in roles) != (info.vqgan is not None):
        raise PackError(f"Pack {info.name!r} must name the VQGAN's file and its configuration, or neither.",
                        _cure(info.name))
    published = {"clip"} if info.perceptor.get("audio") is None else {"clip", "audio"}
    if roles & {"perceptor", "clip", "audio"} not in ({"perceptor"}, published):
        raise PackError(f"Pack {info.name!r} must name a perceptor, or {' and '.join(sorted(published))}; "
                        f"it names {', '.join(sorted(roles)) or 'nothing'}.", _cure(info.name))


def _check_spaces(info: PackInfo) -> None:
    """Whatever names a space names the same one: vectors of equal width may mean different things."""
    audio = info.perceptor.get("audio")
    named = {"perceptor": info.perceptor.get("space")}
    if audio is not None:
        named["audio tower"] = audio.get("space") if isinstance(audio, dict) else None
    for part, space in named.items():
        if space != info.space:
            raise _other_space(info, part, space)


def _other_space(info: PackInfo, part: str, space: object) -> PackError:
    return PackError(f"Pack {info.name!r} works in the space {info.space!r}, but its {part} was made for "
                     f"{space!r}.", "Take parts that were trained together. " + _cure(info.name))


def _check_file(path: Path, file: PackFile, name: str) -> None:
    """The file is there, of that size and that content; PackError otherwise."""
    try:
        status = path.stat()
        if status.st_size != file.bytes:
            raise PackError(f"{path} should have {file.bytes} bytes, but has {status.st_size}.", _cure(name))
        came = sha256_of(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise PackError(f"Pack {name!r} lacks {path}.", _cure(name)) from None
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error}.", _cure(name)) from error
    if came != file.sha256:
        raise PackError(f"{path} should have sha256 {file.sha256[:12]}..., but has {came[:12]}...; "
                        "it was damaged or replaced.", _cure(name))


@lru_cache(maxsize=256)
def sha256_of(path: Path, modified_ns: int, size: int) -> str:
    """sha256 of a file as it lay at that time; time and size only tell the cache when it changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cure(name: str) -> str:
    if name == "sketch":
        return ("Restore it with `git checkout -- checkpoints/sketch`, or train it anew with "
                "`python -m metamusic train sketch`.")
    return f"Put the pack into {checkpoints() / name} again; `python -m metamusic packs` lists what is there."


# -- loading ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bank:
    """Pictures that the pack already knows, as codes of its VQGAN, and how the perceptor sees them.

    codes uint16 [M, h, w], always on the CPU; embeds float32 [M, D], unit length.
    """

    codes: "Tensor"
    embeds: "Tensor"

    def __len__(self) -> int:
        return len(self.codes)

    def nearest(self, embed: "Tensor", k: int = 1) -> "Tensor":
        """Indices of the k pictures most like `embed` [D], most alike first; fewer if the bank is small."""
        return (self.embeds @ embed).topk(min(k, len(self))).indices

    def picture(self, index: int, vqgan: "VQGAN") -> "Tensor":
        """Picture number `index`, [1, 3, H, W] in [0, 1], at the size it was encoded at."""
        codes = self.codes[index : index + 1].long().to(vqgan.codebook.device)
        return vqgan.decode(vqgan.lookup(codes))


@dataclass(frozen=True)
class Models:
    """A loaded pack on one device; vqgan and bank are None where the pack has none. judges: further packs
    that look on as well, by name."""

    info: PackInfo
    vqgan: "VQGAN | None"
    perceptor: "Perceptor"
    bank: Bank | None
    device: "torch.device"
    judges: "Mapping[str, Models]" = field(default_factory=dict)


def load(name: str, device: "str | torch.device" = "cpu") -> Models:
    """Check a pack and bring it to a device. Raises PackError like `check`, or if weights do not fit."""
    import torch

    info = check(name)
    device = torch.device(device)
    vqgan, perceptor = _load_vqgan(info), _load_perceptor(info).to(device)
    return Models(info, vqgan.to(device) if vqgan else None, perceptor, _load_bank(info, device), device)


def _load_vqgan(info: PackInfo) -> "VQGAN | None":
    from metamusic.vqgan import VQGAN, VQGANConfig

    if info.vqgan is None:
        return None
    tensors = _tensors(info, "vqgan")
    try:
        return VQGAN.from_state(VQGANConfig(**info.vqgan), tensors)
    except (TypeError, ValueError) as error:
        raise PackError(f"Pack {info.name!r} describes a VQGAN this MetaMusic does not know: {error}.",
                        _cure(info.name)) from error


def _load_perceptor(info: PackInfo) -> "Perceptor":
    from metamusic.perceptor import Perceptor, PerceptorConfig

    perceptor = Perceptor(PerceptorConfig.from_dict(info.perceptor))
    if "perceptor" in info.files:
        perceptor.load(_tensors(info, "perceptor"))
    else:
        perceptor.load_clip(_tensors(info, "clip"))
        if perceptor.hears:
            perceptor.load_audio(_tensors(info, "audio"))
    return perceptor.eval().requires_grad_(False)


def _load_bank(info: PackInfo, device: "torch.device") -> Bank | None:
    from torch.nn.functional import normalize

    if "bank" not in info.files:
        return None
    tensors = _tensors(info, "bank")
    if missing := sorted({"codes", "embeds"} - tensors.keys()):
        raise PackError(f"The bank of pack {info.name!r} lacks {', '.join(missing)}.", _cure(info.name))
    _check_bank(info, tensors["codes"], tensors["embeds"])
    # Half precision leaves lengths a little off one.
    return Bank(tensors["codes"], normalize(tensors["embeds"].float(), dim=-1).to(device))


def _check_bank(info: PackInfo, codes: "Tensor", embeds: "Tensor") -> None:
    """A bank made with other weights would fail in mid-render, or worse, paint something else."""
    width = info.perceptor["clip"]["embed_dim"] if info.perceptor else None
    entries = info.vqgan["n_embed"] if info.vqgan else None
    fits = (len(codes) == len(embeds) > 0 and (width is None or embeds.shape[1] == width)
            and (entries is None or int(codes.long().max()) < entries))
    if not fits:
        raise PackError(f"The bank of pack {info.name!r} was made with other weights: codes "
                        f"{list(codes.shape)}, embeddings {list(embeds.shape)}.", _cure(info.name))


def _tensors(info: PackInfo, role: Role) -> "dict[str, Tensor]":
    """The tensors of a role's file; PackError if it is no safetensors file or names another space."""
    from safetensors import SafetensorError, safe_open

    path = info.path(role)
    try:
        with safe_open(path, "pt") as file:
            space = (file.metadata() or {}).get("space", info.space)
            if space != info.space:
                raise _other_space(info, role, space)
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise PackError(f"{path} is not a readable safetensors file: {error}.", _cure(info.name)) from error


# -- writing ------------------------------------------------------------------------------------------


def write_pack(name: str, *, title: str, licence: str,
               perceptor: "tuple[PerceptorConfig, Mapping[str, Tensor]]",
               vqgan: "tuple[VQGANConfig, Mapping[str, Tensor]] | None" = None, bank: Bank | None = None,
               defaults: Mapping[str, Any] | None = None, card: str = "",
               keep_precision: bool = False) -> PackInfo:
    """Write a pack into checkpoints/ and check it: weights in half precision, the manifest last.

    `perceptor` and `vqgan` are a configuration and the state dict that goes with it. With
    `keep_precision` weights are written as they come. Raises ValueError if a weight does not survive
    half precision, PackError if what was written is not a usable pack.
    """
    config = perceptor[0]
    contents: dict[Role, Mapping[str, Tensor]] = {"perceptor": perceptor[1]}
    if vqgan:
        contents["vqgan"] = vqgan[1]
    if bank:
        contents["bank"] = {"codes": bank.codes, "embeds": bank.embeds}
    folder = checkpoints() / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {role: write_tensors(folder, role, tensors, config.space, keep_precision)
             for role, tensors in contents.items()}
    info = PackInfo(name=name, title=title, space=config.space, licence=licence, card=card, files=files,
                    vqgan=vqgan[0].to_dict() if vqgan else None, perceptor=config.to_dict(),
                    defaults=dict(defaults or {}))
    write_manifest(folder, info)
    return check(name)


def write_manifest(folder: Path, info: PackInfo) -> None:
    """Write pack.json into a folder; it comes last, for without it there is no pack."""
    # A pack that nobody asserted anything of has a manifest like those of before there was an import.
    text = info.model_dump_json(indent=2, exclude=set() if info.asserted else {"asserted"}) + "\n"
    _write(folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))


def write_tensors(folder: Path, role: Role, tensors: "Mapping[str, Tensor]", space: str,
                   keep_precision: bool = False) -> PackFile:
    """Write a role\'s tensors as safetensors that name their space; its size and hash for the manifest."""
    from safetensors.torch import save_file

    path = folder / f"{role}.safetensors"
    ready = (_apart(tensors) if keep_precision
             else {name: _halved(name, tensor) for name, tensor in tensors.items()})
    _write(path, lambda part: save_file(ready, part, metadata={"space": space}))
    status = path.stat()
    return PackFile(file=path.name, bytes=status.st_size,
                    sha256=sha256_of(path, status.st_mtime_ns, status.st_size))


def _apart(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Tensors as safetensors wants them, each in memory of its own; those that are so are not copied."""
    taken: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.data_ptr() in taken or plain.numel() * plain.itemsize < plain.untyped_storage().nbytes():
            plain = plain.clone()
        taken.add(plain.data_ptr())
        apart[name] = plain
    return apart


def _halved(name: str, tensor: "Tensor") -> "Tensor":
    """Half precision on the CPU; whole numbers as they are. ValueError if it does not fit."""
    plain = tensor.detach().cpu().contiguous()
    if not plain.is_floating_point():
        return plain
    halved = plain.half()
    if not halved.isfinite().all():
        raise ValueError(f"{name} holds values up to {plain.abs().max():.3g}, which half precision cannot")
    return halved


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write under a temporary name, flush to the disk, rename: a reader never meets half a file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write(unfinished)
    unfinished.chmod(0o644)  # safetensors keeps its files to their owner; a team's server is another user
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


# -- removing, and what it takes ------------------------------------------------------------------------

LEAVING = ".leaving-"


def remove_pack(name: str) -> None:
    """Delete a pack and its files. PackError for `sketch`, which comes with MetaMusic, and for none there.

    Works on a pack that is damaged. A folder that is a link is unlinked, and what it leads to stays.
    """
    if name == "sketch":
        raise PackError("The pack 'sketch' comes with MetaMusic and stays.", "Remove another pack.")
    if name not in _names():
        if re.fullmatch(PACK_NAME, name):
            check_place(name)
        raise PackError(f"There is no pack {name!r} in {checkpoints()}.", "See `python -m metamusic packs`.")
    folder = checkpoints() / name
    if folder.is_symlink():
        folder.unlink()
        return
    leaving = Path(tempfile.mkdtemp(prefix=LEAVING, dir=checkpoints()))
    folder.rename(leaving / name)  # at once for everybody who lists packs
    shutil.rmtree(leaving)


def memory_need(info: PackInfo) -> int:
    """Bytes that a pack's weights take in use, where every floating point number is a single.

    Reads the headers of its files only. Raises PackError if one is missing or damaged.
    """
    width = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "I64": 8, "U64": 8}
    return sum(count * width.get(dtype, 4) for file in info.files.values()
               for dtype, count in sizes(info.folder / file.file).values())
