"""YAML files of people: what they may hold, and one line for everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import pytest

from awbench.errors import UserError
from awbench.recipes.classification import load_recipe
from awbench.recipes.detection import load_detection_recipe
from awbench.studies import load_study
from awbench.yaml_files import parse_value, read_yaml


def test_numbers_are_what_they_look_like(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text("a: 10\nb: 1_000\nc: 7.570\nd: 1.0e-4\ne: 2026-11-25\nf: -3\ng: 0\nh: yes\n", encoding="utf-8-sig")
    wanted = {"a": 10, "b": 1000, "c": 7.57, "d": 1e-4, "e": "2026-11-25", "f": -3, "g": 0, "h": True}
    assert read_yaml(file) == wanted
    assert str(read_yaml(file, printed_numbers=True)["c"]) == "7.570"
    assert read_yaml(file, printed_numbers=True)["d"] == Decimal("0.0001")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    "octal": (b"a: 010", "'010' is not an integer such as 10"),
    "sixties": (b"a: 1:30", "'1:30' is not an integer"),
    "sixties with a fraction": (b"a: 1:30.5", "'1:30.5' is not a number"),
    "infinity": (b"a: .inf", "'.inf' is not a number such as 0.05"),
    "nan": (b"a: .nan", "'.nan' is not a number such as 0.05"),
    "too large a number": (b"a: 1.0e+999", "'1.0e+999' is not a finite number"),
    "5,000 digits": (b"a: " + b"9" * 5000, "is not an integer"),
    "UTF-16": ("a: 1".encode("utf-16"), "is not UTF-8 (byte 0); save it as UTF-8"),
    "Latin-1": ("a: Müller".encode("latin-1"), "is not UTF-8 (byte 4)"),
    "an alias bomb": (BOMB.encode(), "it stands for more than 100,000 values"),
    "an alias of itself": (b"a: &a [*a]", "*a is inside of what it stands for"),
    "deep": (b"a: " + b"[" * 100_000 + b"]" * 100_000, "nested more than 50 deep"),
    "deep mappings": (b"{a: " * 100_000 + b"}" * 100_000, "nested more than 50 deep"),
    "deep blocks": (b"- " * 100_000 + b"a", "nested more than 50 deep"),
    "a key twice": (b"a: 1\na: 2", "line 2: not valid YAML: key 'a' is given twice"),
    "a list": (b"[1, 2]", "expected keys and values at the top level, found list"),
    "nothing": (b"", "expected keys and values at the top level, found NoneType"),
    "an object": (b"a: !!python/object:os.system {}", "could not determine a constructor"),
    "a control character": (b"a: \x01", "not valid YAML"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("printed", [False, True])
def test_what_is_wrong_is_said_in_one_line(tmp_path, name, printed):
    content, message = BAD[name]
    file = tmp_path / "some.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_yaml(file, printed_numbers=printed)
    said = str(error.value)
    assert said.startswith(f"{file}") and message in said and "\n" not in said and len(said) < 400


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "some.yaml")
    with pytest.raises(UserError, match="is not a regular file"):
        read_yaml(tmp_path / "some.yaml")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "other.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UserError, match="more than 4 MiB"):
        read_yaml(tmp_path / "large.yaml")


@pytest.mark.parametrize("load", [load_recipe, load_detection_recipe, load_study])
def test_recipes_and_studies_are_read_so(tmp_path, load):
    for name in ("UTF-16", "an alias bomb", "deep", "too large a number", "a list"):
        content, message = BAD[name]
        (tmp_path / "mine.yaml").write_bytes(content)
        with pytest.raises(UserError) as error:
            load(str(tmp_path / "mine.yaml"))
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("010", "--set epochs=010: not valid YAML: '010' is not an integer such as 10"),
     ("1:30", "--set epochs=1:30: not valid YAML: '1:30' is not an integer"),
     (".inf", "'.inf' is not a number such as 0.05"),
     ("2026-11-25", "--set epochs=2026-11-25: epochs: Input should be a valid integer"),
     ("true", "--set epochs=true: epochs is True; it must be a number"),
     ("[" * 100_000, "values are nested more than 50 deep"),
     ("[1, 2", "not valid YAML")],
)  # fmt: skip
def test_changes_are_read_so(text, message):
    with pytest.raises(UserError) as error:
        load_recipe("digits-quick", [f"epochs={text}"])
    assert message in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
    assert parse_value("[1, 2]", "") == [1, 2]


def test_a_bomb_takes_no_time(tmp_path):
    """Seen to hang before: what an alias stands for was walked each time."""
    (tmp_path / "mine.yaml").write_text(BOMB)
    command = [sys.executable, "-m", "awbench", "train", "resnet20", "--recipe", str(tmp_path / "mine.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2 and "stands for more than" in run.stderr and "Traceback" not in run.stderr
