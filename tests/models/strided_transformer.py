"""The Strided Transformer of Li et al. (Exploiting Temporal Contexts with Strided Transformer for 3D Human Pose Estimation, IEEE TMM 2022).

Joints in 2-D over some frames to joints in 3-D: a vanilla encoder over all frames, then layers whose feed-forward part is convolutions, of which the second
strides over frames, to one frame. As in the authors' code, LayerNorm divides by the unbiased deviation plus an epsilon.
"""
import math

import torch
from torch import nn


class LayerNorm(nn.Module):
    """LayerNorm with the unbiased deviation, to which the epsilon is added."""

    def __init__(self, channels, eps=1e-6):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x):
        deviation = x.std(-1, keepdim=True) + self.eps
        return self.weight * (x - x.mean(-1, keepdim=True)) / deviation + self.bias


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        batch, _, channels = x.shape
        features = channels // self.heads
        q, k, v = (part(x).view(batch, -1, self.heads, features).transpose(1, 2) for part in (self.q, self.k, self.v))
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(features)
        y = torch.matmul(scores.softmax(-1), v)
        return self.out(y.transpose(1, 2).contiguous().view(batch, -1, channels))


class Layer(nn.Module):
    """An encoder layer; with a stride, its feed-forward part is convolutions and keeps one frame of so many."""

    def __init__(self, channels, hidden, heads, stride=None):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(channels), LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.stride = stride
        if stride is None:
            self.w1, self.w2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        else:
            self.w1 = nn.Conv1d(channels, hidden, 1)
            self.w2 = nn.Conv1d(hidden, channels, 3, stride=stride, padding=1)
            self.pool = nn.MaxPool1d(1, stride)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        if self.stride is None:
            return x + self.w2(torch.relu(self.w1(y)))
        y = self.w2(torch.relu(self.w1(y.permute(0, 2, 1)))).permute(0, 2, 1)
        return self.pool(x.permute(0, 2, 1)).permute(0, 2, 1) + y


class StridedTransformer(nn.Module):
    """From `[1, frames, joints, 2]` to the middle frame's `[1, 1, joints, 3]`, and all frames' from the vanilla encoder."""

    def __init__(self, frames, joints, channels, hidden, heads, layers, strides):
        super().__init__()
        self.joints = joints
        self.encoder = nn.Sequential(nn.Conv1d(2 * joints, channels, 1), nn.BatchNorm1d(channels), nn.ReLU())
        self.position_embed = nn.Parameter(torch.zeros(1, frames, channels))
        self.layers = nn.ModuleList(Layer(channels, hidden, heads) for _ in range(layers))
        self.embeds, self.strided = nn.ParameterList(), nn.ModuleList()
        for stride in strides:
            self.embeds.append(nn.Parameter(torch.zeros(1, frames, channels)))
            self.strided.append(Layer(channels, hidden, heads, stride))
            frames = (frames - 1) // stride + 1
        head = lambda: nn.Sequential(nn.BatchNorm1d(channels), nn.Conv1d(channels, 3 * joints, 1))  # noqa: E731
        self.single, self.sequence = head(), head()

    def joints_of(self, head, x):
        y = head(x.permute(0, 2, 1).contiguous())
        return y.reshape(y.shape[0], self.joints, 3, y.shape[2]).permute(0, 3, 1, 2).contiguous()

    def forward(self, x):
        batch, frames, joints, coordinates = x.shape
        x = x.permute(0, 2, 3, 1).reshape(batch, joints * coordinates, frames).contiguous()
        x = self.encoder(x).permute(0, 2, 1).contiguous() + self.position_embed
        for layer in self.layers:
            x = layer(x)
        sequence = self.joints_of(self.sequence, x)
        for embed, layer in zip(self.embeds, self.strided):
            x = layer(x + embed)
        return self.joints_of(self.single, x), sequence
