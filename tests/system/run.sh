#!/bin/bash
# Faults that need namespaces: a tiny /dev/shm, a host name that resolves nowhere, a results folder that becomes
# read-only or full during a run. `make test-system`, on Linux.
# Each case runs one command in namespaces of its own, and checks its exit code, what it says, and how long it took.
set -u
python=${1:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONPATH=$root OMP_NUM_THREADS=1
train="$python -m awbench train resnet20 --set epochs=1"
failures=0

# case NAME EXIT-CODE SECONDS PATTERN NAMESPACES SETUP COMMAND: the pattern is looked for in all that is printed
case_() {
  local name=$1 code=$2 limit=$3 pattern=$4 namespaces=$5 setup=$6 command=$7 started=$SECONDS found
  timeout $((2 * limit)) unshare $namespaces bash -c "cd $work && $setup && $command" >"$work/out" 2>&1
  found=$?
  if [ $found = "$code" ] && [ $((SECONDS - started)) -le "$limit" ] && grep -q -- "$pattern" "$work/out" \
    && ! grep -q Traceback "$work/out"; then
    echo "pass  $name ($((SECONDS - started)) s)"
  else
    echo "FAIL  $name: exit code $found for $code, $((SECONDS - started)) s for $limit, or no line with '$pattern':"
    tail -5 "$work/out"
    failures=$((failures + 1))
  fi
}

unshare -rm true 2>/dev/null || { echo "test-system: this machine allows no namespaces (unshare -rm); nothing tested"; exit 2; }

shm="--workers 2 --results"
case_ "/dev/shm of 64 KiB" 2 300 "/dev/shm .*--workers 0" "-rm" "mount -t tmpfs -o size=64k none /dev/shm" "$train $shm a"
case_ "/dev/shm read-only" 2 300 "/dev/shm .*--workers 0" "-rm" "mount -t tmpfs -o ro none /dev/shm" "$train $shm b"
case_ "no /dev/shm at all, no workers" 0 600 "top-1" "-rm" "mount -t tmpfs -o ro none /dev/shm" "$train --results c"
case_ "a host name that resolves nowhere" 0 600 "1 trained" "-rmu" "hostname nowhere-$$" \
  "$python -m awbench sweep resnet20 --processes 2 --set epochs=1 --set norm_batch_size=32 --results d"
# without a user of its own (-U) nobody is root here, to whom a folder is never read-only
long="$python -m awbench train resnet20 --set epochs=6 --set norm_batch_size=64 --checkpoint-seconds 0 --resume --results"
case_ "a results folder that becomes read-only, then writable again" 0 900 "top-1" "-U" "rm -rf e" \
  "($long e & until ls e/runs/*/checkpoints/step* >e.list 2>&1; do sleep 0.2; done; chmod -R a-w e; wait \$!; test \$? = 2) \
  && chmod -R u+w e && $long e"
case_ "a results folder that is full, then has room" 0 900 "No space left" "-rm" "mkdir f && mount -t tmpfs -o size=3m none f" \
  "($long f; test \$? = 2) && mount -o remount,size=200m f && $long f"
exit $((failures > 0))
