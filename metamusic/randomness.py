"""Counted randomness: every draw has an address instead of a place in a stream.

A render draws from (seed, purpose, frame, step ...). Resuming therefore needs no generator state, and
no draw can shift another. The idea is Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3";
here SHA-256 turns the address into the seed of an ordinary CPU generator, so every device sees the
same numbers.
"""

import hashlib

import torch


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A fresh CPU generator for one address; equal addresses give equal draws."""
    address = ":".join([str(seed), purpose, *map(str, counters)])
    digest = hashlib.sha256(address.encode()).digest()
    fresh = torch.Generator()
    fresh.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    return fresh
