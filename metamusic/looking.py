"""Looking: a judge's opinion of the picture and its slope, a few cutouts at a time.

Most of a step's memory is what CLIP keeps of every cutout for the way back. So the cutouts are judged in
chunks, each forwards and backwards at once; the slopes on the cutouts add up to the same gradient that one
large batch would give, because the loss is a mean over cutouts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from metamusic.cutouts import make_cutouts
from metamusic.judges import Judge
from metamusic.masks import Masks, masked
from metamusic.phrases import Where
from metamusic.prompt import Prompt
from metamusic.settings import RenderSettings


def look(image: Tensor, judge: Judge, prompts: Sequence[Prompt], masks: Masks, settings: RenderSettings,
         random: Callable[[], torch.Generator], at_once: int, scale: Tensor) -> dict[str, Tensor]:
    """The losses of a judge's prompts by name; their gradient, times `scale`, is added to `image.grad`.

    image: a leaf [1, 3, H, W] that wants a gradient. random: gives the generator of this step's cutouts,
    the same for every part of the picture. at_once: how many cutouts CLIP judges together.
    """
    losses: dict[str, Tensor] = defaultdict(lambda: image.new_zeros(()))
    for where, some in _by_place(prompts).items():
        cutouts = make_cutouts(masked(image, masks.of(where, image.detach())), judge.perceptor.input_size,
                               settings, random())
        seen = cutouts.detach().requires_grad_()
        for chunk in seen.split(at_once):
            for name, loss in _judge(chunk, len(seen), judge, some, scale):
                losses[name] = losses[name] + loss
        if seen.grad is not None:
            cutouts.backward(seen.grad)
    return dict(losses)


def _judge(chunk: Tensor, whole: int, judge: Judge, prompts: Sequence[Prompt],
           scale: Tensor) -> Iterable[tuple[str, Tensor]]:
    """Some of the cutouts, forwards and backwards; what they add to each prompt's loss."""
    embeds = judge.perceptor.embed_images(chunk).float()  # [K, n, D]
    share = judge.weight * len(chunk) / whole
    losses = [(prompt.name, share * prompt.loss(embeds)) for prompt in prompts]
    (scale * torch.stack([loss for _, loss in losses]).sum()).backward()
    suffix = f", {judge.name}" if judge.name else ""
    return [(name + suffix, loss.detach()) for name, loss in losses]


def _by_place(prompts: Sequence[Prompt]) -> dict[Where, list[Prompt]]:
    """Prompts that act in the same part of the picture are judged together."""
    groups: dict[Where, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        groups[prompt.where].append(prompt)
    return groups
