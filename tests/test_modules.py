"""Attention modules from outside the project: found, named and digested without importing them; faults named."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest
import torch
from own_modules import BAD, GOOD

import awbench as package
from awbench.errors import UserError
from awbench.models import build_variant
from awbench.module_files import code_of, find_class
from awbench.modules import faults_named, modules, register_module, registered
from awbench.report.figures.figure import COLOURS, colour_of
from awbench.variants import ModelOptions, describe_options, list_settings, list_variants, make_options, parse_variant


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with modules in `outside.py` and faulty ones in `faulty.py`."""
    (tmp_path / "outside.py").write_text(GOOD)
    (tmp_path / "faulty.py").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("outside", "faulty"):
        sys.modules.pop(name, None)


def test_both_slots_join_the_grid_of_names(folder):
    before = [variant.name for variant in list_variants()]
    with registered(["outside:Gate", "outside:Dynamic"]):
        names = {variant.name for variant in list_variants()}
        assert {"gate_resnet50", "aw_gate_resnet20", "dyn_resnet18", "dyn_se_resnet101", "dyn_gate_resnet56"} <= names
        assert {"faster_rcnn_gate_resnet50_fpn", "faster_rcnn_dyn_cbam_resnet18_fpn"} <= names
        assert parse_variant("dyn_gate_resnet20").setting == "dyn_gate"
        assert parse_variant("faster_rcnn_dyn_gate_resnet18_fpn").plain == "faster_rcnn_resnet18_fpn"
        assert "outside" not in sys.modules  # a name is known without its code
    assert [variant.name for variant in list_variants()] == before


def test_networks_are_built_with_them(folder):
    with registered(["outside:Gate", "outside:Dynamic"]):
        options = make_options(
            attention_options={"power": 2.0}, convolution_options={"hidden": 3, "stages": "3", "convolutions": "3x3"}
        )
        network = build_variant("dyn_gate_resnet20", options).eval()
        replaced = [name for name, module in network.named_modules() if type(module).__name__ == "Dynamic"]
        assert replaced == [f"layer3.{block}.conv{layer}" for block in range(3) for layer in (1, 2)]
        assert network.layer3[0].conv1.fc1.out_features == 3
        assert {block.attention.power for stage in (1, 2, 3) for block in getattr(network, f"layer{stage}")} == {2.0}
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_plain_checkpoint_initialises_them(folder, tmp_path):
    from awbench.models.weights import load_weights, save_weights

    plain = build_variant("resnet20", ModelOptions())
    save_weights(plain, tmp_path / "plain.safetensors")
    with registered(["outside:Dynamic"]):
        network = build_variant("dyn_resnet20", ModelOptions())
        loaded = load_weights(network, tmp_path / "plain.safetensors", allow_missing_aw=True)
    assert torch.equal(network.layer1[0].conv1.weight, plain.layer1[0].conv1.weight)
    assert any("the Dynamic attention branch" in note for note in loaded.notes)


def test_they_are_known_from_the_environment_and_by_their_class(folder, monkeypatch):
    monkeypatch.setenv("AWBENCH_MODULES", "other=outside:Gate, outside:Dynamic")
    assert modules()["other"].title == "My gate"
    assert modules("convolution")["dyn"].path == "outside:Dynamic"
    monkeypatch.delenv("AWBENCH_MODULES")
    with registered([]):
        import outside

        made = register_module(outside.Gate, name="third", title="Third")
        assert register_module(outside.Gate, name="third", title="Third") == made
        assert package.build("third_resnet20")(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_its_code_and_nothing_else_changes_its_digest(folder):
    def digest() -> str:
        with registered(["outside:Gate"]):
            return parse_variant("gate_resnet20").inputs["module_gate_sha256"]

    first = digest()
    (folder / "outside.py").write_text(GOOD + "\n# a comment\n")
    assert digest() == first
    (folder / "helper.py").write_text("FACTOR = 1\n")
    (folder / "outside.py").write_text("from helper import FACTOR\n" + GOOD)
    second = digest()
    assert second != first
    (folder / "helper.py").write_text("FACTOR = 2\n")
    assert digest() not in (first, second)
    (folder / "unrelated.py").write_text("FACTOR = 3\n")
    third = digest()
    (folder / "unrelated.py").write_text("FACTOR = 4\n")
    assert digest() == third


def test_a_package_and_what_it_imports_under_another_name_are_followed(folder):
    inner = folder / "pack" / "layers"
    inner.mkdir(parents=True)
    (folder / "pack" / "__init__.py").write_text("from .layers.gate import Gate as Renamed\n")
    (inner / "__init__.py").write_text("")
    (inner / "gate.py").write_text(GOOD)
    with registered(["pack:Renamed"]):
        assert modules()["gate"].title == "My gate"
        first = modules()["gate"].inputs
    (inner / "gate.py").write_text(GOOD.replace("torch.ones", "torch.zeros"))
    with registered(["pack:Renamed"]):
        assert modules()["gate"].inputs != first


def test_two_classes_of_one_file_have_records_of_their_own(folder):
    def digest(path: str) -> str:
        with registered([f"mine={path}"]):
            return parse_variant("mine_resnet20").inputs["module_mine_sha256"]

    (folder / "front.py").write_text("from one import A\nfrom two import A as B\n")
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text("class A:\n    pass\n")
    paths = ("outside:Gate", "outside:Dynamic", "front:A", "front:B", "timm.layers:EcaModule", "timm.layers:CecaModule")
    assert len({digest(path) for path in paths}) == len(paths)


def test_a_layer_of_an_installed_library_needs_no_wrapper(folder):
    with registered(["ese=timm.layers:EffectiveSEModule"]):
        variant = parse_variant("ese_resnet20")
        assert type(build_variant(variant.name, ModelOptions()).layer1[0].attention).__name__ == "EffectiveSEModule"
        assert variant.inputs["module_ese_version"].startswith("timm ")
        assert len(variant.inputs["module_ese_sha256"]) == 64


def test_every_setting_has_a_colour_of_its_own_and_the_projects_stay(folder):
    own = [colour_of(setting) for setting in list_settings()]
    assert own == list(COLOURS)
    with registered([*(f"m{i}=outside:Gate" for i in range(9)), "outside:Dynamic"]):
        settings = list_settings()
        colours = [colour_of(setting) for setting in settings]
    assert len(settings) == 39 and len(set(colours)) == 39 and colours[:8] == own


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("nowhere:Mine", "no Python module nowhere"),
        ("outside.deeper:Mine", "no Python module outside.deeper"),
        ("outside:Gates", "outside.py has no class Gates; did you mean Gate?"),
        ("outside", "not of the form package.module:Class"),
        ("outside:", "not of the form package.module:Class"),
        ("math:Gate", "math is not a file of Python source"),
        ("broken:Mine", "broken.py, line 1: not valid Python"),
        ("faulty:Misplaced", "slot is 'before'; use after_norm or convolution"),
        ("faulty:Computed", "awbench must be written out"),
        ("faulty:Misspelt", "has no key 'titel'; did you mean title?"),
        ("faulty:SE", "the name se is taken by SE, a module of the project"),
        ("aw=outside:Gate", "the name aw is taken by AW, a module of the project"),
        ("my_gate=outside:Gate", "'my_gate' cannot be part of a variant's"),
        ("=outside:Gate", "'' cannot be part of a variant's"),
        ("plain=outside:Gate", "'plain' cannot be part of a variant's"),
        (f"{'x' * 41}=outside:Gate", "40 at most"),
        ("./outside:Gate", "with dots as in an import and no .py"),
        ("front:Made", "front.py, line 4 computes Made when it is imported; name a class that stands in a file"),
        ("front:made", "front.py, line 5 computes made"),
        ("front:Round", "is imported in a circle, by front; name the file"),
        ("front:Nowhere", "front.py has no class Nowhere"),
    ],
)
def test_what_cannot_be_registered_is_named(folder, specification, message):
    (folder / "broken.py").write_text("class Mine(\n")
    (folder / "front.py").write_text(
        "from back import Round\nfrom faulty import *\nimport outside\nMade = outside.Gate\ndef made(): ...\n"
    )
    (folder / "back.py").write_text("from front import Round\n")
    with pytest.raises(UserError) as caught, registered([specification]):
        pass
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_imports_of_every_name_and_after_a_failed_one_are_followed(folder):
    for text in (
        "from outside import *",
        "try:\n    from fast import Gate\nexcept ImportError:\n    from outside import Gate",
    ):
        (folder / "front.py").write_text(f"{text}\n")
        assert find_class("front", "Gate")[0] == folder / "outside.py"


OPTIONS = """
import enum
from torch import nn
class Kind(enum.Enum):
    A = 1
class Options(nn.Conv2d):
    awbench = {"slot": "convolution", "name": "opts"}
    def __init__(self, *shape, bias=False, flag=True, factor=0.5, pair=(1, 2), kind=Kind.A, text="x", none=None,
                 either: "int | str" = 3, stages=9):
        super().__init__(*shape, bias=bias)
        self.given = flag, factor, text, none, either, stages
"""


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("flag=no", (False, 0.5, "x", None, 3, 9)),
        ("factor=1", (True, 1, "x", None, 3, 9)),
        ("text=5", (True, 0.5, "5", None, 3, 9)),
        ("text=none", (True, 0.5, "none", None, 3, 9)),
        ("none=none", (True, 0.5, "x", None, 3, 9)),
        ("none=2", (True, 0.5, "x", 2, 3, 9)),
        ("either=auto", (True, 0.5, "x", None, "auto", 9)),
        ("stages=3", (True, 0.5, "x", None, 3, 9)),
        ("flag=0", "option flag=0 of module opts (options:Options) must be true or false; its default is True"),
        ("factor=auto", "factor='auto' of module opts (options:Options) must be a number; its default is 0.5"),
        ("factor=nan", "must be a number"),
        ("factor=true", "must be a number"),
        ("pair=1,2", "must be left alone, since no option can be a tuple"),
        ("kind=A", "no option can be a Kind"),
    ],
)
def test_options_are_read_by_their_defaults(folder, text, given):
    from argparse import Namespace

    from awbench.cli.options import model_options

    (folder / "options.py").write_text(OPTIONS)
    args = Namespace(
        aw_option=[], attention_option=[], convolution_option=[text], stride_placement="v1.5", num_classes=None
    )
    with registered(["options:Options"]):
        try:
            options = model_options(args, [parse_variant("opts_resnet20")])
        except UserError as error:
            assert isinstance(given, str) and given in str(error)
            with pytest.raises(UserError, match="must be"):  # from Python, and a study's file, as from text
                name, _, value = text.partition("=")
                build_variant("opts_resnet20", make_options(convolution_options={name: value}))
        else:
            assert build_variant("opts_resnet20", options).layer3[0].conv1.given == given
    sys.modules.pop("options", None)


def test_two_modules_of_one_name_are_an_error(folder):
    with (
        pytest.raises(UserError, match=r"the name gate is taken by My gate \(outside:Gate\)"),
        registered(["outside:Gate", "gate=outside:Dynamic"]),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "making it for 16 channels raised RuntimeError: no GPU"),
        ("wrong", "making it for 16 channels raised TypeError: "),
        ("falls", "its forward raised RuntimeError: "),
        ("shrinks", "makes (2, 15, 8, 8) of an input of (2, 16, 8, 8), not (2, 16, 8, 8)"),
        ("silent", "has no forward"),
        ("plain2", "makes a Plain; it must be a torch.nn.Module"),
        ("strided", "makes (2, 16, 4, 8) of an input of (2, 16, 8, 8), not (2, 16, 8, 8)"),
    ],
)
def test_what_cannot_be_built_is_named(folder, name, message):
    class_name = {"plain2": "Plain"}.get(name, name.capitalize())
    with registered([f"{name}=faulty:{class_name}"]), pytest.raises(UserError) as caught:
        build_variant(f"{name}_resnet20", ModelOptions())
    assert message in str(caught.value) and f"module {name} (faulty:{class_name})" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_whose_import_raises_is_named(folder):
    (folder / "faulty.py").write_text(f"{BAD}\nraise OSError('no licence')\n")
    with registered(["faulty:Shrinks"]), pytest.raises(UserError, match="importing it raised OSError: no licence"):
        build_variant("shrinks_resnet20", ModelOptions())


def test_a_module_whose_import_exits_is_named(folder):
    (folder / "faulty.py").write_text(f"{BAD}\nraise SystemExit('no licence')\n")
    with registered(["faulty:Shrinks"]), pytest.raises(UserError, match="importing it raised SystemExit: no licence"):
        build_variant("shrinks_resnet20", ModelOptions())


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            "@lambda cls: lambda channels: cls(channels)\nclass Late(Shrinks): ...",
            "is no class when it is imported, but",
        ),
        ("class Late(Shrinks):\n    __hash__ = None", "objects to have a hash; of a dataclass, state eq=False"),
    ],
)
def test_what_is_no_class_of_modules_once_imported_is_named(folder, definition, message):
    (folder / "faulty.py").write_text(f"{BAD}\n{definition}\n")
    with registered(["faulty:Late"]), pytest.raises(UserError, match=rf"module late \(faulty:Late\).*{message}"):
        build_variant("late_resnet20", ModelOptions())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x if x.shape[-1] == 8 else x / None", "forward, line 6 of .*late.py, raised TypeError: "),
        ("return x if x.shape[-1] == 8 else exit(3)", "raised SystemExit: 3"),
        (
            "return x if x.shape[-1] == 8 else x[:, :1]",
            r"with module late \(late:Late\) raised RuntimeError: .*see with -v",
        ),
        ("return x.double()", r"with module late \(late:Late\) raised RuntimeError: expected.*Double"),
        ("return x.exp_().relu_()", r"with module late \(late:Late\) raised RuntimeError: .*inplace operation"),
    ],
)
def test_what_goes_wrong_only_in_a_network_is_one_line_with_the_module(folder, body, message):
    head = (
        "from torch import nn\nclass Late(nn.Module):\n    def __init__(self, channels):\n        super().__init__()\n"
    )
    (folder / "late.py").write_text(f"{head}    def forward(self, x):\n        {body}\n")
    sys.modules.pop("late", None)
    with registered(["late:Late"]), pytest.raises(UserError, match=message) as caught, faults_named():
        build_variant("late_resnet20", ModelOptions())(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert "\n" not in str(caught.value)


def test_faults_without_modules_from_outside_stay_what_they_are(folder):
    with pytest.raises(ZeroDivisionError), faults_named():
        _ = 1 / 0


def test_trying_a_module_changes_neither_its_state_nor_the_seed(folder):
    (folder / "outside.py").write_text(
        "import torch\nfrom torch import nn\nclass Noisy(nn.BatchNorm2d):\n"
        "    def forward(self, x):\n        return super().forward(x + torch.randn_like(x))\n"
    )
    with registered(["outside:Noisy"]):
        torch.manual_seed(0)
        network = build_variant("noisy_resnet20", ModelOptions())
        torch.manual_seed(0)
        plain = build_variant("resnet20", ModelOptions())
    assert torch.equal(network.fc.weight, plain.fc.weight)
    assert network.training and int(network.layer1[0].attention.num_batches_tracked) == 0


def test_an_entry_point_makes_a_module_known_to_every_process(folder):
    metadata = folder / "outside_package-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.5\n")
    (metadata / "entry_points.txt").write_text("[awbench.modules]\nfound = outside:Gate\n")
    (metadata / "top_level.txt").write_text("outside\n")
    code = (
        "from awbench.variants import parse_variant as p; v = p('aw_found_resnet20'); "
        "print(v.module_argv, v.inputs['module_found_version'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert run.stdout == "[] outside-package 1.5\n", run.stderr


def test_the_projects_gates_leave_them_out(folder):
    from awbench.cli.grid import _own

    before = [variant.name for task in ("classification", "detection") for variant in _own(task)]
    with registered(["outside:Gate", "outside:Dynamic"]):
        assert [variant.name for task in ("classification", "detection") for variant in _own(task)] == before
        assert len(list_variants()) > len(before)


def test_runs_of_other_code_of_a_module_do_not_count_together(folder):
    from study_files import write_study
    from study_records import as_records, runs_of

    from awbench.studies import load_study
    from awbench.verdicts.evidence import gather_evidence
    from awbench.verdicts.protocol import differing, training_protocol

    with registered(["outside:Gate"]):
        path = write_study(folder, comparisons=[{"variant": "gate_resnet20", "over": "resnet20"}], looks=[2])
        study = load_study(path)
        plain = runs_of(study, "resnet20", [90.0, 91.0])
        code = {"module_gate_sha256": "a" * 64, "module_gate_version": "none"}
        first, second = runs_of(study, "gate_resnet20", [92.0, 93.0], inputs=code)
        assert differing(map(training_protocol, (plain[0], first))) == []
        evidence = gather_evidence(study, as_records(plain, [first, second]))
        assert [len(runs) for runs in evidence.runs.values()] == [2, 2]
        unknown = runs_of(study, "gate_resnet20", [92.0])
        (aside,) = gather_evidence(study, as_records(plain, unknown)).left_aside
        assert aside.reason == "the code of module gate is unknown"
        changed = runs_of(study, "gate_resnet20", [0.0, 93.0], inputs={**code, "module_gate_sha256": "b" * 64})[1]
        evidence = gather_evidence(study, as_records(plain, [first, changed]))
        assert [len(runs) for runs in evidence.runs.values()] == [2, 1]
        (aside,) = evidence.left_aside
        assert aside.reason.startswith(f"code of module gate is {'b' * 40}, the study's first run has {'a' * 40}")


def test_a_class_of_the_running_program_is_built_but_not_recorded(folder):
    (folder / "script.py").write_text(
        GOOD
        + "\nimport awbench\nawbench.register_module(Gate)\nprint(awbench.build('gate_resnet20').fc.out_features)\n"
        "try:\n    awbench.variants.parse_variant('gate_resnet20').inputs\nexcept awbench.UserError as e:\n  print(e)\n"
    )
    run = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, cwd=folder)
    expected = "module gate is defined in the program that runs; put it into a file, to record it"
    assert run.stdout == f"10\n{expected}\n", run.stderr


@pytest.mark.parametrize("name", ["se", "cbam", "eca"])
def test_an_option_given_at_its_default_is_not_described(name):
    module = modules()[name]
    parameters = inspect.signature(module.load()).parameters
    assert module.defaults == {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    variant = parse_variant(f"aw_{name}_resnet20")
    given = ModelOptions(attention_options=dict(module.defaults))
    assert describe_options(variant, given) == describe_options(variant, ModelOptions())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('SOURCE = """\n#define N 4\n"""', 'SOURCE = """\n#define N 8\n"""'),
        ('TEXT = """a\n\nb"""', 'TEXT = """a\nb"""'),
        ("def factor(n=3): 'doc'", "def factor(n=4): 'doc'"),
        ("def factor():\n    'doc'; return 3", "def factor():\n    'doc'; return 4"),
        ("A = '\x0c'\ndef f():\n    'doc'\n    return 3", "A = '\x0c'\ndef f():\n    'doc'\n    return 4"),
    ],
)
def test_code_inside_strings_and_beside_docstrings_is_code(tmp_path, before, after):
    def code(text: str) -> str:
        (tmp_path / "source.py").write_text(f"{text}\n# a comment\n")
        return code_of(tmp_path / "source.py", whole_strings=True)

    assert code(before) != code(after) and "comment" not in code(before)


def test_source_is_read_as_python_reads_it(tmp_path):
    source = tmp_path / "module.py"
    source.write_bytes(b"# coding: latin-1\nname = '\xe9'\n")
    assert code_of(source) == "name = '\u00e9'"


def test_a_package_without_an_init_file_is_looked_into(tmp_path, monkeypatch):
    deep = tmp_path / "parts" / "inner"
    deep.mkdir(parents=True)
    (deep / "mine.py").write_text("class Mine:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_class("parts.inner.mine", "Mine")[0] == deep / "mine.py"
    for missing, named in (("parts.other.mine", "parts.other"), ("parts.inner.mine.more", "parts.inner.mine.more")):
        with pytest.raises(UserError, match=f"no Python module {named} "):
            find_class(missing, "Mine")


def test_what_a_module_prints_is_not_in_the_answer(folder, awbench):
    (folder / "loud.py").write_text(
        "from torch import nn\nprint('at import')\nclass Loud(nn.Module):\n"
        "    def __init__(self, channels):\n        super().__init__()\n        print('made')\n"
        "    def forward(self, x):\n        print('called')\n        return x\n"
    )
    code, out, err = awbench("complexity", "loud_resnet20", "--module", "loud:Loud", "--json")
    assert code == 0 and [row["variant"] for row in json.loads(out)] == ["loud_resnet20"]
    assert all(word in err for word in ("at import", "made", "called"))
    sys.modules.pop("loud")


def test_an_option_with_two_values_is_for_sweeps(awbench):
    given = ("--aw-option", "reduction=8", "--aw-option", "reduction=4")
    code, out, err = awbench("complexity", "aw_resnet20", *given)
    assert (code, out, err.count("\n")) == (2, "", 1) and "--aw-option reduction is given 2 times" in err


def test_a_studys_runs_of_every_network_know_the_modules_of_all(folder):
    from study_files import write_study

    from awbench.recipes import load_recipe
    from awbench.studies import load_study
    from awbench.tasks import Job

    with registered(["outside:Gate"]):
        study = load_study(write_study(folder, comparisons=[{"variant": "gate_resnet20", "over": "resnet20"}]))
        job = Job(parse_variant("resnet20"), ModelOptions(), "digits", None, load_recipe("digits-quick"), study=study)
        argv = job.train_argv()
    assert argv[argv.index("--module") + 1] == "gate=outside:Gate"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"convolution": {"power": 2}},
            "networks.e.convolution is {'power': 2}, and gate_resnet20 has nothing that takes",
        ),
        ({"aw": {"expansion": 2}}, "networks.e.aw is {'expansion': 2}, and gate_resnet20 has nothing that takes it"),
        (
            {"attention": {"power": [1, 2]}},
            r"networks.e.attention.power is \[1, 2\]; several values stand under several",
        ),
    ],
)
def test_options_of_a_studys_network_concern_it(folder, network, message):
    from study_files import write_study

    from awbench.studies import load_study

    networks = {"e": {"variant": "gate_resnet20", **network}}
    path = write_study(folder, networks=networks, comparisons=[{"variant": "e", "over": "resnet20"}])
    with registered(["outside:Gate"]), pytest.raises(UserError, match=message):
        load_study(path)
