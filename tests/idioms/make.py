"""Small ONNX models, one for each way in which exporters write a thing.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install numpy onnx onnxruntime
    /tmp/v/bin/python tests/idioms/make.py            # all cases, and README.md
    /tmp/v/bin/python tests/idioms/make.py NAME...    # these cases only

For each case, beside this script: NAME.onnx, NAME.INPUT.in.npy for each input, and NAME.OUTPUT.out.npy for each
output, computed by ONNX Runtime without graph optimisations. Weights and inputs are random, seeded by the name of the
case: running the script again gives the same bytes of models and inputs (outputs to the rounding of ONNX Runtime).
Every model is valid and runs in ONNX Runtime; nothing here was changed to suit the compiler.
Made with numpy 2.4.6, onnx 1.23.2 and onnxruntime 1.32.0.
"""

import pathlib
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
MS = "com.microsoft"
F32_MIN = float(np.finfo(np.float32).min)
KINDS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}
CASES = {}


class Graph:
    """A graph under construction: `g.Add(a, b)` appends a node and returns the name of its output.

    Arguments are names of values, or constants: an array as it is, a list as int64, a float as float32, None for an
    omitted input. `n` asks for several outputs, `domain` names the operator set, other keywords are attributes.
    """

    def __init__(self, name, parent=None):
        self.name = name
        self.root = parent.root if parent else self
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        if not parent:
            self.rng = np.random.default_rng(zlib.crc32(name.encode()))
            self.opsets, self.ir = {"": 17}, 10
            self.functions, self.count, self.feeds = [], {}, {}
            self.initializers_are_inputs = False
            self.noise = True

    def fresh(self, stem):
        count = self.root.count
        count[stem] = count.get(stem, 0) + 1
        return f"{stem}_{count[stem]}"

    def const(self, value, name=None):
        if isinstance(value, float):
            value = np.float32(value)
        elif isinstance(value, (list, int)):
            value = np.array(value, np.int64)
        name = name or self.fresh("c")
        self.initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value), name)
        )
        return name

    def node(self, kind, args, n=1, domain="", outputs=None, **attributes):
        args = ["" if a is None else a if isinstance(a, str) else self.const(a) for a in args]
        outputs = outputs or [self.fresh(kind.lower()[:5]) for _ in range(n)]
        self.nodes.append(helper.make_node(kind, args, outputs, domain=domain, **attributes))
        if domain:
            self.root.opsets.setdefault(domain, 1)
        return outputs[0] if len(outputs) == 1 else outputs

    def __getattr__(self, kind):
        if not kind[0].isupper():
            raise AttributeError(kind)
        return lambda *args, **keywords: self.node(kind, args, **keywords)

    def input(self, name, value, dims=None):
        value = np.asarray(value)
        self.inputs.append(helper.make_tensor_value_info(name, KINDS[value.dtype], dims or value.shape))
        self.feeds[name] = value
        return name

    def out(self, name, value, dims=None, kind=TensorProto.FLOAT):
        """Make `value` an output called `name`; its shape is filled in by what ONNX Runtime computes."""
        for node in self.nodes:
            for i, output in enumerate(node.output):
                if output == value:
                    node.output[i] = name
            for i, argument in enumerate(node.input):
                if argument == value:
                    node.input[i] = name
        self.outputs.append(helper.make_tensor_value_info(name, kind, dims))

    # Random values.

    def normal(self, *shape, scale=1.0, mean=0.0):
        return (mean + scale * self.root.rng.standard_normal(shape)).astype(np.float32)

    def uniform(self, *shape, low=0.0, high=1.0):
        return self.root.rng.uniform(low, high, shape).astype(np.float32)

    def weight(self, *shape, fan):
        return self.normal(*shape, scale=fan**-0.5)

    # Inputs and layers that many cases share.

    def tokens(self, n=6, c=8, batch=1, name="x"):
        return self.input(name, self.normal(batch, n, c))

    def image(self, c=3, size=8, batch=1):
        return self.input("image", self.normal(batch, c, size, size))

    def bytes(self, *shape, dtype=np.float32, name="image"):
        self.noise = False
        return self.input(name, self.rng.integers(0, 256, shape).astype(dtype))

    def linear(self, x, i=8, o=8, bias=True):
        y = self.MatMul(x, self.weight(i, o, fan=i))
        return self.Add(y, self.normal(o, scale=0.2)) if bias else y

    def conv(self, x, i=3, o=8, k=4, stride=None, gain=1.0, group=1, **attributes):
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [0, 0, 0, 0])
        w = gain * self.weight(o, i // group, k, k, fan=i // group * k * k)
        stride = stride or k
        return self.Conv(
            x,
            w.astype(np.float32),
            self.normal(o, scale=0.2),
            kernel_shape=[k, k],
            strides=[stride, stride],
            group=group,
            **attributes,
        )

    def flat(self, x, n=4, c=8, batch=1):
        """A map [1, c, h, w] to tokens [1, n, c]."""
        return self.Transpose(self.Reshape(x, [batch, c, n]), perm=[0, 2, 1])

    def patches(self, x, i=3, n=16, gain=1.0):
        """Patches of 2 by 2 pixels of an image, as tokens."""
        return self.flat(self.conv(x, i=i, k=2, gain=gain), n=n)

    def heads(self, x, n=6, h=2, d=4, batch=1, perm=(0, 2, 1, 3)):
        return self.Transpose(self.Reshape(x, [batch, n, h, d]), perm=list(perm))

    def join(self, x, n=6, c=8, batch=1):
        return self.Reshape(self.Transpose(x, perm=[0, 2, 1, 3]), [batch, n, c])

    def qkv(self, x, n=6, c=8, h=2, batch=1):
        """Q and V of shape [1, h, n, d] and K transposed, [1, h, d, n]."""
        d = c // h
        q = self.heads(self.linear(x, c, c), n, h, d, batch)
        k = self.heads(self.linear(x, c, c), n, h, d, batch, (0, 2, 3, 1))
        v = self.heads(self.linear(x, c, c), n, h, d, batch)
        return q, k, v

    def scale(self, s, d=4):
        return self.Mul(s, float(d**-0.5))

    def project(self, o, n=6, c=8, batch=1):
        return self.linear(self.join(o, n, c, batch), c, c)

    def attention(self, x, n=6, c=8, h=2, batch=1, mask=None):
        """Plain self-attention; `mask` maps the scaled scores to masked ones."""
        q, k, v = self.qkv(x, n, c, h, batch)
        s = self.scale(self.MatMul(q, k), c // h)
        s = mask(s) if mask else s
        return self.project(self.MatMul(self.Softmax(s, axis=-1), v), n, c, batch)

    def norm(self, x, c=8):
        return self.LayerNormalization(
            x, self.normal(c, scale=0.1, mean=1.0), self.normal(c, scale=0.1), axis=-1, epsilon=1e-6
        )

    def mlp(self, x, activation, c=8, hidden=12):
        return self.linear(activation(self.linear(x, c, hidden)), hidden, c)

    # Results.

    def model(self):
        inputs = list(self.inputs)
        if self.initializers_are_inputs:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.initializers]
        graph = helper.make_graph(self.nodes, self.name, inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=self.ir, functions=self.functions, producer_name="idioms"
        )

    def body(self):
        """This graph as the body of If or Loop."""
        return helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)


def case(text):
    def register(make):
        CASES[make.__name__] = (text, make)
        return make

    return register


def family(text, **variants):
    """Register a case for each keyword: NAME=(what it shows, arguments...), made by the decorated function."""

    def register(make):
        for name, (more, *arguments) in variants.items():
            CASES[name] = (f"{text}{more}", lambda g, arguments=arguments: make(g, *arguments))
        return make

    return register


MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def nchw(v):
    return v.reshape(1, -1, 1, 1)


# What is done to images before the first layer.


@case("image in [0,1], mean and deviation per channel, then the patch convolution")
def input_mean_deviation(g):
    x = g.input("image", g.uniform(1, 3, 8, 8))
    g.noise = False
    x = g.Div(g.Sub(x, nchw(MEAN)), nchw(DEVIATION))
    g.out("y", g.linear(g.patches(x)))


@case("image in [0,255]: mean and deviation of bytes as Mul and Add")
def input_bytes_scale_shift(g):
    x = g.bytes(1, 3, 8, 8)
    x = g.Add(g.Mul(x, nchw(1 / (255 * DEVIATION))), nchw(-MEAN / DEVIATION))
    g.out("y", g.linear(g.patches(x)))


@case("image in [0,255], /255, mean, deviation, then a padded convolution: padding is zero in normalised units")
def input_normalised_padding(g):
    x = g.Div(g.Sub(g.Div(g.bytes(1, 3, 8, 8), 255.0), nchw(MEAN)), nchw(DEVIATION))
    x = g.conv(x, k=3, stride=2, pads=[1, 1, 1, 1])
    g.out("y", g.flat(g.Relu(x), n=16))


@case("x / 127.5 - 1 on an image in [0,255]")
def input_unit_range(g):
    x = g.Sub(g.Div(g.bytes(1, 3, 8, 8), 127.5), 1.0)
    g.out("y", g.linear(g.patches(x, gain=2)))


@case("x * (1/127.5) - 1 on an image in [0,255], then a padded convolution")
def input_unit_range_padded(g):
    x = g.Sub(g.Mul(g.bytes(1, 3, 8, 8), 1 / 127.5), 1.0)
    g.out("y", g.conv(x, k=3, stride=2, pads=[0, 0, 1, 1], gain=2))


@case("NHWC image: Transpose, then Conv")
def input_nhwc(g):
    x = g.Transpose(g.input("image", g.normal(1, 8, 8, 3)), perm=[0, 3, 1, 2])
    g.out("y", g.linear(g.patches(x)))


@case("NHWC image, mean and deviation along the last axis, then Transpose and Conv")
def input_nhwc_normalised(g):
    x = g.input("image", g.uniform(1, 8, 8, 3))
    g.noise = False
    x = g.Transpose(g.Div(g.Sub(x, MEAN), DEVIATION), perm=[0, 3, 1, 2])
    g.out("y", g.linear(g.patches(x)))


@case("uint8 NHWC image: Cast, /255, mean, deviation, Transpose, Conv")
def input_uint8_nhwc(g):
    x = g.Cast(g.bytes(1, 8, 8, 3, dtype=np.uint8), to=TensorProto.FLOAT)
    x = g.Div(g.Sub(g.Div(x, 255.0), MEAN), DEVIATION)
    g.out("y", g.linear(g.patches(g.Transpose(x, perm=[0, 3, 1, 2]))))


@case("uint8 NCHW image: Cast and Conv, whose weights take bytes")
def input_uint8_plain(g):
    x = g.Cast(g.bytes(1, 3, 8, 8, dtype=np.uint8), to=TensorProto.FLOAT)
    g.out("y", g.patches(x, gain=1 / 128))


@case("uint8 NHWC image: Transpose of the bytes, then Cast, /127.5 - 1, padded Conv")
def input_uint8_transposed_first(g):
    x = g.Transpose(g.bytes(1, 8, 8, 3, dtype=np.uint8), perm=[0, 3, 1, 2])
    x = g.Sub(g.Div(g.Cast(x, to=TensorProto.FLOAT), 127.5), 1.0)
    g.out("y", g.conv(x, k=3, stride=2, pads=[1, 1, 1, 1], gain=2))


@case("BGR to RGB by Gather")
def input_bgr_gather(g):
    g.out("y", g.patches(g.Gather(g.image(), [2, 1, 0], axis=1)))


@case("BGR to RGB by Slice with step -1")
def input_bgr_slice(g):
    x = g.Slice(g.image(), [-1], [-(2**63) + 1], [1], [-1])
    g.out("y", g.patches(x))


@case("BGR to RGB by Split and Concat")
def input_bgr_split(g):
    b, green, r = g.Split(g.image(), [1, 1, 1], n=3, axis=1)
    g.out("y", g.patches(g.Concat(r, green, b, axis=1)))


@case("BGR to RGB by Gather on the last axis of an NHWC image in [0,255], mean of BGR bytes subtracted (Caffe)")
def input_bgr_nhwc_caffe(g):
    x = g.Gather(g.bytes(1, 8, 8, 3), [2, 1, 0], axis=-1)
    x = g.Transpose(g.Sub(x, np.array([103.939, 116.779, 123.68], np.float32)), perm=[0, 3, 1, 2])
    g.out("y", g.patches(x, gain=1 / 64))


@case("five channels in another order (Gather), one of them twice")
def input_channel_order(g):
    x = g.Gather(g.image(c=5), [3, 0, 4, 1, 2, 0], axis=1)
    g.out("y", g.patches(x, i=6))


@case("grey image to three channels by Expand")
def input_grey_expand(g):
    g.out("y", g.patches(g.Expand(g.image(c=1), [1, 3, 8, 8]), gain=0.6))


@case("grey image to three channels by Tile")
def input_grey_tile(g):
    g.out("y", g.patches(g.Tile(g.image(c=1), [1, 3, 1, 1]), gain=0.6))


@case("grey image to three channels by Concat")
def input_grey_concat(g):
    x = g.image(c=1)
    g.out("y", g.patches(g.Concat(x, x, x, axis=1), gain=0.6))


@case("grey image in [0,1] to three channels, mean and deviation per channel, padded Conv")
def input_grey_normalised(g):
    x = g.input("image", g.uniform(1, 1, 8, 8))
    g.noise = False
    x = g.Div(g.Sub(g.Expand(x, [1, 3, 1, 1]), nchw(MEAN)), nchw(DEVIATION))
    g.out("y", g.conv(x, k=3, stride=2, pads=[1, 1, 1, 1]))


@case("centre crop by Slice")
def input_crop(g):
    g.out("y", g.patches(g.Slice(g.image(size=12), [2, 2], [10, 10], [2, 3], [1, 1])))


@case("crop by two Slices with negative ends, behind mean and deviation")
def input_crop_normalised(g):
    x = g.input("image", g.uniform(1, 3, 10, 12))
    g.noise = False
    x = g.Div(g.Sub(x, nchw(MEAN)), nchw(DEVIATION))
    x = g.Slice(g.Slice(x, [1], [-1], [2]), [-10], [-2], [3])
    g.out("y", g.patches(x))


@case("every other pixel by Slice with steps")
def input_slice_step(g):
    x = g.Slice(g.image(size=12), [0, 1], [12, 12], [2, 3], [2, 2])
    g.out("y", g.patches(x, n=9))


@case("NHWC image in [0,1]: Transpose, then mean and deviation, then the patch convolution")
def input_nhwc_then_normalised(g):
    x = g.input("image", g.uniform(1, 8, 8, 3))
    g.noise = False
    x = g.Transpose(x, perm=[0, 3, 1, 2])
    x = g.Div(g.Sub(x, nchw(MEAN)), nchw(DEVIATION))
    g.out("y", g.patches(x))


@case("BGR to RGB by Gather, then mean and deviation, then a padded convolution")
def input_bgr_then_normalised(g):
    x = g.input("image", g.uniform(1, 3, 8, 8))
    g.noise = False
    x = g.Gather(x, [2, 1, 0], axis=1)
    x = g.Div(g.Sub(x, nchw(MEAN)), nchw(DEVIATION))
    g.out("y", g.conv(x, k=3, stride=2, pads=[1, 1, 1, 1]))


@case("centre crop by Slice, then mean and deviation, then the patch convolution")
def input_crop_then_normalised(g):
    x = g.input("image", g.uniform(1, 3, 10, 10))
    g.noise = False
    x = g.Slice(x, [1, 1], [9, 9], [2, 3])
    x = g.Div(g.Sub(x, nchw(MEAN)), nchw(DEVIATION))
    g.out("y", g.patches(x))


@family(
    "patches cut by Reshape and Transpose, inside a patch ",
    patches_p1p2c=("(p1 p2 c)", True, False),
    patches_cp1p2=("(c p1 p2)", False, False),
    patches_p1p2c_norm=("(p1 p2 c), LayerNorm on patches, linear, LayerNorm (lucidrains)", True, True),
    patches_cp1p2_norm=("(c p1 p2), LayerNorm on patches, linear", False, True),
)
def patches(g, channels_last, norm):
    x = g.Reshape(g.image(), [1, 3, 4, 2, 4, 2])
    x = g.Transpose(x, perm=[0, 2, 4, 3, 5, 1] if channels_last else [0, 2, 4, 1, 3, 5])
    x = g.Reshape(x, [1, 16, 12])
    x = g.linear(g.norm(x, 12) if norm else x, 12, 8)
    g.out("y", g.norm(x) if norm and channels_last else x)


@case("patches of a grey NHWC image by Reshape and Transpose")
def patches_nhwc(g):
    x = g.Reshape(g.input("image", g.normal(1, 8, 8, 1)), [1, 2, 4, 2, 4, 1])
    x = g.Reshape(g.Transpose(x, perm=[0, 1, 3, 2, 4, 5]), [1, 4, 16])
    g.out("y", g.linear(x, 16, 8))


@case("patches by SpaceToDepth, then a 1x1 convolution")
def patches_space_to_depth(g):
    g.out("y", g.flat(g.conv(g.SpaceToDepth(g.image(), blocksize=2), i=12, k=1), n=16))


@case("patches by SpaceToDepth, then Transpose and a linear layer")
def patches_space_to_depth_linear(g):
    x = g.SpaceToDepth(g.image(), blocksize=2)
    g.out("y", g.linear(g.flat(x, n=16, c=12), 12, 8))


@family(
    "map of tokens enlarged by DepthToSpace, mode ",
    depth_to_space_dcr=("DCR", "DCR"),
    depth_to_space_crd=("CRD (PixelShuffle)", "CRD"),
)
def depth_to_space(g, mode):
    x = g.conv(g.image(), o=8)
    g.out("y", g.DepthToSpace(x, blocksize=2, mode=mode))


# Constant orders of tokens and channels.


@case("tokens in another constant order (Gather), with a linear layer before and after")
def order_tokens(g):
    x = g.Gather(g.linear(g.tokens()), [4, 2, 0, 5, 1, 3], axis=1)
    g.out("y", g.linear(x, bias=False))


@case("tokens of an attention in reverse order: Slice with step -1")
def order_tokens_reversed(g):
    x = g.Slice(g.linear(g.tokens()), [-1], [-(2**63) + 1], [1], [-1])
    g.out("y", g.attention(x))


@case("channels in another constant order (Gather) between two linear layers and as output")
def order_channels(g):
    x = g.Gather(g.linear(g.tokens()), [7, 1, 4, 2, 0, 5, 6, 3], axis=2)
    y = g.linear(x)
    g.out("y", g.Gather(y, [2, 0, 1, 7, 6, 5, 4, 3], axis=-1))


@case("channel shuffle by Reshape and Transpose (ShuffleNet)")
def order_channels_shuffle(g):
    x = g.Reshape(g.Transpose(g.Reshape(g.linear(g.tokens()), [1, 6, 2, 4]), perm=[0, 1, 3, 2]), [1, 6, 8])
    g.out("y", g.linear(x))


@case("Gather of tokens with a 2-D index: windows that overlap")
def order_gather_2d(g):
    index = np.array([[0, 1, 2], [2, 3, 4], [4, 5, 0]], np.int64)
    x = g.Gather(g.linear(g.tokens()), index, axis=1)
    g.out("y", g.linear(g.Reshape(x, [1, 9, 8])))


@case("tokens in another order by GatherElements with constant indices")
def order_gather_elements(g):
    index = np.broadcast_to(np.array([3, 0, 5, 1, 4, 2], np.int64)[None, :, None], (1, 6, 8))
    g.out("y", g.linear(g.GatherElements(g.linear(g.tokens()), index, axis=1)))


@case("tokens in another order by GatherND with constant indices")
def order_gather_nd(g):
    index = np.array([[0, 3], [0, 0], [0, 5], [0, 1]], np.int64)[None]
    g.out("y", g.linear(g.GatherND(g.linear(g.tokens()), index)))


@case("a table of relative positions taken by GatherElements, added to the scores")
def constant_gather_elements(g):
    index = np.stack([np.roll(np.arange(6), i) for i in range(6)]).astype(np.int64)
    table = g.const(g.normal(6, 6))
    g.out("y", g.attention(g.tokens(), mask=lambda s: g.Add(s, g.GatherElements(table, index, axis=1))))


# Masks on scores.

KEPT = np.array([[i == j or (3 * i + 5 * j) % 7 < 4 for j in range(6)] for i in range(6)])


@family(
    "attention mask: ",
    mask_where_inf=("Where with a constant mask and -inf", lambda g, s: g.Where(KEPT, s, float("-inf"))),
    mask_where_inverted=("Where of the pruned, -inf first", lambda g, s: g.Where(~KEPT, float("-inf"), s)),
    mask_fill_1e9=(
        "masked_fill with -1e9, mask from int64 by Cast",
        lambda g, s: g.Where(g.Cast((~KEPT)[None, None].astype(np.int64), to=TensorProto.BOOL), -1e9, s),
    ),
    mask_fill_float_min=("masked_fill with -3.4e38", lambda g, s: g.Where((~KEPT)[None, None], F32_MIN, s)),
    mask_add_inf=(
        "a constant of 0 and -inf is added",
        lambda g, s: g.Add(s, np.where(KEPT, 0, -np.inf).astype(np.float32)),
    ),
    mask_add_float_min=(
        "(1 - mask) * -3.4e38 is added, computed in the graph (BERT)",
        lambda g, s: g.Add(s, g.Mul(g.Sub(1.0, KEPT.astype(np.float32)), F32_MIN)),
    ),
    mask_per_head=(
        "another mask for each head",
        lambda g, s: g.Where(np.stack([KEPT, KEPT.T])[None], s, float("-inf")),
    ),
    mask_trilu=(
        "causal, of Trilu of ones and Where",
        lambda g, s: g.Where(
            g.Cast(g.Trilu(np.ones((6, 6), np.float32), upper=0), to=TensorProto.BOOL), s, float("-inf")
        ),
    ),
    mask_trilu_add=(
        "causal, Trilu (upper, k=1) of a matrix of -inf, added",
        lambda g, s: g.Add(s, g.Trilu(np.full((6, 6), -np.inf, np.float32), 1, upper=1)),
    ),
    mask_range_less=(
        "causal, of Range and LessOrEqual",
        lambda g, s: g.Where(g.LessOrEqual(g.Range(0, 6, 1), g.Unsqueeze(g.Range(0, 6, 1), [1])), s, float("-inf")),
    ),
    mask_cumsum=(
        "only tokens up to the fourth, by CumSum of ones",
        lambda g, s: g.Where(g.LessOrEqual(g.CumSum(np.ones(6, np.float32), 0), 4.0), s, -1e9),
    ),
    mask_eye=(
        "a token may not attend to itself: EyeLike (LSA of SL-ViT), -3.4e38",
        lambda g, s: g.Where(g.Cast(g.EyeLike(np.zeros((6, 6), np.int32)), to=TensorProto.BOOL), F32_MIN, s),
    ),
)
def mask(g, masked):
    g.out("y", g.attention(g.tokens(), mask=lambda s: masked(g, s)))


PADDING = np.array([[False, False, False, True, False, True]])


@family(
    "keys that a boolean input ",
    mask_keys_pruned_add=(
        "prunes where it is true: 0 or -inf by Where, Expand, added (nn.TransformerEncoder)",
        PADDING,
        lambda g, s, keys: g.Add(s, g.Expand(g.Where(keys, float("-inf"), 0.0), [1, 2, 6, 6])),
    ),
    mask_keys_pruned_fill=(
        "prunes where it is true: scores replaced by -inf (masked_fill)",
        PADDING,
        lambda g, s, keys: g.Where(keys, float("-inf"), s),
    ),
    mask_keys_kept_fill=(
        "keeps where it is true: other scores replaced by -3.4e38",
        ~PADDING,
        lambda g, s, keys: g.Where(keys, s, F32_MIN),
    ),
)
def mask_keys(g, flags, masked):
    keys = g.Unsqueeze(g.input("keys", flags), [1, 2])
    g.out("y", g.attention(g.tokens(), mask=lambda s: masked(g, s, keys)))


# Scores, probabilities and values.


@family(
    "scores ",
    scores_scaled_per_head=(
        "times a constant per head",
        lambda g, s: g.Mul(s, np.array([0.3, 0.8], np.float32).reshape(1, 2, 1, 1)),
    ),
    scores_scaled_negative=("times a negative constant", lambda g, s: g.Mul(s, -0.5)),
    scores_divided=("divided by a constant", lambda g, s: g.Div(s, 2.0)),
    scores_divided_negative=(
        "divided by a negative constant per head",
        lambda g, s: g.Div(s, np.array([-2, 1.5], np.float32).reshape(2, 1, 1)),
    ),
    scores_sqrt=(
        "divided by Sqrt of a Cast of the head width",
        lambda g, s: g.Div(s, g.Sqrt(g.Cast(4, to=TensorProto.FLOAT))),
    ),
    scores_unscaled=("as they are", lambda g, s: s),
)
def scores(g, scaled):
    q, k, v = g.qkv(g.tokens())
    g.out("y", g.project(g.MatMul(g.Softmax(scaled(g, g.MatMul(q, k)), axis=-1), v)))


@case("Q and K each times the fourth root of the scale (PyTorch SDPA)")
def scores_scaled_halves(g):
    q, k, v = g.qkv(g.tokens())
    half = float(4**-0.25)
    s = g.MatMul(g.Mul(q, half), g.Mul(k, half))
    g.out("y", g.project(g.MatMul(g.Softmax(s, axis=3), v)))


@case("scores computed as K Q^T and transposed before softmax")
def scores_transposed(g):
    x = g.tokens()
    k = g.heads(g.linear(x))
    q = g.heads(g.linear(x), perm=(0, 2, 3, 1))
    s = g.scale(g.Transpose(g.MatMul(k, q), perm=[0, 1, 3, 2]))
    v = g.heads(g.linear(x))
    g.out("y", g.project(g.MatMul(g.Softmax(s, axis=-1), v)))


@case("scores computed as K Q^T, softmax over keys along axis 2, values by P^T V")
def scores_transposed_softmax(g):
    x = g.tokens()
    k = g.heads(g.linear(x))
    q = g.heads(g.linear(x), perm=(0, 2, 3, 1))
    p = g.Softmax(g.scale(g.MatMul(k, q)), axis=2)
    v = g.heads(g.linear(x))
    g.out("y", g.project(g.MatMul(g.Transpose(p, perm=[0, 1, 3, 2]), v)))


@case("probabilities transposed: V^T P^T, channels before tokens (PoolFormer/LeViT style)")
def probabilities_transposed(g):
    x = g.tokens()
    q, k, _ = g.qkv(x)
    p = g.Softmax(g.scale(g.MatMul(q, k)), axis=-1)
    v = g.heads(g.linear(x), perm=(0, 2, 3, 1))
    o = g.MatMul(v, g.Transpose(p, perm=[0, 1, 3, 2]))
    g.out("y", g.linear(g.Transpose(g.Reshape(o, [1, 8, 6]), perm=[0, 2, 1])))


@case("softmax as ReduceMax, Sub, Exp, ReduceSum, Div")
def softmax_by_hand(g):
    q, k, v = g.qkv(g.tokens())
    s = g.scale(g.MatMul(q, k))
    e = g.Exp(g.Sub(s, g.ReduceMax(s, axes=[-1], keepdims=1)))
    p = g.Div(e, g.ReduceSum(e, [-1], keepdims=1))
    g.out("y", g.project(g.MatMul(p, v)))


@case("one head on tokens [n, c], Softmax of opset 9 with its default axis, 1")
def softmax_9(g):
    g.opsets[""], g.ir = 9, 4
    x = g.input("x", g.normal(6, 8))
    q, k, v = g.linear(x), g.linear(x), g.linear(x)
    p = g.Softmax(g.Mul(g.MatMul(q, g.Transpose(k)), float(8**-0.5)))
    g.out("y", g.linear(g.MatMul(p, v)))


@case("softmax as Exp, ReduceSum, Div, without a maximum")
def softmax_by_hand_plain(g):
    q, k, v = g.qkv(g.tokens())
    e = g.Exp(g.scale(g.MatMul(q, k)))
    g.out("y", g.project(g.MatMul(g.Div(e, g.ReduceSum(e, [3], keepdims=1)), v)))


@case("one head of keys and values for two of queries, by broadcast of MatMul")
def heads_one_key(g):
    x = g.tokens()
    q = g.heads(g.linear(x))
    k = g.Unsqueeze(g.Transpose(g.linear(x, 8, 4), perm=[0, 2, 1]), [1])
    v = g.Unsqueeze(g.linear(x, 8, 4), [1])
    p = g.Softmax(g.scale(g.MatMul(q, k)), axis=-1)
    g.out("y", g.project(g.MatMul(p, v)))


@case("one head of keys and values for two of queries, by Expand")
def heads_one_key_expand(g):
    x = g.tokens()
    q = g.heads(g.linear(x))
    k = g.Expand(g.Unsqueeze(g.linear(x, 8, 4), [1]), [1, 2, 6, 4])
    v = g.Expand(g.Unsqueeze(g.linear(x, 8, 4), [1]), [1, 2, 6, 4])
    p = g.Softmax(g.scale(g.MatMul(q, g.Transpose(k, perm=[0, 1, 3, 2]))), axis=-1)
    g.out("y", g.project(g.MatMul(p, v)))


@case("grouped queries: two heads of keys repeated for four of queries (Unsqueeze, Expand, Reshape)")
def heads_grouped(g):
    x = g.tokens()
    q = g.heads(g.linear(x), h=4, d=2)

    def repeated():
        k = g.Unsqueeze(g.heads(g.linear(x, 8, 4), h=2, d=2), [2])
        return g.Reshape(g.Expand(k, [1, 2, 2, 6, 2]), [1, 4, 6, 2])

    p = g.Softmax(g.scale(g.MatMul(q, g.Transpose(repeated(), perm=[0, 1, 3, 2])), 2), axis=-1)
    g.out("y", g.project(g.MatMul(p, repeated())))


@case("heads folded into the batch axis, [heads, n, d] (nn.MultiheadAttention)")
def heads_in_batch(g):
    x = g.Transpose(g.tokens(), perm=[1, 0, 2])

    def heads():
        return g.Transpose(g.Reshape(g.linear(x), [6, 2, 4]), perm=[1, 0, 2])

    q, k, v = g.Mul(heads(), 0.5), heads(), heads()
    p = g.Softmax(g.MatMul(q, g.Transpose(k, perm=[0, 2, 1])), axis=-1)
    o = g.Reshape(g.Transpose(g.MatMul(p, v), perm=[1, 0, 2]), [6, 8])
    o = g.Gemm(o, g.weight(8, 8, fan=8), g.normal(8, scale=0.2), transB=1)
    g.out("y", g.Transpose(g.Reshape(o, [6, 1, 8]), perm=[1, 0, 2]))


@case("Q, K and V of one projection, [1, n, 3, h, d] transposed, by three Gathers (timm)")
def qkv_gather(g):
    x = g.Reshape(g.linear(g.tokens(), 8, 24), [1, 6, 3, 2, 4])
    x = g.Transpose(x, perm=[2, 0, 3, 1, 4])
    q, k, v = (g.Gather(x, np.array(i, np.int64), axis=0) for i in range(3))
    p = g.Softmax(g.scale(g.MatMul(q, g.Transpose(k, perm=[0, 1, 3, 2]))), axis=-1)
    g.out("y", g.project(g.MatMul(p, v)))


@case("K and V of one projection, cut by Split")
def kv_split(g):
    x = g.tokens()
    q = g.heads(g.linear(x))
    k, v = g.Split(g.linear(x, 8, 16), [8, 8], n=2, axis=-1)
    s = g.scale(g.MatMul(q, g.heads(k, perm=(0, 2, 3, 1))))
    g.out("y", g.project(g.MatMul(g.Softmax(s, axis=-1), g.heads(v))))


@case("K and V of one projection, [2, 1, h, n, d], cut by Slice and Squeeze")
def kv_slice_squeeze(g):
    x = g.tokens()
    q = g.heads(g.linear(x))
    kv = g.Transpose(g.Reshape(g.linear(x, 8, 16), [1, 6, 2, 2, 4]), perm=[2, 0, 3, 1, 4])
    k = g.Squeeze(g.Slice(kv, [0], [1], [0]), [0])
    v = g.Squeeze(g.Slice(kv, [1], [2], [0]), [0])
    s = g.scale(g.MatMul(q, g.Transpose(k, perm=[0, 1, 3, 2])))
    g.out("y", g.project(g.MatMul(g.Softmax(s, axis=-1), v)))


@case("Q, K and V of one projection, interleaved by head: [1, n, h, 3 d] cut by Split")
def qkv_interleaved(g):
    x = g.heads(g.linear(g.tokens(), 8, 24), d=12)
    q, k, v = g.Split(x, [4, 4, 4], n=3, axis=-1)
    p = g.Softmax(g.scale(g.MatMul(q, g.Transpose(k, perm=[0, 1, 3, 2]))), axis=-1)
    g.out("y", g.project(g.MatMul(p, v)))


# LayerNorm.


def variance(g, x, squared):
    d = g.Sub(x, g.ReduceMean(x, axes=[-1]))
    return d, g.Add(g.ReduceMean(squared(d), axes=[-1]), 1e-5)


@family(
    "LayerNorm: ",
    norm_keras=(
        "Keras and tf2onnx, x * f + (beta - mean * f)",
        17,
        lambda g, x, gamma, beta: keras_norm(g, x, gamma, beta),
    ),
    norm_pytorch=(
        "PyTorch below opset 17: ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add",
        16,
        lambda g, x, gamma, beta: affine(g, divided(g, x, lambda d: g.Pow(d, 2.0)), gamma, beta),
    ),
    norm_two_differences=(
        "the difference from the mean computed twice, squared by Mul",
        15,
        lambda g, x, gamma, beta: affine(g, twice(g, x), gamma, beta),
    ),
    norm_reciprocal=(
        "Reciprocal of Sqrt, squared by Mul",
        15,
        lambda g, x, gamma, beta: affine(g, times(g, x, lambda v: g.Reciprocal(g.Sqrt(v))), gamma, beta),
    ),
    norm_pow=(
        "Pow with exponent -0.5",
        15,
        lambda g, x, gamma, beta: affine(g, times(g, x, lambda v: g.Pow(v, -0.5)), gamma, beta),
    ),
    norm_one_over_sqrt=(
        "1 / Sqrt",
        15,
        lambda g, x, gamma, beta: affine(g, times(g, x, lambda v: g.Div(1.0, g.Sqrt(v))), gamma, beta),
    ),
    norm_mean_of_squares=(
        "variance as mean of squares less the square of the mean",
        15,
        lambda g, x, gamma, beta: affine(g, squares(g, x), gamma, beta),
    ),
    norm_no_affine=(
        "without scale and shift, between linear layers",
        17,
        lambda g, x, gamma, beta: divided(g, x, lambda d: g.Pow(d, 2.0)),
    ),
)
def norm(g, opset, write):
    g.opsets[""] = opset
    x = g.linear(g.tokens())
    x = g.Add(x, g.linear(write(g, x, g.const(g.normal(8, scale=0.2, mean=1)), g.const(g.normal(8, scale=0.2)))))
    g.out("y", x)


def affine(g, x, gamma, beta):
    return g.Add(g.Mul(x, gamma), beta)


def divided(g, x, squared):
    d, v = variance(g, x, squared)
    return g.Div(d, g.Sqrt(v))


def times(g, x, factor):
    d, v = variance(g, x, lambda d: g.Mul(d, d))
    return g.Mul(d, factor(v))


def twice(g, x):
    m = g.ReduceMean(x, axes=[-1])
    d = g.Sub(x, m)
    v = g.Add(g.ReduceMean(g.Mul(d, d), axes=[-1]), 1e-5)
    return g.Div(g.Sub(x, m), g.Sqrt(v))


def squares(g, x):
    m = g.ReduceMean(x, axes=[-1])
    v = g.Sub(g.ReduceMean(g.Mul(x, x), axes=[-1]), g.Mul(m, m))
    return g.Div(g.Sub(x, m), g.Sqrt(g.Add(v, 1e-5)))


def keras_norm(g, x, gamma, beta):
    m = g.ReduceMean(x, axes=[-1])
    d = g.Sub(x, m)
    v = g.Add(g.ReduceMean(g.Mul(d, d), axes=[-1]), 1e-3)
    f = g.Mul(g.Reciprocal(g.Sqrt(v)), gamma)
    return g.Add(g.Mul(x, f), g.Sub(beta, g.Mul(m, f)))


# Einsum.


@case(
    "all of an attention by Einsum, with 3-D kernels (Keras): "
    "abc,cde->abde, aecd,abcd->acbe, acbe,aecd->abcd, abcd,cde->abe"
)
def einsum_keras(g):
    x = g.tokens()

    def dense():
        return g.Add(g.Einsum(x, g.weight(8, 2, 4, fan=8), equation="abc,cde->abde"), g.normal(2, 4, scale=0.2))

    q, k, v = g.Mul(dense(), 0.5), dense(), dense()
    p = g.Softmax(g.Einsum(k, q, equation="aecd,abcd->acbe"), axis=-1)
    o = g.Einsum(p, v, equation="acbe,aecd->abcd")
    o = g.Einsum(o, g.weight(2, 4, 8, fan=8), equation="abcd,cde->abe")
    g.out("y", g.Add(o, g.normal(8, scale=0.2)))


@case("a dense layer with a 3-D kernel: btd,dhk->bthk")
def einsum_dense(g):
    x = g.Einsum(g.tokens(), g.weight(8, 2, 6, fan=8), equation="btd,dhk->bthk")
    g.out("y", g.Reshape(x, [1, 6, 12]))


@case("scores by Einsum: bthd,bshd->bhts, values by Einsum: bhts,bshd->bthd")
def einsum_scores(g):
    x = g.tokens()
    q, k, v = (g.Reshape(g.linear(x), [1, 6, 2, 4]) for _ in range(3))
    p = g.Softmax(g.scale(g.Einsum(q, k, equation="bthd,bshd->bhts")), axis=-1)
    o = g.Einsum(p, v, equation="bhts,bshd->bthd")
    g.out("y", g.linear(g.Reshape(o, [1, 6, 8])))


@case("scores and values by Einsum with heads first: b h i d, b h j d -> b h i j (spaces in the equation)")
def einsum_heads_first(g):
    x = g.tokens()
    q, k, v = (g.heads(g.linear(x)) for _ in range(3))
    p = g.Softmax(g.scale(g.Einsum(q, k, equation="b h i d, b h j d -> b h i j")), axis=-1)
    g.out("y", g.project(g.Einsum(p, v, equation="b h i j, b h j d -> b h i d")))


@case("output projection by Einsum: bthk,hkd->btd")
def einsum_output(g):
    x = g.Reshape(g.linear(g.tokens()), [1, 6, 2, 4])
    g.out("y", g.Einsum(x, g.weight(2, 4, 8, fan=8), equation="bthk,hkd->btd"))


@case("Einsum with ellipsis: ...d,de->...e, ...qd,...kd->...qk and ...qk,...kd->...qd")
def einsum_ellipsis(g):
    x = g.tokens()

    def heads():
        return g.heads(g.Einsum(x, g.weight(8, 8, fan=8), equation="...d,de->...e"))

    q, k, v = heads(), heads(), heads()
    p = g.Softmax(g.scale(g.Einsum(q, k, equation="...qd,...kd->...qk")), axis=-1)
    g.out("y", g.project(g.Einsum(p, v, equation="...qk,...kd->...qd")))


@case("Einsum without an arrow, and with a kernel first: ed,btd->bte")
def einsum_kernel_first(g):
    x = g.Einsum(g.weight(8, 8, fan=8), g.tokens(), equation="ed,btd->bte")
    g.out("y", g.Einsum(x, g.weight(8, 10, fan=8), equation="abc,cd"))


# Constants that the graph computes.


@family(
    "position embedding by Resize of a constant 2x2 map to 4x4, ",
    position_nearest=(
        "nearest, asymmetric, floor",
        dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    ),
    position_nearest_half_pixel=("nearest, half_pixel, round_prefer_floor (defaults)", {}),
    position_linear=("linear, half_pixel", dict(mode="linear")),
    position_linear_align=(
        "linear, align_corners",
        dict(mode="linear", coordinate_transformation_mode="align_corners"),
    ),
    position_linear_pytorch=(
        "linear, pytorch_half_pixel",
        dict(mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    ),
    position_cubic=("cubic, half_pixel", dict(mode="cubic", coordinate_transformation_mode="half_pixel")),
    position_cubic_align=("cubic, align_corners", dict(mode="cubic", coordinate_transformation_mode="align_corners")),
    position_cubic_pytorch=(
        "cubic, pytorch_half_pixel, coefficient -0.75",
        dict(mode="cubic", coordinate_transformation_mode="pytorch_half_pixel", cubic_coeff_a=-0.75),
    ),
)
def position(g, attributes):
    p = g.Resize(g.normal(1, 8, 2, 2), None, None, [1, 8, 4, 4], **attributes)
    x = g.flat(g.conv(g.image(), k=2), n=16)
    g.out("y", g.linear(g.Add(x, g.flat(p, n=16))))


@case("position embedding by Resize with scales, from 3x3 to 2x2 (cubic, half_pixel, opset 13), as of DINO")
def position_cubic_smaller(g):
    g.opsets[""] = 13
    table = g.const(g.normal(1, 10, 8))
    p = g.Transpose(g.Reshape(g.Slice(table, [1], [10], [1]), [1, 3, 3, 8]), perm=[0, 3, 1, 2])
    p = g.Resize(p, None, np.array([1, 1, 0.7, 0.7], np.float32), mode="cubic", cubic_coeff_a=-0.75)
    p = g.Reshape(g.Transpose(p, perm=[0, 2, 3, 1]), [1, -1, 8])
    p = g.Concat(g.Slice(table, [0], [1], [1]), p, axis=1)
    x = g.Concat(g.normal(1, 1, 8), g.flat(g.conv(g.image())), axis=1)
    g.out("y", g.linear(g.Add(x, p)))


@case("position embedding by Resize with antialias (opset 18), from 4x4 to 2x2")
def position_antialias(g):
    g.opsets[""] = 18
    p = g.Resize(g.normal(1, 8, 4, 4), None, None, [2, 2], mode="linear", antialias=1, axes=[2, 3])
    g.out("y", g.linear(g.Add(g.flat(g.conv(g.image())), g.flat(p))))


@family(
    "position embedding by Upsample of opset 9, ",
    position_upsample_nearest=("nearest", "nearest"),
    position_upsample_linear=("linear", "linear"),
)
def position_upsample(g, mode):
    g.opsets[""], g.ir = 9, 4
    p = g.Upsample(g.normal(1, 8, 2, 2), np.array([1, 1, 2, 2], np.float32), mode=mode)
    x = g.flat(g.conv(g.image(), k=2), n=16)
    g.out("y", g.linear(g.Add(x, g.flat(p, n=16))))


@case("position embedding by Tile of a row and Tile of a column, concatenated along channels")
def position_tile(g):
    row = g.Tile(g.normal(1, 4, 1, 4), [1, 1, 4, 1])
    column = g.Tile(g.normal(1, 4, 4, 1), [1, 1, 1, 4])
    x = g.Add(g.conv(g.image(), k=2), g.Concat(row, column, axis=1))
    g.out("y", g.linear(g.flat(x, n=16)))


@case("sine position embedding computed in the graph: Range, Cast, Mul, Sin, Cos, Concat")
def position_sine(g):
    n = g.Unsqueeze(g.Cast(g.Range(0, 6, 1), to=TensorProto.FLOAT), [1])
    a = g.Mul(n, g.Pow(100.0, g.Div(g.Cast(g.Range(0, 4, 1), to=TensorProto.FLOAT), -4.0)))
    g.out("y", g.linear(g.Add(g.tokens(), g.Concat(g.Sin(a), g.Cos(a), axis=1))))


@case("position embedding counted by CumSum of ones (DETR), normalised, then Sin")
def constant_cumsum(g):
    n = g.CumSum(np.ones((1, 6), np.float32), 1)
    n = g.Mul(g.Div(n, g.Add(g.Slice(n, [-1], [2**63 - 1], [1]), 1e-6)), 6.2831853)
    p = g.Sin(g.Mul(g.Unsqueeze(n, [-1]), g.uniform(8, low=0.5, high=2)))
    g.out("y", g.linear(g.Add(g.tokens(), p)))


@case("position embedding looked up by Gather with a Range")
def constant_range(g):
    p = g.Gather(g.normal(10, 8), g.Range(2, 8, 1), axis=0)
    g.out("y", g.linear(g.Add(g.tokens(), p)))


@case("EyeLike of a constant, times a factor, added to a weight: W + 0.5 I")
def constant_eye(g):
    w = g.Add(g.weight(8, 8, fan=8), g.Mul(g.EyeLike(np.zeros((8, 8), np.float32)), 0.5))
    g.out("y", g.MatMul(g.tokens(), w))


@case("ConstantOfShape and Expand of the shape of the input")
def constant_of_shape(g):
    x = g.tokens()
    cls = g.Expand(g.normal(1, 1, 8), g.Concat(g.Slice(g.Shape(x), [0], [1], [0]), [1, 8], axis=0))
    ones = g.ConstantOfShape(g.Shape(x), value=numpy_helper.from_array(np.array([0.5], np.float32)))
    g.out("y", g.linear(g.Concat(cls, g.Mul(x, ones), axis=1)))


@case("weights stored as float16 and int64, used through Cast")
def constant_cast(g):
    w = g.Cast(g.weight(8, 8, fan=8).astype(np.float16), to=TensorProto.FLOAT)
    b = g.Cast(np.array([1, 0, -1, 2, 0, 0, 1, -1], np.int64), to=TensorProto.FLOAT)
    g.out("y", g.Add(g.MatMul(g.tokens(), w), b))


@case("weight transposed in the graph (PyTorch Linear without constant folding)")
def constant_transposed_weight(g):
    w = g.Transpose(g.weight(10, 8, fan=8), perm=[1, 0])
    g.out("y", g.Add(g.normal(10, scale=0.2), g.MatMul(g.tokens(), w)))


@case("constants as Constant nodes: value, value_float, value_ints")
def constant_nodes(g):
    w = g.Constant(value=numpy_helper.from_array(g.weight(8, 8, fan=8)))
    x = g.Mul(g.MatMul(g.tokens(), w), g.Constant(value_float=0.7))
    x = g.Add(x, g.Constant(value_floats=[0.1, 0.2, 0.3, 0.4, -0.1, -0.2, -0.3, -0.4]))
    g.out("y", g.Reshape(x, g.Constant(value_ints=[0, 3, 2, -1])))


# Control flow and functions.


def branch(g, name, result, dims=(1, 6, 8)):
    b = Graph(name, g)
    b.out(b.fresh("result"), result(b), dims)
    return b.body()


@family(
    "If with a condition known at compile time: ",
    if_then=("then", True, (1, 6, 8)),
    if_else=("else", False, (1, 6, 8)),
    if_shapeless=("then; the branches state no shape of their outputs", True, None),
)
def if_constant(g, condition, dims):
    x = g.linear(g.tokens())
    x = g.If(
        np.array(condition),
        then_branch=branch(g, "then", lambda b: b.linear(x), dims),
        else_branch=branch(g, "else", lambda b: b.Mul(b.linear(x), -1.0), dims),
    )
    g.out("y", g.Relu(x))


@case("If inside If, conditions from the shape of the input; an inner branch uses values of both outer graphs")
def if_nested(g):
    x = g.tokens()
    n = g.Gather(g.Shape(x), np.array(1, np.int64), axis=0)

    def outer(b):
        h = b.linear(x)
        return b.If(
            b.Greater(n, 10),
            then_branch=branch(b, "inner_then", lambda c: c.Relu(h)),
            else_branch=branch(b, "inner_else", lambda c: c.Add(c.linear(h), x)),
        )

    g.out(
        "y",
        g.If(
            g.Equal(n, 6),
            then_branch=branch(g, "outer_then", outer),
            else_branch=branch(g, "outer_else", lambda b: b.Identity(x)),
        ),
    )


@case("If by Squeeze of PyTorch: squeeze the axis only if its extent is one; outputs of other ranks, without shapes")
def if_squeeze(g):
    x = g.Unsqueeze(g.linear(g.tokens()), [1])
    one = g.Equal(g.Gather(g.Shape(x), np.array(1, np.int64), axis=0), 1)
    x = g.If(
        one,
        then_branch=branch(g, "squeeze", lambda b: b.Squeeze(x, [1]), None),
        else_branch=branch(g, "keep", lambda b: b.Identity(x), None),
    )
    g.out("y", g.linear(x))


def loop_body(g, carried, write, results):
    """The body of a Loop: iteration and condition, then values carried along."""
    b = Graph("body", g)
    names = [b.fresh("carried") for _ in carried]
    b.inputs = [
        helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
    ]
    b.inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, carried)]
    values = write(b, *names)
    b.out(b.fresh("go_on"), b.Identity("go_on"), [], kind=TensorProto.BOOL)
    for value, dims in zip(values, results):
        b.out(b.fresh("result"), value, dims)
    return b.body()


@family(
    "Loop of constants with a scan output: rows of a position embedding",
    loop_scan=("", [8]),
    loop_shapeless=("; the body states no shape of its output", None),
)
def loop(g, dims):
    def write(b):
        return [b.Mul(b.Add(b.Cast("iteration", to=TensorProto.FLOAT), 1.0), step)]

    step = g.const(g.normal(8, scale=0.3))
    p = g.Loop(6, np.array(True), body=loop_body(g, [], write, [dims]))
    g.out("y", g.linear(g.Add(g.tokens(), p)))


@case("Loop of constants with a carried value and a scan output: powers of a matrix applied to a vector")
def loop_carried(g):
    def write(b, v):
        return (b.MatMul(v, w), b.Squeeze(v, [0]))

    w = g.const(np.linalg.qr(g.normal(8, 8))[0].astype(np.float32))
    last, all_ = g.Loop(6, None, g.normal(1, 8), n=2, body=loop_body(g, [[1, 8]], write, [[1, 8], [8]]))
    g.out("y", g.linear(g.Add(g.Add(g.tokens(), all_), last)))


def function(name, inputs, outputs, nodes, attributes=(), opset=17, more=()):
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in more]
    return helper.make_function("local", name, inputs, outputs, nodes, opsets, list(attributes))


def ref(node, name, kind, source):
    """Give `node` the attribute `name`, which refers to the attribute `source` of the function."""
    node.attribute.append(onnx.AttributeProto(name=name, type=kind, ref_attr_name=source))
    return node


@case("model-local function with attribute references: HardSigmoid alpha, Transpose perm, Constant value_float")
def function_attributes(g):
    A, N = onnx.AttributeProto, helper.make_node
    g.functions.append(
        function(
            "Scaled",
            ["x", "w"],
            ["y"],
            [
                N("MatMul", ["x", "w"], ["a"]),
                ref(N("HardSigmoid", ["a"], ["b"]), "alpha", A.FLOAT, "slope"),
                ref(N("Constant", [], ["f"]), "value_float", A.FLOAT, "factor"),
                N("Mul", ["b", "f"], ["c"]),
                ref(N("Transpose", ["c"], ["y"]), "perm", A.INTS, "order"),
            ],
            ["slope", "factor", "order"],
        )
    )
    x = g.Scaled(g.tokens(), g.weight(8, 8, fan=8), domain="local", slope=0.2, factor=1.5, order=[0, 1, 2])
    x = g.Scaled(x, g.weight(8, 8, fan=8), domain="local", slope=0.3, factor=2.0, order=[0, 2, 1])
    g.out("y", x)


@case("model-local functions that call functions, twice with other weights; a default attribute is omitted by one call")
def function_nested(g):
    A, N = onnx.AttributeProto, helper.make_node
    linear = function("Linear", ["x", "w", "b"], ["y"], [N("MatMul", ["x", "w"], ["t"]), N("Add", ["t", "b"], ["y"])])
    act = function("Act", ["x"], ["y"], [ref(N("HardSigmoid", ["x"], ["y"]), "alpha", A.FLOAT, "slope")])
    act.attribute_proto.append(helper.make_attribute("slope", 0.3))
    mlp = function(
        "Mlp",
        ["x", "w", "b", "v", "c"],
        ["y"],
        [
            N("Linear", ["x", "w", "b"], ["t"], domain="local"),
            N("Act", ["t"], ["u"], domain="local"),
            N("Linear", ["u", "v", "c"], ["w_out"], domain="local"),
            N("Add", ["x", "w_out"], ["y"]),
        ],
        more=["local"],
    )
    g.functions += [mlp, linear, act]

    def block(x):
        return g.Mlp(
            x,
            g.weight(8, 12, fan=8),
            g.normal(12, scale=0.2),
            g.weight(12, 8, fan=12),
            g.normal(8, scale=0.2),
            domain="local",
        )

    g.out("y", g.linear(g.Act(block(block(g.tokens())), domain="local", slope=0.1)))


@case("model-local function with an omitted optional input and a second output (dynamo's torch functions)")
def function_optional(g):
    N = helper.make_node
    g.functions.append(
        function(
            "Clamp", ["x", "low", "high"], ["y", "n"], [N("Clip", ["x", "low", "high"], ["y"]), N("Neg", ["y"], ["n"])]
        )
    )
    y, n = g.Clamp(g.linear(g.tokens()), None, np.float32(0.8), n=2, domain="local")
    g.out("y", g.linear(g.Concat(y, n, axis=-1), 16, 8))


# Class token and other ways to put tensors together.


@case("class token by Expand and Concat, position embedding, then the class token taken by Gather")
def class_token(g):
    x = g.Concat(g.Expand(g.normal(1, 1, 8), [1, 1, 8]), g.flat(g.conv(g.image())), axis=1)
    x = g.attention(g.Add(x, g.normal(1, 5, 8)), n=5)
    g.out(
        "y",
        g.Gemm(g.Gather(x, np.array(0, np.int64), axis=1), g.weight(10, 8, fan=8), g.normal(10, scale=0.2), transB=1),
    )


@case("ScatterND of a class token into zeros (a slice), added to padded tokens")
def scatter_class_slice(g):
    z = g.ScatterND(np.zeros((1, 6, 8), np.float32), np.array([[0, 0]], np.int64), g.normal(1, 8))
    x = g.Pad(g.linear(g.tokens(n=5)), [0, 1, 0, 0, 0, 0])
    g.out("y", g.attention(g.Add(x, z)))


@case("ScatterND of a class token into zeros with a list of indices for each element")
def scatter_class_elements(g):
    index = np.array([[0, 0, c] for c in range(8)], np.int64).reshape(1, 1, 8, 3)
    z = g.ScatterND(np.zeros((1, 6, 8), np.float32), index, g.normal(1, 1, 8))
    x = g.Pad(g.linear(g.tokens(n=5)), [0, 1, 0, 0, 0, 0])
    g.out("y", g.attention(g.Add(x, z)))


@case("zeros, into which the class token and then the computed tokens are written by ScatterND (x[:, 1:] = tokens)")
def scatter_tokens(g):
    z = np.zeros((1, 6, 8), np.float32)
    z = g.ScatterND(z, np.array([[[0, 0]]], np.int64), g.normal(1, 1, 8))
    x = g.ScatterND(z, np.array([[[0, i] for i in range(1, 6)]], np.int64), g.linear(g.tokens(n=5)))
    g.out("y", g.linear(x))


@case("zeros, into which computed tokens are written by ScatterND with a list of indices for each element")
def scatter_tokens_elements(g):
    index = np.array([[[[0, t, c] for c in range(8)] for t in range(1, 6)]], np.int64)
    x = g.ScatterND(g.normal(1, 6, 8), index, g.linear(g.tokens(n=5)))
    g.out("y", g.linear(x))


@case("branches stacked by Unsqueeze and Concat, then ReduceSum")
def stack_sum(g):
    x = g.tokens()
    s = g.Concat(*(g.Unsqueeze(g.linear(x), [0]) for _ in range(3)), axis=0)
    g.out("y", g.linear(g.ReduceSum(s, [0], keepdims=0)))


@case("branches stacked on a last axis, then ReduceMean")
def stack_mean(g):
    x = g.tokens()
    s = g.Concat(g.Unsqueeze(g.linear(x), [3]), g.Unsqueeze(x, [3]), axis=3)
    g.out("y", g.linear(g.ReduceMean(s, axes=[-1], keepdims=0)))


@case("Split into 3, 4 and 5 channels, joined in another order")
def split_uneven(g):
    a, b, c = g.Split(g.linear(g.tokens(), 8, 12), [3, 4, 5], n=3, axis=2)
    g.out("y", g.Concat(c, a, b, axis=2))


@case("Split into 3, 4 and 5 channels, joined in another order before a linear layer")
def split_uneven_linear(g):
    a, b, c = g.Split(g.linear(g.tokens(), 8, 12), [3, 4, 5], n=3, axis=2)
    g.out("y", g.linear(g.Concat(b, c, a, axis=2), 12, 8))


@case("Concat of class token and mean of the others along channels, then Gemm (DINOv2)")
def head_class_and_mean(g):
    x = g.linear(g.tokens())
    cls = g.Gather(x, np.array(0, np.int64), axis=1)
    mean = g.ReduceMean(g.Slice(x, [1], [2**63 - 1], [1]), axes=[1], keepdims=0)
    g.out("y", g.Gemm(g.Concat(cls, mean, axis=1), g.weight(10, 16, fan=12), g.normal(10, scale=0.2), transB=1))


@case("Concat along channels of two branches of unequal width, then Gemm")
def concat_unequal(g):
    x = g.tokens()
    a, b = g.Relu(g.linear(x, 8, 5)), g.Tanh(g.linear(x, 8, 11))
    y = g.Reshape(g.Concat(a, b, axis=2), [6, 16])
    g.out("y", g.Gemm(y, g.weight(16, 8, fan=10), g.normal(8, scale=0.2)))


@case("Concat along channels of the input and a branch of attention, then a linear layer")
def concat_input(g):
    x = g.tokens()
    g.out("y", g.linear(g.Concat(x, g.attention(x), axis=-1), 16, 8))


@case("a computed vector [1, 1, c] added to all tokens")
def residual_vector(g):
    x = g.linear(g.tokens())
    v = g.linear(g.ReduceMean(x, axes=[1], keepdims=1))
    g.out("y", g.linear(g.Add(x, v)))


@case("BatchNormalization after Conv, then Relu")
def batch_norm_conv(g):
    x = batch_norm(g, g.conv(g.image(), k=3, stride=2, pads=[1, 1, 1, 1]), 8)
    g.out("y", g.conv(g.Relu(x), i=8, k=2))


@case("BatchNormalization after MatMul, tokens flattened to [n, c] and back (LeViT)")
def batch_norm_linear(g):
    x = g.Reshape(batch_norm(g, g.Reshape(g.linear(g.tokens(), 8, 12, bias=False), [6, 12]), 12), [1, 6, 12])
    g.out("y", g.linear(x, 12, 8))


@case("BatchNormalization after MatMul, tokens transposed to [1, c, n] and back")
def batch_norm_transposed(g):
    x = g.Transpose(g.linear(g.tokens()), perm=[0, 2, 1])
    g.out("y", g.linear(g.Transpose(batch_norm(g, x, 8), perm=[0, 2, 1])))


@case("BatchNormalization of the image itself, before a padded convolution")
def batch_norm_image(g):
    x = batch_norm(g, g.image(), 3)
    g.out("y", g.conv(x, k=3, stride=2, pads=[1, 1, 1, 1]))


def batch_norm(g, x, c, **attributes):
    return g.BatchNormalization(
        x,
        g.normal(c, scale=0.2, mean=1),
        g.normal(c, scale=0.2),
        g.normal(c, scale=0.2),
        g.uniform(c, low=0.5, high=1.5),
        epsilon=1e-5,
        **attributes,
    )


# Convolutions, padding, pooling.


@family(
    "auto_pad ",
    conv_same_upper=("SAME_UPPER, kernel 3, stride 2", "SAME_UPPER", 8, 3),
    conv_same_lower=("SAME_LOWER, kernel 3, stride 2", "SAME_LOWER", 8, 3),
    conv_same_upper_odd=("SAME_UPPER, kernel 4, stride 4 on 10 pixels", "SAME_UPPER", 10, 4),
    conv_valid=("VALID, kernel 4, stride 4 on 10 pixels: a rest is left out", "VALID", 10, 4),
)
def auto_pad(g, kind, size, k):
    x = g.conv(g.image(size=size), k=k, stride=2 if k == 3 else 4, auto_pad=kind)
    g.out("y", g.conv(g.Relu(x), i=8, k=1))


@case("explicit Pad before Conv, pads as an input")
def pad_conv(g):
    x = g.Pad(g.image(), [0, 0, 1, 2, 0, 0, 1, 0])
    g.out("y", g.conv(x, k=3, stride=2))


@case("a convolution with padding, of whose tokens the first is dropped (Slice) for a class token")
def pad_conv_slice(g):
    x = g.flat(g.conv(g.image(), k=3, stride=2, pads=[1, 1, 1, 1]), n=16)
    x = g.Concat(g.normal(1, 1, 8), g.Slice(x, [1], [2**63 - 1], [1]), axis=1)
    g.out("y", g.linear(x))


@case("explicit Pad with a constant that is not zero before Conv")
def pad_conv_value(g):
    x = g.Pad(g.image(), [0, 0, 1, 1, 0, 0, 1, 1], np.float32(0.5), mode="constant")
    g.out("y", g.conv(x, k=3, stride=2))


@case("explicit Pad before Conv, attributes of opset 9")
def pad_conv_9(g):
    g.opsets[""], g.ir = 9, 4
    x = g.Pad(g.image(), mode="constant", pads=[0, 0, 1, 1, 0, 0, 2, 2], value=0.0)
    g.out("y", g.conv(x, k=3, stride=2))


@case("negative Pad: the image is cropped")
def pad_negative(g):
    g.out("y", g.conv(g.Pad(g.image(size=12), [0, 0, -2, -1, 0, 0, -2, -3])))


@case("map of 5x5 tokens padded to 6x6, cut into 3x3 windows, attention in each, put back and cropped (Swin)")
def swin_windows(g):
    x = g.Reshape(g.linear(g.tokens(n=25)), [1, 5, 5, 8])
    x = g.Pad(x, [0, 0, 0, 0, 0, 1, 1, 0])
    x = g.Reshape(g.Transpose(g.Reshape(x, [1, 2, 3, 2, 3, 8]), perm=[0, 1, 3, 2, 4, 5]), [4, 9, 8])
    x = g.attention(x, n=9, batch=4)
    x = g.Reshape(g.Transpose(g.Reshape(x, [1, 2, 2, 3, 3, 8]), perm=[0, 1, 3, 2, 4, 5]), [1, 6, 6, 8])
    x = g.Slice(x, [0, 0], [5, 5], [1, 2])
    g.out("y", g.Reshape(x, [1, 25, 8]))


@case("shifted windows: a 4x4 map rolled by Slice and Concat, attention in 2x2 windows, rolled back")
def swin_shift(g):
    def roll(x, by):
        for axis in (1, 2):
            x = g.Concat(g.Slice(x, [by], [2**63 - 1], [axis]), g.Slice(x, [0], [by], [axis]), axis=axis)
        return x

    x = roll(g.Reshape(g.linear(g.tokens(n=16)), [1, 4, 4, 8]), 1)
    x = g.Reshape(g.Transpose(g.Reshape(x, [1, 2, 2, 2, 2, 8]), perm=[0, 1, 3, 2, 4, 5]), [4, 4, 8])
    x = g.attention(x, n=4, batch=4)
    x = g.Reshape(g.Transpose(g.Reshape(x, [1, 2, 2, 2, 2, 8]), perm=[0, 1, 3, 2, 4, 5]), [1, 4, 4, 8])
    g.out("y", g.Reshape(roll(x, -1), [1, 16, 8]))


@family(
    "pooling with kernel 1 and stride 2 of a map: ",
    pool_average_stride=("AveragePool", "AveragePool"),
    pool_max_stride=("MaxPool", "MaxPool"),
)
def pool_stride(g, kind):
    x = g.node(kind, [g.conv(g.image(), k=2)], kernel_shape=[1, 1], strides=[2, 2])
    g.out("y", g.conv(x, i=8, k=1))


@case("GlobalAveragePool, Flatten, Gemm")
def pool_global(g):
    x = g.Flatten(g.GlobalAveragePool(g.Relu(g.conv(g.image(), k=2))), axis=1)
    g.out("y", g.Gemm(x, g.weight(10, 8, fan=4), g.normal(10, scale=0.2), transB=1, alpha=1.0, beta=1.0))


@case("convolution of kernel 1 over tokens as a linear layer, on [1, c, n] (Conv1d)")
def conv_1d(g):
    x = g.Transpose(g.tokens(), perm=[0, 2, 1])
    x = g.Conv(x, g.weight(12, 8, 1, fan=8), g.normal(12, scale=0.2), kernel_shape=[1])
    g.out("y", g.linear(g.Transpose(x, perm=[0, 2, 1]), 12, 8))


# Containers.


@case("nodes in another order than that of their dependence")
def nodes_shuffled(g):
    x = g.tokens()
    x = g.Add(x, g.attention(g.norm(x)))
    g.out("y", g.Add(x, g.mlp(g.norm(x), g.Relu)))
    order = g.rng.permutation(len(g.nodes))
    g.nodes = [g.nodes[i] for i in order]


@case("initialisers that nothing uses, one of them of strings, and a node whose result nothing uses")
def initialisers_unused(g):
    g.out("y", g.linear(g.tokens()))
    g.Relu("y")
    g.const(g.normal(3, 3), "left_over")
    g.initializers.append(helper.make_tensor("labels", TensorProto.STRING, [3], [b"cat", b"dog", "Bär".encode()]))
    g.const(np.array([1.5], np.float64), "double")


@case("weights as float_data, in place of raw bytes, and a value_info for each value")
def initialisers_typed(g):
    g.out("y", g.mlp(g.tokens(), g.Relu))
    g.initializers = [
        helper.make_tensor(t.name, t.data_type, t.dims, numpy_helper.to_array(t).flatten()) for t in g.initializers
    ]


def legacy(g, opset, ir):
    """One block in the forms of an opset: attributes in old ones, inputs in new ones."""
    g.opsets[""], g.ir = opset, ir
    g.initializers_are_inputs = ir < 4

    def axes(kind, x, a, **more):
        new = opset >= (18 if kind == "ReduceMean" else 13)
        return g.node(kind, [x, a] if new else [x], **({} if new else {"axes": a}), **more)

    def slices(x, start, end, axis):
        if opset >= 10:
            return g.Slice(x, [start], [end], [axis])
        return g.Slice(x, starts=[start], ends=[end], axes=[axis])

    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    image = g.image()
    if opset >= 18:
        x = g.Pad(image, [1, 1, 1, 1], None, [2, 3])
    else:
        x = g.Pad(image, pads) if opset >= 11 else g.Pad(image, pads=pads)
    x = g.Conv(x, g.weight(8, 3, 3, 3, fan=27), kernel_shape=[3, 3], strides=[3, 3])
    x = batch_norm(g, x, 8, **({"momentum": 0.9} if opset < 14 else {"training_mode": 0}))
    x = g.Clip(x, np.float32(-1), np.float32(2)) if opset >= 11 else g.Clip(x, min=-1.0, max=2.0)
    x = g.flat(x, n=9)
    x = g.Concat(axes("Unsqueeze", g.const(g.normal(1, 8)), [0]), x, axis=1)
    if opset >= 18:
        q, k, v = g.Split(g.linear(x, 8, 24), n=3, axis=2, num_outputs=3)
    elif opset >= 13:
        q, k, v = g.Split(g.linear(x, 8, 24), [8, 8, 8], n=3, axis=2)
    else:
        q, k, v = g.Split(g.linear(x, 8, 24), n=3, axis=2, split=[8, 8, 8])
    s = g.scale(g.MatMul(g.heads(q, n=10), g.heads(k, n=10, perm=(0, 2, 3, 1))))
    p = g.Softmax(s, axis=3)
    if opset >= 12:
        p = g.Dropout(p, np.float32(0.1), np.array(False))
    else:
        p = g.Dropout(p, ratio=0.1)
    x = g.Add(x, g.linear(g.join(g.MatMul(p, g.heads(v, n=10)), n=10)))
    m = axes("ReduceMean", x, [1], keepdims=1)
    s = axes("ReduceSum", g.Concat(m, slices(x, 0, 1, 1), axis=1), [1], keepdims=0)
    cls = axes("Squeeze", slices(x, 0, 1, 1), [1])
    y = g.Gemm(g.Add(s, cls), g.weight(10, 8, fan=16), g.normal(10, scale=0.2), transB=1)
    g.out("y", y)


for _opset, _ir in ((7, 3), (8, 3), (9, 4), (10, 5), (12, 7), (13, 7), (18, 8), (21, 10)):
    CASES[f"opset_{_opset}"] = (
        f"the forms of opset {_opset}, IR {_ir}: Slice, Squeeze, Unsqueeze, Split, Pad, Clip, "
        "Dropout, ReduceSum, ReduceMean, BatchNormalization, Softmax"
        + (", initialisers among the inputs" if _ir < 4 else ""),
        lambda g, o=_opset, i=_ir: legacy(g, o, i),
    )


# com.microsoft.


@case("com.microsoft Attention")
def ms_attention(g):
    x = g.Attention(g.tokens(), g.weight(8, 24, fan=8), g.normal(24, scale=0.2), domain=MS, num_heads=2)
    g.out("y", g.linear(x))


@case("com.microsoft Attention with a constant 2-D mask_index of ones")
def ms_attention_mask(g):
    x = g.Attention(
        g.tokens(), g.weight(8, 24, fan=8), g.normal(24, scale=0.2), np.ones((1, 6), np.int32), domain=MS, num_heads=2
    )
    g.out("y", g.linear(x))


@case("com.microsoft Attention with a constant 2-D mask_index that hides two tokens")
def ms_attention_hidden(g):
    x = g.Attention(
        g.tokens(),
        g.weight(8, 24, fan=8),
        g.normal(24, scale=0.2),
        np.array([[1, 1, 1, 1, 0, 0]], np.int32),
        domain=MS,
        num_heads=2,
    )
    g.out("y", g.linear(x))


@case("com.microsoft MultiHeadAttention: separate Q, K, V, and a bias")
def ms_multi_head(g):
    x = g.tokens()
    q, k, v = (g.linear(x, bias=False) for _ in range(3))
    g.out("y", g.linear(g.MultiHeadAttention(q, k, v, g.normal(24, scale=0.2), domain=MS, num_heads=2)))


@case("com.microsoft MultiHeadAttention: separate Q, K, V with biases of their own, scale attribute")
def ms_multi_head_plain(g):
    x = g.tokens()
    q, k, v = (g.linear(x) for _ in range(3))
    g.out("y", g.linear(g.MultiHeadAttention(q, k, v, domain=MS, num_heads=2, scale=0.4)))


@case("com.microsoft SkipLayerNormalization with bias; its fourth output, the sum, is the next residual")
def ms_skip_norm(g):
    x = g.tokens()
    a = g.linear(x, bias=False)
    y, _, _, s = ms_skip(g, x, a, g.normal(8, scale=0.2))
    y, *_ = ms_skip(g, s, g.linear(y, bias=False), g.normal(8, scale=0.2))
    g.out("y", g.linear(y))


@case("com.microsoft SkipLayerNormalization with one output and no bias")
def ms_skip_norm_plain(g):
    x = g.tokens()
    y = g.SkipLayerNormalization(
        x, g.linear(x), g.normal(8, scale=0.1, mean=1), g.normal(8, scale=0.1), domain=MS, epsilon=1e-6
    )
    g.out("y", g.linear(y))


def ms_skip(g, x, skip, bias):
    outputs = [g.fresh("skip"), "", "", g.fresh("sum")]
    return g.SkipLayerNormalization(
        x, skip, g.normal(8, scale=0.1, mean=1), g.normal(8, scale=0.1), bias, domain=MS, epsilon=1e-6, outputs=outputs
    )


@case("com.microsoft EmbedLayerNormalization: int32 ids, word and position embeddings")
def ms_embed_norm(g):
    g.noise = False
    ids = g.input("ids", np.array([[3, 1, 11, 0, 7, 3]], np.int32))
    outputs = [g.fresh("embed"), g.fresh("mask_index")]
    x, _ = g.EmbedLayerNormalization(
        ids,
        None,
        g.normal(12, 8),
        g.normal(6, 8),
        None,
        g.normal(8, scale=0.1, mean=1),
        g.normal(8, scale=0.1),
        domain=MS,
        epsilon=1e-6,
        outputs=outputs,
    )
    g.out("y", g.attention(x))


@family(
    "com.microsoft ",
    ms_bias_gelu=("BiasGelu", lambda g, x: g.BiasGelu(x, g.normal(12, scale=0.3), domain=MS)),
    ms_fast_gelu=("FastGelu", lambda g, x: g.FastGelu(x, domain=MS)),
    ms_fast_gelu_bias=("FastGelu with bias", lambda g, x: g.FastGelu(x, g.normal(12, scale=0.3), domain=MS)),
    ms_gelu=("Gelu", lambda g, x: g.Gelu(x, domain=MS)),
    ms_quick_gelu=("QuickGelu, alpha 1.702", lambda g, x: g.QuickGelu(x, domain=MS)),
    ms_quick_gelu_silu=("QuickGelu, alpha 1: SiLU", lambda g, x: g.QuickGelu(x, domain=MS, alpha=1.0)),
)
def ms_activation(g, act):
    x = g.MatMul(g.tokens(), g.weight(8, 12, fan=8))
    g.out("y", g.linear(act(g, x), 12, 8))


@case("com.microsoft FusedMatMul: transB and alpha, for scores and for a weight")
def ms_fused_matmul(g):
    x = g.tokens()
    q, k, v = g.heads(g.linear(x)), g.heads(g.linear(x)), g.heads(g.linear(x))
    s = g.FusedMatMul(q, k, domain=MS, transB=1, alpha=0.5)
    o = g.join(g.MatMul(g.Softmax(s, axis=-1), v))
    g.out("y", g.FusedMatMul(o, g.weight(10, 8, fan=8), domain=MS, transB=1, alpha=1.5))


@case("com.microsoft FusedMatMul: transA, scores of K transposed")
def ms_fused_matmul_trans_a(g):
    x = g.tokens()
    q, k, v = g.heads(g.linear(x), perm=(0, 2, 3, 1)), g.heads(g.linear(x), perm=(0, 2, 3, 1)), g.heads(g.linear(x))
    s = g.FusedMatMul(q, k, domain=MS, transA=1, alpha=0.5)
    g.out("y", g.project(g.MatMul(g.Softmax(s, axis=-1), v)))


# Quantised models.


def int8(w, axis=None):
    """Symmetric int8 weights and their scale, for the whole tensor or along an axis.

    The weights have 7 bits (reduce_range of ONNX Runtime's quantiser): on x86 without VNNI, sums of two products of
    uint8 and int8 saturate in ONNX Runtime's kernels, and its outputs would depend on the processor.
    """
    axes = tuple(a for a in range(w.ndim) if a != axis)
    most = np.abs(w).max() if axis is None else np.abs(w).max(axis=axes, keepdims=True)
    scale = (most / 63).astype(np.float32)
    return np.round(w / scale).astype(np.int8), np.asarray(scale.reshape(-1) if axis is not None else scale)


@case("QLinearMatMul between QuantizeLinear and DequantizeLinear, uint8 with zero point 128, weights int8")
def quantised_matmul(g):
    a = g.QuantizeLinear(g.tokens(), np.float32(4 / 128), np.uint8(128))
    w, s = int8(g.weight(8, 8, fan=8))
    y = g.QLinearMatMul(a, np.float32(4 / 128), np.uint8(128), w, s, np.int8(0), np.float32(5 / 128), np.uint8(120))
    g.out("y", g.DequantizeLinear(y, np.float32(5 / 128), np.uint8(120)))


@case("QLinearMatMul twice, int8 activations, scale of the weights per column")
def quantised_matmul_columns(g):
    a = g.QuantizeLinear(g.tokens(), np.float32(4 / 128), np.int8(0))
    w, s = int8(g.weight(8, 12, fan=8), 1)
    a = g.QLinearMatMul(
        a, np.float32(4 / 128), np.int8(0), w, s, np.zeros(12, np.int8), np.float32(5 / 128), np.int8(-3)
    )
    w, s = int8(g.weight(12, 8, fan=12))
    y = g.QLinearMatMul(a, np.float32(5 / 128), np.int8(-3), w, s, np.int8(0), np.float32(4.5 / 128), np.int8(0))
    g.out("y", g.DequantizeLinear(y, np.float32(4.5 / 128), np.int8(0)))


@case("QLinearConv with an int32 bias, uint8 image, weights int8 per channel")
def quantised_conv(g):
    a = g.QuantizeLinear(g.image(), np.float32(4 / 128), np.uint8(128))
    w, s = int8(g.weight(8, 3, 3, 3, fan=27), 0)
    bias = np.round(g.normal(8, scale=0.2) / (s * np.float32(4 / 128))).astype(np.int32)
    y = g.QLinearConv(
        a,
        np.float32(4 / 128),
        np.uint8(128),
        w,
        s,
        np.zeros(8, np.int8),
        np.float32(4 / 128),
        np.uint8(128),
        bias,
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
    )
    g.out("y", g.DequantizeLinear(y, np.float32(4 / 128), np.uint8(128)))


@case("com.microsoft QLinearAdd of two QLinearMatMul")
def quantised_add(g):
    a = g.QuantizeLinear(g.tokens(), np.float32(4 / 128), np.uint8(128))
    w, s = int8(g.weight(8, 8, fan=8))
    y = g.QLinearMatMul(a, np.float32(4 / 128), np.uint8(128), w, s, np.int8(0), np.float32(5 / 128), np.uint8(120))
    y = g.QLinearAdd(
        a,
        np.float32(4 / 128),
        np.uint8(128),
        y,
        np.float32(5 / 128),
        np.uint8(120),
        np.float32(6 / 128),
        np.uint8(128),
        domain=MS,
    )
    g.out("y", g.DequantizeLinear(y, np.float32(6 / 128), np.uint8(128)))


@case("QuantizeLinear and DequantizeLinear around float layers (QDQ), weights int8 per channel, int32 bias")
def quantised_qdq(g):
    def qdq(x, most, zero=np.int8(0)):
        scale = np.float32(most / 128)
        return g.DequantizeLinear(g.QuantizeLinear(x, scale, zero), scale, zero)

    def linear(x, i, o, most):
        w, s = int8(g.weight(i, o, fan=i), 1)
        bias = np.round(g.normal(o, scale=0.2) / (s * np.float32(most / 128))).astype(np.int32)
        y = g.MatMul(qdq(x, most), g.DequantizeLinear(w, s, np.zeros(o, np.int8), axis=1))
        return g.Add(
            y, g.DequantizeLinear(bias, (s * np.float32(most / 128)).astype(np.float32), np.zeros(o, np.int32), axis=0)
        )

    x = linear(g.tokens(), 8, 12, 4)
    g.out("y", qdq(linear(g.Relu(x), 12, 8, 4), 5))


@case("DynamicQuantizeLinear, MatMulInteger, Cast, Mul, Add (dynamic quantisation)")
def quantised_dynamic(g):
    a, scale, zero = g.DynamicQuantizeLinear(g.tokens(), n=3)
    w, s = int8(g.weight(8, 8, fan=8))
    y = g.Cast(g.MatMulInteger(a, w, zero, np.int8(0)), to=TensorProto.FLOAT)
    g.out("y", g.Add(g.Mul(y, g.Mul(scale, s)), g.normal(8, scale=0.2)))


@case("one DynamicQuantizeLinear for Q, K and V, uint8 weights with a zero point, scale per column; ConvInteger before")
def quantised_dynamic_block(g):
    def integer(kind, args, w, s, **attributes):
        a, scale, zero = args
        w = (w.astype(np.int16) + 128).astype(np.uint8)
        y = g.Cast(g.node(kind, [a, w, zero, np.uint8(128)], **attributes), to=TensorProto.FLOAT)
        return g.Mul(y, g.Mul(scale, s))

    w, s = int8(g.weight(8, 3, 4, 4, fan=48))
    x = integer("ConvInteger", g.DynamicQuantizeLinear(g.image(), n=3), w, s, kernel_shape=[4, 4], strides=[4, 4])
    x = g.flat(g.Add(x, g.normal(1, 8, 1, 1, scale=0.2)))
    a = g.DynamicQuantizeLinear(x, n=3)
    q, k, v = (
        g.Add(integer("MatMulInteger", a, *int8(g.weight(8, 8, fan=8))), g.normal(8, scale=0.2)) for _ in range(3)
    )
    s = g.scale(g.MatMul(g.heads(q, n=4), g.heads(k, n=4, perm=(0, 2, 3, 1))))
    g.out("y", g.project(g.MatMul(g.Softmax(s, axis=-1), g.heads(v, n=4)), n=4))


@case("com.microsoft DynamicQuantizeMatMul with bias")
def quantised_dynamic_ms(g):
    w, s = int8(g.weight(8, 8, fan=8))
    g.out("y", g.DynamicQuantizeMatMul(g.tokens(), w, s, np.int8(0), g.normal(8, scale=0.2), domain=MS))


@case("com.microsoft MatMulIntegerToFloat after DynamicQuantizeLinear")
def quantised_to_float_ms(g):
    a, scale, zero = g.DynamicQuantizeLinear(g.tokens(), n=3)
    w, s = int8(g.weight(8, 8, fan=8), 1)
    g.out("y", g.MatMulIntegerToFloat(a, w, scale, s, zero, np.zeros(8, np.int8), g.normal(8, scale=0.2), domain=MS))


# Activations.


@family(
    "activation: ",
    act_silu=("SiLU as Mul of Sigmoid", 17, lambda g, x: g.Mul(x, g.Sigmoid(x))),
    act_quick_gelu=("quick GELU, x * Sigmoid(1.702 x)", 17, lambda g, x: g.Mul(x, g.Sigmoid(g.Mul(x, 1.702)))),
    act_clip_0_6=("ReLU6 as Clip 0..6", 17, lambda g, x: g.Clip(g.Mul(x, 4.0), 0.0, 6.0)),
    act_clip_low=("Clip from below only", 17, lambda g, x: g.Clip(x, -0.3)),
    act_clip_high=("Clip from above only", 17, lambda g, x: g.Clip(x, None, 0.4)),
    act_min_max=("Min and Max with constants", 17, lambda g, x: g.Max(g.Min(x, 0.9), -0.6)),
    act_hard_sigmoid=("HardSigmoid with alpha 0.2 (Keras), the default", 17, lambda g, x: g.HardSigmoid(x)),
    act_hard_swish=(
        "HardSwish as x * HardSigmoid(x), alpha 1/6",
        17,
        lambda g, x: g.Mul(x, g.HardSigmoid(x, alpha=1 / 6, beta=0.5)),
    ),
    act_hard_swish_relu6=(
        "HardSwish as x * Clip(x + 3, 0, 6) / 6",
        17,
        lambda g, x: g.Div(g.Mul(x, g.Clip(g.Add(x, 3.0), 0.0, 6.0)), 6.0),
    ),
    act_hard_swish_op=("HardSwish, one node", 17, lambda g, x: g.HardSwish(x)),
    act_mish=("Mish, one node of opset 18", 18, lambda g, x: g.Mish(x)),
    act_mish_tanh=("Mish as x * Tanh(Softplus(x))", 17, lambda g, x: g.Mul(x, g.Tanh(g.Softplus(x)))),
    act_softplus=("Softplus", 17, lambda g, x: g.Softplus(x)),
    act_gelu_erf=(
        "GELU as x * 0.5 * (1 + Erf(x / sqrt 2))",
        17,
        lambda g, x: g.Mul(g.Mul(x, g.Add(g.Erf(g.Div(x, 2**0.5)), 1.0)), 0.5),
    ),
    act_gelu_half_first=(
        "GELU as (0.5 * x) * (1 + Erf(x * 0.7071))",
        17,
        lambda g, x: g.Mul(g.Mul(0.5, x), g.Add(1.0, g.Erf(g.Mul(x, 0.5**0.5)))),
    ),
    act_gelu_tanh=(
        "GELU by Tanh, cube by Pow",
        17,
        lambda g, x: g.Mul(
            g.Mul(x, 0.5), g.Add(1.0, g.Tanh(g.Mul(0.7978845608, g.Add(x, g.Mul(0.044715, g.Pow(x, 3.0))))))
        ),
    ),
    act_leaky_relu=("LeakyRelu, alpha 0.1", 17, lambda g, x: g.LeakyRelu(x, alpha=0.1)),
    act_p_relu=("PRelu, a slope for each channel", 17, lambda g, x: g.PRelu(x, g.uniform(12))),
    act_elu=("Elu", 17, lambda g, x: g.Elu(x)),
    act_selu=("Selu", 17, lambda g, x: g.Selu(x)),
    act_gelu_op=("Gelu, one node of opset 20, approximate tanh", 20, lambda g, x: g.Gelu(x, approximate="tanh")),
)
def activation(g, opset, act):
    g.opsets[""] = opset
    g.out("y", g.mlp(g.tokens(), lambda x: act(g, x)))


# Outputs.


@case("output as a map [1, c, h, w]")
def out_map(g):
    x = g.attention(g.flat(g.conv(g.image())), n=4)
    g.out("map", g.Reshape(g.Transpose(x, perm=[0, 2, 1]), [1, 8, 2, 2]))


@case("output as a map from ConvTranspose, kernel 2, stride 2: each pixel becomes a block")
def out_conv_transpose(g):
    x = decoded(g)
    g.out("map", g.ConvTranspose(x, g.weight(8, 3, 2, 2, fan=8), g.normal(3), strides=[2, 2]))


@case("output as tokens transposed, [1, c, n]")
def out_transposed(g):
    g.out("y", g.Transpose(g.attention(g.tokens()), perm=[0, 2, 1]))


@case("outputs of two layers, one as tokens and one as a map, and the class token through a head")
def out_layers(g):
    x = g.tokens(n=5)
    x = g.Add(x, g.linear(g.norm(x)))
    y = g.Add(x, g.linear(g.norm(x)))
    m = g.Transpose(g.Slice(g.norm(y), [1], [5], [1]), perm=[0, 2, 1])
    cls = g.Slice(y, [0], [1], [1])
    g.out("first", x)
    g.out("map", g.Reshape(m, [1, 8, 2, 2]))
    g.out("logits", g.linear(g.Squeeze(cls, [1]), 8, 10))


@case("one value as two outputs, by Identity, and a moved one")
def out_twice(g):
    x = g.linear(g.tokens())
    g.out("a", g.Identity(x))
    g.out("b", g.Relu(x))
    g.out("c", g.Unsqueeze(x, [0]))


# Batches and dynamic extents.


@family(
    "fixed batch: ",
    batch_2=("2, image to attention, class token expanded, reshapes with the batch inside", 2),
    batch_3=("3, image to attention, class token expanded, reshapes with the batch inside", 3),
)
def batch(g, b):
    x = g.flat(g.conv(g.image(batch=b)), batch=b)
    x = g.Concat(g.Expand(g.normal(1, 1, 8), [b, 1, 8]), x, axis=1)
    x = g.attention(g.Add(x, g.normal(1, 5, 8)), n=5, batch=b)
    g.out("y", g.linear(g.Gather(x, np.array(0, np.int64), axis=1), 8, 10))


@case("fixed batch of 2, tokens of both images flattened to [2 n, c] for Gemm")
def batch_flattened(g):
    x = g.Reshape(g.tokens(batch=2), [12, 8])
    x = g.Relu(g.Gemm(x, g.weight(12, 8, fan=8), g.normal(12, scale=0.2), transB=1))
    x = g.Gemm(x, g.weight(8, 12, fan=12), g.normal(8, scale=0.2), transB=1)
    g.out("y", g.attention(g.Reshape(x, [2, 6, 8]), batch=2))


@case("dynamic batch, its extent carried by Shape, Gather, Concat, Reshape and Expand")
def batch_dynamic(g):
    x = g.input("image", g.normal(1, 3, 8, 8), ["batch", 3, 8, 8])
    x = g.conv(x)
    b = g.Unsqueeze(g.Gather(g.Shape(x), np.array(0, np.int64), axis=0), [0])
    x = g.Transpose(g.Reshape(x, g.Concat(b, [8, 4], axis=0)), perm=[0, 2, 1])
    cls = g.Expand(g.normal(1, 1, 8), g.Concat(b, [1, 8], axis=0))
    x = g.Concat(cls, x, axis=1)
    g.out("y", g.linear(x), ["batch", 5, 8])


@case("dynamic height and width, fixed by a position embedding on the map")
def dynamic_size_map(g):
    x = g.input("image", g.normal(1, 3, 8, 8), [1, 3, "height", "width"])
    x = g.Add(g.conv(x), g.normal(1, 8, 2, 2))
    s = g.Shape(x)
    x = g.Reshape(x, g.Concat(g.Slice(s, [0], [2], [0]), [-1], axis=0))
    g.out("y", g.linear(g.Transpose(x, perm=[0, 2, 1])), [1, "tokens", 8])


@case("dynamic height and width of a square image, fixed by the number of rows of a position embedding on tokens")
def dynamic_size_tokens(g):
    x = g.input("image", g.normal(1, 3, 8, 8), [1, 3, "side", "side"])
    x = g.conv(x)
    x = g.Reshape(x, g.Concat(g.Slice(g.Shape(x), [0], [2], [0]), [-1], axis=0))
    x = g.Concat(g.normal(1, 1, 8), g.Transpose(x, perm=[0, 2, 1]), axis=1)
    g.out("y", g.linear(g.Add(x, g.normal(1, 5, 8))), [1, "tokens", 8])


# What the host computes, before and after the machine.


def classes(g, size=10):
    x = g.attention(g.norm(g.tokens()))
    return g.linear(g.ReduceMean(x, axes=[1], keepdims=0), 8, size)


def decoded(g, size=2, c=8):
    """A map that a decoder reads."""
    x = g.attention(g.flat(g.conv(g.image(size=4 * size), o=c), n=size * size, c=c), n=size * size, c=c)
    return g.Reshape(g.Transpose(x, perm=[0, 2, 1]), [1, c, size, size])


@family(
    "after the machine: ",
    host_softmax=("Softmax over classes", 17, lambda g, x: g.Softmax(x, axis=-1)),
    host_log_softmax=("LogSoftmax over classes", 17, lambda g, x: g.LogSoftmax(x, axis=-1)),
    host_l2_norm=(
        "embedding divided by its ReduceL2, clipped",
        17,
        lambda g, x: g.Div(x, g.Clip(g.ReduceL2(x, axes=[1]), 1e-12)),
    ),
    host_lp_normalization=("LpNormalization", 17, lambda g, x: g.LpNormalization(x, axis=1, p=2)),
    host_l1_norm=("embedding divided by its ReduceL1", 17, lambda g, x: g.Div(x, g.ReduceL1(x, axes=[1]))),
    host_softsign=("Softsign", 17, lambda g, x: g.Softsign(x)),
    host_reduce_min=("scores less the smallest, by ReduceMin", 17, lambda g, x: g.Sub(x, g.ReduceMin(x, axes=[1]))),
    host_log_abs=("Log of 1 + Abs, times Sign", 17, lambda g, x: g.Mul(g.Sign(x), g.Log(g.Add(g.Abs(x), 1.0)))),
)
def host_after(g, opset, act):
    g.opsets[""] = opset
    g.out("y", act(g, classes(g)))


@case("after the machine: ArgMax of classes, an integer output, beside the classes")
def host_arg_max(g):
    x = classes(g)
    g.out("class", g.ArgMax(x, axis=1, keepdims=0), kind=TensorProto.INT64)
    g.out("logits", x)


@case("after the machine: Log of 1 + Abs of a single number, a tensor without dimensions")
def host_scalar(g):
    x = g.Reshape(classes(g, size=1), np.array([], np.int64))
    g.out("y", g.Log(g.Add(g.Abs(x), 1.0)))


@case("after the machine: TopK of the softmax over classes: values and indices")
def host_top_k(g):
    values, indices = g.TopK(g.Softmax(classes(g), axis=-1), [3], n=2, axis=1)
    g.out("values", values)
    g.out("indices", indices, kind=TensorProto.INT64)


@case("after the machine: tokens averaged with weights that are an input (mean pooling by an attention mask)")
def host_mean_pooling(g):
    x = g.attention(g.norm(g.tokens()))
    mask = g.input("mask", np.array([[1, 1, 1, 1, 0, 0]], np.float32))
    g.noise = False
    mask = g.Unsqueeze(mask, [2])
    sums = g.ReduceSum(g.Mul(x, mask), [1], keepdims=0)
    g.out("y", g.Div(sums, g.Clip(g.ReduceSum(mask, [1], keepdims=0), 1e-9)))


@family(
    "after the machine: a map ",
    host_resize_linear=(
        "resized (linear, half_pixel)",
        lambda g, x: g.Resize(x, None, np.float32([1, 1, 4, 4]), mode="linear"),
    ),
    host_resize_cubic=("resized (cubic, sizes)", lambda g, x: g.Resize(x, None, None, [1, 8, 7, 5], mode="cubic")),
    host_resize_nearest=(
        "resized (nearest, asymmetric, floor)",
        lambda g, x: g.Resize(
            x,
            None,
            np.float32([1, 1, 2, 2]),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ),
    host_max_pool=(
        "under MaxPool, kernel 3, stride 2, pad 1",
        lambda g, x: g.MaxPool(x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ),
    host_average_pool=(
        "under AveragePool, kernel 3, pad 1, without the pad",
        lambda g, x: g.AveragePool(x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
    ),
    host_average_pool_pad=(
        "under AveragePool, kernel 2, with the pad",
        lambda g, x: g.AveragePool(x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1),
    ),
    host_conv_transpose=(
        "through ConvTranspose, kernel 4, stride 2, pad 1",
        lambda g, x: g.ConvTranspose(x, g.weight(8, 3, 4, 4, fan=32), g.normal(3), strides=[2, 2], pads=[1, 1, 1, 1]),
    ),
    host_conv_transpose_groups=(
        "through ConvTranspose, 2 groups, kernel 3, stride 2, output padding",
        lambda g, x: g.ConvTranspose(
            x, g.weight(8, 2, 3, 3, fan=32), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1], group=2
        ),
    ),
    host_instance_norm=(
        "through InstanceNormalization",
        lambda g, x: g.InstanceNormalization(x, g.normal(8, mean=1, scale=0.1), g.normal(8)),
    ),
)
def host_map(g, act):
    g.out("y", act(g, decoded(g)))


@case("after the machine: a map through GroupNormalization of opset 21")
def host_group_norm(g):
    g.opsets[""] = 21
    g.out("y", g.GroupNormalization(decoded(g), g.normal(8, mean=1, scale=0.1), g.normal(8), num_groups=2))


@case("before the machine: an image less its own mean, divided by its own deviation")
def host_standardised(g):
    x = g.image()
    x = g.Sub(x, g.ReduceMean(x, axes=[1, 2, 3]))
    x = g.Div(x, g.Sqrt(g.Add(g.ReduceMean(g.Mul(x, x), axes=[1, 2, 3]), 1e-6)))
    g.out("y", g.linear(g.patches(x)))


@case("before the machine: an image resized (linear), then the patch convolution; Softmax after")
def host_resized_image(g):
    x = g.Resize(g.image(size=12), None, None, [1, 3, 8, 8], mode="linear")
    g.out("y", g.Softmax(g.attention(g.patches(x), n=16), axis=-1))


@case("before and after the machine: the largest of the image is taken from it, and added to the output")
def host_crossing(g):
    x = g.image()
    largest = g.ReduceMax(x, axes=[1, 2, 3], keepdims=1)
    y = g.linear(g.patches(g.Sub(x, largest)))
    g.out("y", g.Add(g.Softmax(y, axis=-1), g.Reshape(largest, [1, 1, 1])))


def build(name):
    text, make = CASES[name]
    g = Graph(name)
    make(g)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3

    def run(model):
        session = onnxruntime.InferenceSession(
            model.SerializeToString(deterministic=True), options, ["CPUExecutionProvider"]
        )
        return session.run([o.name for o in g.outputs], g.feeds)

    for output, value in zip(g.outputs, run(g.model())):
        if not output.type.tensor_type.HasField("shape"):
            kind = output.type.tensor_type.elem_type
            output.CopyFrom(helper.make_tensor_value_info(output.name, kind, value.shape))
    model = g.model()
    if name != "nodes_shuffled":
        onnx.checker.check_model(model, full_check=not any(n.domain for n in g.nodes))
    for old in [*HERE.glob(f"{name}.*.in.npy"), *HERE.glob(f"{name}.*.out.npy")]:
        old.unlink()
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    for key, value in g.feeds.items():
        np.save(HERE / f"{name}.{key}.in.npy", value)
    for output, value in zip(g.outputs, run(model)):
        assert value.dtype in (np.float32, np.int64) and np.isfinite(value).all(), output.name
        np.save(HERE / f"{name}.{output.name}.out.npy", np.asarray(value, order="C"))
    return f"| `{name}` | {text} | {'noise' if g.noise else 'from file'} |"


def main():
    names = sys.argv[1:] or list(CASES)
    rows = [build(name) for name in names]
    if not sys.argv[1:]:
        (HERE / "README.md").write_text(f"""# Idioms

{len(rows)} small ONNX models, one for each way in which exporters write a thing, with inputs
(`NAME.INPUT.in.npy`) and ONNX Runtime's outputs (`NAME.OUTPUT.out.npy`). `make.py` makes all
files here, this one too; it says how.

Inputs are normal noise, for which the ranges measured by default hold; where the last column says
"from file", calibrate with the input itself (`--calibration`).

| Name | What it shows | Calibration |
| --- | --- | --- |
""" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
