"""Weights that others published, read without executing anything that a file says.

Four formats, told apart by their first bytes and never by their name:

    lightning     a checkpoint of PyTorch Lightning: training state around a state dict (the VQGANs)
    torchscript   an archive of torch.jit, which OpenAI's CLIPs are
    torch         a state dict as torch.save writes it (Wav2CLIP)
    safetensors   a header and numbers (what open_clip publishes today)

Three of them carry a pickle, and a pickle can name any function of any module. So the names are read
first: a file that names anything but tensors and plain containers is refused, with that name. What is
left goes through PyTorch's weights_only reader; a TorchScript archive, which that reader does not know,
through one of our own in which every script class is an object without behaviour. torch.jit.load is not
used: it compiles and runs what the archive brings.

Tensors stay in the file until they are used (memory mapping), in the precision they have there. A file
must therefore lie unchanged for as long as its weights are in use.
"""

import json
import mmap
import pickle
import pickletools
import re
import stat
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from metamusic.errors import PackError

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["vqgan", "clip", "wav2clip", "unknown"]
Format = Literal["lightning", "torchscript", "safetensors", "torch"]

# The callback that Lightning's checkpoints name among their training state: never looked at.
MODEL_CHECKPOINT = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"

# A number that is the first of five pickles in the format that torch.save wrote before 1.6.
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 5

# Names in a pickle that stand for tensors, for their types and for plain containers.
_HARMLESS = re.compile(
    r"torch\.(\w+Storage|Size|Tensor|device|(b?float|complex|u?int)\d+|bool)"
    r"|torch\.storage\.(Typed|Untyped)Storage"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)"
    r"|torch\.nn\.parameter\.Parameter"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|complex)"
    "|" + re.escape(MODEL_CHECKPOINT))
_HARMLESS_SCRIPT = re.compile(
    r"__torch__(\.\w+)*|torch\.(\w+Storage|device)|torch\._utils\._rebuild_tensor_v2"
    r"|torch\.jit\._pickle\.(build_(int|double|bool|tensor)list|restore_type_tag)|collections\.OrderedDict")

# Bounds on what a file may claim before a byte of its weights is read.
MOST_ENTRIES = 100_000
MOST_PICKLE = 256 * 2**20  # bytes
MOST_CODE = 64 * 2**20  # bytes of a TorchScript archive's own text
MOST_TUPLE = 10_000  # values in a tuple, counted all the way down
DEEPEST, LONGEST_NAME = 64, 4096  # modules within each other, characters of a weight's name

_AGAIN = "Fetch the file again from where it was published."
_GLOBALS = threading.Lock()  # PyTorch keeps its list of allowed names per process, not per call


@dataclass(frozen=True)
class Weights:
    """A file's tensors by name, on the CPU, in the precision they have there.

    kind: what they are the weights of, told by their names. meta: what the file says besides, such as
    OpenAI's input_resolution or the epoch of a checkpoint. Of a Net2Net checkpoint only its first
    stage, the VQGAN, is kept, under a VQGAN's names.
    """

    tensors: "dict[str, Tensor]"
    kind: Kind
    format: Format
    path: Path
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recognised:
    """What a file is: kind, format (`yaml` for a configuration) and a sentence for people."""

    kind: Literal["vqgan", "clip", "wav2clip", "config", "unknown"]
    format: str
    words: str


def read_weights(path: Path) -> Weights:
    """The weights in a file of any of the four formats; nothing in it is executed.

    Raises PackError where there is no such file, where it is damaged or no file of weights at all, and
    where it names something that is none of a file of weights' business: that name is in the message.
    """
    path = Path(path)
    container = _container(path)
    with _guarded(path):
        found, format, meta = _READERS[container](path)
        if not found:
            raise PackError(f"{path} holds no weights.", _AGAIN)
        tensors, more = _tidy(found)
        return Weights(tensors, _kind(tensors.keys()), format, path, {**meta, **more, **_numbers(tensors)})


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """PackError naming the file for whatever else goes wrong: a damaged one can fail its readers anywhere."""
    try:
        yield
    except PackError:
        raise
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error}.", "Check the file and its permissions.") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PackError(f"{path} is damaged, or no file of weights that MetaMusic knows: {reason}.",
                        _AGAIN) from error


def recognise(path: Path) -> Recognised:
    """What a file is, from its content; PackError where it cannot be read."""
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        from metamusic.vqgan import vqgan_config

        config = vqgan_config(path)
        return Recognised("config", "yaml", f"the configuration of {_vqgan_words(config)}")
    weights = read_weights(path)
    with _guarded(path):
        return Recognised(weights.kind, weights.format, _words(weights))


def identify(path: Path) -> str:
    """The same in words only."""
    return recognise(path).words


# -- which format ----------------------------------------------------------------------------------------


def _container(path: Path) -> str:
    """The reader that a file wants, by its first bytes; PackError if none does."""
    try:
        status = path.stat()
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise PackError(f"{path} is no regular file.", "Name a file of weights.")
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise PackError(f"There is no file {path}.", "Check the name.") from None
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error}.", "Name a file of weights.") from error
    if not size:
        raise PackError(f"{path} is empty.", _AGAIN)
    if head.startswith(b"PK"):
        return _zip_container(path, size)
    if _is_safetensors(head, size):
        return "safetensors"
    if head.startswith(b"\x80"):
        return "legacy"
    raise _stranger(path, head)


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - 8


def _stranger(path: Path, head: bytes) -> PackError:
    """Words for a file that holds no weights: mostly what a server sent instead of them."""
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return PackError(f"{path} is a web page, not a file of weights: the link no longer leads to one.",
                         "Fetch the weights from another place, or through a browser.")
    if start.startswith(b"version https://git-lfs"):
        return PackError(f"{path} is a pointer of Git LFS, not the weights themselves.",
                         "Fetch the file with `git lfs pull`, or from where it was published.")
    if all(9 <= byte <= 13 or byte >= 32 for byte in head):
        return PackError(f"{path} is text, not a file of weights.", _AGAIN)
    return PackError(f"{path} is in no format that MetaMusic knows: expected a checkpoint of PyTorch or "
                     "Lightning, a TorchScript archive or safetensors.", _AGAIN)


def _zip_container(path: Path, size: int) -> str:
    """`zip` for what torch.save writes, `torchscript` for torch.jit's; PackError if it is neither."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise PackError(f"{path} ends too early or is damaged: {error}.", _AGAIN) from error
    names = {_inner(entry.filename) for entry in entries}
    if "data.pkl" not in names:
        raise PackError(f"{path} is a zip archive without weights in it.",
                        "Unpack it, and name the file of weights inside.")
    _check_entries(path, entries, size)
    return "torchscript" if "constants.pkl" in names else "zip"


def _check_entries(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    """PyTorch stores weights uncompressed, each once: no entry can be larger than the file it is in."""
    weighty = [entry for entry in entries if not _is_code(entry.filename)]
    if (len(entries) > MOST_ENTRIES or any(entry.compress_type for entry in weighty)
            or sum(entry.file_size for entry in weighty) > size):
        raise PackError(f"{path} claims more content than a file of {size:,} bytes can hold.", _AGAIN)


def _is_code(name: str) -> bool:
    """A TorchScript archive's text, which torch.jit compresses; of it only the beginning is read."""
    inner = _inner(name)
    return inner.startswith("code/") or inner.endswith(".debug_pkl") and not inner.startswith("data/")


def _inner(name: str) -> str:
    """A name inside an archive without the folder that PyTorch puts around everything."""
    return name.partition("/")[2]


# -- the readers ---------------------------------------------------------------------------------------

_Found = tuple[dict[str, Any], Format, dict[str, Any]]


def _read_safetensors(path: Path) -> _Found:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, "safetensors", {}  # noqa: SIM118


def _read_zip(path: Path) -> _Found:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if _inner(entry.filename) == "data.pkl":
                with archive.open(entry) as file:
                    _check_names(path, _names(file, 1), _HARMLESS)
    return _load(path, mmap=True)


def _read_legacy(path: Path) -> _Found:
    with path.open("rb") as file:
        magic = _LEGACY_MAGIC in file.read(64)
        file.seek(0)
        _check_names(path, _names(file, _LEGACY_PICKLES if magic else 1), _HARMLESS)
    if not magic:
        raise PackError(f"{path} is a pickle, but not one that torch.save wrote.", _AGAIN)
    return _load(path, mmap=False)


class _Inert:
    """Stands in for a class that a checkpoint names: neither to be called nor to be made."""

    __slots__ = ()


_MODEL_CHECKPOINT = _Inert()


def _load(path: Path, mmap: bool) -> _Found:
    """What torch.save wrote, through PyTorch's own reader of weights only."""
    import torch

    stand_in: Any = (_MODEL_CHECKPOINT, MODEL_CHECKPOINT)
    with _GLOBALS, torch.serialization.safe_globals([stand_in]):
        whole = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    if not isinstance(whole, Mapping):
        raise PackError(f"{path} holds a {type(whole).__name__}, not weights by name.", _AGAIN)
    inner = whole.get("state_dict")
    state: Mapping[Any, Any] = inner if isinstance(inner, Mapping) else whole
    tensors = {str(name): value.detach() for name, value in state.items() if isinstance(value, torch.Tensor)}
    lightning = {"pytorch-lightning_version", "callbacks"} & whole.keys() and state is not whole
    meta = {str(name): value for name, value in whole.items() if isinstance(value, int | float | str)}
    return tensors, "lightning" if lightning else "torch", meta


def _read_torchscript(path: Path) -> _Found:
    with zipfile.ZipFile(path) as archive:
        entries = {_inner(entry.filename): entry for entry in archive.infolist()}
        for name in ("data.pkl", "constants.pkl"):
            with archive.open(entries[name]) as file:
                _check_names(path, _names(file, 1), _HARMLESS_SCRIPT)
        registered = _registered(archive, entries)
        with archive.open(entries["data.pkl"]) as file:
            root = _ScriptReader(file, path, entries).load()
    if not isinstance(root, _ScriptObject):
        raise PackError(f"{path} is a TorchScript archive without a module in it.", _AGAIN)
    return dict(_flat(root, registered)), "torchscript", {}


_READERS: dict[str, Callable[[Path], _Found]] = {
    "safetensors": _read_safetensors, "zip": _read_zip, "legacy": _read_legacy, "torchscript": _read_torchscript}


# -- the names in a pickle -------------------------------------------------------------------------------


def _check_names(path: Path, names: Iterator[str], harmless: re.Pattern[str]) -> None:
    for name in names:
        if not harmless.fullmatch(name):
            raise PackError(f"{path} names {name}, which has no business in a file of weights; "
                            "it was not loaded, and nothing in it was run.",
                            "Do not trust this file. Fetch the weights from where they were published.")


def _names(file: IO[bytes], pickles: int) -> Iterator[str]:
    """Full name of everything that the next pickles in a file refer to; nothing is looked up or made."""
    for _ in range(pickles):
        yield from _Walk().names(file)


_MARK, _STRANGER = object(), 1  # on the stack: a mark, and anything that is neither string nor tuple
_CALLS = ("REDUCE", "OBJ", "INST", "NEWOBJ", "NEWOBJ_EX", "BUILD")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")


class _Walk:
    """One pass over a pickle's opcodes with what lies on its stack and in its memo.

    Of strings the text is kept, for a name may be put together from them in any order; of tuples how many
    values are in them all the way down, for thirty opcodes nest one that takes years to hash.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}

    def names(self, file: IO[bytes]) -> Iterator[str]:
        for opcode, argument, _place in pickletools.genops(_Bounded(file)):  # type: ignore[arg-type]
            name = opcode.name
            if name == "MEMOIZE" or "PUT" in name:
                self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
                continue
            taken = self._taken(opcode.stack_before)
            if name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".")
            elif name == "STACK_GLOBAL":
                strings = all(isinstance(value, str) for value in taken)
                yield ".".join(taken) if strings else "something whose name it hides"
            elif name.startswith("EXT"):
                yield f"extension {argument}"
            self.stack += self._pushed(opcode, argument, taken)

    def _taken(self, before: list[pickletools.StackObject]) -> list[Any]:
        """What an opcode takes off the stack, topmost last; with a mark, what lies above it."""
        if pickletools.markobject not in before:
            return [self.stack.pop() for _ in before][::-1]
        taken = []
        while (value := self.stack.pop()) is not _MARK:
            taken.append(value)
        for _ in before[:before.index(pickletools.markobject)]:
            self.stack.pop()
        return taken[::-1]

    def _pushed(self, opcode: pickletools.OpcodeInfo, argument: Any, taken: list[Any]) -> list[Any]:
        name = opcode.name
        if name == "MARK":
            return [_MARK]
        if name == "DUP":
            return taken * 2
        if "GET" in name:
            return [self.memo[argument]]
        if name in _TUPLES or name in _CALLS:  # a call may give back its arguments
            held = 1 + sum(value for value in taken if isinstance(value, int))
            if held > MOST_TUPLE:
                raise ValueError("it nests more values in each other than any file of weights does")
            return [held]
        text = isinstance(argument, str) and name not in ("GLOBAL", "PERSID", "INT", "LONG", "FLOAT")
        return [argument if text else _STRANGER for _ in opcode.stack_after]


class _Bounded:
    """A file of which a pickle may read only so much: lengths inside it are claims."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.left = file, MOST_PICKLE

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self.left:
            raise ValueError("a pickle claims more than a file of weights has to say")
        self.left -= count
        return self.file.read(count)

    def readline(self) -> bytes:
        return self.file.readline(4096)

    def tell(self) -> int:
        return self.file.tell()


# -- TorchScript archives --------------------------------------------------------------------------------


class _ScriptObject:
    """An object of a script class: its attributes and no behaviour."""

    script_class = ""
    state: Mapping[str, Any] = {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Maker:
    """A function that a pickle may call; without attributes that the pickle could change."""

    __slots__ = ()


class _First(_Maker):
    """The first argument: lists, tagged values and devices are kept as the plain values inside."""

    def __call__(self, *arguments: Any) -> Any:
        return arguments[0] if arguments else None


class _Dict(_Maker):
    def __call__(self) -> dict[str, Any]:
        return {}


class _Rebuild(_Maker):
    """The tensor of a storage, as torch._utils._rebuild_tensor_v2."""

    def __call__(self, storage: "Tensor", offset: int, size: Any, stride: Any, *_: Any) -> "Tensor":
        return storage.as_strided(tuple(size), tuple(stride), offset)


class _ScriptReader(pickle.Unpickler):
    """Reads a TorchScript archive's data.pkl: storages are views of the mapped file."""

    def __init__(self, file: IO[bytes], path: Path, entries: Mapping[str, zipfile.ZipInfo]) -> None:
        super().__init__(file)
        self.path, self.entries = path, entries
        self.classes: dict[str, type[_ScriptObject]] = {}
        self.storages: dict[str, Tensor] = {}
        with path.open("rb") as whole:
            # Private: whoever writes into such a tensor changes memory, never the file.
            self.mapped = mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_COPY)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if not _HARMLESS_SCRIPT.fullmatch(full):
            raise pickle.UnpicklingError(f"it names {full}")
        if module.partition(".")[0] == "__torch__":
            return self.classes.setdefault(full, type(name, (_ScriptObject,), {"script_class": full}))
        if name.endswith("Storage"):
            return name.removesuffix("Storage")  # a string, which cannot be called
        if name == "_rebuild_tensor_v2":
            return _Rebuild()
        return _Dict() if name == "OrderedDict" else _First()

    def persistent_load(self, pid: Any) -> "Tensor":
        _word, type_name, key, _device, _count = pid
        if key not in self.storages:
            self.storages[key] = self._storage(type_name, self.entries[f"data/{key}"])
        return self.storages[key]

    def _storage(self, type_name: str, entry: zipfile.ZipInfo) -> "Tensor":
        """The numbers of one entry, flat, in place."""
        import torch

        dtype: torch.dtype = getattr(torch, _DTYPES[type_name])
        # The entry's own header is 30 bytes and two fields whose lengths it ends with.
        lengths = struct.unpack_from("<HH", self.mapped, entry.header_offset + 26)
        start = entry.header_offset + 30 + sum(lengths)
        if start + entry.file_size > len(self.mapped):
            raise ValueError(f"{entry.filename} ends too early")
        if not entry.file_size:
            return torch.empty(0, dtype=dtype)
        flat = torch.frombuffer(self.mapped, dtype=torch.uint8, count=entry.file_size, offset=start)
        aligned = start % dtype.itemsize == 0
        return (flat if aligned else flat.clone()).view(dtype)


_DTYPES = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64", "Long": "int64",
           "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"}
_CLASS = re.compile(r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*?)\]\n  __buffers__ = \[(.*?)\]", re.M)


def _registered(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, set[str]]:
    """Parameters and buffers of every script class, from the archive's own text, which is only read."""
    found: dict[str, set[str]] = {}
    left = MOST_CODE
    for name, entry in entries.items():
        if name.startswith("code/") and name.endswith(".py") and left > 0:
            with archive.open(entry) as file:
                text = file.read(left)
            left -= len(text)
            module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
            for title, parameters, buffers in _CLASS.findall(text.decode(errors="replace")):
                found[f"{module}.{title}"] = set(re.findall(r'"([^"]+)"', f"{parameters} {buffers}"))
    return found


def _flat(root: _ScriptObject, registered: Mapping[str, set[str]]) -> Iterator[tuple[str, "Tensor"]]:
    """The state dict of a module: what is registered, by dotted names."""
    import torch

    waiting, seen = [("", root, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1 + len(module.state)
        if seen > MOST_ENTRIES or depth > DEEPEST or len(prefix) > LONGEST_NAME:
            raise ValueError("it claims more parts than any network has")
        names = registered.get(module.script_class)
        for name, value in module.state.items():
            if isinstance(value, torch.Tensor) and (names is None or name in names):
                yield prefix + name, value
            elif isinstance(value, _ScriptObject):
                waiting.append((f"{prefix}{name}.", value, depth + 1))


# -- what the weights are ----------------------------------------------------------------------------------


def _tidy(tensors: "dict[str, Tensor]") -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """The tensors by the names of the network itself, without what was put around it in training."""
    for wrapper, remark in (("first_stage_model.", {"stage": "Net2Net"}), ("module.", {})):
        inside = {name.removeprefix(wrapper): value for name, value in tensors.items() if name.startswith(wrapper)}
        if "first" in wrapper and inside or len(inside) == len(tensors):
            return inside, dict(remark)
    return tensors, {}


def _kind(names: Any) -> Kind:
    if ({"encoder.conv_in.weight", "decoder.conv_in.weight", "post_quant_conv.weight"} <= set(names)
            and {"quantize.embedding.weight", "quantize.embed.weight"} & set(names)):
        return "vqgan"
    if "logit_scale" in names and any(name.startswith("visual.") for name in names):
        return "clip"
    return "wav2clip" if any(name.startswith("audio_encoder.") for name in names) else "unknown"


def _numbers(tensors: "Mapping[str, Tensor]") -> dict[str, int]:
    """The numbers that OpenAI's archives keep among the weights."""
    return {name: int(tensors[name]) for name in ("input_resolution", "context_length", "vocab_size")
            if name in tensors and tensors[name].numel() == 1}


_FORMATS = {"lightning": "a Lightning checkpoint", "torchscript": "a TorchScript archive",
            "safetensors": "safetensors", "torch": "a PyTorch file"}


def _words(weights: Weights) -> str:
    """A sentence without a full stop: what the file is, and in which format."""
    how = _FORMATS[weights.format]
    if weights.kind == "vqgan":
        from metamusic.vqgan import config_of

        inside = " inside a Net2Net transformer's checkpoint" if weights.meta.get("stage") else ""
        return f"{_vqgan_words(config_of(weights.tensors))}{inside} ({how})"
    if weights.kind == "clip":
        return f"a CLIP, {_clip_words(weights.tensors)} ({how})"
    if weights.kind == "wav2clip":
        return f"a Wav2CLIP ({how})"
    if any(name.startswith("vision_model.") for name in weights.tensors):
        return f"a CLIP as the library transformers names it, which MetaMusic does not read; take open_clip's ({how})"
    some = ", ".join(sorted(weights.tensors)[:3])
    return f"{how} of {len(weights.tensors)} tensors that MetaMusic has no use for ({some}, ...)"


def _vqgan_words(config: Any) -> str:
    name = "Gumbel VQGAN" if config.kind == "gumbel" else "VQGAN"
    steps = "-".join(map(str, config.ch_mult))
    return (f"a {name} of {config.n_embed} codes, cells of {config.cell} px "
            f"(ch {config.ch}, ch_mult {steps}, embed_dim {config.embed_dim})")


def _clip_words(tensors: "Mapping[str, Tensor]") -> str:
    """Tower and width, as far as the shapes tell."""
    first, width = tensors.get("visual.conv1.weight"), tensors.get("text_projection")
    if width is None:
        width = tensors.get("text.text_projection")
    numbers = f"{width.shape[-1]} numbers" if width is not None and width.ndim == 2 else "of unknown width"
    if first is None or "visual.class_embedding" not in tensors:
        return f"{'a ResNet' if first is not None else 'a tower of timm'}, {numbers}"
    places = len(tensors["visual.positional_embedding"]) - 1
    return f"ViT with patches of {first.shape[-1]} px at {round(places**0.5) * first.shape[-1]} px, {numbers}"


def sizes(path: Path) -> dict[str, tuple[str, int]]:
    """Type and number of elements of every tensor in a safetensors file, from its header alone.

    Raises PackError if there is no such file or no header in it.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, MOST_PICKLE)))
        found = {}
        for name, entry in header.items():
            if name != "__metadata__":
                count = 1
                for side in entry["shape"]:
                    count *= int(side)
                found[name] = (str(entry["dtype"]), count)
        return found
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackError(f"{path} is not a readable safetensors file: {error}.", _AGAIN) from error
