#!/usr/bin/env python3
"""Exports the models of `make.py` in full size, with drawn weights, into a folder: `NAME.onnx` with its data, input and PyTorch's output.

    python3 full.py FOLDER [NAME ...]

They are too large to be kept: some 400 MB each. To compile one, run it on the emulated machine and compare:

    vitcod compile FOLDER/NAME.onnx -o NAME.vitcod --calibration FOLDER/NAME.in.npy
    vitcod run NAME.vitcod --check --input FOLDER/NAME.in.npy
    vitcod interp FOLDER/NAME.onnx --input FOLDER/NAME.in.npy --output y.npy    # in float, to be compared with FOLDER/NAME.out.npy

With several inputs or outputs these are `NAME.INPUT.in.npy` and `NAME.OUTPUT.out.npy`, and named: `--input INPUT=FOLDER/NAME.INPUT.in.npy`.
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

from make import Outputs, fill

WORDS, TOKENS = 100, 128
# Of the paper on 351 frames of 17 joints.
STRIDED = dict(frames=351, joints=17, channels=256, hidden=512, heads=8, layers=3, strides=(3, 9, 13))

# Model, and opset of the export.
MODELS = {
    "timm_vit_base": (lambda: fill(timm.create_model("vit_base_patch16_224")), 23),
    "torchvision_vit_base": (lambda: fill(torchvision.models.vit_b_16(weights=None)), 20),
    "hugging_face_vit_base": (lambda: Outputs(fill(ViTModel(ViTConfig(attn_implementation="sdpa")))), 20),
    "bert_base": (lambda: Outputs(fill(BertModel(BertConfig(attn_implementation="sdpa")))), 20),
    "swin_tiny": (lambda: swin(), 20),
    "strided_transformer": (lambda: fill(StridedTransformer(**STRIDED)), 20),
}


def swin():
    """Swin-Tiny; the exporter does not take its fused attention."""
    model = fill(timm.create_model("swin_tiny_patch4_window7_224"))
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


def inputs_of(name):
    draws = np.random.Generator(np.random.PCG64(0))
    if name == "bert_base":
        place = np.arange(TOKENS)[None]
        return {
            "input_ids": draws.integers(0, BertConfig().vocab_size, (1, TOKENS)),
            "attention_mask": (place < WORDS).astype(np.int64),
            "token_type_ids": (place >= WORDS // 2).astype(np.int64),
        }
    shape = (1, STRIDED["frames"], STRIDED["joints"], 2) if name == "strided_transformer" else (1, 3, 224, 224)
    return {"pixel_values" if name.startswith("hugging") else "x": draws.standard_normal(shape).astype(np.float32)}


def outputs_of(name):
    if name == "strided_transformer":
        return ["single", "sequence"]
    return ["last_hidden_state", "pooler_output"] if name in ("hugging_face_vit_base", "bert_base") else ["logits"]


def export(name, folder):
    build, opset = MODELS[name]
    model, inputs, outputs = build(), inputs_of(name), outputs_of(name)
    values = tuple(torch.from_numpy(x) for x in inputs.values())
    options = dict(opset_version=opset, dynamo=True, input_names=list(inputs), output_names=outputs, verbose=False)
    torch.onnx.export(model, values, folder / f"{name}.onnx", **options)
    with torch.no_grad():
        results = model(*values)
    results = results if isinstance(results, tuple) else (results,)
    for what, tensors in [("in", inputs), ("out", dict(zip(outputs, (y.numpy() for y in results))))]:
        for tensor, elements in tensors.items():
            which = f"{tensor}." if len(tensors) > 1 else ""
            np.save(folder / f"{name}.{which}{what}.npy", elements)
    print(name, flush=True)


def main():
    if len(sys.argv) < 2 or not MODELS.keys() >= set(sys.argv[2:]):
        sys.exit(f"{__doc__}\nNAME: {', '.join(MODELS)}")
    warnings.filterwarnings("ignore")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        export(name, folder)


if __name__ == "__main__":
    main()
