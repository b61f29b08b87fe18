"""Files of which a bit has changed."""

import random


def flips(data, seed, count):
    """Copies of bytes, each with another bit changed; `count` of them, at random places."""
    for bit in random.Random(seed).sample(range(8 * len(data)), count):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
