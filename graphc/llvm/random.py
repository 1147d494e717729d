"""Random numbers by counting: Philox4x32-10 words, and uniform and normal numbers from them.

The words are those of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel Random
Numbers: As Easy as 1, 2, 3 (SC 2011). The counter is (position low, position high, step, stream),
the key (seed low, seed high), each 32 bits. Everything here is integer arithmetic or correctly
rounded, unfused floating arithmetic, so the bits are the same on every target and for any number
of lanes. seed, step, stream and position are int64; those of one lane are repeated.
"""

from __future__ import annotations

from graphc.llvm.exponential import LN2, LOG, decompose
from graphc.llvm.lanes import Lanes, horner_unfused, where
from graphc.llvm.trigonometric import QUARTER_COSINE, QUARTER_SINE

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF
ROUNDS = 10

# As trigonometric.QUARTER_SINE and QUARTER_COSINE, to float64: errors 2**-68.8 and 2**-64.6.
SINE = {
    "float32": QUARTER_SINE,
    "float64": (
        1.5707963267948966,
        -0.6459640975062463,
        0.07969262624616692,
        -0.004681754135314724,
        0.00016044118472547766,
        -3.5988427100426764e-06,
        5.691925756971062e-08,
        -6.627382527292204e-10,
    ),
}
COSINE = {
    "float32": QUARTER_COSINE,
    "float64": (
        1.0,
        -1.2337005501361697,
        0.2536695079010466,
        -0.020863480763307893,
        0.0009192602741451495,
        -2.520203654682664e-05,
        4.710603200387429e-07,
        -6.320508518205218e-09,
    ),
}


def philox(seed: Lanes, step: Lanes, stream: Lanes, position: Lanes) -> tuple[Lanes, ...]:
    """The four words of Philox4x32-10, each in the low half of an int64 lane."""
    lanes = max(operand.value.lanes for operand in (seed, step, stream, position))
    counter = (position & MASK, position.unsigned_shift(32), step & MASK, stream & MASK)
    a, b, c, d = (word.widen(lanes) for word in counter)
    keys = (seed & MASK, seed.unsigned_shift(32))
    for index in range(ROUNDS):
        first, second = (
            ((key + index * weyl) & MASK).widen(lanes) for key, weyl in zip(keys, WEYL, strict=True)
        )
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (
            right.unsigned_shift(32) ^ b ^ first,
            right & MASK,
            left.unsigned_shift(32) ^ d ^ second,
            left & MASK,
        )
    return a, b, c, d


def fraction64(high: Lanes, low: Lanes) -> Lanes:
    """The first 53 bits of two words as a float64 in [0, 1)."""
    bits = ((high << 32) | low).unsigned_shift(11)
    # 26 and 27 bits apart: each half converts from int32, which every vector unit does.
    upper = bits.unsigned_shift(27).convert("trunc", "int32").convert("sitofp", "float64")
    lower = (bits & (1 << 27) - 1).convert("trunc", "int32").convert("sitofp", "float64")
    return upper * 2.0**-26 + lower * 2.0**-53


def uniform32(seed: Lanes, step: Lanes, stream: Lanes, position: Lanes) -> Lanes:
    """A float32 in [0, 1): the first 24 bits of word 0; exact."""
    word = philox(seed, step, stream, position)[0]
    top = word.unsigned_shift(8).convert("trunc", "int32")
    return top.convert("sitofp", "float32") * 2.0**-24


def uniform64(seed: Lanes, step: Lanes, stream: Lanes, position: Lanes) -> Lanes:
    """A float64 in [0, 1): the first 53 bits of words 0 and 1; exact."""
    return fraction64(*philox(seed, step, stream, position)[:2])


def normal32(seed: Lanes, step: Lanes, stream: Lanes, position: Lanes) -> Lanes:
    """A float32 of the standard normal distribution, by Box and Muller (1958).

    sqrt(-2*log(u)) * cos(2*pi*v) with u the first 31 bits of word 0, plus a half, and v word 1 as
    a signed fraction of a turn. At most 6.7 in magnitude; within 2**-20 of the exact formula.
    """
    word, angle = (w.convert("trunc", "int32") for w in philox(seed, step, stream, position)[:2])
    u = word.unsigned_shift(1).convert("sitofp", "float32") * 2.0**-31 + 2.0**-32
    quadrant = (angle + (1 << 29)) >> 30
    r = (angle - (quadrant << 30)).convert("sitofp", "float32") * 2.0**-30
    return radius(u) * cosine(quadrant, r)


def normal64(seed: Lanes, step: Lanes, stream: Lanes, position: Lanes) -> Lanes:
    """A float64 of the standard normal distribution, as normal32.

    u from words 0 and 1, plus a half of its last bit, v from words 2 and 3. At most 8.6 in
    magnitude; within 2**-48 of the exact formula.
    """
    words = philox(seed, step, stream, position)
    u = fraction64(words[0], words[1]) + 2.0**-54
    turns = fraction64(words[2], words[3]) * 4.0
    whole = (turns + 0.5).convert("fptosi", "int32")
    return radius(u) * cosine(whole, turns - whole.convert("sitofp", "float64"))


def radius(u: Lanes) -> Lanes:
    """sqrt(-2*log(u)) for u in (0, 1]."""
    high, low = LN2[u.dtype]
    k, f = decompose(u)
    squared = f * f
    rest = squared * f * horner_unfused(f, LOG[u.dtype]) - squared * 0.5
    logarithm = k * high + (f + (rest + k * low))
    return (logarithm * -2.0).intrinsic("llvm.sqrt")


def cosine(quadrant: Lanes, r: Lanes) -> Lanes:
    """cos(pi/2 * (quadrant + r)) for |r| <= 1/2."""
    z = r * r
    even = horner_unfused(z, COSINE[r.dtype])
    odd = -(r * horner_unfused(z, SINE[r.dtype]))
    value = where((quadrant & 1).equals(0), even, odd)
    return where((quadrant & 2).equals(0), value, -value)
