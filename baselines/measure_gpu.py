#!/usr/bin/env python3
"""Measures dense core attention on a CUDA device.

    python3 measure_gpu.py --output gpu.json
    python3 measure_gpu.py --platform edge-gpu --batch 1 --output edge-gpu.json

Q K^T, scale, softmax and S V of all heads and layers of a model with PyTorch. Times are those of
one item of a batch, with the launches of the kernels. `--batch 2048` is that of the authors' log.
"""
import torch

import measurement

SCRIPT = "baselines/measure_gpu.py"
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def attention(groups: list[dict], batch: int, precision: str, device: torch.device):
    """A function that computes all layers and returns when the device has finished."""
    layers = measurement.layers_of(groups)

    def noise(*shape):
        return torch.randn(batch, *shape, device=device, dtype=PRECISIONS[precision])

    torch.manual_seed(0)
    # Layers of one shape share operands: those of a large batch would fill the memory.
    operands = {
        (h, n, m, d, v): (noise(h, n, d), noise(h, d, m), noise(h, m, v))
        for h, n, m, d, v in dict.fromkeys(layers)
    }

    @torch.inference_mode()
    def run():
        for layer in layers:
            q, kt, v = operands[layer]
            torch.softmax(q @ kt * layer[3] ** -0.5, dim=-1) @ v
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def main() -> None:
    parser = measurement.parser(__doc__.splitlines()[0], "gpu.json")
    parser.add_argument("--platform", choices=["gpu", "edge-gpu"], default="gpu")
    parser.add_argument("--batch", type=int, default=1, help="items (default: %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--tf32", action="store_true", help="let float32 products use TF32")
    arguments = parser.parse_args()
    measurement.check(arguments, parser)
    if arguments.batch < 1:
        parser.error(f"--batch {arguments.batch}: expected at least 1")
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA device here")
    device = torch.device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    known = measurement.shapes()
    results = []
    for model in arguments.models:
        run = attention(known[model], arguments.batch, arguments.precision, device)
        times = measurement.timed(run, arguments.runs, arguments.warm_up, arguments.batch)
        results.append(measurement.result(model, "core-attention", known[model], times))
    header = {
        "platform": arguments.platform,
        "processor": arguments.processor or torch.cuda.get_device_name(device),
        "software": f"torch {torch.__version__}, CUDA {torch.version.cuda}",
        "precision": arguments.precision + (" (TF32)" if arguments.tf32 else ""),
        "batch": arguments.batch,
        "source": SCRIPT,
    }
    measurement.write(arguments.output, header, results)


if __name__ == "__main__":
    main()
