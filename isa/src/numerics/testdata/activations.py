"""Writes activations.txt: activation functions in 40-digit arithmetic (needs mpmath).

    python3 activations.py > activations.txt

`value NAME X Y` is a point of the function, to 17 digits. `lut NAME IN OUT HEX` is the table for
an input of step IN and an output of step OUT: 256 bytes, the non-negative inputs first.
"""

from mpmath import erf, exp, floor, log, mp, mpf, nstr, pi, sqrt, tanh

mp.dps = 40

FUNCTIONS = {
    "exp": exp,
    "erf": erf,
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "tanh": tanh,
    "gelu": lambda x: x / 2 * (1 + erf(x / sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + mpf("0.044715") * x**3))),
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "relu": lambda x: max(x, mpf(0)),
    "silu": lambda x: x / (1 + exp(-x)),
    "mish": lambda x: x * tanh(log(1 + exp(x))),
}
POINTS = [0, 1e-9, 0.001, 0.1, 0.3, 0.5, 0.9, 1.5, 2.0, 2.9, 3.7, 5.5, 5.99, 6.5, 11.0, 40.0]
STEPS = [(0.0234375, 0.0234375), (0.0517, 0.0311), (0.00113, 0.000517), (0.317, 0.253)]


def entry(f, index, in_step, out_step):
    x = index - 256 if index >= 128 else index
    q = int(floor(f(mpf(x) * mpf(in_step)) / mpf(out_step) + mpf(1) / 2))
    return min(max(q, -128), 127) & 0xFF


for name, f in FUNCTIONS.items():
    for x in POINTS + [-x for x in POINTS[1:]]:
        print("value", name, repr(float(x)), nstr(f(mpf(x)), 17, min_fixed=1, max_fixed=0))
for name in list(FUNCTIONS)[2:]:
    for in_step, out_step in STEPS:
        table = bytes(entry(FUNCTIONS[name], i, in_step, out_step) for i in range(256))
        print("lut", name, in_step, out_step, table.hex())
