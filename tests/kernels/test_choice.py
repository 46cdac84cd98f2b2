from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from awbench.errors import UserError
from awbench.kernels import STRATEGIES, aw_conv2d, choice, chosen_strategy, grouped, request, strategies, tuning
from awbench.kernels.geometry import Geometry

I, K, A = torch.randn(2, 16, 64, 64), torch.randn(16, 16, 3, 3), torch.rand(2, 16, 1, 3, 3)  # 19 million MACs
RULE = "grouped"  # here, whatever it would be of these sizes


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.INFO, "awbench.kernels")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv(choice.OVERRIDE)
    monkeypatch.setattr(choice, "_known", {})
    monkeypatch.setattr(request, "size_rule", lambda *tensors: RULE)
    return tmp_path / "aw-strategies"


@pytest.fixture
def measured(monkeypatch):
    """The requests that were measured; the answer is always "oracle"."""
    requests = []

    def measure(asked, candidates, limit=tuning.LIMIT_SECONDS):
        requests.append(asked)
        return tuning.Measured("oracle", {"oracle": 1e-3}, True, 0.1)

    monkeypatch.setattr(choice, "measure", measure)
    return requests


def choose(**changed):
    return chosen_strategy(*changed.pop("tensors", (I, K, A)), 1, 1, **changed)


def as_a_new_process():
    choice._known.clear()


def test_it_is_measured_once_and_then_read_from_the_cache(measured, cache, caplog):
    assert [choose(), choose()] == ["oracle", "oracle"]
    as_a_new_process()
    assert choose() == "oracle"
    assert len(measured) == 1
    [file] = cache.glob("*.json")
    [record] = caplog.records
    assert record.levelname == "INFO", "a notice is not a warning"
    line = record.getMessage()
    assert "2x16x64x64, forward, executed as oracle (ms: oracle 1.00); measured in 0.1 s" in line
    assert str(file) in line


def test_all_that_can_change_the_answer_is_in_the_key(measured, cache, monkeypatch):
    last = [t.to(memory_format=torch.channels_last) for t in (I, K)]
    changes = [
        {},
        {"tensors": (torch.randn(4, 16, 64, 64), K, torch.rand(4, 16, 1, 3, 3))},
        {"tensors": (I.bfloat16(), K.bfloat16(), A.bfloat16())},
        {"tensors": (*last, A)},
        {"tensors": (I, K, torch.rand(2, 16, 4, 3, 3))},
        {"grad_output": torch.randn(2, 16, 64, 64)},
        {"residual": False},
    ]
    for count, changed in enumerate(changes, 1):
        choose(**changed)
        assert len(measured) == len(list(cache.glob("*.json"))) == count
    chosen_strategy(I, K, A, 1, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    choose()
    torch.set_num_threads(threads)
    for name, other in (("cpu_identity", lambda: "other"), ("source_digest", lambda part: "other")):
        monkeypatch.setattr(request, name, other)
        as_a_new_process()
        choose()
    monkeypatch.setattr(request, "strategies_for", lambda device, dtype: ("oracle", "grouped"))
    as_a_new_process()
    choose()
    monkeypatch.setattr(torch, "__version__", "0.0")
    as_a_new_process()
    choose()
    assert len(measured) == len(changes) + 6


def test_a_detectors_many_sizes_share_a_measurement(measured):
    """A COCO epoch has about 240 padded sizes; those of nearly as many pixels are measured once."""
    sizes = [(32 * a, 32 * b) for a in range(19, 26) for b in range(25, 43) if a == 25 or b == 42]  # 800 x 1333 at most
    weight, attention_map = torch.empty(64, 64, 3, 3), torch.empty(2, 64, 1, 3, 3)
    for height, width in sizes + [(width, height) for height, width in sizes]:
        image = torch.empty(1, 1, 1, 1).expand(2, 64, height // 4, width // 4).contiguous()
        chosen_strategy(image, weight, attention_map, 1, 1)
    assert len(sizes) == 24 and 1 < len(measured) <= 5
    assert len({request.rounded_up(size**2) for size in (7, 8, 14, 16, 28, 32, 56, 64, 112)}) == 9, "not classifiers'"


def test_what_is_known_is_looked_up_without_asking_for_versions(measured, monkeypatch):
    choose()

    def asked(*args):
        raise AssertionError("asked again")

    for name in ("package_version", "source_digest", "cpu_identity", "strategies_for"):
        monkeypatch.setattr(request, name, asked)
    assert choose() == "oracle"


def test_equal_identities_are_equal_keys(measured):
    """What a process remembers by identity is what the cache keeps by key."""
    found = {}
    for tensors in (
        (I, K, A),
        (I[:, :, :63].contiguous(), K, A),
        (I[:, :, :40], K, A),
        (I.transpose(2, 3), K, A),
        (I.double(),) * 3,
    ):
        for geometry in (GEOMETRY, Geometry([2, 2], [1, 1], [1, 1]), Geometry([1, 1], [1, 1], [1, 1], 1, False)):
            asked = request.Request(*tensors, geometry)
            found.setdefault(asked.identity(), set()).add(json.dumps(asked.key(), sort_keys=True))
    assert all(len(keys) == 1 for keys in found.values())
    assert len(set.union(*found.values())) == len(found) == 12


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def edited(path):
    path.write_text(path.read_text().replace('"oracle"', '"grouped"'))


def of_something_else(path):
    body = json.loads(path.read_text())
    body["key"]["stride"] = [2, 2]
    path.write_text(json.dumps({**body, "sha256": choice._sha256(body)}))


def of_a_strategy_no_longer_offered(path):
    body = {**json.loads(path.read_text()), "chosen": "unfolded"}
    path.write_text(json.dumps({**body, "sha256": choice._sha256(body)}))


def not_an_object(path):
    path.write_text("[1]")


def nested(path):
    path.write_text("[" * 100_000)


def binary(path):
    path.write_bytes(bytes(range(256)))


@pytest.mark.parametrize(
    "damage",
    [truncated, edited, of_something_else, of_a_strategy_no_longer_offered, not_an_object, nested, binary],
)
def test_a_corrupt_cache_is_logged_in_a_line_and_rebuilt(damage, measured, cache, caplog):
    choose()
    [path] = cache.glob("*.json")
    intact = path.read_bytes()
    damage(path)
    as_a_new_process()
    caplog.clear()
    assert choose() == "oracle"
    logged = [message for message in caplog.messages if "is corrupt" in message]
    assert logged == [f"awbench: the tuning cache {path} is corrupt; its strategies are measured again"]
    assert len(measured) == 2
    assert path.read_bytes() == intact


def test_the_line_reaches_stderr(cache):
    """Nobody configures logging for a network: what is logged must be seen all the same, once, and not on stdout."""
    code = "import logging; from awbench.kernels import choice; choice.log.warning('awbench: %s', 'logged')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "awbench: logged\n")


def test_a_cache_that_cannot_be_written_stops_nothing(measured, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "file"))
    assert [choose(), choose()] == ["oracle", "oracle"]
    assert len(measured) == 1
    assert caplog.messages[0].endswith("not kept: the cache cannot be written")


def test_two_processes_at_once(cache):
    """Both answer, neither leaves half a file, and a third reads what they agreed to write."""
    code = (
        "import torch; from awbench.kernels import chosen_strategy; torch.set_num_threads(1);"
        "print(chosen_strategy(torch.randn(2,16,64,64), torch.randn(16,16,3,3), torch.rand(2,16,1,3,3), 1, 1))"
    )
    start = lambda: subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: E731
    both = [start(), start()]
    answers = {process.communicate()[0].decode().strip() for process in both}
    assert answers <= set(STRATEGIES)
    [path] = cache.iterdir()
    third = start()
    answer, errors = (text.decode() for text in third.communicate())
    assert answer.strip() == json.loads(path.read_text())["chosen"]
    assert errors == ""


def test_overrides(measured, monkeypatch):
    monkeypatch.setenv(choice.OVERRIDE, "tapwise")
    assert choose() == "tapwise"
    assert choose(strategy="per_sample") == "per_sample"  # a name in the code is meant
    monkeypatch.setenv(choice.OVERRIDE, "rule")
    assert choose() == RULE
    monkeypatch.setenv(choice.OVERRIDE, "auto")
    assert choose() == "oracle"
    monkeypatch.setenv(choice.OVERRIDE, "tapwize")
    with pytest.raises(
        UserError, match=r"AWBENCH_AW_STRATEGY: strategy 'tapwize' does not exist; did you mean tapwise\?"
    ):
        choose()
    monkeypatch.setenv(choice.OVERRIDE, "fused")
    with pytest.raises(UserError, match=r"strategy 'fused' needs a CUDA device, not cpu .* use one of oracle, grouped"):
        aw_conv2d(I, K, A, strategy="auto")


def test_in_deterministic_mode_the_rule_decides(measured):
    assert choose() == "oracle"
    torch.use_deterministic_algorithms(True)
    try:
        assert choose() == RULE  # whatever the cache says
    finally:
        torch.use_deterministic_algorithms(False)


def test_few_operations_are_not_worth_measuring(measured):
    small = torch.randn(2, 16, 32, 32)
    assert choose(tensors=(small, K, A)) == RULE
    assert not measured


@pytest.mark.parametrize("kept", [False, True])
def test_a_captured_graph_has_what_was_kept_or_the_rules(measured, monkeypatch, kept):
    if kept:
        choose()
        as_a_new_process()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(choice, "_may_measure", lambda device: real(torch.device("cuda")))
    assert choose() == ("oracle" if kept else RULE)
    assert len(measured) == kept


real = choice._may_measure


def test_tracing_and_transforms_measure_nothing(measured):
    class Layer(torch.nn.Module):
        def forward(self, I, K, A):
            return aw_conv2d(I, K, A, None, 1, 1, strategy="auto")

    exported = torch.export.export(Layer(), (I, K, A))
    torch.func.vmap(lambda I, A: aw_conv2d(I[None], K, A[None], None, 1, 1, strategy="auto"))(I, A)
    assert not measured
    torch.testing.assert_close(exported.module()(I, K, A), Layer()(I, K, A))
    assert len(measured) == 1


class Slow(SimpleNamespace):
    """The grouped strategy, later, other, or not at all."""

    def __init__(self, seconds=0.0, scale=1.0, error=None):
        def forward(*args):
            time.sleep(seconds)
            if error:
                raise error
            return grouped.forward(*args) * scale

        super().__init__(forward=forward)


@pytest.fixture
def invented(monkeypatch):
    def invent(**modules):
        monkeypatch.setattr(strategies, "STRATEGIES", {"grouped": grouped, **modules})
        return tuning.measure(REQUEST, ["grouped", *modules], limit=0.3)

    return invent


GEOMETRY = Geometry([1, 1], [1, 1], [1, 1])
REQUEST = request.Request(I, K, A, GEOMETRY)


def test_the_fastest_is_chosen(invented, monkeypatch):
    monkeypatch.setattr(tuning, "_SAME_TIME", 100.0)  # other load is no matter here
    assert invented(slow=Slow(0.05), slower=Slow(0.1)).chosen == "grouped"
    found = tuning.measure(REQUEST, ["slower", "slow", "grouped"])
    assert found.chosen == "grouped"
    assert found.seconds["slower"] > found.seconds["slow"] > 0.05


def test_another_must_be_clearly_faster_than_the_rules(invented, monkeypatch):
    monkeypatch.setattr(tuning, "_time", lambda request, name: {"grouped": 1.0, "a": 0.98, "b": 0.9}[name])
    assert invented(a=Slow()).chosen == "grouped"
    assert invented(a=Slow(), b=Slow()).chosen == "b"


def test_under_load_the_rule_decides_and_nothing_is_kept(invented, monkeypatch, cache, caplog):
    load = iter(2.0**-n for n in range(100))  # no time is found twice, and the last is the shortest
    monkeypatch.setattr(tuning, "_time", lambda request, name: next(load))
    found = invented(other=Slow())
    assert (found.chosen, found.steady) == ("grouped", False)
    assert choose() == RULE
    assert not cache.exists()
    assert "by the size rule, for other load disturbed these times, and not kept" in caplog.messages[-1]


def test_on_a_gpu_the_fused_kernel_is_second_and_compiling_takes_none_of_the_time(invented, monkeypatch):
    gpu = torch.device("cuda", 0)
    on_gpu = SimpleNamespace(device=gpu, rule=lambda: "grouped", input=I, weight=K, attention_map=A)
    monkeypatch.setattr(choice, "strategies_for", lambda device, dtype: tuple(STRATEGIES))
    assert choice.candidates(on_gpu)[:2] == ["grouped", "fused"]

    class OnGPU(request.Request):
        device = gpu

    class Compiled(Slow):
        def __init__(self):
            super().__init__()
            once = iter([0.4])
            run, self.forward = self.forward, lambda *args: (time.sleep(next(once, 0.0)), run(*args))[1]

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(tuning, "_time", lambda asked, name: {"grouped": 2.0, "first": 1.5, "second": 1.0}[name])
    monkeypatch.setattr(strategies, "STRATEGIES", {"grouped": grouped, "first": Compiled(), "second": Compiled()})
    found = tuning.measure(OnGPU(*REQUEST), list(strategies.STRATEGIES), limit=0.3)
    assert (found.chosen, set(found.seconds)) == ("second", {"grouped", "first", "second"})


def test_its_time_is_bounded(invented):
    found = invented(slow=Slow(0.25), never=Slow(60))
    assert "never" not in found.seconds
    assert found.cost < 5


@pytest.mark.parametrize(
    "module", [Slow(scale=1.01), Slow(scale=float("nan")), Slow(error=RuntimeError("no room\nat all"))]
)
def test_what_fails_or_computes_something_else_is_left_out_and_logged(invented, module, caplog):
    found = invented(broken=module)
    assert list(found.seconds) == ["grouped"]
    [line] = caplog.messages
    assert line.startswith("awbench: strategy broken is left out of the choice: ")
    assert "\n" not in line


def test_the_choice_is_executed(measured, monkeypatch):
    calls = []
    monkeypatch.setitem(
        STRATEGIES, "oracle", SimpleNamespace(forward=lambda *args: calls.append(args) or grouped.forward(*args))
    )
    aw_conv2d(I, K, A, None, 1, 1, strategy="auto")
    assert len(calls) == 1


def test_what_cannot_win_is_not_timed():
    def timed(compact):
        return choice.candidates(request.Request(I, K, torch.rand(2, 16, compact, 3, 3), GEOMETRY))

    known = set(strategies.strategies_for(torch.device("cpu"), torch.float32))
    assert set(timed(1)) == known - {"oracle", "fused"}
    assert set(timed(2)) == known - {"oracle", "fused", "direct"}  # 8 channels a value


def test_a_fifo_in_the_cache_is_not_waited_for(measured, cache):
    choose()
    [path] = cache.glob("*.json")
    path.unlink()
    os.mkfifo(path)
    as_a_new_process()
    assert choose() == "oracle"
