"""What `make gpu` tries, one function a step; each returns a line of what it found, and leaves figures in a file."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHON, AWBENCH = [sys.executable], [sys.executable, "-m", "awbench"]
STEPS: dict[str, Step] = {}


@dataclass(frozen=True)
class Step:
    """Attributes: what, a line; run, gives a line of what was found; seconds, after which it is ended."""

    what: str
    run: Callable[[Setting], str]
    seconds: int


@dataclass(frozen=True)
class Setting:
    """Where a step runs.

    Attributes:
        device: "cuda" or "cpu"; a CPU gets sizes that take seconds.
        output: folder for its files.
    """

    device: str
    output: Path

    @property
    def small(self) -> bool:
        return self.device == "cpu"


class Failed(Exception):
    """What a step found wrong, in a line."""


class Skipped(Exception):
    """Why a step does not apply here, in a line."""


def step(what: str, seconds: int) -> Callable[[Callable[[Setting], str]], Callable[[Setting], str]]:
    def register(run: Callable[[Setting], str]) -> Callable[[Setting], str]:
        STEPS[run.__name__] = Step(what, run, seconds)
        return run

    return register


@step("versions, memory, /dev/shm, cores", 60)
def machine(setting: Setting) -> str:
    import torch

    from awbench.records.environment import environment

    found: dict[str, Any] = {"environment": environment(), "shm_mib": _free_mib("/dev/shm")}
    if setting.device == "cuda":
        found["gpus"] = [str(torch.cuda.get_device_properties(i)) for i in range(torch.cuda.device_count())]
        found["cudnn"] = torch.backends.cudnn.version()
    keep(setting, "machine", found)
    gpus = "; ".join(found.get("gpus", ["no GPU"]))
    return f"torch {torch.__version__}, Python {platform.python_version()}, {gpus}, /dev/shm {found['shm_mib']:,} MiB"


@step("the fused kernels' own tests", 120)
def fused_tests(setting: Setting) -> str:
    if setting.small:
        raise Skipped("make test runs them in the interpreter")
    return _run([*PYTHON, "-m", "pytest", "-q", "tests/kernels/test_fused.py"], setting).strip().splitlines()[-1]


@step("fused against float64: ResNet-50's shapes, dtypes, layouts, e", 240)
def numerics(setting: Setting) -> str:
    import torch

    from awbench.kernels.geometry import Geometry
    from awbench.kernels.request import Request
    from awbench.measure.aw_speed import RESNET50_SHAPES, Shape

    bounds = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    shapes = (Shape(16, 6), Shape(32, 5, 2)) if setting.small else RESNET50_SHAPES
    rows: list[dict[str, Any]] = []
    N = 2 if setting.small else 4
    layouts = (torch.contiguous_format, torch.channels_last)
    for shape, (dtype, bound), layout, e in itertools.product(shapes, bounds.items(), layouts, (None, 16, 1)):
        torch.manual_seed(0)
        C = shape.channels
        I = torch.randn(N, C, shape.size, shape.size, device=setting.device)
        K = torch.randn(C, C, 3, 3, device=setting.device) / (9 * C) ** 0.5
        A = torch.rand(N, C, C // (e or C), 3, 3, device=setting.device)
        out = -(-shape.size // shape.stride)
        dO = torch.randn(N, C, out, out, device=setting.device)
        geometry = Geometry([shape.stride] * 2, [1, 1], [1, 1])
        i, k, a = I.to(dtype).to(memory_format=layout), K.to(dtype).to(memory_format=layout), A.to(dtype)
        errors = []
        for gradient in (None, dO.to(dtype).to(memory_format=layout)):
            found = Request(i, k, a, geometry, gradient).execute("fused")
            exact = None if gradient is None else gradient.double()
            right = Request(i.double(), k.double(), a.double(), geometry, exact).execute("grouped")
            errors += [float((f.double() - r).norm() / r.norm()) for f, r in zip(found, right, strict=True)]
        rows.append({"shape": str(shape), "dtype": str(dtype), "layout": str(layout), "e": e or C, "errors": errors,
                     "pass": all(error <= bound for error in errors)})  # fmt: skip
    keep(setting, "numerics", rows)
    wrong = [row for row in rows if not row["pass"]]
    if wrong:
        raise Failed(f"{len(wrong)} of {len(rows)} cases are off; first {wrong[0]}")
    return f"{len(rows)} cases, largest error {max(max(row['errors']) for row in rows):.1e}"


@step("memcheck and racecheck on three cases", 120)
def sanitizer(setting: Setting) -> str:
    if not shutil.which("compute-sanitizer"):
        raise Skipped("no compute-sanitizer here; the CUDA toolkit has it")
    cases = ["-k", "(oracle_in_float32 and (pixels or stride)) or summed"]
    for tool in ("memcheck", "racecheck"):
        argv = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *PYTHON, "-m", "pytest", "-q"]
        _run([*argv, "tests/kernels/test_fused.py", *cases], setting, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    return "nothing found"


@step("rates of a copy and a matrix product; every kernel alone, queued, e = C1, 16 and 1, with floors", 300)
def kernels(setting: Setting) -> str:
    budget = "2" if setting.small else "15"
    argv = [*AWBENCH, "aw-speed", "--device", setting.device, "--backward", "--budget", budget, "--json"]
    argv += ["--results", str(setting.output / "results"), *(["--batch-size", "1"] if setting.small else [])]
    rows = json.loads(_run(argv, setting))
    for e in () if setting.small else ("16", "1"):
        rows += json.loads(_run([*argv, "--expansion", e], setting))
    keep(setting, "kernels", rows)
    return f"{len(rows)} rows; 'awbench table aw-speed --results {setting.output / 'results'}' prints them"


@step("host time of a call whose strategy is known", 60)
def host(setting: Setting) -> str:
    import torch

    from awbench.kernels import aw_conv2d
    from awbench.kernels.choice import choose
    from awbench.kernels.geometry import Geometry
    from awbench.kernels.request import Request

    I, K = (torch.randn(*s, device=setting.device) for s in ((2, 64, 32, 32), (64, 64, 3, 3)))
    A = torch.rand(2, 64, 1, 3, 3, device=setting.device)
    request = Request(I, K, A, Geometry([1, 1], [1, 1], [1, 1]))
    choosing = _host_us(lambda: choose("auto", request), 1000)
    calling = _host_us(lambda: aw_conv2d(I, K, A, None, 1, 1, strategy="auto"), 50)
    keep(setting, "host", {"choose_us": choosing, "call_us": calling})
    if choosing > 100:
        raise Failed(f"choosing takes {choosing:.0f} us of host time a call; 100 at most")
    return f"choosing {choosing:.1f} us, a forward call {calling:.0f} us" + (" (the CPU's work too)" * setting.small)


@step("'auto' from an empty cache, in a network", 120)
def auto(setting: Setting) -> str:
    import torch

    import awbench
    from awbench.attention.aw_convolution import set_strategy

    os.environ["AWBENCH_CACHE"] = str(setting.output / "cache")
    shutil.rmtree(setting.output / "cache", ignore_errors=True)
    name, shape = ("aw_resnet20", (8, 3, 32, 32)) if setting.small else ("aw_resnet50", (64, 3, 224, 224))
    network = awbench.build(name).to(setting.device).to(memory_format=torch.channels_last)
    set_strategy(network, "auto")
    images, seconds = torch.randn(shape, device=setting.device).to(memory_format=torch.channels_last), []
    for _ in range(2):
        started = time.monotonic()
        with torch.autocast(setting.device, torch.bfloat16):
            loss = network(images).float().logsumexp(1).sum()
        loss.backward()
        _wait(setting)
        seconds.append(time.monotonic() - started)
    files = [json.loads(path.read_text()) for path in (setting.output / "cache" / "aw-strategies").glob("*.json")]
    chosen = [file["chosen"] for file in files]
    keep(setting, "auto", {"seconds": seconds, "kept": files})
    counts = ", ".join(f"{name} {chosen.count(name)}" for name in sorted(set(chosen))) or "none kept"
    return f"first step {seconds[0]:.1f} s, second {seconds[1]:.2f} s; chosen: {counts}"


@step("replay of a CUDA graph equals eager", 120)
def graph(setting: Setting) -> str:
    if setting.small:
        raise Skipped("there are no CUDA graphs on a CPU")
    import torch

    import awbench
    from awbench.measure.latency import _captured

    worst = 0.0
    for name in ("resnet18", "aw_resnet18", "aw_cbam_resnet18"):
        network = awbench.build(name).eval().cuda()
        images = [torch.randn(2, 3, 224, 224, device="cuda") for _ in range(3)]
        outputs: list[torch.Tensor] = []
        with torch.inference_mode():
            right = [network(image) for image in images]

            def run(image: torch.Tensor, network: Any = network, outputs: Any = outputs) -> None:
                outputs[:] = [network(image)]

            next_input, replay = _captured(run, iter([*images, *images]))
            for wanted in (*right[1:], right[0]):
                replay(next_input())
                worst = max(worst, float((outputs[0] - wanted).abs().max() / wanted.abs().max()))
    if worst > 1e-3:
        raise Failed(f"replay differs from eager by {worst:.1e} of the largest output")
    return f"three networks, largest difference {worst:.1e} of the largest output"


@step("JPEG decoded on the GPU: pixels beside Pillow's, images/s beside a core's", 120)
def decoding(setting: Setting) -> str:
    import numpy as np
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    from awbench.data.datasets import ImageFiles
    from awbench.data.encoded import DeviceDecoder, EncodedFiles, collate_encoded, keep_seed
    from awbench.data.views import View
    from awbench.recipes.classification import load_recipe
    from awbench.tasks.transforms import evaluation_transform, training_transform

    folder, recipe = setting.output / "jpeg", load_recipe("cbam")
    folder.mkdir(exist_ok=True)
    files = [(str(folder / f"{index}.jpg"), index) for index in range(8 if setting.small else 128)]
    for path, index in files:  # smooth, with grain; colours in full, halved, quartered
        rng = np.random.default_rng(index)
        smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        pixels = (np.asarray(smooth) + rng.normal(0, 7, (375, 500, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90, subsampling=index % 3)
    device, figures = torch.device(setting.device), dict[str, Any]()
    encoded = collate_encoded([View(EncodedFiles(files), keep_seed, 0)[0, index] for _, index in files])
    transforms: dict[str, Callable[[Any], torch.Tensor]] = {
        "decoded": v2.Compose([v2.PILToTensor(), v2.ToPureTensor()]),
        "evaluated": evaluation_transform(recipe.evaluation),
        "trained": training_transform(recipe.augmentation),
    }
    for name, transform in transforms.items():
        decode, view = DeviceDecoder(device, transform, False), View(ImageFiles(files), transform, 0)
        batch = decode(encoded)
        if batch.on_cpu:
            raise Failed(f"{batch.on_cpu} of {len(files)} plain JPEG files were refused")
        right = torch.stack([torch.as_tensor(view[0, index][0]) for _, index in files])
        off = (batch.images.cpu().float() - right.float()).abs()
        figures[name] = {"means": off.mean((1, 2, 3)).tolist(), "largest": float(off.max())}
    _wait(setting)

    def whole() -> None:
        decode(encoded)
        _wait(setting)

    kept = torch.full((2**28,), 7, dtype=torch.uint8, device=device)
    busy = torch.ones(256 if setting.small else 8192, device=device).diag()
    for _ in range(20):
        busy = busy @ busy
    late = kept.clone()  # behind 20 products, when its memory may be another's
    del kept
    decode(encoded)
    if not (late == 7).all():
        raise Failed("decoded pixels were written over a tensor that a queued kernel reads")
    seconds = min(_timed(whole) for _ in range(3))
    torch.set_num_threads(1)
    alone = View(ImageFiles(files, "torchvision"), transforms["trained"], 0)
    core = min(_timed(lambda: [alone[0, index] for _, index in files]) for _ in range(3)) / len(files)
    figures["images_per_s"] = {"device": len(files) / seconds, "core": 1 / core}
    keep(setting, "decoding", figures)
    means = [max(figures[name]["means"]) for name in transforms]
    if max(means) >= 2:
        raise Failed(f"an image's pixels differ by {max(means):.1f} of 255 from Pillow's in the mean; below 2 is right")
    return (
        f"an image's mean difference from Pillow's, of 255: decoded {means[0]:.2f}, evaluated {means[1]:.2f}, trained "
        f"{means[2]:.2f} at most; {len(files) / seconds:,.0f} images/s, a core {1 / core:,.0f}"
    )


@step("thirty training steps of plain, SE and AW, with and without --compile", 240)
def steps(setting: Setting) -> str:
    import torch

    import awbench

    names = ("resnet20", "aw_resnet20") if setting.small else ("resnet50", "se_resnet50", "aw_resnet50")
    shape, count = ((8, 3, 32, 32), 3) if setting.small else ((64, 3, 224, 224), 30)
    speeds: dict[str, float] = {}
    for name, compiled in itertools.product(names, (False,) if setting.small else (False, True)):
        network = awbench.build(name).to(setting.device).to(memory_format=torch.channels_last)
        images = torch.randn(shape, device=setting.device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
        run: Any = torch.compile(network) if compiled else network

        def train(run: Any = run, images: torch.Tensor = images, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(setting.device, torch.bfloat16):
                loss = run(images).float().logsumexp(1).mean()
            loss.backward()
            optimizer.step()

        label = name + (", compiled" if compiled else "")
        for _ in range(3):
            train()
        _wait(setting)
        started = time.monotonic()
        for _ in range(count):
            train()
        _wait(setting)
        speeds[label] = count * shape[0] / (time.monotonic() - started)
        if not compiled:
            with torch.profiler.profile() as profiler:
                train()
                _wait(setting)
            table = profiler.key_averages().table(sort_by="self_device_time_total", row_limit=25)
            (setting.output / f"profile-{name}.txt").write_text(table)
    keep(setting, "steps", speeds)
    return ", ".join(f"{label} {speed:,.0f} images/s" for label, speed in speeds.items())


@step("--deterministic twice; SIGTERM saves (75), --resume ends with the same bits", 200)
def training(setting: Setting) -> str:
    argv = [*AWBENCH, "train", "aw_resnet20", "--device", setting.device, "--deterministic", "--set", "epochs=2"]
    folder = setting.output / "training"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("first", "second"):
        _run([*argv, "--results", str(folder / name), "--output", str(folder / name / "run")], setting)
    stopped = folder / "stopped" / "run"
    resumed = [*argv, "--results", str(folder / "stopped"), "--output", str(stopped), "--resume"]
    process = subprocess.Popen([*resumed, "--checkpoint-seconds", "0.1"], cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(stopped.glob("checkpoints/step-*.pt")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code = process.wait()
    if code not in (0, 75):  # 0: it had just finished
        raise Failed(f"SIGTERM ended the training with exit code {code}; 75 is right")
    _run(resumed, setting)
    weights = [(folder / name / "run" / "weights.safetensors").read_bytes() for name in ("first", "second", "stopped")]
    tensors = [_tensors(content) for content in weights]
    if not tensors[0] == tensors[1] == tensors[2]:
        raise Failed("weights of two runs, or of a stopped one, differ")
    return f"three runs, one stopped with exit code {code}: equal bits"


@step("twenty detector iterations with both engines", 240)
def detectors(setting: Setting) -> str:
    from safetensors.torch import save_file

    import awbench

    backbone, done = setting.output / "backbone.safetensors", []
    save_file(awbench.build("aw_resnet18").state_dict(), backbone)
    for engine in ("torchvision", "detectron2"):
        if engine == "detectron2" and not _has("detectron2"):
            done.append("detectron2 is not installed ('make detectron2')")
            continue
        argv = [*AWBENCH, "train", "faster_rcnn_aw_resnet18_fpn", "--engine", engine, "--device", setting.device]
        results = setting.output / "detectors" / engine
        shutil.rmtree(results, ignore_errors=True)
        count = 2 if setting.small else 20
        argv += ["--init-weights", str(backbone)]
        sets = ["--set", f"iterations={count}", "--set", "schedule.steps=[1]", "--set", "schedule.warmup_iterations=0"]
        started = time.monotonic()
        _run([*argv, *sets, "--set", f"evaluate_every={count}", "--results", str(results)], setting)
        done.append(f"{engine} {count} iterations and an evaluation in {time.monotonic() - started:.0f} s")
    return "; ".join(done)


@step("several GPUs: kernels on cuda:1 while cuda:0 is current; torchrun: equals one process, a bad image ends it", 300)
def several(setting: Setting) -> str:
    import torch

    from awbench.kernels import aw_conv2d

    gpus = 0 if setting.small else torch.cuda.device_count()
    if setting.device == "cuda" and gpus < 2:
        raise Skipped(f"{gpus} GPU here")
    if gpus > 1:
        made = [torch.randn(2, 64, 14, 14), torch.randn(64, 64, 3, 3), torch.rand(2, 64, 1, 3, 3)]
        on = [[tensor.to(f"cuda:{i}") for tensor in made] for i in (0, 1)]
        outs = [aw_conv2d(I, K, A, None, 1, 1, strategy="fused").cpu() for I, K, A in on]
        if not torch.equal(*outs):
            raise Failed("cuda:1's result differs from cuda:0's while cuda:0 is current")
    folder = setting.output / "several"
    shutil.rmtree(folder, ignore_errors=True)
    torchrun, top1 = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"], []
    for processes in (1, 2):
        argv = ["-m", "awbench", "train", "aw_resnet20", "--device", setting.device, "--set", "epochs=1", "--json"]
        sets = ["--set", "batch_size=64", "--set", "norm_batch_size=32", "--results", str(folder / str(processes))]
        launcher = torchrun if processes == 2 else []
        top1.append(json.loads(_run([*PYTHON, *launcher, *argv, *sets], setting))["top1"])
    if abs(top1[0] - top1[1]) > 2:  # sums of two processes are rounded otherwise
        raise Failed(f"top-1 of one process is {top1[0]} %, of two {top1[1]} %")
    _tiny_imagenet(folder / "data")
    argv = [
        *PYTHON,
        *torchrun,
        "-m",
        "awbench",
        "train",
        "aw_resnet20",
        "--dataset",
        "imagenet",
        "--data",
        str(folder / "data"),
    ]
    argv += ["--device", setting.device, "--results", str(folder / "bad"), "--workers", "1"]
    for change in ("epochs=1", "batch_size=50", "norm_batch_size=25", "augmentation.size=32", "evaluation.resize=32"):
        argv += ["--set", change]
    started = time.monotonic()
    done = subprocess.run([*argv, "--set", "evaluation.crop=32"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode == 0 or "0.jpg cannot be decoded" not in done.stderr:
        raise Failed(f"a bad image on one process: exit code {done.returncode}, {done.stderr.strip()[-200:]}")
    return (
        f"top-1 of one process {top1[0]}, of two {top1[1]}; a bad image on one of two ended both in "
        f"{time.monotonic() - started:.0f} s"
    )


def _tiny_imagenet(folder: Path) -> None:
    """A training and an evaluation image for each of 1,000 classes, one of which is none."""
    from PIL import Image

    for split in ("train", "val"):
        for label in range(1000):
            (folder / split / str(label)).mkdir(parents=True)
            Image.new("RGB", (32, 32), (label % 256, label // 4, 0)).save(folder / split / str(label) / f"{label}.jpg")
    (folder / "train" / "0" / "0.jpg").write_bytes(b"no image")


def _tensors(content: bytes) -> dict[str, bytes]:
    from safetensors.torch import load

    return {name: tensor.numpy().tobytes() for name, tensor in load(content).items()}


def _host_us(call: Callable[[], Any], count: int) -> float:
    """Microseconds of a call until it returns, the least of three tries; what it launched may go on."""
    call()
    return min(_timed(lambda: [call() for _ in range(count)]) for _ in range(3)) / count * 1e6


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _wait(setting: Setting) -> None:
    import torch

    if setting.device == "cuda":
        torch.cuda.synchronize()


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _free_mib(folder: str) -> int:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free >> 20
    return 0


def keep(setting: Setting, name: str, figures: Any) -> None:
    (setting.output / f"{name}.json").write_text(json.dumps(figures, indent=1, default=str))


def _run(argv: list[str], setting: Setting, **environment: str) -> str:
    """The stdout of a command.

    Raises:
        Failed: with its last line.
    """
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    with (setting.output / "commands.log").open("a") as log:
        log.write(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise Failed(f"{' '.join(argv[1:4])} ... ended with exit code {done.returncode}: {lines[-1][:300]}")
    return done.stdout
