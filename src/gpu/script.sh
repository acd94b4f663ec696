#!/bin/sh
# Plays what is in this folder on the GPU of this machine, and beside it on the CPU; writes results.json.
#
#   sh run.sh
#
# It needs a shell and nothing else: no cargo, no Python, no network; nvidia-smi is asked if it is there. Nothing is
# installed, no setting of the GPU is changed, and nothing outside of this folder is written.
#
# Exit codes: 0 every bit agrees and kernels were timed; 1 bits differ, or a tool failed; 2 the runners do not start here,
# or the folder can't be written; 6 there is no GPU, so only what needs none was played. results.json is written in all
# cases but 2. A tool that does not end within LOCKSTEP_TOOL_SECONDS (900) is ended, and counts as failed.
# LOCKSTEP_CUDA_DEVICE chooses among several GPUs.
set -u
case $0 in */*) cd "${0%/*}" || exit 2 ;; esac
# Where the driver keeps what it makes of PTX.
CUDA_CACHE_PATH=$PWD/cache
export CUDA_CACHE_PATH

for environment in {environments}; do
  "./$environment/runner" --list > /dev/null || {
    echo "error: ./$environment/runner does not start here; it needs {target} with {libc}" >&2
    exit 2
  }
done
: > rows.jsonl || exit 2

# told ENVIRONMENT WORDS LABELS ARGUMENT...: runs a tool and appends one line of JSON.
told() {
  environment=$1 labels=$3
  echo "$environment: $2" >&2
  shift 3
  "./$environment/runner" --tool told "$labels" "$@" >> rows.jsonl || exit 2
}
{calls}
"./{first}/runner" --tool report manifest.json rows.jsonl results.json
