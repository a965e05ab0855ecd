#!/usr/bin/env python3
"""Writes plain vision transformers in their published sizes, weights drawn at random.

    python3 plain_vit.py FOLDER NAME ...

Needs onnx and numpy only, and for the largest model twice its 2.5 GB of memory. The graphs have
the form in which PyTorch's newer exporter writes those of timm. Weights of more than 2 GB are a
second file beside the model.
"""
import pathlib
import sys
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

OPSET = 20
# The most bytes of a file in the encoding of ONNX.
MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Size:
    """The extents of a model; without `classes`, its output is the normalised class token."""

    image: int
    patch: int
    dim: int
    depth: int
    heads: int
    classes: int = 1000
    # Whether the results of each block are scaled per channel before they are added.
    layer_scale: bool = False


SIZES = {
    "vit_tiny_16_224": Size(224, 16, 192, 12, 3),
    "vit_small_16_224": Size(224, 16, 384, 12, 6),
    "vit_base_16_224": Size(224, 16, 768, 12, 12),
    "vit_base_16_384": Size(384, 16, 768, 12, 12),
    "vit_large_16_224": Size(224, 16, 1024, 24, 16),
    "vit_huge_14_224": Size(224, 14, 1280, 32, 16),
    "dinov2_small_14_518": Size(518, 14, 384, 12, 6, 0, True),
    "dinov2_base_14_518": Size(518, 14, 768, 12, 12, 0, True),
}


class Writer:
    """A graph that grows node by node."""

    def __init__(self):
        self.nodes, self.tensors = [], {}
        self.draws = np.random.Generator(np.random.PCG64(0))

    def draw(self, name, *shape, mean=0.0, deviation):
        """A parameter of random numbers."""
        numbers = self.draws.standard_normal(shape, np.float32)
        numbers *= np.float32(deviation)
        numbers += np.float32(mean)
        return self.constant(name, numbers)

    def constant(self, name, numbers):
        self.tensors[name] = np.asarray(numbers)
        return name

    def integers(self, *numbers):
        return self.constant(f"integers_{'_'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def node(self, operator, *operands, **attributes):
        """Appends a node; returns the name of its result."""
        name = f"node_{operator}_{len(self.nodes)}"
        result = f"val_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, operands, [result], name, **attributes))
        return result

    def linear(self, x, name, inputs, outputs):
        weights = self.draw(f"{name}.weight", inputs, outputs, deviation=inputs**-0.5)
        bias = self.draw(f"{name}.bias", outputs, deviation=0.1)
        return self.node("Add", self.node("MatMul", x, weights), bias)

    def layer_norm(self, x, name, dim):
        scale = self.draw(f"{name}.weight", dim, mean=1.0, deviation=0.1)
        bias = self.draw(f"{name}.bias", dim, deviation=0.1)
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)

    def add(self, x, change, name, size):
        """Adds what a block computes to its input."""
        if size.layer_scale:
            scale = self.draw(f"{name}.gamma", size.dim, mean=0.5, deviation=0.1)
            change = self.node("Mul", change, scale)
        return self.node("Add", x, change)

    def attention(self, x, name, tokens, size):
        each = size.dim // size.heads
        joined = self.linear(x, f"{name}.qkv", size.dim, 3 * size.dim)
        joined = self.node("Reshape", joined, self.integers(1, tokens, 3, size.heads, each))
        joined = self.node("Transpose", joined, perm=[2, 0, 3, 1, 4])
        first = self.integers(0)
        parts = [
            self.node("Slice", joined, self.integers(i), self.integers(i + 1), first)
            for i in range(3)
        ]
        q, k, v = [self.node("Squeeze", part, first) for part in parts]
        q = self.node("Mul", q, self.constant("scale", np.float32(each**-0.5)))
        scores = self.node("MatMul", q, self.node("Transpose", k, perm=[0, 1, 3, 2]))
        x = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        x = self.node("Transpose", x, perm=[0, 2, 1, 3])
        x = self.node("Reshape", x, self.integers(1, tokens, size.dim))
        return self.linear(x, f"{name}.proj", size.dim, size.dim)

    def transformer(self, size):
        """All nodes of a model; returns the name of its output."""
        dim, side = size.dim, size.image // size.patch
        tokens = side * side + 1
        inputs = 3 * size.patch**2
        kernel = self.draw(
            "patch_embed.proj.weight", dim, 3, size.patch, size.patch, deviation=inputs**-0.5
        )
        bias = self.draw("patch_embed.proj.bias", dim, deviation=0.1)
        x = self.node("Conv", "x", kernel, bias, strides=[size.patch] * 2)
        x = self.node("Reshape", x, self.integers(1, dim, side * side))
        x = self.node("Transpose", x, perm=[0, 2, 1])
        x = self.node("Concat", self.draw("cls_token", 1, 1, dim, deviation=1.0), x, axis=1)
        x = self.node("Add", x, self.draw("pos_embed", 1, tokens, dim, deviation=0.5))
        for block in range(size.depth):
            name = f"blocks.{block}"
            normal = self.layer_norm(x, f"{name}.norm1", dim)
            attended = self.attention(normal, f"{name}.attn", tokens, size)
            x = self.add(x, attended, f"{name}.ls1", size)
            hidden = self.layer_norm(x, f"{name}.norm2", dim)
            hidden = self.node("Gelu", self.linear(hidden, f"{name}.mlp.fc1", dim, 4 * dim))
            x = self.add(x, self.linear(hidden, f"{name}.mlp.fc2", 4 * dim, dim), f"{name}.ls2", size)
        x = self.layer_norm(x, "norm", dim)
        first = self.constant("class_token", np.array(0, np.int64))
        x = self.node("Gather", x, first, axis=1)
        return self.linear(x, "head", dim, size.classes) if size.classes else x


def write(folder, name):
    size = SIZES[name]
    writer = Writer()
    writer.nodes.append(helper.make_node("Identity", [writer.transformer(size)], ["y"]))
    floats = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        writer.nodes,
        name,
        [floats("x", 1, 3, size.image, size.image)],
        [floats("y", 1, size.classes or size.dim)],
    )
    total = sum(numbers.nbytes for numbers in writer.tensors.values())
    # Each array is dropped as soon as its copy is in the model.
    for tensor in list(writer.tensors):
        graph.initializer.append(numpy_helper.from_array(writer.tensors.pop(tensor), tensor))
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="plain_vit")
    del graph
    path = folder / f"{name}.onnx"
    apart = total > 0.99 * MOST_BYTES
    save_model(model, path, save_as_external_data=apart, location=f"{path.name}.data")
    checker.check_model(path)
    print(f"{path}: {total} bytes of weights{' in a second file' if apart else ''}", flush=True)


def main():
    folder, *names = sys.argv[1:]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write(folder, name)


if __name__ == "__main__":
    main()
