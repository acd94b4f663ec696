"""Tokens and legal actions: what a u32 of a trace means as an action of this configuration.

The one idea: a set of legal actions comes again and again, so what follows from it (the words of the mask, the legal
actions in order) is computed once and looked up by the set itself.
"""

import struct
from math import isfinite

from .errors import AdapterError, BadRequest

TOP_BIT = 0x80000000


class LegalSets(dict):
    """From what `legal(agent)` says (a bit mask or a tuple of bools) to (words of the mask, choices)."""

    def __init__(self, count, words):
        super().__init__()
        self.count = count
        self.words = words

    def __missing__(self, legal):
        if len(self) >= 65536:
            self.clear()
        if isinstance(legal, tuple):
            if len(legal) != self.count:
                raise AdapterError(f"legal() gave {len(legal)} bools, expected one for each of {self.count} actions")
            mask = sum(1 << place for place, one in enumerate(legal) if one)
        else:
            mask = int(legal)
            if not 0 <= mask < 1 << self.count:
                raise AdapterError(f"legal() gave the mask {mask:#x}, expected bits below {self.count}")
        words = tuple(mask >> 32 * word & 0xFFFFFFFF for word in range(self.words))
        # A deciding agent that may do nothing does action 0.
        choices = tuple(place for place in range(self.count) if mask >> place & 1) or IDLE
        self[legal] = words, choices
        return words, choices


# The choices of an agent that is not deciding.
IDLE = (0,)


def decoder(action, width):
    """A function from the tokens of a step and the choices of each agent to the list of actions.

    An agent's choices are IDLE itself when it isn't deciding. Its action is one number, or a tuple of them when `width` is
    not 1.
    """
    if action.kind == "continuous":
        one, idle = continuous, 0.0
    else:
        one, idle = _discrete(action), 0

    if width == 1:

        def decode(tokens, choices):
            return [idle if choice is None else one(token, choice) for token, choice in zip(tokens, choices)]

    else:
        resting = (idle,) * width

        def decode(tokens, choices):
            return [
                resting if choice is None else tuple([one(token, choice) for token in tokens[at : at + width]])
                for at, choice in zip(range(0, len(tokens), width), choices)
            ]

    return decode


def _discrete(action):
    count, extra = action.count, action.extra

    def one(token, choice):
        if extra and token & TOP_BIT:
            return count + (token & 0x7FFFFFFF) % extra
        return choice[token % len(choice)]

    return one


def continuous(token, _choice=None):
    """The f32 whose bits, rotated left by one, are the token."""
    value = _F32.unpack(_U32.pack(token >> 1 | (token & 1) << 31))[0]
    if not isfinite(value):
        raise BadRequest(f"the token {token:#010x} is {value} as an action")
    return value


_U32 = struct.Struct("<I")
_F32 = struct.Struct("<f")
