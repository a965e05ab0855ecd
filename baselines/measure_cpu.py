#!/usr/bin/env python3
"""Measures dense core attention on this machine's processor.

    python3 measure_cpu.py --output cpu.json
    python3 measure_cpu.py --onnx deit-tiny=deit_tiny.onnx --output cpu.json

Q K^T, scale, softmax and S V of all heads and layers of a model, in float32, for one item, with
ONNX Runtime (packages onnx and onnxruntime) or PyTorch. `--onnx` adds the time of whole models,
with ONNX Runtime. Nothing else should run on the machine meanwhile.
"""
import os
import pathlib
import platform

import numpy as np

import measurement

SCRIPT = "baselines/measure_cpu.py"


def processor() -> str:
    """The name in /proc/cpuinfo, or what Python knows."""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def session(model, threads: int):
    """A session of ONNX Runtime; `model` is a path or the bytes of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def attention_onnx(groups: list[dict], threads: int):
    """A function that computes all layers with ONNX Runtime: one graph, layers side by side."""
    from onnx import TensorProto, helper

    nodes, inputs, outputs, feeds = [], [], [], {}
    random = np.random.default_rng(0)
    scales = {}
    for index, layer in enumerate(measurement.layers_of(groups)):
        heads, queries, keys, features, value_features = layer
        extents = {
            f"q{index}": (1, heads, queries, features),
            f"kt{index}": (1, heads, features, keys),
            f"v{index}": (1, heads, keys, value_features),
        }
        for name, shape in extents.items():
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            feeds[name] = random.standard_normal(shape, dtype=np.float32)
        scale = scales.setdefault(f"scale{features}", features ** -0.5)
        nodes += [
            helper.make_node("MatMul", [f"q{index}", f"kt{index}"], [f"scores{index}"]),
            helper.make_node("Mul", [f"scores{index}", f"scale{features}"], [f"scaled{index}"]),
            helper.make_node("Softmax", [f"scaled{index}"], [f"s{index}"], axis=-1),
            helper.make_node("MatMul", [f"s{index}", f"v{index}"], [f"o{index}"]),
        ]
        shape = (1, heads, queries, value_features)
        outputs.append(helper.make_tensor_value_info(f"o{index}", TensorProto.FLOAT, shape))
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [], [scale]) for name, scale in scales.items()
    ]
    graph = helper.make_graph(nodes, "core attention", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    run = session(model.SerializeToString(), threads)
    return lambda: run.run(None, feeds)


def attention_torch(groups: list[dict], threads: int):
    """The same with PyTorch."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers = [
        (torch.randn(1, h, n, d), torch.randn(1, h, d, m), torch.randn(1, h, m, v), d ** -0.5)
        for h, n, m, d, v in measurement.layers_of(groups)
    ]

    @torch.inference_mode()
    def run():
        for q, kt, v, scale in layers:
            torch.softmax(q @ kt * scale, dim=-1) @ v

    return run


def whole_model(path: str, threads: int):
    """A function that runs an ONNX model on noise; open extents are 1."""
    run = session(path, threads)
    random = np.random.default_rng(0)
    feeds = {}
    for tensor in run.get_inputs():
        if tensor.type != "tensor(float)":
            raise SystemExit(f"{path}: {tensor.name} is {tensor.type}: expected tensor(float)")
        shape = [extent if isinstance(extent, int) else 1 for extent in tensor.shape]
        feeds[tensor.name] = random.standard_normal(shape, dtype=np.float32)
    return lambda: run.run(None, feeds)


def software(library: str) -> str:
    """The library with its version."""
    module = __import__(library)
    return f"{library} {module.__version__}"


def main() -> None:
    parser = measurement.parser(__doc__.splitlines()[0], "cpu.json")
    parser.add_argument("--library", choices=["onnxruntime", "torch"], default="onnxruntime")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: %(default)s")
    parser.add_argument("--onnx", nargs="+", default=[], metavar="MODEL=FILE",
                        help="ONNX files of whole models")
    arguments = parser.parse_args()
    measurement.check(arguments, parser)
    if arguments.threads < 1:
        parser.error(f"--threads {arguments.threads}: expected at least 1")
    known = measurement.shapes()
    files = [argument.partition("=")[::2] for argument in arguments.onnx]
    for model, file in files:
        if model not in known or not file:
            parser.error(f"--onnx {model}: expected MODEL=FILE, MODEL one of {' '.join(known)}")
    if files and arguments.library != "onnxruntime":
        parser.error("--onnx: only with --library onnxruntime")

    attention = {"onnxruntime": attention_onnx, "torch": attention_torch}[arguments.library]
    results = []
    for model in arguments.models:
        run = attention(known[model], arguments.threads)
        times = measurement.timed(run, arguments.runs, arguments.warm_up)
        results.append(measurement.result(model, "core-attention", known[model], times))
    for model, file in files:
        run = whole_model(file, arguments.threads)
        times = measurement.timed(run, arguments.runs, arguments.warm_up)
        results.append(measurement.result(model, "model", known[model], times))
    header = {
        "platform": "cpu",
        "processor": arguments.processor or processor(),
        "threads": arguments.threads,
        "software": software(arguments.library),
        "precision": "float32",
        "batch": 1,
        "source": SCRIPT,
    }
    measurement.write(arguments.output, header, results)


if __name__ == "__main__":
    main()
