"""Draws: the random numbers that the harness gives to an environment, and the log of all that were drawn.

Threefry in plain Python costs microseconds, so it is computed for sixteen blocks at once: a Python integer of 1,024 bits
holds sixteen words, each in a slot of 64 bits, and one `+` or `^` works on all of them. The blocks are the first
four of this and the next three episodes, because most episodes are short; a long one gets sixteen of its own.
"""

from struct import Struct

from .errors import AdapterError

UNNAMED = 0xFFFFFFFF
WORD_BOUND = 1 << 32

SEEDED, LISTED = 0, 1


class Draws:
    """The draws of one lane. An environment calls `below`, `word` and `note`; the rest is for the SDK."""

    def __init__(self, sites):
        self.sites = sites
        self.log = []  # site, bound, value, site, bound, value, …
        self.start(0, 0, 0)

    def below(self, bound, site=None):
        """A uniform number in 0 … bound - 1, asked for at a site of the manifest."""
        at = self._at
        self._at = at + 1
        try:
            word = self._words[at]
        except IndexError:
            word = self._refill(at)
        if not 0 < bound < WORD_BOUND:
            raise ValueError(f"below({bound}): the bound must be 1 to 2^32 - 1")
        value = word % bound if self.listed else word * bound >> 32
        self.log += (self.sites[site], bound, value)
        return value

    def word(self, site=None):
        """A whole u32."""
        at = self._at
        self._at = at + 1
        try:
            word = self._words[at]
        except IndexError:
            word = self._refill(at)
        self.log += (self.sites[site], WORD_BOUND, word)
        return word

    def note(self, bound, value, site=None):
        """Logs a draw that the environment made with a generator of its own."""
        self.log += (self.sites[site], bound, value)

    def start(self, seed, stream, episode, index=0, listed=None):
        """Begins anew: seeded at `index` of an episode, or with a list at the place `index`."""
        self.listed = listed is not None
        self._episode = episode
        self._key = (seed, stream)
        self._keys = None
        self._ahead = {}
        if self.listed:
            self._words, self._base, self._at = listed, 0, index
        else:
            self._words, self._base, self._at = [], index, 0

    def next_episode(self, episode):
        """Goes to the first draw of an episode; a list keeps its place."""
        self._episode = episode
        if not self.listed:
            self._words = self._ahead.pop(episode, None) or []
            self._base = self._at = 0

    def append(self, values):
        """More values for the list; a seeded lane becomes listed, starting with these."""
        if self.listed:
            self._words.extend(values)
        else:
            self.start(*self._key, self._episode, 0, list(values))

    @property
    def index(self):
        """The index of the next draw, or the place in the list."""
        return self._base + self._at

    def state(self):
        """What a snapshot keeps; `start(*state)` brings it back."""
        return (*self._key, self._episode, self.index, list(self._words) if self.listed else None)

    def _refill(self, at):
        if self.listed:
            return 0
        index = self._base + at
        block = index >> 2
        if self._keys is None:
            self._keys = expand(*self._key)
        episode = self._episode
        if block < 4:
            episodes = [episode + place for place in range(4)]
            words = blocks(self._keys, [block + place for place in range(4)] * 4, [e for e in episodes for _ in range(4)])
            if block == 0:
                self._ahead = {e: words[16 * place : 16 * place + 16] for place, e in enumerate(episodes) if place}
            words = words[:16]
        else:
            words = blocks(self._keys, range(block, block + 16), [episode] * 16)
        self._words, self._base = words, block << 2
        self._at = index - self._base + 1
        return words[index - self._base]


class UnloggedDraws(Draws):
    """The same numbers without the log: what an environment would draw by itself, for measuring it alone."""

    def below(self, bound, site=None):
        at = self._at
        self._at = at + 1
        try:
            word = self._words[at]
        except IndexError:
            word = self._refill(at)
        if not 0 < bound < WORD_BOUND:
            raise ValueError(f"below({bound}): the bound must be 1 to 2^32 - 1")
        return word % bound if self.listed else word * bound >> 32

    def word(self, site=None):
        at = self._at
        self._at = at + 1
        try:
            return self._words[at]
        except IndexError:
            return self._refill(at)

    def note(self, bound, value, site=None):
        pass


class Sites(dict):
    """From the name of a site to its number in the manifest; None is a draw without a site."""

    def __init__(self, names, named):
        super().__init__({name: place if named else UNNAMED for place, name in enumerate(names)})
        self[None] = UNNAMED
        self.named = named

    def __missing__(self, site):
        if not self.named:
            return UNNAMED
        known = ", ".join(str(name) for name in self if name is not None)
        raise AdapterError(f"the draw site {site!r} is not in the manifest, which has: {known or 'none'}")


def expand(seed, stream):
    """The key schedule of a lane, each word repeated in all sixteen slots."""
    mask = 0xFFFFFFFF
    key = [seed & mask, seed >> 32, stream & mask, stream >> 32]
    key.append(key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1BD11BDA)
    return [word * _ONES for word in key]


def blocks(keys, counters, episodes):
    """Sixteen blocks of Threefry-4x32-20: 64 words, those of a block side by side."""
    mask = _MASK
    episodes = [episode & 0xFFFFFFFF for episode in episodes]
    counters = [counter & 0xFFFFFFFF for counter in counters]
    a = int.from_bytes(_SLOTS.pack(*counters), "little") + keys[0] & mask
    b = int.from_bytes(_SLOTS.pack(*episodes), "little") + keys[1] & mask
    c = keys[2]
    d = keys[3]
    # A shift to the right pushes bits into the upper half of the neighbour's slot; `& mask` drops them.
    for turn, ((r0, r1), (r2, r3), (r4, r5), (r6, r7)) in enumerate(_TURNS, 1):
        a = a + b & mask
        b = (b << r0 | b >> 32 - r0) & mask ^ a
        c = c + d & mask
        d = (d << r1 | d >> 32 - r1) & mask ^ c
        a = a + d & mask
        d = (d << r2 | d >> 32 - r2) & mask ^ a
        c = c + b & mask
        b = (b << r3 | b >> 32 - r3) & mask ^ c
        a = a + b & mask
        b = (b << r4 | b >> 32 - r4) & mask ^ a
        c = c + d & mask
        d = (d << r5 | d >> 32 - r5) & mask ^ c
        a = a + d & mask
        d = (d << r6 | d >> 32 - r6) & mask ^ a
        c = c + b & mask
        b = (b << r7 | b >> 32 - r7) & mask ^ c
        a = a + keys[turn % 5] & mask
        b = b + keys[(turn + 1) % 5] & mask
        c = c + keys[(turn + 2) % 5] & mask
        d = d + keys[(turn + 3) % 5] + turn * _ONES & mask
    first = _PAIRS.unpack((a | b << 32).to_bytes(128, "little"))
    second = _PAIRS.unpack((c | d << 32).to_bytes(128, "little"))
    words = [0] * 64
    words[0::4] = first[0::2]
    words[1::4] = first[1::2]
    words[2::4] = second[0::2]
    words[3::4] = second[1::2]
    return words


_ONES = sum(1 << 64 * slot for slot in range(16))
_MASK = 0xFFFFFFFF * _ONES
_SLOTS = Struct("<16Q")
_PAIRS = Struct("<32I")
_EVEN = ((10, 26), (11, 21), (13, 27), (23, 5))
_ODD = ((6, 20), (17, 11), (25, 10), (18, 20))
_TURNS = (_EVEN, _ODD, _EVEN, _ODD, _EVEN)
