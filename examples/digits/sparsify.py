#!/usr/bin/env python3
"""ViTCoD's algorithm on the digits model: prunes its attention, fine-tunes it, and puts auto-encoders on Q and K.

    python3 sparsify.py

Starts from `digits.onnx`, prints the accuracy at every sparsity with and without auto-encoders, and writes the
auto-encoded 90 % model, its masks and its logits beside this file. Seeded and deterministic, as `train.py` is.
"""
import copy
import io
import re

import numpy as np
import onnx
import torch
from onnx import numpy_helper

import model as digits
from train import CALIBRATION_IMAGES, HERE, export, load_data, run_onnx, train

SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95)
EXPORTED_SPARSITY = 0.9
COMPRESSED_HEADS = 2
EPOCHS, PEAK_LR = 30, 1e-3


def load_dense():
    """The trained dense model, its weights read back from `digits.onnx`.

    The exporter keeps the names of all parameters but the weights of its MatMul nodes, which it transposes; those
    nodes are named after their modules, as in `/blocks/blocks.0/attn/qkv/MatMul`.
    """
    graph = onnx.load(HERE / "digits.onnx").graph
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    for node in graph.node:
        linear = re.fullmatch(r"/blocks/(.+)/MatMul", node.name)
        if linear and node.input[1] in values:
            values[linear[1].replace("/", ".") + ".weight"] = values[node.input[1]].T
    model = digits.build().eval()
    model.load_state_dict({name: values[name] for name in model.state_dict()})
    return model


def attentions(model):
    return [block.attn for block in model.blocks]


@torch.no_grad()
def inputs_of(modules, model, images):
    """What each of `modules` is given when `model` runs on `images`."""
    inputs = {}

    def keep(module, arguments):
        inputs[module] = arguments[0]

    hooks = [module.register_forward_pre_hook(keep) for module in modules]
    model(images)
    for hook in hooks:
        hook.remove()
    return [inputs[module] for module in modules]


@torch.no_grad()
def mean_attention(model, images):
    """Attention maps averaged over `images`: float32 [layers, heads, tokens, tokens]."""
    layers = attentions(model)
    inputs = inputs_of(layers, model, images)
    return torch.stack([layer.attention_map(x)[0].mean(0) for layer, x in zip(layers, inputs)])


def prune(maps, sparsity):
    """Masks at `sparsity` for `maps` [layers, heads, tokens, tokens]: bool of the same shape, True where pruned.

    Algorithm 1 of the paper with one change: it keeps, row by row, the largest entries up to a share of the
    attention mass, which leaves the sparsity open. Here every head keeps the same number of entries, its largest
    ones, and so has exactly the sparsity asked for. As there, the row and the column of the class token are always
    kept, and count; the column leaves every row at least one entry.
    """
    tokens = maps.shape[-1]
    kept = round((1 - sparsity) * tokens * tokens)
    assert kept >= 2 * tokens - 1, "the class token's row and column alone exceed what the sparsity leaves"
    ranked = maps.clone()
    ranked[..., 0, :] = ranked[..., :, 0] = float("inf")
    largest = ranked.flatten(-2).argsort(dim=-1, descending=True, stable=True)[..., :kept]
    return torch.ones_like(ranked, dtype=torch.bool).flatten(-2).scatter_(-1, largest, False).view_as(ranked)


def set_masks(model, pruned):
    for attention, mask in zip(attentions(model), pruned):
        attention.set_mask(mask)


def fine_tune_sparse(dense, pruned, images, labels):
    """A copy of `dense` with fixed masks, fine-tuned."""
    model = copy.deepcopy(dense)
    set_masks(model, pruned)
    train(model, images, labels, EPOCHS, PEAK_LR)
    return model


@torch.no_grad()
def set_principal(coder, x):
    """Makes `coder` the best linear auto-encoder of `x` [batch, heads, tokens, features]: its principal components."""
    vectors = x.transpose(0, 1).flatten(1)
    mean = vectors.mean(1)
    axes = torch.linalg.eigh(torch.cov(vectors)).eigenvectors[:, -COMPRESSED_HEADS:]
    coder.encoder.weight.copy_(axes.T)
    coder.encoder.bias.copy_(-axes.T @ mean)
    coder.decoder.weight.copy_(axes)
    coder.decoder.bias.copy_(mean)


def fine_tune_compressed(sparse, images, labels):
    """A copy of `sparse` with auto-encoders on Q and K, fine-tuned from the principal components on."""
    model = copy.deepcopy(sparse)
    layers = attentions(model)
    calibration = images[:CALIBRATION_IMAGES]
    queries = inputs_of([layer.q_coder for layer in layers], model, calibration)
    keys = inputs_of([layer.k_coder for layer in layers], model, calibration)
    for layer, q, k in zip(layers, queries, keys):
        layer.compress_heads(COMPRESSED_HEADS)
        set_principal(layer.q_coder, q)
        set_principal(layer.k_coder, k)
    train(model, images, labels, EPOCHS, PEAK_LR)
    return model


@torch.no_grad()
def accuracy(model, images, labels):
    return (model(images).argmax(1) == labels).float().mean().item()


def write_example(model, pruned, images):
    """Writes model, masks and expected logits.

    As additive float constants the masks would add 200 KB to the graph, so it is exported without them; ONNX
    Runtime computes the logits from a second export, kept in memory, that has them.
    """
    masked = io.BytesIO()
    export(model, masked)
    logits = run_onnx(masked.getvalue(), images.numpy())
    with torch.no_grad():
        difference = np.abs(logits - model(images).numpy()).max()
    print(f"ONNX against PyTorch {difference:.1e}")

    unmasked = copy.deepcopy(model)
    for attention in attentions(unmasked):
        attention.mask = None
    export(unmasked, HERE / "digits_sparse90_ae.onnx")
    np.save(HERE / "masks90.npy", pruned.numpy())
    np.save(HERE / "expected_logits_sparse90.npy", logits)


def main():
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    train_images, train_labels, test_images, test_labels = load_data()
    dense = load_dense()
    maps = mean_attention(dense, train_images[:CALIBRATION_IMAGES])

    for sparsity in SPARSITIES:
        pruned = prune(maps, sparsity)
        set_masks(pruned_only := copy.deepcopy(dense), pruned)
        sparse = fine_tune_sparse(dense, pruned, train_images, train_labels)
        compressed = fine_tune_compressed(sparse, train_images, train_labels)
        results = (accuracy(model, test_images, test_labels) for model in (pruned_only, sparse, compressed))
        print(f"{sparsity:.0%} sparse (pruned, fine-tuned, auto-encoded):", *(f"{result:.1%}" for result in results))
        if sparsity == EXPORTED_SPARSITY:
            write_example(compressed, pruned, test_images)


if __name__ == "__main__":
    main()
