#!/usr/bin/env python3
"""Exports models in their published sizes, weights drawn at random as `make.py` draws them, for the table of full-size models in docs/models.md.

    pip install -r requirements.txt && python3 full_size.py FOLDER [NAME ...]

Nothing is downloaded. Without names, all of them are made, which takes about 3 GB.
"""
import pathlib
import sys
import warnings

import numpy as np
import timm
import torch
import torchvision
from strided_transformer import StridedTransformer
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from make import FLOAT32_TOLERANCE, Case, Outputs, export, fill, outputs_of, run

# Models as timm names them.
TIMM = {
    "deit_tiny": "deit_tiny_patch16_224",
    "deit_small": "deit_small_patch16_224",
    "deit_base": "deit_base_patch16_224",
    "deit_tiny_distilled": "deit_tiny_distilled_patch16_224",
    "deit_base_distilled": "deit_base_distilled_patch16_224",
    "vit_base": "vit_base_patch16_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
}
NAMES = [
    "deit_tiny.legacy.unfused.op17",
    "deit_tiny.dynamo.fused.op20",
    "deit_small.legacy.unfused.op17",
    "deit_base.dynamo.fused.op20",
    "deit_tiny_distilled.legacy.fused.op17",
    "deit_base_distilled.dynamo.unfused.op18",
    "levit_128s.legacy.unfused.op17",
    "levit_128.legacy.unfused.op17",
    "levit_128.dynamo.unfused.op20",
    "levit_192.legacy.unfused.op13",
    "levit_256.dynamo.unfused.op20",
    "vit_base.dynamo.fused.op23",
    "torchvision_vit_b_16.legacy.fused.op17",
    "hfvit_base.dynamo.fused.op20",
    "bert_base.legacy.fused.op17",
    "bert_base.dynamo.fused.op24",
    "swin_tiny.dynamo.unfused.op20",
    "swin_tiny.legacy.fused.op17",
    "pose.dynamo.unfused.op20",
]
# The Strided Transformer as published, on 351 frames of 17 joints.
STRIDED = dict(frames=351, joints=17, channels=256, hidden=512, heads=8, layers=3, strides=(3, 9, 13))
# Tokens of a sentence, and how many of them are no padding.
TOKENS, WORDS = 128, 100


def build(model, fused):
    """The model in evaluation mode."""
    attention = dict(attn_implementation="sdpa" if fused else "eager")
    if model == "hfvit_base":
        return Outputs(fill(ViTModel(ViTConfig(**attention))))
    if model == "bert_base":
        return Outputs(fill(BertModel(BertConfig(**attention))))
    if model == "torchvision_vit_b_16":
        return fill(torchvision.models.vit_b_16())
    if model == "pose":
        return fill(StridedTransformer(**STRIDED))
    built = fill(timm.create_model(TIMM.get(model, model)))
    for module in built.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    return built


def inputs_of(model):
    """Names and values of the inputs of a model."""
    draws = np.random.Generator(np.random.PCG64(0))
    if model != "bert_base":
        name = "pixel_values" if model == "hfvit_base" else "x"
        shape = (1, STRIDED["frames"], STRIDED["joints"], 2) if model == "pose" else (1, 3, 224, 224)
        return {name: draws.standard_normal(shape).astype(np.float32)}
    place = np.arange(TOKENS)[None]
    return {
        "input_ids": draws.integers(0, BertConfig().vocab_size, (1, TOKENS)),
        "attention_mask": (place < WORDS).astype(np.int64),
        "token_type_ids": (place >= WORDS // 2).astype(np.int64),
    }


def make(folder, case):
    """Writes one model, and compares ONNX Runtime on it with PyTorch."""
    model, exporter, fused, opset, variant = case.parts
    path = folder / f"{case.name}.onnx"
    built, inputs = build(model, fused), inputs_of(model)
    with torch.no_grad():
        references = built(*map(torch.from_numpy, inputs.values()))
    references = references if isinstance(references, tuple) else (references,)
    export(built, inputs, outputs_of(model.split("_")[0]), path, exporter, opset, variant)
    outputs = run(str(path), inputs)
    off = max(np.abs(y - x.numpy()).max() / x.std().item() for x, y in zip(references, outputs.values(), strict=True))
    assert off <= 10 * FLOAT32_TOLERANCE, f"{case.name}: off by {off:.1e} of the output's deviation"
    print(f"{case.name}: {path.stat().st_size} bytes, off by {off:.1e} of the output's deviation", flush=True)


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(2)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NAMES:
        make(folder, Case(name, ""))


if __name__ == "__main__":
    main()
