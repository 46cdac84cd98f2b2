#!/usr/bin/env bash
# An installed wheel, without the repository: commands, data files, the C kernel, types. Usage: wheel.sh BIN
set -euo pipefail
bin=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$bin/awbench" --version
"$bin/awbench" list 'aw_resnet*' > list.txt && grep -q aw_resnet101 list.txt
"$bin/awbench" complexity aw_resnet50 --cross-check --json | grep -q 25722240
"$bin/awbench" study list | grep -q fashion-mnist
"$bin/awbench" table complexity --columns variant,metric,published > table.md && grep -q resnet101 table.md
"$bin/awbench" train aw_resnet20 --dataset digits --set epochs=1 --json | grep -q top1
"$bin/awbench" table claims > claims.md && grep -q imagenet-r101 claims.md
"$bin/awbench" report --output page.html && grep -q '</html>' page.html
cat > typed.py <<'PY'
import awbench

name: str = awbench.list_variants()[0].name
wrong: int = awbench.build("aw_resnet20")
PY
found=$("$bin/python" -m mypy typed.py || true)
echo "$found" | grep -q 'typed.py:4: error: Incompatible types in assignment' || { echo "mypy saw no types: $found" >&2; exit 1; }
[ "$(echo "$found" | grep -c error:)" = 1 ] || { echo "$found" >&2; exit 1; }
echo "the wheel works"
