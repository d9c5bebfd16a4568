"""Published weights become a pack: read without executing anything, checked against each other, written once.

The official files are pickles, TorchScript archives and safetensors (`metamusic.weights` reads them all). What a
pack keeps is safetensors in the precision that was published; the original is not opened again. The pack appears
whole or not at all.
"""

import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metamusic.catalogue import RESERVED, catalogue
from metamusic.errors import DiskFullError, PackError
from metamusic.packs import (
    LEAVING,
    PACK_NAME,
    PackInfo,
    Role,
    check,
    check_place,
    checkpoints,
    make_folder,
    sha256_of,
    write_manifest,
    write_tensors,
)
from metamusic.settings import RenderSettings
from metamusic.weights import Kind, Weights, identify, read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from metamusic.perceptor import Perceptor, PerceptorConfig
    from metamusic.vqgan import VQGANConfig

UNKNOWN_LICENCE = "unknown: ask whoever published the weights"
SPARE = 64 * 2**20  # bytes that stay free beside what is written
LEFT_BEHIND_S = 6 * 3600
_ARRIVING = ".arriving-"


@dataclass(frozen=True)
class _Wanted:
    """What an import will write: shapes, and of each file the tensors and where they come from."""

    perceptor: "PerceptorConfig"
    vqgan: "VQGANConfig | None"
    tensors: "dict[Role, dict[str, Tensor]]"
    sources: dict[Role, Path]

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.itemsize for some in self.tensors.values() for tensor in some.values())


def import_pack(name: str, *, vqgan_config: Path | None = None, vqgan: Path | None = None,
                clip: Path | None = None, wav2clip: Path | None = None,
                clip_model: str = "ViT-B-32-quickgelu", space: str | None = None, title: str = "",
                licence: str = UNKNOWN_LICENCE, defaults: Mapping[str, Any] | None = None,
                card: str = "", listed: bool = False) -> PackInfo:
    """Make a pack of weights that others published, in any of the formats of `metamusic.weights`.

    vqgan and its configuration (.yaml): without the configuration, the shape is read off the weights;
    without both, the pack judges only. clip: the weights of `clip_model`, which names one of
    open_clip's models, with the name of its published weights after a stroke where that matters
    (`ViT-B-32/laion2b_s34b_b79k`). wav2clip: an audio tower that was trained for this very CLIP; that it
    was, only the person who imports it knows. space: what pictures, words and sound are compared in,
    by default that of `clip_model`. listed: these are the catalogue's own weights; anybody else's cannot
    have a name of the catalogue, under which they would pass for them.

    Everything is checked before the first byte is written, weights keep their precision, and the pack
    appears whole or not at all. Raises PackError for a name that is taken or impossible, for files that
    are not what they were given as or do not fit each other or change meanwhile, DiskFullError with the room
    it needs, StoreError for a folder of packs that cannot be used, SettingsError for defaults that do not exist.
    """
    _check_name(name, listed)
    _check_free(name)
    _check_lines(title=title, space=space or "", licence=licence)
    RenderSettings.parse({**(defaults or {}), "pack": name})
    given: dict[Role, Path | None] = {"vqgan": vqgan, "clip": clip, "audio": wav2clip}
    stamps = {role: _stamp(Path(path)) for role, path in given.items() if path is not None}
    wanted = _wanted(clip_model, space, given, vqgan_config)
    _check_room(wanted.bytes)
    with _arriving(name) as folder:
        files = {role: write_tensors(folder, role, tensors, wanted.perceptor.space, keep_precision=True)
                 for role, tensors in wanted.tensors.items()}
        info = PackInfo(name=name, title=title or name, space=wanted.perceptor.space,
                        licence=licence or UNKNOWN_LICENCE, card=card,
                        files=files, vqgan=wanted.vqgan.to_dict() if wanted.vqgan else None,
                        perceptor=wanted.perceptor.to_dict(), defaults=dict(defaults or {}),
                        asserted=_asserted(wanted, clip_model, vqgan_config, stamps))
        write_manifest(folder, info)
    return check(name)


def _check_name(name: str, listed: bool) -> None:
    if not re.fullmatch(PACK_NAME, name) or len(name) > 64:
        raise PackError(f"A pack cannot be called {name!r}.",
                        "Take up to 64 small letters, digits, dots, dashes and underscores.")
    if name in RESERVED or not listed and name in catalogue().packs:
        raise PackError(f"The name {name!r} is taken: it means a pack that is not yours to make.",
                        "Take another name.")


def _check_free(name: str) -> None:
    check_place(name)
    if (checkpoints() / name).exists():
        raise PackError(f"There is a pack {name!r} already.", "Take another name, or remove that pack first.")


def _check_lines(**lines: str) -> None:
    """What people say of a pack is one line each, of characters that can be shown and written."""
    for what, line in lines.items():
        if odd := [letter for letter in line if unicodedata.category(letter) in ("Cc", "Cs")]:
            raise PackError(f"The {what} has a character that cannot be shown: {ascii(odd[0])}.", "Leave it out.")
        if line and not line.strip():
            raise PackError(f"The {what} is blank.", "Leave it away, or say something.")


def _wanted(clip_model: str, space: str | None, given: dict[Role, Path | None],
            vqgan_config: Path | None) -> _Wanted:
    """Reads and compares everything, cheap things first; PackError where something does not fit."""
    import torch

    from metamusic.perceptor import AudioConfig, Perceptor, PerceptorConfig, clip_config, space_of

    sources = {role: Path(path) for role, path in given.items() if path is not None}
    if "clip" not in sources:
        raise PackError("A pack needs a CLIP: without one nothing judges the picture.",
                        "Name the weights of a CLIP as well.")
    if vqgan_config and "vqgan" not in sources:
        raise PackError(f"{vqgan_config} describes a VQGAN, but there are no weights for it.",
                        "Name the VQGAN's checkpoint as well.")
    space = space or space_of(clip_model)
    config = PerceptorConfig(space=space, clip=clip_config(clip_model),
                             audio=AudioConfig(space=space) if "audio" in sources else None)
    with torch.device("meta"):
        perceptor = Perceptor(config)
    shape, tensors = _read_vqgan(sources.get("vqgan"), vqgan_config)
    tensors["clip"] = _read_clip(sources["clip"], perceptor, clip_model)
    if "audio" in sources:
        tensors["audio"] = _read_audio(sources["audio"], perceptor)
    return _Wanted(config, shape, tensors, sources)


def _read_vqgan(path: Path | None, config: Path | None) -> "tuple[VQGANConfig | None, dict[Role, dict[str, Tensor]]]":
    from metamusic.vqgan import config_of, fitting, vqgan_config

    if path is None:
        return None, {}
    shape = vqgan_config(config) if config else None
    weights = _read_as("vqgan", "VQGAN", path)
    with _naming(path):
        shape = shape or config_of(weights.tensors)
        return shape, {"vqgan": fitting(shape, weights.tensors)}


def _read_clip(path: Path, perceptor: "Perceptor", model: str) -> "dict[str, Tensor]":
    weights = _read_as("clip", "CLIP", path)
    with _naming(path, f" as the weights of {model}"):
        perceptor.load_clip(weights.tensors)  # on the meta device: compares and keeps nothing
        return perceptor.clip_state(weights.tensors)


def _read_audio(path: Path, perceptor: "Perceptor") -> "dict[str, Tensor]":
    weights = _read_as("wav2clip", "Wav2CLIP", path)
    with _naming(path):
        perceptor.load_audio(weights.tensors)
    return {name: tensor for name, tensor in weights.tensors.items()
            if name.startswith(("audio_encoder.", "audio_transform."))}


def _read_as(kind: Kind, what: str, path: Path) -> Weights:
    weights = read_weights(path)
    if weights.kind != kind:
        raise PackError(f"{path} was given as a {what}, but it is {identify(path)}.", f"Name a file of a {what}.")
    return weights


@contextmanager
def _naming(path: Path, role: str = "") -> Iterator[None]:
    """Puts the file's name before what does not fit."""
    try:
        yield
    except PackError as error:
        raise PackError(f"{path} cannot be used{role}. {error.message}", error.cure) from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise PackError(f"{path} cannot be used{role}: its weights have odd shapes ({error}).",
                        "Fetch the file again from where it was published.") from error


def _check_room(need: int) -> None:
    folder = make_folder(checkpoints())
    free = shutil.disk_usage(folder).free
    if free < need + SPARE:
        raise DiskFullError(f"The pack needs {(need + SPARE) / 1e9:.2f} GB in {folder}, and {free / 1e9:.2f} GB "
                            "are free.", "Make room there, or set METAMUSIC_CHECKPOINTS to another disk.")


@contextmanager
def _arriving(name: str) -> Iterator[Path]:
    """A folder that becomes the pack's own when everything in it is written, and vanishes otherwise."""
    from safetensors import SafetensorError

    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_ARRIVING, dir=checkpoints()))
    folder.chmod(0o755)
    try:
        yield folder
        try:
            folder.rename(checkpoints() / name)
        except OSError:
            _check_free(name)  # somebody else was faster
            raise
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says of a full disk
        raise DiskFullError(f"The pack could not be written into {checkpoints()}: {error}.",
                            "Make room there, or check who may write.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Clears away what an import or a removal left that was killed; either takes minutes at most."""
    for folder in [*checkpoints().glob(f"{_ARRIVING}*"), *checkpoints().glob(f"{LEAVING}*")]:
        with suppress(OSError):  # another process may sweep as well
            if time.time() - folder.stat().st_mtime > LEFT_BEHIND_S:
                shutil.rmtree(folder, ignore_errors=True)


_Stamp = tuple[int, int, int]


def _stamp(path: Path) -> _Stamp | None:
    """By what a file that changed is told; None if there is none, which its reader says in words."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _readable(name: str) -> str:
    """A file's name as text: on the disk it may be bytes in any encoding."""
    return name.encode("utf-8", "replace").decode()


def _asserted(wanted: _Wanted, clip_model: str, vqgan_config: Path | None,
              stamps: "Mapping[Role, _Stamp | None]") -> dict[str, Any]:
    """What only the person who imports can know, and the files by which it can be asked again."""
    said: dict[str, Any] = {"clip": clip_model}
    if wanted.perceptor.audio:
        said["audio_made_for"] = wanted.perceptor.space
    if wanted.vqgan:
        said["vqgan_config"] = _readable(Path(vqgan_config).name) if vqgan_config else "read off the weights"
    said["sources"] = {}
    for role, path in wanted.sources.items():
        status = path.stat()
        digest = sha256_of(path, status.st_mtime_ns, status.st_size)
        if _stamp(path) != stamps[role]:
            raise PackError(f"{path} was changed while it was read.", "Try again when it is whole.")
        said["sources"][role] = {"file": _readable(path.name), "bytes": status.st_size, "sha256": digest}
    return said
