"""A script as it is written for a Mac: it knows nothing of Pippin. Converts torch models, predicts, prints JSON."""

import json

import numpy as np
import torch
from PIL import Image

import coremltools as ct

torch.manual_seed(0)
found = {}

network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
example = torch.rand(1, 3, 8, 8)
traced = torch.jit.trace(network.eval(), example)
expected = network(example).detach().numpy()
model = ct.convert(traced, inputs=[ct.TensorType(name="x", shape=example.shape)], outputs=[ct.TensorType(name="y")])
found["single"] = float(np.abs(model.predict({"x": example.numpy()})["y"] - expected).max())
batch = model.predict([{"x": example.numpy()}, {"x": example.numpy()}])
found["batch"] = max(float(np.abs(one["y"] - expected).max()) for one in batch)

pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
labels = ct.ClassifierConfig(["a", "b", "c"])
image = ct.ImageType(name="x", shape=example.shape, scale=1 / 255)
classifier = ct.convert(traced, inputs=[image], classifier_config=labels)
scores = network(torch.from_numpy(pixels / 255.0).float().permute(2, 0, 1)[None])[0]
answer = classifier.predict({"x": Image.fromarray(pixels)})
found["classifier"] = answer["classLabel"] == "abc"[int(scores.argmax())]
probabilities = next(v for v in answer.values() if isinstance(v, dict))
found["probabilities"] = max(abs(probabilities[c] - float(s)) for c, s in zip("abc", scores, strict=True))


class Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2, dtype=torch.float16))

    def forward(self, x):
        self.total.add_(x)
        return self.total * 1


stateful = ct.convert(
    torch.jit.trace(Sum().eval(), torch.ones(2)),
    inputs=[ct.TensorType(name="x", shape=(2,))],
    outputs=[ct.TensorType(name="y")],
    states=[ct.StateType(ct.TensorType(shape=(2,), dtype=np.float16), name="total")],
    minimum_deployment_target=ct.target.iOS18,
)
state = stateful.make_state()
for _ in range(3):
    last = stateful.predict({"x": np.array([1.0, 2.0], np.float32)}, state)
found["state"] = last["y"].tolist()
found["read_state"] = state.read_state("total").tolist()
print(json.dumps(found))
