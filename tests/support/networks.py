"""Networks: small torch models of the kinds that people convert, with seeded random weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

torch.backends.mha.set_fastpath_enabled(False)  # a fused operation that coremltools does not know


def seeded(make, *arguments):
    torch.manual_seed(0)
    model = make(*arguments).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics would make it the identity
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.8, 1.2)
    return model


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.a = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.na, self.nb = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.skip = nn.Conv2d(before, after, 1, stride) if stride != 1 or before != after else nn.Identity()

    def forward(self, x):
        return F.relu(self.nb(self.b(F.relu(self.na(self.a(x))))) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.body = nn.Sequential(Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2))
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, before, after, stride, factor):
        super().__init__()
        wide = before * factor
        self.layers = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.same = stride == 1 and before == after

    def forward(self, x):
        return x + self.layers(x) if self.same else self.layers(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        rows = [(16, 16, 1, 1), (16, 24, 2, 6), (24, 24, 1, 6), (24, 32, 2, 6), (32, 64, 2, 6), (64, 64, 1, 6)]
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.body = nn.Sequential(*(Inverted(*row) for row in rows))
        self.head = nn.Sequential(
            nn.Conv2d(64, 128, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes)
        )

    def forward(self, x):
        return self.head(self.body(self.stem(x)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([self._pair(3, 8), self._pair(8, 16)])
        self.bottom = self._pair(16, 32)
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.join = nn.ModuleList([self._pair(32, 16), self._pair(16, 8)])
        self.last = nn.Conv2d(8, 3, 1)

    @staticmethod
    def _pair(before, after):
        return nn.Sequential(nn.Conv2d(before, after, 3, 1, 1), nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1), nn.ReLU())

    def forward(self, x):
        kept = []
        for layer in self.down:
            x = layer(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), kept.pop()], 1))
        return torch.sigmoid(self.last(x))


class Encoder(nn.Module):
    def __init__(self, width=64, heads=4, layers=2, vocabulary=100):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(1, 24, width) * 0.1)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.ModuleList(
            [
                layer
                if i == 0
                else type(layer)(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
                for i in range(layers)
            ]
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.embed(tokens) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Recurrent(nn.Module):
    def __init__(self, bidirectional=True):
        super().__init__()
        self.lstm = nn.LSTM(12, 20, 2, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(40 if bidirectional else 20, 5)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


class Decoder(nn.Module):
    """One step of a decoder with a key-value cache as its state."""

    def __init__(self, width=32, heads=4, context=16):  # 8 numbers a head
        super().__init__()
        self.heads, self.context = heads, context
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.register_buffer("keys", torch.zeros(1, context, width))
        self.register_buffer("values", torch.zeros(1, context, width))

    def forward(self, x, position):
        here = (torch.arange(self.context) == position).to(x.dtype).reshape(1, -1, 1)
        self.keys.mul_(1 - here)
        self.keys.add_(self.k(x) * here)
        self.values.mul_(1 - here)
        self.values.add_(self.v(x) * here)
        q, k, v = (
            t.reshape(1, -1, self.heads, t.shape[-1] // self.heads).transpose(1, 2)
            for t in (self.q(x), self.keys, self.values)
        )
        mask = torch.where(torch.arange(self.context) <= position, 0.0, -1e4).reshape(1, 1, 1, -1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(x.dtype))
        return self.o(y.transpose(1, 2).reshape(1, 1, 32))


class Tinted(nn.Module):
    """Image to image: values 0 to 255 in and out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.clamp(128 + 0.3 * (self.conv(x) - 20), 0, 255)
