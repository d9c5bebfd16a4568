"""The VQGAN: pictures to codes and back (Esser, Rombach, Ommer 2021, "Taming Transformers").

Inference only, over the Encoder, Decoder and VectorQuantizer that taming-transformers ships, with the
state-dict keys of the published checkpoints. Three things differ, none of them in what is computed for
a published model: middle attention runs through PyTorch's fused kernel, the number of norm groups is a
setting (taming fixes it at 32, too many for a small model), and a small model may look at the picture
with p x p neighbouring pixels folded into channels.

Pictures are float in [0, 1] outside; [-1, 1] is known only here.
Letters: B batch, D embed_dim, H W pixels, h w latent cells, K codebook entries.
"""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
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
    of 4 px it took a third of a decode, and more before it was fused.
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

    def __post_init__(self) -> None:
        # JSON knows lists only; a tuple keeps the config hashable.
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        object.__setattr__(self, "attn_resolutions", tuple(self.attn_resolutions))

    @property
    def cell(self) -> int:
        """Side in px of the square that one code paints."""
        return self.unshuffle * 2 ** (len(self.ch_mult) - 1)


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
        self.quantize = VectorQuantizer(config.n_embed, config.embed_dim, beta=0.25)
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
        model.load_state_dict(_checked(model.state_dict(), state), assign=True)
        return model.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    # -- pictures and latents -------------------------------------------------------------------------

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [B, D, h, w] of pictures [B, 3, H, W] in [0, 1]; H and W are multiples of `cell`."""
        folded = F.pixel_unshuffle(pictures * 2 - 1, self.config.unshuffle)
        return self.quant_conv(self.encoder(folded.contiguous(memory_format=torch.channels_last)))

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
        return self.quantize.embedding.weight

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
        # |z - e|^2 without the |z|^2 that all entries share: one matrix product, nothing else to add.
        norms = self._half_norms()
        nearest = [torch.addmm(norms, some, self.codebook.T, alpha=-1).argmin(1)
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
    return {name: value.float() for name, value in weights.items()}


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
