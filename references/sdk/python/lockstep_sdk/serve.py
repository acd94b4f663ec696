"""Serves `lockstep/1`: reads requests, has the lanes do them, and answers each one, with an error if need be."""

import json
import struct
import sys

from . import explain, snapshot, wire
from .errors import AdapterError, BadRequest, Refused, reply_of
from .lane import DIGEST, STATE, Lane, Layout, Start
from .schema import Setup
from .wire import Broken, Channel, Cursor

NO_GRAIN = 0xFFFFFFFF
WINDOW_MAX = 64


def serve(adapter, source=3, target=4):
    """Answers until `close` or the end of the stream; returns the exit status."""
    channel = Channel(source, target)
    session = Session(adapter)
    try:
        while True:
            frame = channel.read()
            if frame is None:
                return 0
            sequence, verb, status, reserved, body = frame
            status, reply = session.answer(verb, status, reserved, body)
            # What the environment printed belongs before whatever comes next in its log.
            sys.stdout.flush()
            channel.write(sequence, verb, status, reply)
            if verb == wire.CLOSE and status == wire.OK:
                return 0
    except Broken as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (BrokenPipeError, ConnectionResetError):
        return 0


class Session:
    """What lasts from `hello` to `close`: the setup and the lanes."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.setup = None
        self.layout = None
        # Made when first needed: an environment may take long to start, and not every lane is always used.
        self.lanes = {}
        self.verbs = {
            wire.RESET: self.reset,
            wire.STEP_MANY: self.step_many,
            wire.SNAPSHOT: self.snapshot,
            wire.RESTORE: self.restore,
            wire.INJECT: self.inject,
            wire.DRAWS: self.draws,
            wire.PROBE: self.probe,
            wire.EXPLAIN: self.explain,
            wire.CLOSE: self.close,
        }

    def answer(self, verb, status, reserved, body):
        """(status, body) of the reply; whatever goes wrong becomes an error reply."""
        try:
            if status or reserved:
                raise BadRequest("the header of a request has a status or reserved bits")
            if verb == wire.HELLO:
                reply = self.hello(body)
            elif verb not in self.verbs:
                raise BadRequest(f"there is no verb {verb}")
            elif self.setup is None and verb != wire.CLOSE:
                raise BadRequest("the first request must be hello")
            else:
                reply = self.verbs[verb](body)
            if len(reply) > wire.BODY_SIZE_MAX:
                raise BadRequest(f"the reply would have {len(reply)} bytes, {wire.BODY_SIZE_MAX} are allowed")
            return wire.OK, reply
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # `sys.exit` in an environment must not end the conversation either
            return wire.ERROR, json.dumps(reply_of(error)).encode()

    def hello(self, body):
        if self.setup is not None:
            raise BadRequest("hello came a second time")
        setup = Setup(_json(body))
        adapter = self.adapter
        if setup.action.mask and not hasattr(adapter, "legal"):
            raise Refused(f"the manifest has a mask, but {adapter.__name__} has no `legal`")
        if not hasattr(adapter, "record") and not hasattr(adapter, "canonical"):
            raise Refused(f"{adapter.__name__} has neither `canonical` nor `record`")
        capabilities = {
            "snapshot": True,
            "inject": getattr(adapter, "injects", "full") if hasattr(adapter, "inject") else "none",
            "probe": sorted(getattr(adapter, "probes", {})),
            "explain": True,
            "draw_sites": setup.sites.named,
        }
        self.layout = Layout(adapter, setup)
        self.setup = setup
        return json.dumps(setup.reply(adapter, capabilities)).encode()

    def reset(self, body):
        cursor = Cursor(body)
        mode, count = _mode(cursor), cursor.number("count")
        reply = []
        for _ in range(count):
            number, episode, seed, stream = cursor.take(_RESET, "a lane")
            listed = _source(cursor)
            lane = self._lane(number)
            record = lane.reset(Start(seed, stream, episode, 0), listed, mode)
            reply.append(record if mode else _U64.pack(lane.chain))
        _end(cursor)
        return b"".join(reply)

    def step_many(self, body):
        setup = self.setup
        cursor = Cursor(body)
        mode = _mode(cursor)
        grain, window, first, lane_count, step_count = cursor.take(_STEP_MANY, "the head of step_many")
        if grain != NO_GRAIN and grain >= len(setup.grains):
            raise BadRequest(f"there is no grain {grain}")
        if not 1 <= window <= WINDOW_MAX:
            raise BadRequest(f"the window {window} is not 1 to {WINDOW_MAX}")
        if first + lane_count > setup.lanes:
            raise BadRequest(f"there are {setup.lanes} lanes, {first + lane_count} were asked for")
        token_count = step_count * self.layout.stride
        if cursor.left() != 4 * token_count * lane_count:
            raise BadRequest(f"{cursor.left()} bytes of tokens, expected {4 * token_count * lane_count}")
        if token_count == 0 and lane_count > 1 << 20:
            raise BadRequest(f"{lane_count} lanes without a step")
        lanes = [self._ready(number) for number in range(first, first + lane_count)]
        reply = []
        for lane in lanes:
            step_tokens = cursor.bytes(4 * token_count, "tokens")
            ended, chains, record_count, sent = lane.play(step_tokens, window, mode, None if grain == NO_GRAIN else grain)
            if mode == DIGEST:
                reply.append(struct.pack(f"<I{len(chains)}Q", ended, *chains))
            else:
                reply.append(_PAIR.pack(ended, record_count))
                reply += sent
        return b"".join(reply)

    def snapshot(self, body):
        cursor = Cursor(body)
        numbers = cursor.numbers(cursor.number("count"), "lanes")
        _end(cursor)
        reply = []
        for lane in [self._ready(number) for number in numbers]:
            blob = snapshot.save(lane)
            reply += (_U32.pack(len(blob)), blob)
        return b"".join(reply)

    def restore(self, body):
        cursor = Cursor(body)
        for _ in range(cursor.number("count")):
            number, size = cursor.take(_PAIR, "a lane")
            blob = cursor.bytes(size, "a snapshot")
            snapshot.load(self._lane(number), blob)
        _end(cursor)
        return b""

    def inject(self, body):
        if not hasattr(self.adapter, "inject"):
            raise Refused(f"{self.adapter.__name__} has no `inject`")
        setup = self.setup
        cursor = Cursor(body)
        mode, count = _mode(cursor), cursor.number("count")
        reply = []
        for _ in range(count):
            number, episode, elapsed, index, seed, stream = cursor.take(_INJECT, "a lane")
            listed = _source(cursor)
            state = self._sized(cursor, setup.canonical.state_size, "the state form")
            observations = self._sized(cursor, setup.observation_size, "the observations")
            lane = self._lane(number)
            record = lane.inject(Start(seed, stream, episode, elapsed), index, listed, state, observations, mode)
            reply.append(record if mode else _U64.pack(lane.chain))
        _end(cursor)
        return b"".join(reply)

    def draws(self, body):
        cursor = Cursor(body)
        number, op = cursor.take(_PAIR, "lane and op")
        lane = self._ready(number)
        if op == 0:
            _end(cursor)
            log = lane.draws.log
            return struct.pack("<I" + "IQQ" * (len(log) // 3), len(log) // 3, *log)
        if op == 1:
            values = cursor.numbers(cursor.number("n"), "values")
            _end(cursor)
            lane.draws.append(values)
            return b""
        raise BadRequest(f"draws has no op {op}")

    def probe(self, body):
        request = _json(body)
        probes = getattr(self.adapter, "probes", {})
        if not isinstance(request, dict) or "function" not in request:
            raise BadRequest("probe lacks `function`")
        name = request["function"]
        if not isinstance(name, str) or name not in probes:
            raise Refused(f"there is no function {name!r} to probe")
        output = probes[name](request.get("input"))
        try:
            return json.dumps({"output": output}).encode()
        except (TypeError, ValueError) as error:
            raise AdapterError(f"the output of the probe `{name}` is no JSON: {error}", probes[name]) from None

    def explain(self, body):
        request = _json(body)
        if not isinstance(request, dict):
            raise BadRequest("explain is not a JSON object")
        number, tokens = request.get("lane"), request.get("tokens")
        if type(number) is not int or not isinstance(tokens, list):
            raise BadRequest("explain needs a `lane` and a list of `tokens`")
        if len(tokens) != self.layout.stride or not all(type(one) is int and 0 <= one < 1 << 32 for one in tokens):
            raise BadRequest(f"explain needs the {self.layout.stride} tokens of one step")
        lane = self._ready(number)
        step_tokens = struct.pack(f"<{len(tokens)}I", *tokens)
        lines = explain.trace(explain.folders_of(self.adapter), lambda: lane.play(step_tokens, 1))
        return json.dumps({"lines": lines}).encode()

    def close(self, body):
        if body:
            raise BadRequest("close has a body")
        return b""

    def _lane(self, number):
        lane = self.lanes.get(number)
        if lane is None:
            if not 0 <= number < self.setup.lanes:
                raise BadRequest(f"there is no lane {number} of {self.setup.lanes}")
            lane = self.lanes[number] = Lane(self.layout, number)
        return lane

    def _ready(self, number):
        lane = self.lanes.get(number)
        if lane is None or not lane.ready:
            if not 0 <= number < self.setup.lanes:
                raise BadRequest(f"there is no lane {number} of {self.setup.lanes}")
            raise BadRequest(f"the lane {number} needs a reset, a restore or an injection first")
        return lane

    def _sized(self, cursor, expected, what):
        size = cursor.number(f"the size of {what}")
        if size != expected:
            raise BadRequest(f"{what} has {size} bytes, expected {expected}")
        return cursor.bytes(size, what)


def _mode(cursor):
    mode = cursor.number("mode")
    if mode > STATE:
        raise BadRequest(f"there is no mode {mode}")
    return mode


def _source(cursor):
    """The list of a listed source, None for a seeded one."""
    source, count = cursor.take(_PAIR, "the source of the draws")
    if source > 1 or (source == 0 and count):
        raise BadRequest(f"the source {source} with {count} values is neither seeded nor listed")
    values = cursor.numbers(count, "the list of draws")
    return values if source else None


def _end(cursor):
    if cursor.left():
        raise BadRequest(f"{cursor.left()} bytes too many at the end of the body")


def _json(body):
    try:
        return json.loads(bytes(body).decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from None


_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_PAIR = struct.Struct("<II")
_RESET = struct.Struct("<IIQQ")
_STEP_MANY = struct.Struct("<IIIII")
_INJECT = struct.Struct("<IIIIQQ")
