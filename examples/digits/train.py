#!/usr/bin/env python3
"""Trains the digits ViT and writes the model and its data sets beside this file.

    pip install -r requirements.txt && python3 train.py

Seeded and deterministic: the same versions on the same kind of CPU give the same files. Takes a few
minutes on two threads.
"""
import io
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import model as digits

HERE = pathlib.Path(__file__).parent
SEED = 0
TEST_IMAGES, CALIBRATION_IMAGES = 500, 64
EPOCHS, BATCH, PEAK_LR = 200, 64, 2e-3
OPSET = 17


def load_data():
    """(train images, train labels, test images, test labels); images are float32 [n, 1, 32, 32] within [-1, 1].

    Bilinear upsampling by four makes every pixel a multiple of 1/512, so no value is rounded.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32)).reshape(-1, 1, 8, 8) / 8 - 1
    images = F.interpolate(images, size=(digits.IMAGE, digits.IMAGE), mode="bilinear", align_corners=False)
    labels = torch.from_numpy(labels.astype(np.int64))
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_IMAGES, stratify=labels, random_state=SEED)
    return images[train], labels[train], images[test], labels[test]


def augment(images, generator):
    """Turns, scales, shears and shifts every image a little; what comes in from outside is background (-1)."""
    n = len(images)
    jitter = torch.rand(n, 2, 3, generator=generator) * 2 - 1
    matrix = torch.eye(2, 3).expand(n, 2, 3) + jitter * torch.tensor([0.15, 0.15, 0.12])
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def train(model, images, labels, epochs, peak_lr):
    """Trains all parameters of `model` in place; also what a fine-tuning with masks or auto-encoders calls."""
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=0.05)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_lr, total_steps=steps, pct_start=0.1)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for batch in order.split(BATCH)[: len(images) // BATCH]:
            loss = F.cross_entropy(model(augment(images[batch], generator)), labels[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % 20 == 0:
            print(f"epoch {epoch + 1:3}: loss {total / (len(images) // BATCH):.4f}", flush=True)
    model.eval()


def export(model, path):
    """Writes `model` as ONNX with the legacy exporter: input `x` [1, 1, 32, 32], output `logits` [1, 10].

    `path` may also be a binary file.
    """
    example = torch.zeros(1, 1, digits.IMAGE, digits.IMAGE)
    buffer = io.BytesIO()
    torch.onnx.export(
        model.eval(), (example,), buffer, input_names=["x"], output_names=["logits"], opset_version=OPSET, dynamo=False
    )
    exported = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def run_onnx(model, images):
    """Logits that ONNX Runtime computes, one image at a time as the model is exported for batch 1.

    `model` is the path of an ONNX file, or its bytes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"x": image[None]})[0] for image in images])


def main():
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    train_images, train_labels, test_images, test_labels = load_data()

    model = digits.build()
    train(model, train_images, train_labels, EPOCHS, PEAK_LR)
    export(model, HERE / "digits.onnx")

    test_images, test_labels = test_images.numpy(), test_labels.numpy()
    logits = run_onnx(HERE / "digits.onnx", test_images)
    np.save(HERE / "test_images.npy", test_images)
    np.save(HERE / "test_labels.npy", test_labels)
    np.save(HERE / "calibration.npy", train_images[:CALIBRATION_IMAGES].numpy())
    np.save(HERE / "expected_logits.npy", logits)
    with torch.no_grad():
        difference = np.abs(logits - model(torch.from_numpy(test_images)).numpy()).max()
    print(f"test accuracy {(logits.argmax(1) == test_labels).mean():.1%}, ONNX against PyTorch {difference:.1e}")


if __name__ == "__main__":
    main()
