"""Files as others publish them, with random weights, at any size.

Everything is made by the classes and the writers that made the published ones: taming's networks,
open_clip's CLIP, wav2clip's ResNet; torch.save, torch.jit.script, Lightning's own callback class.
Each writer gives back the reference that the numbers of an import are compared with.
"""

import contextlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import taming.modules.diffusionmodules.model as shipped
import torch
import yaml
from open_clip.model import CLIP, convert_weights_to_fp16
from safetensors.torch import save_file
from taming.modules.vqvae.quantize import VectorQuantizer
from torch import Tensor, nn
from torch.nn import functional as F
from wav2clip.model.encoder import MLPLayers, ResNetExtractor

from metamusic.vqgan import VQGANConfig

F16 = VQGANConfig()  # vqgan_imagenet_f16_16384
F8_GUMBEL = VQGANConfig(ch_mult=(1, 1, 2, 4), attn_resolutions=(32,), n_embed=8192, kind="gumbel")  # OpenImages f8
SMALL = VQGANConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(128,), z_channels=32, n_embed=64,
                    embed_dim=16)
SMALL_GUMBEL = VQGANConfig(ch=32, ch_mult=(1, 1, 2), num_res_blocks=1, attn_resolutions=(64,), z_channels=16,
                           n_embed=64, embed_dim=16, kind="gumbel")

SMALL_CLIP = "metamusic-tests-vit"  # 512 numbers wide, as Wav2CLIP needs it
SMALL_CUSTOM_CLIP = "metamusic-tests-custom"  # the text tower in a place of its own
NARROW_CLIP = "metamusic-tests-narrow"
_SHAPE = {"embed_dim": 512, "quick_gelu": True,
          "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
          "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}}


def small_clips(folder: Path) -> None:
    """Makes the three small CLIPs known to open_clip, in its own way: by a folder of configurations."""
    shapes = {SMALL_CLIP: _SHAPE, SMALL_CUSTOM_CLIP: {**_SHAPE, "custom_text": True},
              NARROW_CLIP: {**_SHAPE, "embed_dim": 64}}
    for name, shape in shapes.items():
        (folder / f"{name}.json").write_text(json.dumps(shape))
    open_clip.add_model_config(folder)


# -- VQGANs ------------------------------------------------------------------------------------------


class GumbelQuantize(nn.Module):
    """Taming's, by its published definition, which its package on PyPI lacks; without the noise."""

    def __init__(self, hidden: int, width: int, entries: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(hidden, entries, 1)
        self.embed = nn.Embedding(entries, width)

    def forward(self, latent: Tensor) -> Tensor:
        one_hot = F.one_hot(self.proj(latent).argmax(1), self.embed.num_embeddings).float()
        return torch.einsum("bhwn,nd->bdhw", one_hot, self.embed.weight)


class Taming(nn.Module):
    """Taming's parts as its VQModel and GumbelVQ put them together."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        words = ddconfig(config)
        with contextlib.redirect_stdout(io.StringIO()):
            self.encoder, self.decoder = shipped.Encoder(**words), shipped.Decoder(**words)
        self.quantize = (GumbelQuantize(config.z_channels, config.embed_dim, config.n_embed)
                         if config.kind == "gumbel" else VectorQuantizer(config.n_embed, config.embed_dim, 0.25))
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents and reconstructions, both as taming has them, of pictures in [-1, 1]."""
        quantised = self.quantize(self.quant_conv(self.encoder(pictures)))
        quantised = quantised if isinstance(quantised, Tensor) else quantised[0]
        return quantised, self.decoder(self.post_quant_conv(quantised))


def taming(config: VQGANConfig, seed: int = 0) -> Taming:
    """With random weights, and codes that lie far enough apart to tell them from each other."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Taming(config)
        entries = model.quantize.embed if config.kind == "gumbel" else model.quantize.embedding
        nn.init.normal_(entries.weight)
    return model


def ddconfig(config: VQGANConfig) -> dict[str, Any]:
    return {"double_z": False, "z_channels": config.z_channels, "resolution": config.resolution, "in_channels": 3,
            "out_ch": 3, "ch": config.ch, "ch_mult": list(config.ch_mult), "num_res_blocks": config.num_res_blocks,
            "attn_resolutions": list(config.attn_resolutions), "dropout": 0.0}


def vqgan_yaml(path: Path, config: VQGANConfig, net2net: bool = False, **changes: Any) -> Path:
    """The configuration as it is published beside a checkpoint; `changes` go into its ddconfig."""
    stage = {"target": "taming.models.vqgan." + ("GumbelVQ" if config.kind == "gumbel" else "VQModel"),
             "params": {"embed_dim": config.embed_dim, "n_embed": config.n_embed, "monitor": "val/rec_loss",
                        "ddconfig": ddconfig(config) | changes,
                        "lossconfig": {"target": "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator",
                                       "params": {"disc_start": 0, "disc_weight": 0.75}}}}
    whole = {"base_learning_rate": 4.5e-06, **stage}
    if net2net:
        whole = {"base_learning_rate": 4.5e-06, "target": "taming.models.cond_transformer.Net2NetTransformer",
                 "params": {"first_stage_config": stage, "cond_stage_config": "__is_unconditional__",
                            "transformer_config": {"target": "taming.modules.transformer.mingpt.GPT"}}}
    path.write_text(yaml.safe_dump({"model": whole}))
    return path


def lightning_vqgan(path: Path, config: VQGANConfig, callbacks: bool = True, legacy: bool = False,
                    net2net: bool = False) -> Taming:
    """A checkpoint of training: the weights among discriminator, optimiser and the callback's class."""
    model = taming(config)
    state = dict(model.state_dict())
    if net2net:
        state = {f"first_stage_model.{name}": value for name, value in state.items()}
        state |= {"transformer.blocks.0.attn.key.weight": torch.ones(4, 4), "cond_stage_model.emb": torch.ones(2)}
    else:
        state |= {"loss.discriminator.main.0.weight": torch.ones(4, 3, 4, 4), "loss.logvar": torch.zeros(())}
    whole: dict[str, Any] = {"epoch": 17, "global_step": 42, "pytorch-lightning_version": "1.0.8",
                             "state_dict": state, "lr_schedulers": [],
                             "optimizer_states": [{"state": {0: {"step": 1, "exp_avg": torch.ones(3)}}}]}
    if callbacks:
        whole["callbacks"] = {model_checkpoint(): {"best_model_score": torch.tensor(0.5), "best_model_path": "a.ckpt",
                                                   "current_score": None}}
    torch.save(whole, path, _use_new_zipfile_serialization=not legacy)
    return model


def model_checkpoint() -> type:
    """Lightning's class that old checkpoints have among their keys."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_lightning.callbacks.model_checkpoint import ModelCheckpoint
    return ModelCheckpoint


# -- CLIP and Wav2CLIP -----------------------------------------------------------------------------


def clip(model: str, seed: int = 0) -> nn.Module:
    """open_clip's own network with random weights."""
    config = open_clip.get_model_config(model)
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else CLIP
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**config).eval().requires_grad_(False)


def openai_clip_archive(path: Path, model: str) -> nn.Module:
    """A TorchScript archive like OpenAI's: half precision, and three numbers among its buffers."""
    network = clip(model)
    convert_weights_to_fp16(network)
    reference = clip(model)
    reference.load_state_dict(network.state_dict())  # what halving left, in single precision
    numbers = {"input_resolution": network.visual.image_size[0], "context_length": network.context_length,
               "vocab_size": network.vocab_size}
    for name, value in numbers.items():
        if hasattr(network, name):
            delattr(network, name)
        network.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(path))
    return reference


def open_clip_safetensors(path: Path, model: str) -> nn.Module:
    """The file that open_clip publishes today."""
    network = clip(model)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path, {"format": "pt"})
    return network


@dataclass(frozen=True)
class Wav2CLIP:
    """wav2clip's own network from a checkpoint, as its package builds it."""

    state: dict[str, Tensor]

    def __call__(self, clips: Tensor) -> Tensor:
        model = ResNetExtractor(self.state, scenario="frozen", transform=True).eval()
        with torch.no_grad():
            return F.normalize(model(clips), dim=-1)


def wav2clip_pt(path: Path, legacy: bool = False) -> Wav2CLIP:
    """The file of the release: both towers' transforms, and the audio encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNetExtractor(scenario="supervise")
        model.transform = MLPLayers()
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        state = {f"audio_{name}": value.detach().clone() for name, value in model.state_dict().items()}
        state |= {f"image_transform.{name}": value.clone() for name, value in MLPLayers().state_dict().items()}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return Wav2CLIP(state)
