"""What can go wrong while a frame is answered, and how it is told: the JSON of an error reply.

The one idea: an error of the judge (`bad_request`), of the adapter (`exception`) and of nobody (`refused`) are three
classes here, so that whoever notices something wrong decides at the `raise` whose fault it is.
"""

import linecache
import os
import sysconfig

SDK_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


class BadRequest(Exception):
    """The request is malformed: the judge's fault."""


class Refused(Exception):
    """The request is well formed, but this side can't do it. Adapters raise this from `inject` or `restore`."""


class AdapterError(Exception):
    """The adapter broke its contract with the SDK; `where` is the method that did, for want of a frame."""

    def __init__(self, message, method=None):
        super().__init__(message)
        self.where = _definition(method)


def reply_of(error):
    """The body of the error reply, as a dict."""
    if isinstance(error, BadRequest):
        return {"kind": "bad_request", "error": _line(str(error)), "where": []}
    if isinstance(error, Refused):
        return {"kind": "refused", "error": _line(str(error)), "where": []}
    if isinstance(error, AdapterError):
        return {"kind": "exception", "error": _line(str(error)), "where": error.where or user_frames(error)}
    text = str(error)
    name = type(error).__name__
    return {"kind": "exception", "error": _line(f"{name}: {text}" if text else name), "where": user_frames(error)}


def user_frames(error):
    """The frames of the adapter and the environment, innermost first, without those of the SDK and of Python itself."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if is_users(code.co_filename):
            # Python before 3.11 has None for a line that the compiler made up.
            line = trace.tb_lineno or code.co_firstlineno
            frames.append(_place(code.co_filename, line, code.co_name))
        trace = trace.tb_next
    frames.reverse()
    # A recursion that ran away has a thousand equal frames; the first ones tell it all.
    return frames[:32]


def is_users(file):
    path = os.path.abspath(file)
    if path.startswith(SDK_FOLDER) or file.startswith("<"):
        return False
    if "site-packages" in path or "dist-packages" in path:
        return True
    return not path.startswith(_PYTHON_FOLDERS)


def _place(file, line, function):
    return {
        "file": os.path.abspath(file),
        "line": line,
        "function": function,
        "text": linecache.getline(file, line).strip(),
    }


def _definition(method):
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    if code is None or not is_users(code.co_filename):
        return []
    return [_place(code.co_filename, code.co_firstlineno, code.co_name)]


def _line(text):
    return " ".join(text.split())[:2000]


_PYTHON_FOLDERS = tuple({sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib")})


class Cannot(Exception):
    """Why nothing can be proposed, and what to do about it."""

    def __init__(self, message, hint="", where=()):
        super().__init__(message)
        self.hint, self.where = hint, list(where)
