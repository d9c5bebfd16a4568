"""A small catalogue of files as others publish them, and a web server that has them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import official
import torch
from hostile import Answer, Hostile

PACKS = """
[files.{key}]
role = "{role}"
name = "{name}"
{size}
{sha256}
urls = [{urls}]
licence = "{key}: as you like."
source = "https://example.org/{key}"
"""


@dataclass
class Shop:
    """files: content by the key of the catalogue. The packs `tiny` and `twin` share CLIP and Wav2CLIP; their
    VQGANs have the same shape. `judge` has the CLIP alone."""

    folder: Path
    server: Hostile
    files: dict[str, bytes]

    def answer(self, key: str, *answers: Answer) -> None:
        self.server.serve(key, *answers)

    def asked(self) -> list[str]:
        return [path for path, _, _ in self.server.asked]


def open_shop(folder: Path, server: Hostile, stated: tuple[str, ...] = ("tiny-vqgan", "tiny-clip")) -> Shop:
    """Write files and catalogue.toml; `stated`: the files whose hash and size the catalogue knows."""
    official.small_clips(folder)
    official.lightning_vqgan(folder / "tiny-vqgan", official.SMALL)
    torch.save({"state_dict": official.taming(official.SMALL, seed=1).state_dict()}, folder / "twin-vqgan")
    official.openai_clip_archive(folder / "tiny-clip", official.SMALL_CLIP)
    official.wav2clip_pt(folder / "tiny-wav2clip")
    roles = {"tiny-vqgan": "vqgan", "twin-vqgan": "vqgan", "tiny-clip": "clip", "tiny-wav2clip": "wav2clip"}
    files = {key: (folder / key).read_bytes() for key in roles}
    text = "".join(_entry(key, role, files[key], server, key in stated) for key, role in roles.items())
    config = {"ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [128], "z_channels": 32,
              "n_embed": 64, "embed_dim": 16}
    shape = ", ".join(f"{name} = {json.dumps(value)}" for name, value in config.items())
    for name, parts in {"tiny": ("tiny-vqgan", "tiny-wav2clip"), "twin": ("twin-vqgan", "tiny-wav2clip"),
                        "judge": ()}.items():
        text += f'\n[packs.{name}]\ntitle = "The {name}"\nclip = "tiny-clip"\nspace = "test/small"\n'
        text += f'clip_model = "{official.SMALL_CLIP}"\ndefaults = {{ steps = 7 }}\ncard = "A {name}."\n'
        if parts:
            text += f'vqgan = "{parts[0]}"\nwav2clip = "{parts[1]}"\nconfig = {{ {shape} }}\n'
    (folder / "catalogue.toml").write_text(text, encoding="utf-8")
    shop = Shop(folder, server, files)
    for key, content in files.items():
        shop.answer(key, Answer(content))
    return shop


def _entry(key: str, role: str, content: bytes, server: Hostile, stated: bool) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return PACKS.format(key=key, role=role, name=f"{key}.pt", urls=f'"{server.url}/{key}"',
                        size=f"bytes = {len(content)}" if stated else f"about = {len(content)}",
                        sha256=f'sha256 = "{digest}"' if stated else "")
