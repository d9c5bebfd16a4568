"""Foreign files: what is in them comes out number by number, and nothing in them ever runs."""

import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import official
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metamusic import weights
from metamusic.errors import PackError
from metamusic.vqgan import VQGANConfig
from metamusic.weights import identify, read_weights, recognise, sizes

TINY = VQGANConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(), z_channels=8, n_embed=16,
                   embed_dim=8)


@pytest.fixture(scope="module", autouse=True)
def small_clips(tmp_path_factory):
    official.small_clips(tmp_path_factory.mktemp("configs"))


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Every name, number, type and shape."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        assert torch.equal(ours[name], value), name


def refused(path: Path) -> PackError:
    with pytest.raises(PackError) as caught:
        read_weights(path)
    assert str(path) in caught.value.message and caught.value.cure
    return caught.value


# -- checkpoints of Lightning and of torch.save ---------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("callbacks", [False, True])
def test_a_checkpoint_of_lightning_gives_its_state_dict(tmp_path, callbacks, legacy):
    path = tmp_path / "last.ckpt"
    model = official.lightning_vqgan(path, TINY, callbacks=callbacks, legacy=legacy)
    found = read_weights(path)
    assert (found.kind, found.format, found.meta["epoch"]) == ("vqgan", "lightning", 17)
    same({name: value for name, value in found.tensors.items() if not name.startswith("loss.")}, model.state_dict())


def test_only_the_first_stage_of_a_transformers_checkpoint_is_kept(tmp_path):
    model = official.lightning_vqgan(tmp_path / "a.ckpt", TINY, net2net=True)
    found = read_weights(tmp_path / "a.ckpt")
    same(found.tensors, model.state_dict())
    assert found.kind == "vqgan" and "Net2Net" in identify(tmp_path / "a.ckpt")


@pytest.mark.parametrize("legacy", [False, True])
def test_wav2clips_file_is_known_by_its_names(tmp_path, legacy):
    original = official.wav2clip_pt(tmp_path / "Wav2CLIP.pt", legacy=legacy)
    found = read_weights(tmp_path / "Wav2CLIP.pt")
    assert (found.kind, found.format) == ("wav2clip", "torch")
    same(found.tensors, original.state)


def test_weights_stay_in_the_file_until_they_are_used(tmp_path):
    """128 MiB of which nothing is touched cost no 128 MiB of memory."""
    path, entries = tmp_path / "large.pt", 2**25
    torch.save({"weight": torch.zeros(entries)}, path)
    code = (f"import resource, pathlib; from metamusic.weights import read_weights\nimport torch\n"
            f"before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            f"found = read_weights(pathlib.Path({str(path)!r})).tensors['weight']\n"
            f"grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
            f"assert len(found) == {entries} and grown < 50_000, grown")
    try:
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(weights.__file__).parent.parent)
    finally:
        path.unlink()


def test_names_that_training_on_several_cards_put_before_all_are_dropped(tmp_path):
    model = official.clip(official.SMALL_CLIP)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, tmp_path / "epoch_3.pt")
    found = read_weights(tmp_path / "epoch_3.pt")
    assert (found.kind, found.format, found.meta["name"]) == ("clip", "torch", "run")
    same(found.tensors, model.state_dict())


def test_open_clips_file_of_safetensors(tmp_path):
    model = official.open_clip_safetensors(tmp_path / "a.safetensors", official.SMALL_CLIP)
    found = read_weights(tmp_path / "a.safetensors")
    assert (found.kind, found.format) == ("clip", "safetensors")
    same(found.tensors, model.state_dict())
    counts = sizes(tmp_path / "a.safetensors")
    assert counts["visual.conv1.weight"] == ("F32", 64 * 3 * 8 * 8) and counts["logit_scale"] == ("F32", 1)


# -- TorchScript archives ---------------------------------------------------------------------------------


class Part(nn.Module):
    """Everything that an archive of torch.jit may hold besides plain weights."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.tied = self.lin.weight
        self.register_buffer("turned", torch.arange(6.0).view(2, 3).t().half())
        self.register_buffer("whole", torch.tensor(7))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.plain, self.empty = torch.zeros(4), nn.Parameter(torch.zeros(0))
        self.numbers, self.ratios, self.name, self.nothing = [1, 2], [1.0], "part", None
        self.table, self.several, self.device = {"a": 1}, [torch.ones(1)], torch.device("cpu")

    def forward(self, x: Tensor) -> Tensor:
        sum = self.lin(x) + self.plain.sum() + self.numbers[0] + self.ratios[0] + self.table["a"] + self.several[0]
        return sum + self.turned.sum()


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part, self.norm = Part(), nn.BatchNorm1d(2)
        self.chain = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
        self.scale = nn.Parameter(torch.ones(2).half())
        self.again = self.part

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.part(x)) + self.chain(x) * self.scale + self.again(x)


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.filterwarnings("ignore")
def test_an_archive_gives_what_torch_itself_reads_from_it(tmp_path, how):
    path, model = tmp_path / "model.pt", Whole().eval()
    archive = torch.jit.trace(model, torch.ones(1, 3)) if how == "trace" else torch.jit.script(model)
    archive.save(str(path))
    found = read_weights(path)
    assert found.format == "torchscript"
    same(found.tensors, torch.jit.load(str(path)).state_dict())


@pytest.mark.filterwarnings("ignore")
def test_an_archive_like_openais(tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    official.openai_clip_archive(path, official.SMALL_CLIP)
    found = read_weights(path)
    assert (found.kind, found.format) == ("clip", "torchscript")
    assert found.meta == {"input_resolution": 32, "context_length": 16, "vocab_size": 49408}
    assert found.tensors["visual.conv1.weight"].dtype == torch.float16
    same(found.tensors, torch.jit.load(str(path)).state_dict())


def test_writing_into_a_tensor_does_not_write_into_the_file(tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    official.openai_clip_archive(path, official.SMALL_CLIP)
    before = path.read_bytes()
    read_weights(path).tensors["visual.conv1.weight"].zero_()
    assert path.read_bytes() == before


# -- hostile files ------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


class Own:
    """A class of somebody's own, whose state hides a call."""

    def __init__(self, state: Any) -> None:
        self.state = state


def attacks(marker: Path) -> dict[str, tuple[Any, str]]:
    """What could be hidden in a file, and the name that must be in the refusal."""
    import os

    touch = f"open({str(marker)!r}, 'w').close()"
    system = Call(os.system, f"touch {marker}")
    return {"system": (system, r"(posix|nt)\.system"),
            "eval": (Call(eval, touch), r"(builtins|__builtin__)\.eval"),
            "exec in a state": ({"state_dict": OrderedDict(a=Own({"b": [Call(exec, touch)]}))}, "test_weights"),
            "deep": ({"state_dict": {"w": 1}, "callbacks": {"x": [({"y": system},)]}}, r"\.system"),
            "getattr": (Call(getattr, "text", "upper"), r"(builtins|__builtin__)\.getattr"),
            "load": (Call(torch.load, str(marker)), "torch.*load"),
            "jit": (Call(torch.jit.load, str(marker)), "torch.*load")}


def rewritten(path: Path, entry: str, content: bytes, compressed: bool = False) -> None:
    """The archive with one of its entries replaced."""
    with zipfile.ZipFile(path) as old:
        kept = [(info, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for info, data in kept:
            how = zipfile.ZIP_DEFLATED if compressed and info.filename.endswith(entry) else zipfile.ZIP_STORED
            new.writestr(info.filename, content if info.filename.endswith(entry) else data, how)


@pytest.mark.parametrize("attack", ["system", "eval", "exec in a state", "deep", "getattr", "load", "jit"])
@pytest.mark.parametrize("file", ["lightning", "legacy", "bare pickle", "torchscript", "constants"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_that_would_run_something_is_refused_by_name(tmp_path, attack, file, protocol):
    marker, path = tmp_path / "ran", tmp_path / "model.ckpt"
    poison, name = attacks(marker)[attack]
    if file in ("lightning", "legacy"):
        torch.save(poison, path, pickle_protocol=protocol, _use_new_zipfile_serialization=file == "lightning")
    elif file == "bare pickle":
        path.write_bytes(pickle.dumps(poison, protocol))
    else:
        torch.jit.script(nn.Linear(2, 2)).save(str(path))
        rewritten(path, "/data.pkl" if file == "torchscript" else "/constants.pkl", pickle.dumps(poison, protocol))
    with pytest.raises(PackError, match=name) as caught:
        read_weights(path)
    assert str(path) in caught.value.message and "trust" in caught.value.cure
    assert not marker.exists()


def test_the_attacks_of_these_tests_are_real(tmp_path):
    """Whoever unpickles them plainly runs them."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(attacks(marker)["system"][0]))
    assert marker.exists()


def test_a_name_hidden_behind_the_memo_is_still_named(tmp_path):
    """STACK_GLOBAL takes its name from the stack, which may come from the memo in any order."""
    hidden = (b"\x80\x04\x8c\x06system\x94\x8c\x05posix\x94\x30\x30h\x01h\x00\x93\x8c\x04true\x85R.")
    (tmp_path / "a.pt").write_bytes(hidden)
    assert "posix.system" in refused(tmp_path / "a.pt").message


@pytest.mark.parametrize("body, name", [
    (b"\x8c\x05posix\x8c\x06system\x8c\x05torch\x8c\x04Size00\x93", "posix.system"),  # the decoys are dropped
    (b"\x8c\x05posix\x8c\x06system(\x8c\x05torch\x8c\x04Size1\x93", "posix.system"),
    (b"\x8c\x05posix\x94\x8c\x06system\x942h\x00h\x01\x93", "posix.system"),
    (b"\x8c\x05torch]\x93", "something whose name it hides"), (b"\x82\x01", "extension 1")])
def test_the_name_that_a_file_truly_means_is_named(tmp_path, body, name):
    """Decoys beside the name, on the stack and off it, do not make it another."""
    (tmp_path / "a.pt").write_bytes(b"\x80\x04" + body + b"\x8c\x04true\x85R.")
    error = refused(tmp_path / "a.pt")
    assert name in error.message and "trust" in error.cure


# Each of these takes what is numbered %c in the memo and makes something of it that contains it twice.
TWICE = {"tuple": b"h%ch%c\x86", "marked": b"(h%ch%ct", "frozenset": b"(h%ch%c\x85\x91",
         "returned": b"ctorch.jit._pickle\nrestore_type_tag\nh%ch%c\x86\x85R"}


@pytest.mark.parametrize("how", TWICE)
@pytest.mark.parametrize("entry", ["checkpoint", "/data.pkl", "/constants.pkl"])
def test_a_key_that_would_take_years_to_hash_is_refused(tmp_path, how, entry):
    key = b")" + b"".join(b"q%c0" % n + TWICE[how] % (n, n) for n in range(100))
    path = tmp_path / "a.pt"
    if entry == "checkpoint":
        torch.save({"w": torch.ones(2)}, path)
    else:
        torch.jit.script(nn.Linear(2, 2)).save(str(path))
    rewritten(path, entry if entry != "checkpoint" else "/data.pkl", b"\x80\x02}" + key + b"K\x01s.")
    word = "restore_type_tag" if (how, entry) == ("returned", "checkpoint") else "nests more"
    assert word in refused(path).message


@pytest.mark.parametrize("body", [
    b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n)R.",  # called
    b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n)\x81.",  # made
    b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n}X\x01\x00\x00\x00ak\x01sb."])  # changed
def test_the_one_name_that_is_allowed_can_only_be_named(tmp_path, body):
    path = tmp_path / "a.ckpt"
    torch.save({"w": torch.ones(2)}, path)
    rewritten(path, "/data.pkl", b"\x80\x02" + body)
    assert "damaged" in refused(path).message


def test_another_callback_of_lightning_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"w": torch.ones(2)}, path)
    rewritten(path, "/data.pkl", b"\x80\x02cpytorch_lightning.callbacks.early_stopping\nEarlyStopping\n.")
    assert "pytorch_lightning.callbacks.early_stopping.EarlyStopping" in refused(path).message


def test_torch_forgets_the_allowance_afterwards(tmp_path):
    official.lightning_vqgan(tmp_path / "a.ckpt", TINY)
    before = set(map(str, torch.serialization.get_safe_globals()))
    read_weights(tmp_path / "a.ckpt")
    assert set(map(str, torch.serialization.get_safe_globals())) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.ckpt", weights_only=True)


def test_an_archives_own_code_is_never_compiled(tmp_path):
    """With nonsense for code the weights are the same: it is text in which two lists are looked up."""
    path = tmp_path / "a.pt"
    model = nn.Linear(2, 2)
    torch.jit.script(model).save(str(path))
    rewritten(path, "linear.py", b"class Linear(Module): this is no code")
    same(read_weights(path).tensors, model.state_dict())


def script_pickle(*opcodes: bytes) -> bytes:
    return b"\x80\x02c__torch__\nM\n)\x81}(" + b"".join(opcodes) + b"ub."


STORAGE = (b"X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
           b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ")


@pytest.mark.parametrize("view", [
    b"K\x00(J\xff\xff\xff\x7ft(K\x01t\x89ccollections\nOrderedDict\n)RtR",  # longer than the storage
    b"J\xff\xff\xff\x7f(K\x01t(K\x01t\x89ccollections\nOrderedDict\n)RtR",  # beyond it
    b"J\xfc\xff\xff\xff(K\x01t(K\x01t\x89ccollections\nOrderedDict\n)RtR"])  # before it
def test_a_tensor_cannot_reach_out_of_its_storage(tmp_path, view):
    path = tmp_path / "a.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    rewritten(path, "/data.pkl", script_pickle(STORAGE, view))
    assert "damaged" in refused(path).message


# -- damaged files, and files that are something else ---------------------------------------------------------


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("originals")
    official.lightning_vqgan(folder / "a.ckpt", TINY)
    official.lightning_vqgan(folder / "legacy.ckpt", TINY, legacy=True)
    official.openai_clip_archive(folder / "clip.pt", official.SMALL_CLIP)
    official.open_clip_safetensors(folder / "clip.safetensors", official.SMALL_CLIP)
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a.ckpt", "legacy.ckpt", "clip.pt", "clip.safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_file_that_ends_too_early(originals, tmp_path, name, share):
    whole = originals[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: max(20, int(len(whole) * share))])
    assert "Fetch the file again" in refused(path).cure


@pytest.mark.parametrize("content, word", [
    (b"", "is empty"), (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
    (b"\n  <HTML>", "web page"), (b"model:\n  target: x\n", "is text"),
    (b"\x89PNG\r\n\x1a\n" + bytes(99), "no format"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
    (b"\x80\x02}q\x00.", "not one that torch.save wrote"),
    (struct.pack("<Q", 30) + b'{"a":{"dtype":"F32","shape":[1' + bytes(30), "damaged"),
    (struct.pack("<Q", 2) + b"{}", "no weights")])
def test_what_is_no_file_of_weights(tmp_path, content, word):
    path = tmp_path / "vqgan.ckpt"
    path.write_bytes(content)
    assert word in refused(path).message


def test_no_file_and_a_folder(tmp_path):
    assert "There is no file" in refused(tmp_path / "a.ckpt").message
    refused(tmp_path)


def test_other_zip_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights/vqgan.ckpt", b"1234")
    error = refused(tmp_path / "a.zip")
    assert "zip archive" in error.message and "Unpack it" in error.cure


def test_a_checkpoint_of_something_else_than_names_and_tensors(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    assert "holds a list" in refused(tmp_path / "list.pt").message
    torch.save({"state_dict": {"a": 3}}, tmp_path / "numbers.pt")
    assert "no weights" in refused(tmp_path / "numbers.pt").message


def test_a_bomb_is_refused_before_it_is_unpacked(originals, tmp_path):
    """A thousandfold of what was downloaded: compressed entries, or a directory that claims them."""
    path = tmp_path / "a.ckpt"
    shutil.copy(originals["a.ckpt"], path)
    rewritten(path, "/data/0", bytes(50_000_000), compressed=True)
    assert "claims more" in refused(path).message
    pickled = tmp_path / "b.ckpt"
    shutil.copy(originals["a.ckpt"], pickled)
    rewritten(pickled, "/data.pkl", b"\x80\x02" + b"N0" * 10_000_000 + b"}.", compressed=True)
    assert "claims more" in refused(pickled).message


@pytest.mark.parametrize("entry", ["/version", "/byteorder", "/.data/serialization_id", "/data/0.debug_pkl"])
def test_a_bomb_beside_the_weights_is_refused_too(originals, tmp_path, entry):
    path = tmp_path / "a.ckpt"
    shutil.copy(originals["a.ckpt"], path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("again" + entry, bytes(5_000_000), zipfile.ZIP_DEFLATED)
    assert "claims more" in refused(path).message


@pytest.mark.parametrize("key", [b"X\x01\x00\x00\x00a", b"X\x00\x10\x00\x00" + b"a" * 4096], ids=["short", "long"])
def test_a_part_that_contains_itself_is_given_up(tmp_path, key):
    path = tmp_path / "a.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    rewritten(path, "/data.pkl", b"\x80\x02c__torch__\nM\n)\x81q\x00}" + key + b"h\x00sb.")
    assert "more parts" in refused(path).message


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.ckpt")
    assert "no regular file" in refused(tmp_path / "a.ckpt").message


@pytest.mark.parametrize("changes", [
    {"input_resolution": torch.tensor(float("nan"))}, {"input_resolution": torch.tensor(float("inf"))},
    {"visual.conv1.weight": torch.zeros(())}, {"visual.positional_embedding": torch.zeros(())},
    {"visual.conv1.weight": torch.zeros(0)}])
def test_a_clip_of_odd_shapes_is_refused_with_the_files_name(tmp_path, changes):
    path = tmp_path / "clip.safetensors"
    whole = {"logit_scale": torch.ones(()), "visual.class_embedding": torch.ones(2),
             "visual.conv1.weight": torch.ones(2, 3, 8, 8), "visual.positional_embedding": torch.ones(17, 2)}
    save_file({**whole, **changes}, path)
    if changes.get("visual.conv1.weight", torch.ones(1)).numel():
        with pytest.raises(PackError, match="clip.safetensors"):
            recognise(path)
    else:
        assert "0 px" in recognise(path).words


def test_an_archive_of_endless_parts_is_given_up(tmp_path, monkeypatch):
    """The same part twice in itself, thirty deep: a thousand million parts in a kilobyte."""
    monkeypatch.setattr(weights, "MOST_ENTRIES", 1000)
    path = tmp_path / "a.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    parts = b"c__torch__\nM\n)\x81q\x00"
    for level in range(1, 30):
        under = bytes([level - 1])
        parts += (b"0c__torch__\nM\n)\x81}(X\x01\x00\x00\x00ah" + under + b"X\x01\x00\x00\x00bh" + under
                  + b"ubq" + bytes([level]))
    rewritten(path, "/data.pkl", b"\x80\x02" + parts + b".")
    assert "more parts" in refused(path).message


# -- in words -----------------------------------------------------------------------------------------------


def test_files_are_named_in_words(originals, tmp_path):
    assert identify(originals["a.ckpt"]) == ("a VQGAN of 16 codes, cells of 2 px (ch 32, ch_mult 1-2, embed_dim 8) "
                                             "(a Lightning checkpoint)")
    assert identify(originals["clip.pt"]) == ("a CLIP, ViT with patches of 8 px at 32 px, 512 numbers "
                                              "(a TorchScript archive)")
    official.lightning_vqgan(tmp_path / "g.ckpt", official.SMALL_GUMBEL)
    assert identify(tmp_path / "g.ckpt").startswith("a Gumbel VQGAN of 64 codes, cells of 4 px")
    config = official.vqgan_yaml(tmp_path / "model.yaml", official.F8_GUMBEL)
    assert recognise(config).kind == "config"
    assert "Gumbel VQGAN of 8192 codes, cells of 8 px" in identify(config)


def test_what_nobody_has_a_use_for_is_said_so(tmp_path):
    save_file({"a.weight": torch.ones(2), "b": torch.ones(2)}, tmp_path / "a.safetensors")
    found = recognise(tmp_path / "a.safetensors")
    assert found.kind == "unknown" and "2 tensors that MetaMusic has no use for (a.weight, b" in found.words


def test_a_clip_in_another_librarys_layout_is_told_from_one_that_can_be_read(tmp_path):
    save_file({"vision_model.embeddings.class_embedding": torch.ones(2), "logit_scale": torch.ones(1)},
              tmp_path / "model.safetensors")
    assert "take open_clip's" in recognise(tmp_path / "model.safetensors").words


def test_reading_names_looks_nothing_up():
    """The first look at a pickle imports no module that it names."""
    body = io.BytesIO(b"\x80\x02cantigravity\nfly\n.")
    assert list(weights._names(body, 1)) == ["antigravity.fly"]
    assert "antigravity" not in sys.modules
