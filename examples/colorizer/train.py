"""Train: trains a colorizer on ten photos and converts it to a float16 ML Program.

    python examples/colorizer/train.py                      # about 15 minutes on one core
    python examples/colorizer/train.py --evaluate           # scores of the bundled model

Training sees two thirds of the cells of nine photos in colour. The loss excludes the other cells and the tenth photo,
on which `measure.py` computes the scores.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from measure import table
from network import SIDE, Chroma, Colorizer
from PIL import Image

from pippin.apps.gallery.cut_tiles import MODEL
from pippin.apps.gallery.photos import PHOTOS, Photo

SEED = 7
STEPS = 2400
BATCH = 12
CROP = 128
RARE = {"galaxies": 0.4, "retina": 0.6, "tissue": 0.6}  # sampled less: little to learn from them


class Crops:
    """Random crops of the photos: luma, chroma, and a mask of the usable chroma."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.random = generator
        self.photos = [photo for photo in PHOTOS if not photo.held_out]
        self.pictures = [photo.open().convert("YCbCr") for photo in self.photos]
        self.masks = [mask(photo) for photo in self.photos]
        weights = np.array([RARE.get(photo.name, 1.0) for photo in self.photos])
        self.weights = weights / weights.sum()

    def batch(self, count: int, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        planes, masks = zip(*(self.crop(side) for _ in range(count)), strict=True)
        ycc = torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2).float() / 255
        seen = torch.from_numpy(np.stack(masks))[:, None].float()
        return self.jitter(ycc[:, :1]), ycc[:, 1:] - 128 / 255, seen

    def crop(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        index = self.random.choice(len(self.photos), p=self.weights)
        picture = self.pictures[index]
        # A gallery tile of 256 pixels shows between an eighth of a photo and its full short side.
        span = side / SIDE * np.exp(self.random.uniform(np.log(130), np.log(min(picture.size))))
        height = min(span * self.random.uniform(0.85, 1.18), picture.height)
        left, top = self.random.uniform(0, picture.width - span), self.random.uniform(0, picture.height - height)
        box = (left, top, left + span, top + height)
        planes = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box))
        seen = np.asarray(self.masks[index].resize((side, side), Image.Resampling.BOX, box)) == 255
        if self.random.random() < 0.5:
            planes, seen = planes[:, ::-1], seen[:, ::-1]
        return np.ascontiguousarray(planes), np.ascontiguousarray(seen)

    def jitter(self, luma: torch.Tensor) -> torch.Tensor:
        def each(low: float, high: float) -> torch.Tensor:
            return torch.from_numpy(self.random.uniform(low, high, (len(luma), 1, 1, 1))).float()

        luma = luma.clamp_min(1e-4) ** each(0.8, 1.25)
        luma = (luma - 0.5) * each(0.85, 1.15) + 0.5 + each(-0.06, 0.06)
        noise = torch.from_numpy(self.random.normal(0, 0.01, tuple(luma.shape))).float()
        return (luma + noise * each(0, 1)).clamp(0, 1)


def mask(photo: Photo) -> Image.Image:
    """Mask of the photo: white where training may use the colours."""
    seen = Image.new("L", photo.open().size, 255)
    for box, held in photo.cells():
        if held:
            seen.paste(0, box)
    return seen


def train(steps: int) -> Chroma:
    torch.manual_seed(SEED)
    crops = Crops(np.random.default_rng(SEED))
    network = Chroma().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps, pct_start=0.1)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    started, running = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        # The last fifth of the steps uses crops of the prediction size.
        whole = step > 0.8 * steps
        luma, chroma, seen = crops.batch(BATCH // 3 if whole else BATCH, SIDE if whole else CROP)
        guess = network(luma.contiguous(memory_format=torch.channels_last))
        # Strong colours are rare; without extra weight, the network would predict pale ones.
        weight = seen * (1 + 6 * chroma.norm(dim=1, keepdim=True))
        loss = (weight * (guess - chroma).abs()).sum() / weight.sum().clamp_min(1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item() if step > 1 else loss.item()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - min(0.998, step / (step + 10)))
            else:
                average[name] = value.clone()
        if step % 100 == 0 or step == steps:
            print(f"step {step:5} of {steps}  loss {running:.4f}  {time.monotonic() - started:5.0f} s", flush=True)
    network.load_state_dict(average)
    return network.eval()


def convert(network: Chroma, path: Path) -> None:
    """Write the model package; the old one is replaced only after the new one is complete."""
    import coremltools as ct

    colorizer = Colorizer(network).eval()
    with torch.no_grad():
        traced = torch.jit.trace(colorizer, 255 * torch.rand(1, 1, SIDE, SIDE))
    image = ct.ImageType("photo", (1, 1, SIDE, SIDE), color_layout=ct.colorlayout.GRAYSCALE)
    model = ct.convert(
        traced,
        inputs=[image],
        outputs=[ct.ImageType("colorized", color_layout=ct.colorlayout.RGB)],
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    model.short_description = "Guesses the colours of a grayscale photo; trained on ten photos, for a demonstration."
    model.author, model.license, model.version = "The Pippin project", "Apache-2.0", "1"
    model.input_description["photo"] = "The photo in gray, 256 x 256"
    model.output_description["colorized"] = "The same photo in colour; its luma is that of the input"
    temporary = path.with_name("new-" + path.name)
    shutil.rmtree(temporary, ignore_errors=True)
    model.save(str(temporary))
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"wrote {path}: {size / 1e6:.2f} MB, {sum(p.numel() for p in network.parameters()):,} weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--output", type=Path, default=MODEL)
    parser.add_argument("--evaluate", action="store_true", help="skip training; score the existing model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.evaluate:
        network = train(options.steps)
        convert(network, options.output)
    print(table(options.output))


if __name__ == "__main__":
    main()
