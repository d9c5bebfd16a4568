"""Looking: a judge's opinion of the picture and its slope, a few cutouts at a time.

Most of a step's memory is what CLIP keeps of every cutout for the way back. So the cutouts are judged in
chunks, each forwards and backwards at once; the slopes on the cutouts add up to the same gradient that one
large batch would give, because the loss is a mean over cutouts.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from metamusic.cutouts import make_cutouts
from metamusic.judges import Judge
from metamusic.plan import narrow
from metamusic.prompt import Prompt
from metamusic.settings import RenderSettings


def look(image: Tensor, judge: Judge, prompts: Sequence[Prompt], settings: RenderSettings, random: torch.Generator,
         at_once: int, scale: Tensor, precision: str = "float32") -> dict[str, Tensor]:
    """The losses of a judge's prompts by name; their gradient, times `scale`, is added to `image.grad`.

    image: a leaf [1, 3, H, W] that wants a gradient. at_once: how many cutouts CLIP judges together. scale: [],
    the loss scale of float16. precision: of CLIP; where the cutouts lie is always computed in float32.
    """
    losses: dict[str, Tensor] = defaultdict(lambda: image.new_zeros(()))
    cutouts = make_cutouts(image, judge.perceptor.input_size, settings, random)
    seen = cutouts.detach().requires_grad_()
    for chunk in seen.split(at_once):
        with narrow(image.device.type, precision):
            embeds = judge.perceptor.embed_images(chunk).float()  # [K, n, D]
        share = judge.weight * len(chunk) / len(seen)
        parts = [(prompt.name, share * prompt.loss(embeds)) for prompt in prompts]
        (scale * torch.stack([loss for _, loss in parts]).sum()).backward()
        for name, loss in parts:
            losses[name + judge.suffix] = losses[name + judge.suffix] + loss.detach()
    cutouts.backward(seen.grad)
    return dict(losses)
