#!/usr/bin/env python3
"""Exports tiny models of timm, torchvision and Hugging Face in the forms that exporters give them, beside this file, with input, output and README.md.

    pip install -r requirements.txt && python3 make.py [NAME ...]

With names, only these are made anew. Seeded: the same versions give the same graphs and weights; outputs may differ in the last bits between CPUs.
"""
import functools
import pathlib
import re
import sys
import tempfile
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import onnxsim
import timm
import torch
import torchvision
import transformers
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from timm.models.deit import VisionTransformerDistilled
from timm.models.levit import LevitDistilled
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torchvision.models.swin_transformer import SwinTransformer as TorchvisionSwin
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionTransformer
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "examples/digits"))
from model import VitcodAttention  # noqa: E402
from strided_transformer import StridedTransformer  # noqa: E402

SIZES = dict(img_size=16, num_classes=10, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2)
COMPRESSED_HEADS = 2
# 3 x 2 tokens, then 2 x 1: an odd map and a rectangular attention.
LEVIT = dict(img_size=(48, 32), num_classes=10, embed_dim=(16, 24), key_dim=4, depth=(1, 1), num_heads=(2, 3))
# The same as torchvision and Hugging Face call it.
TORCHVISION = dict(image_size=16, patch_size=4, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48, num_classes=10)
HUGGING_FACE = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48)
IMAGES = dict(image_size=16, patch_size=4)
TEXT = dict(vocab_size=50, max_position_embeddings=16)
# Tokens of a sentence, and how many of them are no padding.
TOKENS, WORDS = 12, 9
# Four windows of 4 x 4 tokens, plain and shifted, then one; timm's and torchvision's names.
SWIN = dict(img_size=16, patch_size=2, window_size=4, embed_dim=12, depths=(2, 1), num_heads=(2, 3), mlp_ratio=2, num_classes=10)
TORCHVISION_SWIN = dict(
    patch_size=[2, 2], window_size=[4, 4], embed_dim=12, depths=[2, 1], num_heads=[2, 3], mlp_ratio=2.0, num_classes=10
)
STRIDED = dict(frames=9, joints=4, channels=16, hidden=32, heads=2, layers=1, strides=(3, 3))
# Largest difference allowed between PyTorch in float32 and ONNX Runtime on the file.
FLOAT32_TOLERANCE, FLOAT16_TOLERANCE = 1e-5, 1e-2
# The same where every tensor is rounded to 8 bits, relative to the largest output.
INT8_TOLERANCE = 0.2
# Arguments of ONNX Runtime's quantiser: element type of all tensors, one scale for each channel of the weights, no zero points.
QUANTISED = {
    "qdq_s8": (QuantType.QInt8, True, True),
    "qdq_u8": (QuantType.QUInt8, False, False),
}


@dataclass(frozen=True)
class Case:
    """One file; its name is `MODEL.EXPORTER.ATTENTION.opN[.VARIANT]`."""

    name: str
    note: str

    @property
    def parts(self):
        model, exporter, attention, opset, *variant = self.name.split(".")
        return model, exporter, attention == "fused", int(opset[2:]), variant[0] if variant else ""


CASES = [
    Case("vit.legacy.unfused.op13", "LayerNorm as nine operators, GELU as five"),
    Case("vit.legacy.unfused.op17", "LayerNormalization, GELU as five operators"),
    Case("vit.legacy.unfused.op20", "LayerNormalization, Gelu"),
    Case("vit.legacy.fused.op14", "as op13; the scale is a chain from Shape and multiplies Q and K"),
    Case("vit.legacy.fused.op17", "LayerNormalization; the scale as in op14"),
    Case("vit.legacy.fused.op20", "LayerNormalization, Gelu; the scale as in op14"),
    Case("vit.dynamo.unfused.op18", "Q, K, V by Slice and Squeeze; GELU as five operators"),
    Case("vit.dynamo.unfused.op20", "Q, K, V by Slice and Squeeze; Gelu"),
    Case("vit.dynamo.fused.op17", "Reshape, Transpose, Reshape around K; converted down from 18 by the exporter"),
    Case("vit.dynamo.fused.op18", "Reshape, Transpose, Reshape around K; GELU as five operators"),
    Case("vit.dynamo.fused.op20", "Reshape, Transpose, Reshape around K; Gelu"),
    Case("vit.dynamo.fused.op20.default", "as the exporter writes by default: weights in a second file, `metadata_props`"),
    Case("vit.legacy.unfused.op17.sim", "after onnxsim: Reshape, Gemm, Reshape for MatMul, Add"),
    Case("vit.dynamo.fused.op20.sim", "after onnxsim"),
    Case("vit.legacy.unfused.op17.batch", "first axis dynamic: shapes by Shape, Gather, Concat chains"),
    Case("vit.dynamo.unfused.op20.batch", "first axis dynamic"),
    Case("vit.legacy.unfused.op17.zerobias", "biases 0 and scales 1 as initialised: equal tensors aliased by Identity"),
    Case("vit.legacy.unfused.op17.weights16", "float16 weights, cast to float32 before use"),
    Case("vit.legacy.unfused.op17.half", "all float16 between two Casts, rounded at every operator: 5e-4 off `weights16`"),
    Case("vit.legacy.unfused.op17.masked", "a mask [1, 3, 17, 17] of 0 and -inf for each layer is added to the scores"),
    Case("vit.dynamo.unfused.op20.masked", "the same masks, with float32's minimum for -inf"),
    Case("vit.dynamo.fused.op23", "one Attention node per layer; Q, K, V by Slice and Squeeze"),
    Case("vit.legacy.unfused.op11", "as op13, axes as attributes"),
    Case("torchvision.legacy.fused.op17", "sequence first; in-projection by Unsqueeze, Transpose, Squeeze, Gather; Gemm"),
    Case("torchvision.dynamo.fused.op20", "the same"),
    Case("torchvision.dynamo.fused.op23", "the same with Attention nodes"),
    Case("torchvision.dynamo.fused.op20.sim", "after onnxsim"),
    Case("hfvit.legacy.unfused.op14", "Q, K, V apart; outputs of all tokens and of the pooler"),
    Case("hfvit.legacy.fused.op17", "both factors of the scale by themselves"),
    Case("hfvit.dynamo.unfused.op20", "Q, K, V apart"),
    Case("hfvit.dynamo.fused.op20", "an IsNaN guard behind every softmax"),
    Case("hfvit.dynamo.fused.op24", "Attention nodes"),
    Case("hfvit.dynamo.unfused.op20.sim", "after onnxsim: one MatMul for Q, K, V, then Split"),
    Case("hfvit.dynamo.unfused.op20.batch", "first axis dynamic"),
    Case("bert.legacy.unfused.op14", "tokens, their types and which are no padding as inputs; LayerNorm as nine operators"),
    Case("bert.legacy.fused.op17", "an IsNaN guard behind every softmax; the mask by Flatten and Gather"),
    Case("bert.dynamo.unfused.op20", "the mask by GatherND, And, Where"),
    Case("bert.dynamo.fused.op24", "Attention nodes with a mask of booleans"),
    Case("deit.legacy.unfused.op17", "distilled: two prefix tokens, the mean of two heads; patch 8, so 6 tokens"),
    Case("deit.dynamo.fused.op20", "the same"),
    Case("vitcod.legacy.unfused.op17", "auto-encoders on Q and K; on K the transpose behind one is merged into that of the scores"),
    Case("vitcod.dynamo.unfused.op20", "auto-encoders on Q and K"),
    Case("vitcod.legacy.unfused.op17.sim", "auto-encoders on Q and K, after onnxsim"),
    Case("vit.legacy.unfused.op13.qdq_u8", "as below; LayerNorm as nine operators, of which some are quantised"),
    Case("vit.legacy.unfused.op17.qdq_s8", "quantised (QDQ): int8 without zero points, weights per channel; GELU as five operators"),
    Case("vit.dynamo.unfused.op20.qdq_u8", "quantised (QDQ): uint8 with zero points, weights per tensor"),
    Case("levit.legacy.unfused.op13", "BatchNormalization on rank 2, HardSwish as HardSigmoid and Mul, biases gathered from tables"),
    Case("levit.legacy.unfused.op17", "BatchNormalization on rank 2, HardSwish, biases gathered from tables"),
    Case("levit.dynamo.unfused.op20", "the same, biases as constants"),
    Case("levit.legacy.unfused.op17.sim", "after onnxsim: Gemm in place of MatMul and BatchNormalization"),
    Case("swin.legacy.unfused.op17.sim", "windows of a map, shifted ones by Slice and Concat, masks; after onnxsim, which folds the shape arithmetic"),
    Case("swin.dynamo.unfused.op20", "the same, biases as constants"),
    Case("swin.legacy.fused.op14.sim", "LayerNorm as nine operators; the scale multiplies Q and K"),
    Case("tvswin.dynamo.unfused.op20", "torchvision's: tokens padded and merged in other ways"),
    Case("pose.legacy.unfused.op17", "1-D convolutions with stride, pooling of one frame, LayerNorm with the unbiased deviation"),
    Case("pose.dynamo.unfused.op20", "the same"),
]


def draw(name, shape, fresh_biases):
    """Weights of one parameter: matrices N(0, 1/fan_in), which keeps attention from being uniform; see `build`."""
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    if "token" in name or "embed" in name and len(shape) in (2, 3):
        return noise * 0.5
    if "attention_biases" in name or "bias_table" in name:
        return noise
    if "running_var" in name:
        return 0.5 + np.abs(noise)
    if len(shape) > 1:
        return noise * np.prod(shape[1:]) ** -0.5
    # Weights of one dimension are the scales of normalisations.
    return (1.0 if name.endswith("weight") else 0.0) + (0.0 if fresh_biases else 0.1) * noise


def transformers_model(model, fused):
    """A model of Hugging Face."""
    attention = dict(attn_implementation="sdpa" if fused else "eager")
    if model == "bert":
        return BertModel(BertConfig(**HUGGING_FACE, **TEXT, **attention))
    return ViTModel(ViTConfig(**HUGGING_FACE, **IMAGES, **attention))


def fill(model, fresh_biases=False):
    """Weights of all parameters, and statistics of BatchNorm."""
    statistics = [(name, buffer) for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    for name, tensor in [*model.named_parameters(), *statistics]:
        tensor.data = torch.from_numpy(draw(name, tensor.shape, fresh_biases).astype(np.float32))
    return model.eval()


def build(model, fused, fresh_biases):
    """The model in evaluation mode; `fresh_biases` leaves biases at 0 and LayerNorm scales at 1."""
    if model == "levit":
        return fill(LevitDistilled(**LEVIT), fresh_biases)
    if model == "swin":
        built = fill(SwinTransformer(**SWIN), fresh_biases)
        for module in built.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = fused
        return built
    if model == "tvswin":
        return fill(TorchvisionSwin(**TORCHVISION_SWIN), fresh_biases)
    if model == "pose":
        return fill(StridedTransformer(**STRIDED), fresh_biases)
    if model in ("hfvit", "bert"):
        return Outputs(fill(transformers_model(model, fused)))
    if model == "torchvision":
        return fill(TorchvisionTransformer(**TORCHVISION))
    kind, patch = (VisionTransformerDistilled, 8) if model == "deit" else (VisionTransformer, 4)
    options = dict(attn_layer=VitcodAttention) if model == "vitcod" else {}
    built = kind(patch_size=patch, **SIZES, **options).eval()
    if model == "vitcod":
        for block in built.blocks:
            block.attn.compress_heads(COMPRESSED_HEADS)
    fill(built, fresh_biases)
    for block in built.blocks:
        block.attn.fused_attn = fused
    return built


def mask(model, pruned):
    """Adds a fixed mask to the scores of each layer: `pruned` but for the class token, the diagonal and a quarter of the rest."""
    tokens = model.pos_embed.shape[1]
    for layer, block in enumerate(model.blocks):
        kept = np.random.Generator(np.random.PCG64(layer)).random((1, SIZES["num_heads"], tokens, tokens)) < 0.25
        kept[..., 0, :] = kept[..., :, 0] = kept[..., range(tokens), range(tokens)] = True
        block.register_buffer("mask", torch.from_numpy(np.where(kept, 0, pruned).astype(np.float32)))
        block.forward = functools.partial(block.forward, attn_mask=block.mask)


class Outputs(torch.nn.Module):
    """A model of Hugging Face that returns its two tensors and takes its inputs by position."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        names = ("input_ids", "attention_mask", "token_type_ids") if len(inputs) > 1 else ("pixel_values",)
        returned = self.model(**dict(zip(names, inputs)))
        return returned.last_hidden_state, returned.pooler_output


class Half(torch.nn.Module):
    """A model in float16 with input and output in float32."""

    def __init__(self, model):
        super().__init__()
        self.model = model.half()

    def forward(self, x):
        return self.model(x.half()).float()


def inputs_of(kind):
    """Names and values of the inputs of a model."""
    draws = np.random.Generator(np.random.PCG64(0))
    if kind == "pose":
        return {"x": draws.standard_normal((1, STRIDED["frames"], STRIDED["joints"], 2)).astype(np.float32)}
    if kind != "bert":
        size = LEVIT["img_size"] if kind == "levit" else (16, 16)
        return {"pixel_values" if kind == "hfvit" else "x": draws.standard_normal((1, 3, *size)).astype(np.float32)}
    place = np.arange(TOKENS)[None]
    return {
        "input_ids": draws.integers(0, TEXT["vocab_size"], (1, TOKENS)),
        "attention_mask": (place < WORDS).astype(np.int64),
        "token_type_ids": (place >= WORDS // 2).astype(np.int64),
    }


def outputs_of(kind):
    """Names of the outputs of a model."""
    if kind == "pose":
        return ["single", "sequence"]
    return ["last_hidden_state", "pooler_output"] if kind in ("hfvit", "bert") else ["logits"]


def export(model, inputs, outputs, path, exporter, opset, variant):
    """Writes `model` to `path`."""
    options = dict(opset_version=opset, dynamo=exporter == "dynamo")
    values = tuple(torch.from_numpy(x) for x in inputs.values())
    if variant == "default":
        torch.onnx.export(model, values, path, verbose=False, **options)
        return
    options |= dict(input_names=list(inputs), output_names=outputs)
    if exporter == "dynamo":
        options |= dict(external_data=False, verbose=False)
    if variant == "batch":
        values = tuple(x.repeat(2, *[1] * (x.ndim - 1)) for x in values)
        if exporter == "dynamo":
            options["dynamic_shapes"] = (tuple({0: "batch"} for _ in values),) if len(outputs) > 1 else ({0: "batch"},)
        else:
            options["dynamic_axes"] = {name: {0: "batch"} for name in [*inputs, *outputs]}
    torch.onnx.export(model, values, path, **options)


def strip(model):
    """Removes what no importer reads: source locations and other notes of the exporter."""
    graph = model.graph
    for item in [model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        del item.metadata_props[:]
        item.ClearField("doc_string")


def relocate(model):
    """Makes the paths in stack traces independent of where Python's packages are installed."""
    for node in model.graph.node:
        for entry in node.metadata_props:
            entry.value = re.sub(r'File "[^"]*/site-packages/', 'File "', entry.value)


def weights_to_float16(model):
    """Stores every float32 initialiser of the graph as float16 with a Cast behind it."""
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        stored = tensor.name + ".float16"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], stored + ".cast", to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), stored))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


class Samples(CalibrationDataReader):
    """Seeded noise, image by image."""

    def __init__(self, name):
        noise = np.random.Generator(np.random.PCG64(1)).standard_normal((8, 1, 3, 16, 16)).astype(np.float32)
        self.images = iter([{name: image} for image in noise])

    def get_next(self):
        return next(self.images, None)


def quantised(model, element, per_channel, symmetric):
    """The model in QDQ form, and the same with what only rounds activations left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        onnx.save(model, path)
        options = dict(activation_type=element, weight_type=element, per_channel=per_channel)
        samples = Samples(model.graph.input[0].name)
        quantize_static(
            path, path, samples, QuantFormat.QDQ, extra_options=dict(ActivationSymmetric=symmetric), **options
        )
        rounded = onnx.load(path)
    dequantised = onnx.ModelProto()
    dequantised.CopyFrom(rounded)
    graph, real, computed = dequantised.graph, {}, {value.name for value in dequantised.graph.input}
    for node in list(graph.node):
        node.input[:] = [real.get(name, name) for name in node.input]
        if not computed.isdisjoint(node.input):
            computed.update(node.output)
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                real[node.output[0]] = node.input[0]
                graph.node.remove(node)
    last = graph.node[-1]
    last.output[:] = [graph.output[0].name if real.get(graph.output[0].name) == name else name for name in last.output]
    return rounded, dequantised


def run(path, inputs):
    """Outputs of ONNX Runtime on the graph as it stands, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, dict(zip(names, inputs.values())))))


def save(case, what, tensors):
    """Writes tensors; only where there are several does the file's name say which."""
    for name, tensor in tensors.items():
        which = f"{name}." if len(tensors) > 1 else ""
        np.save(HERE / f"{case.name}.{which}{what}.npy", tensor)


def make(case):
    """Writes the files of one case and returns its row of the table."""
    kind, exporter, fused, opset, variant = case.parts
    path = HERE / f"{case.name}.onnx"
    inputs = inputs_of(kind)
    model = build(kind, fused, variant == "zerobias")
    if variant == "masked":
        mask(model, -np.inf if exporter == "legacy" else np.finfo(np.float32).min)
    with torch.no_grad():
        references = model(*map(torch.from_numpy, inputs.values()))
    references = references if isinstance(references, tuple) else (references,)
    export(Half(model) if variant == "half" else model, inputs, outputs_of(kind), path, exporter, opset, variant)

    exported = onnx.load(path, load_external_data=False)
    if variant == "default":
        relocate(exported)
    else:
        if variant == "sim":
            exported, _ = onnxsim.simplify(exported)
        if variant == "weights16":
            weights_to_float16(exported)
        if variant in QUANTISED:
            exported, dequantised = quantised(exported, *QUANTISED[variant])
            np.save(HERE / f"{case.name}.real.npy", run(dequantised.SerializeToString(), inputs)["logits"])
        strip(exported)
    onnx.save(exported, path)
    onnx.checker.check_model(path, full_check=True)

    outputs = run(path, inputs)
    difference = max(np.abs(y - x.numpy()).max() for x, y in zip(references, outputs.values(), strict=True))
    allowed = FLOAT16_TOLERANCE if variant in ("half", "weights16") else FLOAT32_TOLERANCE
    if variant in QUANTISED:
        allowed = INT8_TOLERANCE * np.abs(references[0].numpy()).max()
    assert all(y.dtype == np.float32 for y in outputs.values()) and difference <= allowed, f"{case.name}: off by {difference:.1e}"
    save(case, "in", inputs)
    save(case, "out", outputs)
    print(f"{case.name}: {path.stat().st_size} bytes, {len(exported.graph.node)} nodes, off by {difference:.1e}")
    return row(case)


def row(case):
    """What the table says of a file."""
    nodes = len(onnx.load(HERE / f"{case.name}.onnx", load_external_data=False).graph.node)
    return f"| `{case.name}` | {nodes} | {case.note} |"


README = """\
# Small exports for tests

Made by `make.py`, which also writes this file. Each `NAME.onnx` comes with `NAME.in.npy` (input, float32
[1, 3, 16, 16], standard normal) and `NAME.out.npy` (what ONNX Runtime {onnxruntime} computes from it, float32 [1, 10]); with several inputs or
outputs, these are `NAME.INPUT.in.npy` and `NAME.OUTPUT.out.npy`.
The names say model, exporter (PyTorch {torch}), whether attention is one call (`fused_attn`, `sdpa`), opset and variant.

Models are timm {timm}, `torchvision` {torchvision}, `hfvit` and `bert` of transformers {transformers}: width 24, 2 layers, 3 heads of 8
features, MLP ratio 2, patches of 4 x 4 (17 tokens) unless the table says otherwise; `bert` has 12 tokens of a vocabulary of 50, three of
which are padding. Weights are random, drawn so that attention is not uniform
(entropy 0.72 to 0.92 of the maximum, per head). All `vit` files but `zerobias`,
`weights16` and `half` hold the same weights, so their outputs agree, those of `masked` with each other only; and so do those
of the two `deit` files, and those of the three `vitcod` ones, which are `vit` with the attention of `examples/digits/model.py`
and its auto-encoders, 3 heads to 2 and back. `levit` is timm's distilled LeViT on images of 48 x 32: a stem of four convolutions to 3 x 2
tokens of width 16 in 2 heads, a layer, subsampling to 2 x 1 tokens of width 24 in 3 heads, a layer. `swin` (timm) and `tvswin`
(torchvision) have 8 x 8 tokens of width 12 in windows of 4 x 4, two layers of 2 heads, of which the second is shifted, and one of 3 heads on 4 x 4 tokens
of width 24. `pose` is the Strided Transformer (`strided_transformer.py`): 9 frames of 4 joints in 2-D, width 16, one layer and two that stride by 3.
The `qdq` files are quantised by ONNX Runtime from the same weights, on 8 images of noise; `NAME.out.npy` is what it computes with all
rounding, and `NAME.real.npy` with the rounded weights, but real activations. It is no bit-exact reference: one rounding that
falls the other way changes what follows.
Notes of the exporter (`doc_string`, `metadata_props`) are stripped except in `default`.
What becomes of each is in [docs/models.md](../../docs/models.md). `full_size.py` exports models in their published sizes; they are not kept here. `plain_vit.py` writes plain
vision transformers up to ViT-H without PyTorch: `python3 plain_vit.py FOLDER NAME ...`, with the names of its table `SIZES`.

| NAME | nodes | what it shows |
|---|---|---|
{rows}
"""


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(2)
    chosen = sys.argv[1:] or [case.name for case in CASES]
    rows = "\n".join(make(case) if case.name in chosen else row(case) for case in CASES)
    modules = dict(onnxruntime=onnxruntime, torch=torch, timm=timm, torchvision=torchvision, transformers=transformers)
    versions = {name: module.__version__.split("+")[0] for name, module in modules.items()}
    (HERE / "README.md").write_text(README.format(rows=rows, **versions))


if __name__ == "__main__":
    main()
