"""The digits model: timm's VisionTransformer with an attention that can carry what ViTCoD adds.

Without a mask and without auto-encoders `VitcodAttention` computes, and exports, exactly what timm's unfused
`Attention` does.
"""
import torch
from timm.layers import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import nn

IMAGE, PATCH, DIM, DEPTH, HEADS, CLASSES = 32, 4, 48, 4, 3, 10
TOKENS = (IMAGE // PATCH) ** 2 + 1


class HeadAutoEncoder(nn.Module):
    """ViTCoD's auto-encoder: compresses the `heads` values of every (token, feature) to `compressed` and back.

    Linear both ways, with biases. Input and output are [batch, heads, tokens, features].
    """

    def __init__(self, heads: int, compressed: int):
        super().__init__()
        self.encoder = nn.Linear(heads, compressed)
        self.decoder = nn.Linear(compressed, heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class VitcodAttention(Attention):
    """timm's attention with an optional fixed mask and optional auto-encoders on Q and K.

    `mask` is None or an additive [heads, tokens, tokens] buffer: 0 where an entry is kept, -inf where it is pruned.
    `q_coder` and `k_coder` are identities until `compress_heads` is called.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fused_attn = False
        self.q_coder = nn.Identity()
        self.k_coder = nn.Identity()
        self.register_buffer("mask", None)

    def set_mask(self, pruned: torch.Tensor) -> None:
        """Fixes the mask; `pruned` is bool [heads, tokens, tokens], True where pruned (the authors' mask files)."""
        self.mask = torch.zeros(pruned.shape).masked_fill_(pruned, float("-inf"))

    def compress_heads(self, compressed: int) -> None:
        """Puts a fresh auto-encoder of `compressed` heads on Q and another one on K."""
        self.q_coder = HeadAutoEncoder(self.num_heads, compressed)
        self.k_coder = HeadAutoEncoder(self.num_heads, compressed)

    def attention_map(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention map after the softmax [batch, heads, tokens, tokens], and V [batch, heads, tokens, features]."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_coder(q), self.k_coder(k)
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if self.mask is not None:
            scores = scores + self.mask.unsqueeze(0)
        return scores.softmax(dim=-1), v

    def forward(self, x: torch.Tensor, attn_mask=None, is_causal: bool = False) -> torch.Tensor:
        assert attn_mask is None and not is_causal, "the mask of this attention is its own buffer"
        attention, v = self.attention_map(x)
        batch, tokens, _ = x.shape
        return self.proj((attention @ v).transpose(1, 2).reshape(batch, tokens, self.attn_dim))


def build() -> VisionTransformer:
    """The untrained model; weights come from torch's global seed."""
    return VisionTransformer(
        img_size=IMAGE,
        patch_size=PATCH,
        in_chans=1,
        num_classes=CLASSES,
        embed_dim=DIM,
        depth=DEPTH,
        num_heads=HEADS,
        attn_layer=VitcodAttention,
    )
