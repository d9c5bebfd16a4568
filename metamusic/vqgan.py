"""The VQGAN: pictures to codes and back (Esser, Rombach, Ommer 2021, "Taming Transformers").

Inference only, over the Encoder, Decoder and VectorQuantizer that taming-transformers ships, with the
state-dict keys of the published checkpoints. Three things differ, none of them in what is computed for
a published model: middle attention runs through PyTorch's fused kernel, the number of norm groups is a
setting (taming fixes it at 32, too many for a small model), and a small model may look at the picture
with p x p neighbouring pixels folded into channels.

Two kinds of codebook were published. `vq` takes the entry nearest to what the encoder says. `gumbel`
scores every entry by a 1x1 convolution and takes the best; taming adds Gumbel noise to the scores also
when it only encodes, so that a picture has other codes each time, and here it has not: the same picture
always becomes the same codes. Either way a latent that is being optimised lives among the entries, and
its nearest entry is painted.

Pictures are float in [0, 1] outside; [-1, 1] is known only here.
Letters: B batch, D embed_dim, H W pixels, h w latent cells, K codebook entries.
"""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import yaml
from taming.modules.vqvae.quantize import VectorQuantizer
from torch import Tensor, nn

from metamusic.errors import PackError

# How many cells are compared with the codebook at a time: bounds the memory of large pictures.
CELLS_AT_ONCE = 8192

# What training left in the published checkpoints besides the model itself.
TRAINING_ONLY = ("loss.", "model_ema.", "colorize")


@dataclass(frozen=True)
class VQGANConfig:
    """Shape of a VQGAN, in the words of the published configurations.

    `unshuffle` p folds p x p pixels into channels before the encoder and unfolds them after the
    decoder: 1 for every published model. `mid_attention` off leaves out the attention between the
    middle blocks, whose cost grows with the fourth power of the picture's side: at 256 px with cells
    of 4 px it took a third of a decode, and more before it was fused. `kind`: how pictures become codes.
    """

    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (16,)
    z_channels: int = 256
    resolution: int = 256
    n_embed: int = 16384
    embed_dim: int = 256
    unshuffle: int = 1
    norm_groups: int = 32
    mid_attention: bool = True
    kind: Literal["vq", "gumbel"] = "vq"

    def __post_init__(self) -> None:
        """TypeError or ValueError for a shape that no VQGAN has: configurations come with weights of others."""
        # JSON knows lists only; a tuple keeps the config hashable.
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        object.__setattr__(self, "attn_resolutions", tuple(self.attn_resolutions))
        for name, (low, high) in _NUMBERS.items():
            _check_number(name, getattr(self, name), low, high)
        for name, (fewest, most, low, high) in _LISTS.items():
            if not fewest <= len(getattr(self, name)) <= most:
                raise ValueError(f"{name} has {fewest} to {most} entries, not {len(getattr(self, name))}")
            for value in getattr(self, name):
                _check_number(f"an entry of {name}", value, low, high)
        if self.ch % self.norm_groups:
            raise ValueError(f"ch {self.ch} is no multiple of the {self.norm_groups} norm groups")
        if self.kind not in ("vq", "gumbel"):
            raise ValueError(f"there are VQGANs of the kinds vq and gumbel, not {self.kind}")
        if self.kind == "gumbel" and self.embed_dim != self.z_channels:
            # Its scores are read from what quant_conv gives, which therefore has both widths.
            raise ValueError(f"a Gumbel VQGAN has embed_dim {self.embed_dim} equal to z_channels {self.z_channels}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a pack's manifest; a VQ model's are those of manifests before there were two kinds."""
        values = asdict(self)
        if self.kind == "vq":
            del values["kind"]
        return values

    @property
    def cell(self) -> int:
        """Side in px of the square that one code paints."""
        return self.unshuffle * 2 ** (len(self.ch_mult) - 1)


# Smallest and largest value of a VQGANConfig's numbers; of its lists, lengths and then values.
_NUMBERS = {"ch": (1, 4096), "num_res_blocks": (1, 16), "z_channels": (1, 4096), "resolution": (8, 8192),
            "n_embed": (1, 2**20), "embed_dim": (1, 4096), "unshuffle": (1, 64), "norm_groups": (1, 4096)}
_LISTS = {"ch_mult": (1, 8, 1, 64), "attn_resolutions": (0, 16, 1, 8192)}


def _check_number(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int:  # a bool counts as one elsewhere
        raise TypeError(f"{name} is a whole number, not a {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} is a number from {low} to {high}, and this one is not")


class VQGAN(nn.Module):
    """Encoder, codebook and decoder, in evaluation mode and without gradients on the weights.

    cell: int px; embed_dim: int; low, high: [1, D, 1, 1], the range of the codebook.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.cell = config.cell
        self.embed_dim = config.embed_dim
        self.encoder, self.decoder = _towers(config)
        self.quantize = (_Gumbel(config) if config.kind == "gumbel"
                         else VectorQuantizer(config.n_embed, config.embed_dim, beta=0.25))
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)
        self._norms: tuple[int, Tensor] | None = None
        self.eval().requires_grad_(False)

    @classmethod
    def from_state(cls, config: VQGANConfig, state: Mapping[str, Tensor]) -> "VQGAN":
        """A VQGAN with the weights in `state`, whose keys are those of the published checkpoints.

        Leftovers of training (loss.*, model_ema.*) are dropped. Raises PackError naming what is
        missing, unknown or of another shape.
        """
        with torch.device("meta"):
            model = cls(config)
        weights = {name: value.float() for name, value in _checked(model.state_dict(), state).items()}
        model.load_state_dict(weights, assign=True)
        return model.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    # -- pictures and latents -------------------------------------------------------------------------

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [B, D, h, w] of pictures [B, 3, H, W] in [0, 1]; H and W are multiples of `cell`.

        Of a `gumbel` model these are codebook entries already, and no gradient passes: what its encoder
        says is not a place among the entries but what their scores are made from.
        """
        folded = F.pixel_unshuffle(pictures * 2 - 1, self.config.unshuffle)
        latent = self.quant_conv(self.encoder(folded.contiguous(memory_format=torch.channels_last)))
        return self.lookup(self.quantize.best(latent)) if isinstance(self.quantize, _Gumbel) else latent

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] of quantised latents [B, D, h, w]; see `clamp_with_grad`."""
        return clamp_with_grad(self.decode_unclamped(latent), 0.0, 1.0)

    def decode_unclamped(self, latent: Tensor) -> Tensor:
        """The same before the clamp, for training; a little outside of [0, 1] at times."""
        return (F.pixel_shuffle(self.decoder(self.post_quant_conv(latent)), self.config.unshuffle) + 1) / 2

    # -- the codebook ---------------------------------------------------------------------------------

    @property
    def codebook(self) -> Tensor:
        """[K, D]"""
        entries = self.quantize.embed if isinstance(self.quantize, _Gumbel) else self.quantize.embedding
        return entries.weight

    @property
    def low(self) -> Tensor:
        """Smallest value of the codebook per channel, [1, D, 1, 1]."""
        return self.codebook.amin(0)[None, :, None, None]

    @property
    def high(self) -> Tensor:
        """Largest value of the codebook per channel, [1, D, 1, 1]."""
        return self.codebook.amax(0)[None, :, None, None]

    @torch.no_grad()
    def codes(self, latent: Tensor) -> Tensor:
        """Index of the nearest codebook entry, int64 [B, h, w], of latents [B, D, h, w]."""
        batch, _, height, width = latent.shape
        cells = latent.permute(0, 2, 3, 1).reshape(-1, self.embed_dim)  # [B h w, D]
        # |z - e|^2 without the |z|^2 that all entries share: one matrix product, nothing else to add. Always in
        # single precision: half of it names a wrong entry for one cell in eight.
        norms = self._half_norms()
        with torch.autocast(cells.device.type, enabled=False):
            nearest = [torch.addmm(norms, some.float(), self.codebook.T, alpha=-1).argmin(1)
                       for some in cells.split(CELLS_AT_ONCE)]
        return torch.cat(nearest).view(batch, height, width)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook entries [B, D, h, w] of codes int64 [B, h, w]."""
        return F.embedding(codes, self.codebook).permute(0, 3, 1, 2)

    def quantise(self, latent: Tensor) -> Tensor:
        """Nearest codebook entries [B, D, h, w]; backwards the gradient passes as if nothing happened."""
        return _StraightThrough.apply(self.lookup(self.codes(latent)).detach(), latent)

    def _half_norms(self) -> Tensor:
        """|e|^2 / 2 of every entry, [K]; kept until the codebook is changed, moved or replaced."""
        version = hash((self.codebook._version, self.codebook.data_ptr(), self.codebook.device))
        if self._norms is None or self._norms[0] != version:
            self._norms = version, self.codebook.detach().square().sum(1) / 2
        return self._norms[1]


class _Gumbel(nn.Module):
    """The codebook of a `gumbel` model, under the names of the published checkpoints (taming's GumbelQuantize)."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.z_channels, config.n_embed, 1)
        self.embed = nn.Embedding(config.n_embed, config.embed_dim)

    @torch.no_grad()
    def best(self, latent: Tensor) -> Tensor:
        """Code of the highest score, int64 [B, h, w], for what the encoder says [B, D, h, w]."""
        weight, bias = self.proj.weight.flatten(1), self.proj.bias
        cells = latent.permute(0, 2, 3, 1).reshape(-1, latent.shape[1])  # [B h w, D]
        best = [F.linear(some, weight, bias).argmax(1) for some in cells.split(CELLS_AT_ONCE)]
        return torch.cat(best).view(len(latent), *latent.shape[2:])


class _StraightThrough(torch.autograd.Function):
    """Forward the quantised latent, backward the identity (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: Any, quantised: Tensor, latent: Tensor) -> Tensor:
        return quantised.view_as(quantised)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


class _ClampWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, low: float, high: float) -> Tensor:
        ctx.low, ctx.high = low, high
        ctx.save_for_backward(values)
        return values.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (values,) = ctx.saved_tensors
        excess = values - values.clamp(ctx.low, ctx.high)
        return gradient * (gradient * excess >= 0), None, None


def clamp_with_grad(values: Tensor, low: float, high: float) -> Tensor:
    """Clamp whose gradient vanishes only where a step would lead further outside.

    A plain clamp has no gradient outside its range, so a pixel that once left it never returns
    (after Katherine Crowson's VQGAN+CLIP).
    """
    return _ClampWithGrad.apply(values, low, high)


# -- configurations as they were published -------------------------------------------------------------

# Classes of taming that a configuration may name, by the last part of the name; none is imported.
_KINDS: dict[str, Literal["vq", "gumbel"]] = {"VQModel": "vq", "VQNoDiscModel": "vq", "GumbelVQ": "gumbel"}

# What a ddconfig may say and how it must say it; None is free. Dropout does nothing at inference.
_DDCONFIG: dict[str, Any] = {
    "double_z": False, "in_channels": 3, "out_ch": 3, "resamp_with_conv": True, "give_pre_end": False,
    **dict.fromkeys(("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "z_channels", "resolution", "dropout"))}
_NEEDED = ("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "z_channels", "resolution")
LONGEST_YAML = 1_000_000  # bytes


def vqgan_config(path: Path) -> VQGANConfig:
    """The shape in a configuration as the VQGANs were published with (.yaml).

    Understands VQModel, GumbelVQ and Net2NetTransformer, whose first stage is one of the others. The
    classes it names are never imported. Raises PackError naming what is missing, unknown or another
    network than taming's.
    """
    try:
        return _config(path)
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error}.", "Name the configuration of a VQGAN (.yaml).") from error
    except _UNFIT as error:
        raise _unusable(path, " ".join(str(error).split())[:200]) from error


def _config(path: Path) -> VQGANConfig:
    model = _part(_yaml(path).get("model"), "model", path)
    name, params = _target(model), _part(model.get("params"), "model.params", path)
    if name == "Net2NetTransformer":
        stage = _part(params.get("first_stage_config"), "model.params.first_stage_config", path)
        name, params = _target(stage), _part(stage.get("params"), "first_stage_config.params", path)
    if name not in _KINDS:
        raise _unusable(path, f"it describes a {name or 'nameless model'}, and MetaMusic knows "
                              f"{', '.join(_KINDS)} and Net2NetTransformer")
    if params.get("remap") is not None:
        raise _unusable(path, "it leaves out part of its codebook (remap)")
    shape = _ddconfig(_part(params.get("ddconfig"), "ddconfig", path), path)
    if missing := [each for each in ("n_embed", "embed_dim") if each not in params]:
        raise _unusable(path, f"it lacks {missing[0]!r}")
    return VQGANConfig(**shape, n_embed=params["n_embed"], embed_dim=params["embed_dim"], kind=_KINDS[name])


# What reading YAML, and numbers that are none, can end with.
_UNFIT = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without aliases, by which a few lines can stand for a thousand million values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases (*), which no published configuration needs")
        return super().compose_node(parent, index)


def _yaml(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise PackError(f"There is no file {path}.", "Check the name.")
    if not path.is_file():
        raise OSError("it is no regular file")
    if path.stat().st_size > LONGEST_YAML:
        raise _unusable(path, "it is far too long")
    return _part(yaml.load(path.read_text(encoding="utf-8"), _PlainLoader), "everything", path)


def _part(value: Any, name: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _unusable(path, f"expected names and values under {name}, got {type(value).__name__}")
    return value


def _target(model: Mapping[str, Any]) -> str:
    target = model.get("target", "")
    if not isinstance(target, str):
        raise TypeError(f"target is a name, not a {type(target).__name__}")
    return target.rpartition(".")[2]


def _ddconfig(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields of VQGANConfig among them; PackError for another network than the published ones."""
    for name, value in values.items():
        if name not in _DDCONFIG:
            raise _unusable(path, f"ddconfig has {_short(name)}, which taming's networks do not know")
        if _DDCONFIG[name] is not None and value != _DDCONFIG[name]:
            raise _unusable(path, f"ddconfig has {name} {_short(value)}; only {_DDCONFIG[name]!r} is possible")
    if missing := [name for name in _NEEDED if name not in values]:
        raise _unusable(path, f"ddconfig lacks {', '.join(missing)}")
    return {name: values[name] for name in _NEEDED}


def _short(value: object) -> str:
    """A value as a message may quote it."""
    plain = isinstance(value, bool | float | str) or isinstance(value, int) and abs(value) < 10**9
    return repr(value)[:60] if plain else f"of the type {type(value).__name__}"


def _unusable(path: Path, reason: str) -> PackError:
    return PackError(f"{path} is not the configuration of a VQGAN that MetaMusic can use: {reason}.",
                     "Take the .yaml that was published beside the checkpoint.")


def config_of(state: Mapping[str, Tensor]) -> VQGANConfig:
    """The shape of a published VQGAN, read off its weights; PackError if they are not one's.

    Only the resolution it was trained at is not among them: 256 is taken, which no other published
    model differs from, and which is only used to say where the attention sits.
    """
    try:
        gumbel = "quantize.embed.weight" in state
        entries = state["quantize.embed.weight" if gumbel else "quantize.embedding.weight"]
        levels = _count(state, "encoder.down.{}.block.0.conv1.weight")
        ch, colours = state["encoder.conv_in.weight"].shape[:2]
        if colours != 3:
            raise ValueError(f"they are for pictures of {colours} channels, not 3")
        widths = [len(state[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(levels)]
        return VQGANConfig(
            ch=ch, ch_mult=tuple(width // ch for width in widths),
            num_res_blocks=_count(state, "encoder.down.0.block.{}.conv1.weight"),
            attn_resolutions=tuple(256 // 2**level for level in range(levels)
                                   if f"encoder.down.{level}.attn.0.q.weight" in state),
            z_channels=len(state["encoder.conv_out.weight"]), resolution=256, n_embed=entries.shape[0],
            embed_dim=entries.shape[1], kind="gumbel" if gumbel else "vq")
    except _UNFIT as error:
        raise PackError(f"These are not the weights of a VQGAN as they were published: {error}.",
                        "Name the VQGAN's configuration as well, or another VQGAN.") from error


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    number = 0
    while pattern.format(number) in state:
        number += 1
    return number


def fitting(config: VQGANConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights among `state` that a VQGAN of this shape has, in their own precision.

    Raises PackError naming what is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        return _checked(VQGAN(config).state_dict(), state)


def _checked(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the model wants, or a PackError that names what does not fit."""
    weights = {name: value for name, value in state.items() if not name.startswith(TRAINING_ONLY)}
    cure = "Fetch the pack again, or correct the vqgan configuration in its pack.json."
    if missing := expected.keys() - weights.keys():
        raise PackError(f"The VQGAN weights lack {_listed(missing)}.", cure)
    if unknown := weights.keys() - expected.keys():
        raise PackError(f"The VQGAN has no place for the weights {_listed(unknown)}.", cure)
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise PackError(f"The VQGAN weight {name} should have shape {tuple(expected[name].shape)}, "
                            f"not {tuple(value.shape)}.", cure)
    return weights


def _listed(names: set[str], most: int = 5) -> str:
    """The first few of many names, and how many more there are."""
    shown = sorted(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _towers(config: VQGANConfig) -> tuple[nn.Module, nn.Module]:
    """Taming's Encoder and Decoder of this shape."""
    taming = _taming(config.norm_groups)
    channels = 3 * config.unshuffle**2
    shape = dict(ch=config.ch, out_ch=channels, ch_mult=config.ch_mult, num_res_blocks=config.num_res_blocks,
                 attn_resolutions=config.attn_resolutions, in_channels=channels,
                 resolution=config.resolution, z_channels=config.z_channels)
    towers = taming.Encoder(**shape, double_z=False), taming.Decoder(**shape)
    if not config.mid_attention:
        for tower in towers:
            tower.mid.attn_1 = nn.Identity()
    return towers


@lru_cache
def _taming(norm_groups: int) -> Any:
    """A private instance of taming's module with our norms and attention.

    Its classes look their parts up in their module, so an instance of the module that is ours alone
    can be given others while everybody else's import of taming stays as it was shipped.
    """
    spec = importlib.util.find_spec("taming.modules.diffusionmodules.model")
    assert spec and spec.loader, "taming-transformers is a requirement of this package"
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class FusedAttention(module.AttnBlock):
        """The shipped block, its [h w, h w] matrix never laid out in memory."""

        def forward(self, x: Tensor) -> Tensor:
            normed = self.norm(x)
            q, k, v = (self._sequence(project(normed)) for project in (self.q, self.k, self.v))
            seen = F.scaled_dot_product_attention(q, k, v, scale=1 / math.sqrt(self.in_channels))
            return x + self.proj_out(seen.transpose(1, 2).reshape(x.shape))

        @staticmethod
        def _sequence(maps: Tensor) -> Tensor:
            return maps.flatten(2).transpose(1, 2)  # [B, h w, C]

    module.Normalize = lambda channels: nn.GroupNorm(norm_groups, channels, eps=1e-6)
    module.AttnBlock = FusedAttention
    module.nonlinearity = F.silu  # the same function in one pass over memory
    module.print = lambda *_: None  # the Decoder announces its latent shape on standard output
    return module
