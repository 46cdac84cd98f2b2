#!/usr/bin/env bash
# The examples from wheels of their own beside the project's, without the repository: from the list to a verdict and the
# page. Usage: examples.sh BIN STUDIES, BIN where the wheels are installed, STUDIES a folder of simam-digits.yaml and
# odconv-digits.yaml
set -euo pipefail
bin=$(cd "$1" && pwd) studies=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

step() { echo "== $* ($SECONDS s)"; "$bin/awbench" "$@"; }

step list '*simam*resnet20' '*odconv*resnet20' | tee list.txt
grep -q aw_simam_resnet20 list.txt && grep -q odconv_simam_resnet20 list.txt
step complexity simam_resnet50 odconv_resnet50 condconv_resnet50 aw_resnet50 --cross-check
step train odconv_simam_resnet20 --dataset digits --set epochs=1
step sweep simam_resnet20 odconv_resnet20 --seeds 0 1 --processes 2 --set norm_batch_size=32 --set epochs=1
for study in simam odconv; do
  step study run "$studies/$study-digits.yaml" --parallel 2
  step study status "$studies/$study-digits.yaml" | tee status.txt
  grep -q "${study}_resnet20" status.txt
done
step report --study "$studies/simam-digits.yaml" --study "$studies/odconv-digits.yaml" --output page.html
grep -q SimAM page.html && grep -q ODConv page.html && grep -q simam-digits page.html && grep -q '</html>' page.html
echo "the examples work, from their wheels ($SECONDS s)"
