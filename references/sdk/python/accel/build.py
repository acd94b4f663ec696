"""Compiles the SDK's accelerator for the Python that runs this: build.py CC FOLDER.

The accelerator is optional, and so is what compiling it needs: without Python's headers this says so and succeeds.
"""

import os
import shlex
import subprocess
import sys
import sysconfig

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lockstep_accel.c")


def main():
    if len(sys.argv) != 3:
        print("usage: build.py CC FOLDER", file=sys.stderr)
        return 2
    compiler, folder = sys.argv[1:]
    paths = sysconfig.get_paths()
    includes = sorted({paths["include"], paths["platinclude"]})
    if not any(os.path.exists(os.path.join(path, "Python.h")) for path in includes):
        print(f"the accelerator is left out: no Python.h in {includes[0]} (hint: install python3-dev)")
        return 0
    target = os.path.join(folder, "_lockstep_accel" + sysconfig.get_config_var("EXT_SUFFIX"))
    # Numbers are compared bit for bit, so nothing may be contracted into fused operations.
    argv = shlex.split(compiler) + ["-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-o", target]
    if sys.platform == "darwin":
        argv += ["-undefined", "dynamic_lookup"]
    argv += [f"-I{path}" for path in includes] + [SOURCE]
    os.makedirs(folder, exist_ok=True)
    try:
        return subprocess.run(argv, check=False).returncode and 1
    except OSError as error:
        print(f"error: {compiler}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
