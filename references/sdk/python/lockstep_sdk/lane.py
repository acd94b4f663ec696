"""One lane: an environment with its header, its draws, its chain, and the loop that plays tokens and writes records.

A reference is often a microsecond fast, so `_play_plain` is written for speed: what every step needs stands inline, what changes
seldom (the legal actions, the observation) is recognised by equality or identity and reused. `_play_detailed` is
the same loop in plain words, for everything but plain digests; a test holds the two together. Where there is an accelerator
`_play_fast` takes the place of `_play_plain`, and C calls the methods marked `C:`.
"""

import struct
from collections import namedtuple

from . import accel
from .digest import DIGESTS
from .errors import AdapterError, Refused, user_frames
from .schema import pack_observations, packers
from .tokens import IDLE, LegalSets, decoder

STEP, RESET, INJECT = 0, 1, 2
TERMINATED, TRUNCATED = 1 << 8, 1 << 9
DIGEST, FULL, STATE = 0, 1, 2

# What an environment gets for a reset: the header of its lane.
Start = namedtuple("Start", "seed stream episode elapsed")


class Rows(list):
    """Takes the rows of one step, one tuple each; `grain` is the name of what was asked for."""

    grain = None


class Layout:
    """What all lanes of a session share: the adapter, the setup and the compiled layouts."""

    def __init__(self, adapter, setup):
        self.adapter = adapter
        self.setup = setup
        self.digest = DIGESTS[setup.digest]
        action = setup.action
        self.masked = action.mask
        self.stride = setup.agents * setup.width
        # One token, one agent and a list of choices: decoded without a call.
        self.single = self.stride == 1 and action.kind == "discrete" and action.extra == 0
        self.decode = decoder(action, setup.width)
        self.legal_sets = LegalSets(action.count, action.mask_words)
        self.idle_words = (0,) * action.mask_words
        self.free = range(action.count) if action.kind == "discrete" else ()
        self.flat = hasattr(adapter, "record")
        self.all_deciding = (1 << setup.agents) - 1
        self.heads = {deciders: deciders << 16 for deciders in range(1 << setup.agents)}
        self.flat_packers = packers(setup, self.flat, True)
        self.whole_packers = packers(setup, self.flat, False)
        fields = setup.canonical.all
        places = []
        at = 0
        for field in fields:
            if field.region:
                places.append((at, field))
            at += field.count if self.flat and not field.region else 1
        self.regions = places
        code = setup.canonical.flat_code if self.flat else setup.canonical.whole_code
        self.canonical = struct.Struct("<" + code)
        state = [
            field.code if self.flat or field.single or field.region else f"{field.size}s" for field in fields
        ]
        self.state = struct.Struct("<" + "".join(state))
        self.rewards = struct.Struct("<" + setup.reward_code * setup.agents)
        self.no_rewards = (0,) * setup.agents
        self.player = accel.player_of(self)

    def digested(self, values):
        """The values with each region replaced by its digest."""
        values = list(values)
        for at, field in self.regions:
            values[at] = self.digest(0, field.pack(values[at], self.adapter.record if self.flat else self.adapter.canonical))
        return values

    def whole(self, values):
        """The values with each region as bytes, as `struct` wants them."""
        values = list(values)
        for at, _ in self.regions:
            values[at] = bytes(values[at])
        return values


class Lane:
    def __init__(self, layout, number):
        self.layout = layout
        self.number = number
        self.draws = accel.draws_of(layout.setup.sites)
        self.seed = self.stream = self.episode = self.elapsed = self.chain = 0
        # False while something is done with the lane and after it failed.
        self.ready = False
        self.env = layout.adapter(layout.setup, self.draws)
        self.bind()

    def bind(self):
        """Takes hold of the environment's methods; again whenever `env` is another object."""
        env, layout = self.env, self.layout
        if not hasattr(env, "deciders"):
            env.deciders = layout.all_deciding
        if layout.flat:
            self.values = env.record
        else:
            canonical, fields = env.canonical, layout.setup.canonical
            self.values = lambda: fields.values(canonical(), canonical)
        if layout.regions:
            values, digested = self.values, layout.digested
            self.record_values = lambda: digested(values())
        else:
            self.record_values = self.values
        self.legal = None
        self.forget()

    def forget(self):
        """Whatever was kept of the last step may be stale."""
        self.written = None
        self.view = ()
        self.packs = self.layout.flat_packers

    # What the judge asks for.

    def reset(self, start, listed, mode):
        self.ready = False
        self.seed, self.stream, self.episode, self.elapsed = start
        del self.draws.log[:]
        self.draws.start(start.seed, start.stream, start.episode, 0, listed)
        self.forget()
        self.env.reset(start)
        return self._begin(RESET, mode)

    def inject(self, start, index, listed, state, observations, mode):
        layout = self.layout
        setup = layout.setup
        self.ready = False
        self.seed, self.stream, self.episode, self.elapsed = start
        del self.draws.log[:]
        self.draws.start(start.seed, start.stream, start.episode, index, listed)
        self.forget()
        fields = setup.canonical.unpack(state)
        self.env.inject(start, fields, self._unpack_observations(observations))
        # An environment that quietly made something else of the state would be compared from a wrong start.
        del self.draws.log[:]
        if self._state() != bytes(state):
            made = setup.canonical.unpack(self._state())
            wrong = ", ".join(f"`{name}`" for name in fields if fields[name] != made[name])
            raise Refused(f"the injected state can't be reproduced: {wrong or 'some bits'} came out differently")
        if pack_observations(setup, self.env.observations) != bytes(observations):
            raise Refused("the injected observations can't be reproduced")
        return self._begin(INJECT, mode)

    def play(self, tokens, window, mode=DIGEST, grain=None):
        """All steps of the tokens, given as bytes; returns (episodes ended, chain after each window, record count, what
        travels of the records)."""
        self.ready = False
        layout = self.layout
        del self.draws.log[:]
        self._told = 0
        self._ended = 0
        plain = mode == DIGEST and grain is None
        if plain and layout.player is not None:
            chains = self._play_fast(layout.player, tokens, window)
            self.ready = True
            return self._ended, chains, None, []
        tokens = struct.unpack(f"<{len(tokens) // 4}I", tokens)
        step_count = len(tokens) // layout.stride
        chains, sent = [], []
        record_count = 0
        for begin in range(0, step_count, window):
            end = min(begin + window, step_count)
            if plain:
                parts = self._play_plain(tokens, begin, end)
            else:
                parts = self._play_detailed(tokens, begin, end, mode, grain, sent)
            record_count += len(parts)
            self.chain = layout.digest(self.chain, b"".join(parts))
            chains.append(self.chain)
        self.ready = True
        return self._ended, chains, record_count, sent

    def recall(self):
        """Looks at an environment that was just restored, without a record."""
        self._told = 0
        self._find_legal()
        self.masks, self.choices = self._survey(self.env.deciders)
        self._look(self.env.observations)

    # The loop, three times.

    def _play_fast(self, player, tokens, window):
        layout, env = self.layout, self.env
        values, legal = self.values, self.legal
        single, masked, agents = layout.single, layout.masked, range(layout.setup.agents)
        if not masked:
            # Any answer will do.
            legal = bool
        note, no_rewards, harness_resets = player.note, layout.no_rewards, layout.setup.harness_resets
        rewards = None
        chains = []
        step_count = len(tokens) // (4 * layout.stride)
        begun = -self.elapsed
        try:
            actions = player.begin(self, tokens, self.choices, self.draws.log)
            for begin in range(0, step_count, window):
                step = env.step
                rewards = None
                for at in range(begin, min(begin + window, step_count)):
                    rewards, terminated, truncated = step(actions)
                    ended = terminated or truncated
                    if ended:
                        ended = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
                    head = ended or STEP
                    while True:
                        deciders = env.deciders
                        if single:
                            answer = legal(0) if deciders else player
                        else:
                            answer = [legal(agent) if deciders >> agent & 1 else player for agent in agents]
                        actions = note(head, deciders, answer, env.observations, values(), rewards)
                        if not ended:
                            break
                        ended = False
                        begun = at + 1
                        self._next_episode()
                        if not harness_resets:
                            break
                        head, rewards = RESET, no_rewards
                self.chain = player.close(self.chain)
                chains.append(self.chain)
        except _SUSPECTS as error:
            self._diagnose(error, rewards)
        finally:
            choices = player.end()
        self.elapsed = step_count - begun
        self.choices = choices[0] if single else choices
        self.written = None
        return chains

    def _play_plain(self, tokens, begin, end):
        layout, env, setup = self.layout, self.env, self.layout.setup
        step, values, legal, log = env.step, self.record_values, self.legal, self.draws.log
        single, stride, decode, heads = layout.single, layout.stride, layout.decode, layout.heads
        legal_sets = layout.legal_sets if layout.masked and single else None
        idle, free, survey = (layout.idle_words, IDLE), layout.free, self._survey
        no_rewards, harness_resets = layout.no_rewards, setup.harness_resets
        view_count = setup.observation_values
        flat_packers, packs = layout.flat_packers, self.packs
        pack_quiet = packs[0]
        written, view, choices, masks = self.written, self.view, self.choices, self.masks
        told, elapsed = self._told, self.elapsed
        rewards = None
        parts = []
        append = parts.append
        try:
            for at in range(begin, end):
                if single:
                    actions = (choices[tokens[at] % len(choices)],)
                else:
                    actions = decode(tokens[at * stride : at * stride + stride], choices)
                rewards, terminated, truncated = step(actions)
                elapsed += 1
                ended = terminated or truncated
                head = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0) if ended else STEP
                # Once for the step, and once more for the reset when it ended an episode.
                while True:
                    deciders = env.deciders
                    if legal_sets is not None:
                        masks, choices = legal_sets[legal(0)] if deciders else idle
                    elif single:
                        choices = free if deciders else IDLE
                    else:
                        masks, choices = survey(deciders)
                    if written is None or env.observations is not written:
                        written = env.observations
                        if type(written) is tuple and len(written) == view_count:
                            view = written
                            packs = flat_packers
                        else:
                            self._look(written)
                            written, view, packs = self.written, self.view, self.packs
                        pack_quiet = packs[0]
                    fields = values()
                    if len(log) == told:
                        append(pack_quiet(head | heads[deciders], 0, *fields, *masks, *view, *rewards))
                    else:
                        drawn = log[told:]
                        told += len(drawn)
                        count = len(drawn) // 3
                        append(packs[count](head | heads[deciders], count, *drawn, *fields, *masks, *view, *rewards))
                    if not ended:
                        break
                    ended = False
                    elapsed = 0
                    self._next_episode()
                    if not harness_resets:
                        break
                    head, rewards = RESET, no_rewards
        except _SUSPECTS as error:
            self._diagnose(error, rewards)
        self._told, self.elapsed = told, elapsed
        self.written, self.view, self.packs = written, view, packs
        self.choices, self.masks = choices, masks
        return parts

    def _play_detailed(self, tokens, begin, end, mode, grain, sent):
        layout, stride = self.layout, self.layout.stride
        parts = []
        rewards = None
        rows = None
        try:
            for at in range(begin, end):
                step_tokens = tokens[at * stride : at * stride + stride]
                if layout.single:
                    actions = (self.choices[step_tokens[0] % len(self.choices)],)
                else:
                    actions = layout.decode(step_tokens, self.choices)
                if grain is None:
                    rewards, terminated, truncated = self.env.step(actions)
                else:
                    rows = Rows()
                    rows.grain = layout.setup.grains[grain][0]
                    rewards, terminated, truncated = self.env.step(actions, rows)
                    rows = self._pack_rows(rows, layout.setup.grains[grain][1])
                self.elapsed += 1
                kind = STEP | (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
                parts.append(self._observe(kind, rewards, mode, rows, sent))
                if terminated or truncated:
                    self.elapsed = 0
                    self._next_episode()
                    if layout.setup.harness_resets:
                        parts.append(self._observe(RESET, None, mode, None, sent))
                        if grain is not None and mode != DIGEST:
                            sent.append(_NO_ROWS)
        except _SUSPECTS as error:
            self._diagnose(error, rewards)
        return parts

    def _next_episode(self):
        self._ended += 1
        self.episode = self.episode + 1 & 0xFFFFFFFF
        self.draws.next_episode(self.episode)
        if self.layout.setup.harness_resets:
            self.env.reset(Start(self.seed, self.stream, self.episode, 0))

    # Records.

    def _begin(self, kind, mode):
        """The first record after a reset or an injection."""
        self._told = 0
        sent = []
        try:
            record = self._observe(kind, None, mode, None, sent)
        except _SUSPECTS as error:
            self._diagnose(error, self.layout.no_rewards)
        self.chain = self.layout.digest(0, record)
        self.ready = True
        return b"".join(sent)

    def _observe(self, kind, rewards=None, mode=DIGEST, rows=None, sent=None):
        """Looks at the environment and returns the record; with a mode, what travels is appended to `sent`."""
        layout, env = self.layout, self.env
        deciders = env.deciders
        head = kind | layout.heads[deciders]
        if self.legal is None:
            self._find_legal()
        self.masks, self.choices = self._survey(deciders)
        if self.written is None or env.observations is not self.written:
            self._look(env.observations)
        fields = self.record_values()
        drawn = self.draws.log[self._told :]
        self._told += len(drawn)
        count = len(drawn) // 3
        rewards = layout.no_rewards if rewards is None else rewards
        record = self.packs[count](head, count, *drawn, *fields, *self.masks, *self.view, *rewards)
        if mode == DIGEST and rows is None:
            return record
        before = 8 + 20 * count
        after = before + layout.canonical.size
        tally = b"" if rows is None else _ROWS.pack(rows[0], layout.digest(0, rows[1]))
        record_full = record[:before] + tally + record[before:]
        if mode == STATE:
            travels = record[:before] + tally + self._state() + record[after:]
        else:
            travels = record_full
        if mode != DIGEST:
            sent += (_SIZE.pack(len(travels)), travels)
            if rows is not None:
                sent += (_SIZE.pack(len(rows[1])), rows[1])
        return record_full

    def _state(self):
        layout = self.layout
        return layout.state.pack(*layout.whole(self.values()))

    def _find_legal(self):
        if self.layout.masked:
            legal = self.env.legal
            # Lists and arrays can't be looked up; a tuple of the same bools can.
            answer = legal(0)
            self.legal = legal if isinstance(answer, (int, tuple)) else lambda agent: tuple(legal(agent))
        else:
            self.legal = False

    def _survey(self, deciders):
        """(words of all masks, choices of all agents; for a single agent its choices alone)."""
        layout = self.layout
        masks = ()
        choices = []
        for agent in range(layout.setup.agents):
            if not deciders >> agent & 1:
                masks += layout.idle_words
                choices.append(None)
            elif layout.masked:
                words, choice = layout.legal_sets[self.legal(agent)]
                masks += words
                choices.append(choice)
            else:
                choices.append(layout.free)
        if layout.single:
            return masks, IDLE if choices[0] is None else choices[0]
        return masks, choices

    def _look(self, written):
        """Takes over an observation that the environment has written anew, or may have. C: wants its bytes."""
        layout = self.layout
        if type(written) is tuple and len(written) == layout.setup.observation_values:
            self.view, self.packs = written, layout.flat_packers
            self.written = written
        else:
            self.view, self.packs = (pack_observations(layout.setup, written),), layout.whole_packers
            # Anything but `bytes` may change under the same name.
            self.written = written if type(written) is bytes else None
        return self.view[0] if self.view else b""

    def _repack(self, numbers, values, masks, view, rewards):
        """C: a record of values that only `struct` can pack, or refuse."""
        layout, (head, told, end) = self.layout, numbers
        drawn = self.draws.log[told:end]
        count = len(drawn) // 3
        if layout.regions:
            values = layout.digested(values)
        if type(view) is tuple:
            return layout.flat_packers[count](head, count, *drawn, *values, *masks, *view, *rewards)
        return layout.whole_packers[count](head, count, *drawn, *values, *masks, view, *rewards)

    def _unpack_observations(self, data):
        setup = self.layout.setup
        return struct.unpack("<" + setup.observation.flat_code * setup.agents, data)

    def _pack_rows(self, rows, fields):
        code = struct.Struct("<" + fields.flat_code)
        try:
            return len(rows), b"".join([code.pack(*row) for row in rows])
        except (struct.error, TypeError, OverflowError) as error:
            message = f"a row of `{rows.grain}` has other fields than {', '.join(fields.names)}: {error}"
            raise AdapterError(message, self.env.step) from None

    def _diagnose(self, error, rewards):
        """Says which value can't be packed, when that is why a step failed; otherwise it was the environment."""
        if isinstance(error, AdapterError) or user_frames(error):
            raise error
        env, setup = self.env, self.layout.setup
        if rewards is None or "unpack" in str(error):
            raise AdapterError(f"step() must return (rewards, terminated, truncated): {error}", env.step)
        if env.deciders not in self.layout.heads:
            raise AdapterError(f"deciders is {env.deciders!r}, expected a bit set of {setup.agents} agents")
        try:
            self.layout.rewards.pack(*rewards)
        except (struct.error, TypeError, OverflowError) as wrong:
            raise AdapterError(f"step() gave the rewards {rewards!r}: {wrong}", env.step) from None
        setup.canonical.check(self.values(), env.record if self.layout.flat else env.canonical, self.layout.flat)
        pack_observations(setup, env.observations)
        raise AdapterError(f"a record can't be packed: {error}") from error


# What `struct` and an unpacking assignment may raise.
_SUSPECTS = (struct.error, TypeError, OverflowError, ValueError, KeyError)
_SIZE = struct.Struct("<I")
_ROWS = struct.Struct("<IQ")
_NO_ROWS = bytes(4)
