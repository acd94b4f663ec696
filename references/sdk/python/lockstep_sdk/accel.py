"""Finds the accelerator, what is hot in C (../accel/), and fits it to the classes whose work it does.

It is optional: whoever imports this gets the pure Python where `_lockstep_accel` is neither in the folder that
LOCKSTEP_ACCEL names nor on Python's path. LOCKSTEP_ACCEL=off leaves it out.
"""

import importlib
import os
import sys

from . import draws, tokens

VERSION = 1


def _find():
    folder = os.environ.get("LOCKSTEP_ACCEL", "")
    if folder == "off":
        return None
    if folder:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module("_lockstep_accel")
    except ImportError:
        return None
    finally:
        if folder:
            sys.path.remove(folder)
    return module if getattr(module, "VERSION", None) == VERSION else None


MODULE = _find()

if MODULE is not None:
    # What the base in C doesn't want to answer it hands on to the pure methods, which find their attributes there.

    class Draws(MODULE.Draws, draws.Draws):
        _base = 0
        _pure_below, _pure_word, _pure_note = draws.Draws.below, draws.Draws.word, draws.Draws.note

        def __init__(self, sites):
            self._logged = True
            super().__init__(sites)

    class UnloggedDraws(MODULE.Draws, draws.UnloggedDraws):
        _base = 0
        _pure_below, _pure_word = draws.UnloggedDraws.below, draws.UnloggedDraws.word
        _pure_note = draws.UnloggedDraws.note


def draws_of(sites, logged=True):
    """The draws of a lane."""
    if MODULE is None:
        return (draws.Draws if logged else draws.UnloggedDraws)(sites)
    return (Draws if logged else UnloggedDraws)(sites)


def player_of(layout):
    """What plays the lanes of a session in C, or None."""
    setup, action = layout.setup, layout.setup.action
    if MODULE is None or setup.digest != "xxh64":
        return None
    codes, sizes = "", []
    for field in setup.canonical.all:
        if field.region or not (layout.flat or field.single):
            codes += "R" if field.region else "s"
            sizes.append(field.size)
        else:
            codes += field.code[-1] * field.count
    view = "".join(field.code[-1] * field.count for field in setup.observation.all) * setup.agents
    return MODULE.Player(
        agents=setup.agents,
        width=setup.width,
        count=action.count,
        extra=action.extra,
        mask_words=action.mask_words,
        continuous=action.kind == "continuous",
        masked=action.mask,
        harness_resets=setup.harness_resets,
        single=layout.single,
        reward=setup.reward_code,
        codes=codes.encode(),
        sizes=tuple(sizes),
        view_codes=view.encode(),
        heads=layout.heads,
        legal_sets=layout.legal_sets,
        free=layout.free,
        refuse=tokens.continuous,
    )
