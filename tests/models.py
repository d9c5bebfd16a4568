"""Small real models with random weights: the same classes as any pack's, in sizes a test can afford."""

from pathlib import Path

import numpy as np
import torch

from metamusic.packs import Bank, Models
from metamusic.perceptor import AudioConfig, ClipConfig, Perceptor, PerceptorConfig
from metamusic.song import SAMPLE_RATE, Song
from metamusic.vqgan import VQGAN, VQGANConfig

PERCEPTOR = PerceptorConfig(
    space="tests/tiny", image_towers=2,
    clip=ClipConfig(
        embed_dim=16, vision={"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
        text={"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}),
    audio=AudioConfig(space="tests/tiny", width=4, level="absolute", pool="mean+std", window_s=2.0))
VQGAN_CONFIG = VQGANConfig(ch=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(), z_channels=8,
                           resolution=32, n_embed=32, embed_dim=4, unshuffle=2, norm_groups=2,
                           mid_attention=False)


def tiny_models(bank: bool = True) -> Models:
    """A perceptor with two image towers, an f4 VQGAN and, if asked, a bank of 20 random pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        perceptor, vqgan = Perceptor(PERCEPTOR), VQGAN(VQGAN_CONFIG)
        torch.nn.init.normal_(vqgan.quantize.embedding.weight)
        codes = torch.randint(0, 32, (20, 16, 16))
        embeds = torch.nn.functional.normalize(torch.randn(20, 16), dim=-1)
    return Models(info=None, vqgan=vqgan, perceptor=perceptor, device=torch.device("cpu"),
                  bank=Bank(codes=codes.to(torch.uint16), embeds=embeds) if bank else None)


def make_song(seconds: float = 3.0, silent: bool = False) -> Song:
    """Noise whose loudness swells, or silence."""
    count = round(seconds * SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(0, 0.2, count) * np.linspace(0.1, 1, count)
    waveform = np.zeros(count, np.float32) if silent else noise.astype(np.float32)
    return Song(path=Path("noise.wav"), digest="0" * 64, title="noise", waveform=waveform,
                start_s=0.0, duration_s=seconds, notes=())
