"""Tells which lines of the adapter and its environment ran in one step."""

import inspect
import linecache
import os
import sys

from .errors import SDK_FOLDER

LINES_MAX = 100_000


def trace(folders, action):
    """Runs `action()` and returns the lines under the folders that ran, in order."""
    folders = tuple(os.path.abspath(folder) + os.sep for folder in folders)
    wanted = {}
    lines = []

    def is_wanted(file):
        if file not in wanted:
            path = os.path.abspath(file)
            wanted[file] = path.startswith(folders) and not path.startswith(SDK_FOLDER)
        return wanted[file]

    def enter(frame, event, _):
        return line if is_wanted(frame.f_code.co_filename) else None

    def line(frame, event, _):
        if event == "line" and len(lines) < LINES_MAX:
            lines.append((frame.f_code.co_filename, frame.f_lineno))
        return line

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        action()
    finally:
        sys.settrace(before)
    return [
        {"file": os.path.abspath(file), "line": number, "text": linecache.getline(file, number).strip()}
        for file, number in lines
    ]


def folders_of(adapter):
    """The folders that the adapter names in `folders`, or else the one that its class stands in."""
    named = getattr(adapter, "folders", None)
    return named or [os.path.dirname(os.path.abspath(inspect.getfile(adapter)))]
