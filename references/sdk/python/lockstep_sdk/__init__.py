"""Lockstep's SDK for Python: it makes an environment behind a small adapter class speak `lockstep/1`.

An adapter is a class of which each object is one lane. This is all that the SDK asks of it:

    class Adapter:
        name, version = "my reference", "1"

        def __init__(self, setup, draws): ...    # setup.options, .files, .settings, .agents, .episode_steps_max, …
        def reset(self, start): ...              # start.seed, .stream, .episode
        def step(self, actions, rows=None): ...  # → (rewards, terminated, truncated)
        def canonical(self): ...                 # → {field name: number, sequence or bytes}
        observations = ...                       # attribute: the last that were written

and what it may have: `legal(agent)` → tuple of bools or a bit mask, `deciders` (attribute, a bit set), `record()` → all
canonical values as one flat tuple, faster than `canonical`, `inject(start, fields, observations)`, `snapshot()` and
`restore(state)`, `probes` = {name: function}, `folders` whose lines `explain` shows, `example`, parts of a `hello` for
`--bare-tokens`. references/sdk/README.md has the details.

`main(Adapter)` does the rest.
"""

import sys

from .errors import Refused
from .serve import serve

__all__ = ["Refused", "main", "serve"]


def main(adapter):
    """What `adapter.py` ends with: serves the judge on the descriptors 3 and 4, or measures with --bare-tokens."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--bare-tokens"]:
        from .bare import bare_main

        sys.exit(bare_main(adapter, arguments[1:]))
    if arguments:
        print(f"error: unknown argument {arguments[0]!r}", file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(serve(adapter))
    except OSError as error:
        print(f"error: {error} (hint: the judge starts adapters with the descriptors 3 and 4 open)", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
