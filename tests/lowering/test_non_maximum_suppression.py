"""Non-maximum suppression against a greedy loop in numpy."""

import numpy as np

from lowering.harness import case, check, const, dynamic, rows


def _overlap(a, b):
    """Intersection over union of (centre x, centre y, width, height)."""
    low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    both = np.prod(np.maximum(high - low, 0))
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _suppressed(boxes, scores, iou_threshold, max_boxes, score_threshold=-np.inf, per_class_suppression=False):
    best, classes = scores.max(1), scores.argmax(1)
    kept = []
    for n in np.argsort(-best, kind="stable"):
        rivals = [k for k in kept if not per_class_suppression or classes[k] == classes[n]]
        if best[n] > score_threshold and all(_overlap(boxes[n], boxes[k]) <= iou_threshold for k in rivals):
            kept.append(int(n))
    return (kept or [int(best.argmax())])[: int(max_boxes)]


def _ios15(boxes, scores, max_boxes, **how):
    m = int(max_boxes)
    out = [
        np.zeros((len(boxes), m, 4)),
        np.zeros((len(boxes), m, scores.shape[2])),
        np.full((len(boxes), m), -1),
        np.zeros(len(boxes)),
    ]
    for b in range(len(boxes)):
        kept = _suppressed(boxes[b], scores[b], max_boxes=m, **how)
        out[0][b, : len(kept)], out[1][b, : len(kept)] = boxes[b, kept], scores[b, kept]
        out[2][b, : len(kept)], out[3][b] = kept, len(kept)
    return tuple(out)


def _ios17(boxes, scores, **how):
    found = _ios15(boxes.transpose(0, 2, 1), scores.transpose(0, 2, 1), **how)
    return found[0].transpose(0, 2, 1), found[1].transpose(0, 2, 1), found[2]


def _boxes(batch, count, classes, seed):
    r = np.random.default_rng(seed)
    boxes = np.concatenate([r.uniform(0, 10, (batch, count, 2)), r.uniform(2, 6, (batch, count, 2))], 2)
    # Distinct also in float16.
    scores = r.permutation(batch * count * classes).reshape(batch, count, classes) / 64
    return np.round(boxes * 4).astype(np.float32) / 4, scores.astype(np.float32)


CASES = []
for batch, count, classes in [(1, 12, 1), (2, 10, 3), (1, 4, 2)]:
    boxes, scores = _boxes(batch, count, classes, count)
    for per_class in (False, True):
        for m in (3, 20):
            CASES += [
                case(
                    "non_maximum_suppression",
                    boxes=boxes,
                    scores=scores,
                    iou_threshold=0.3,
                    score_threshold=t,
                    max_boxes=m,
                    per_class_suppression=per_class,
                    label=f"{batch}-{count}-{classes}-{per_class}-{m}-{t}",
                    expect=_ios15,
                )
                for t in (0.05, 0.25, 100.0)
            ]
            CASES += [
                case(
                    "non_maximum_suppression",
                    boxes=boxes.transpose(0, 2, 1).copy(),
                    scores=scores.transpose(0, 2, 1).copy(),
                    iou_threshold=0.3,
                    max_boxes=m,
                    per_class_suppression=per_class,
                    opset=17,
                    label=f"{batch}-{count}-{classes}-{per_class}-{m}",
                    expect=_ios17,
                )
            ]
boxes, scores = _boxes(1, 12, 2, 5)
CASES += [
    case(
        "non_maximum_suppression",
        boxes=dynamic(boxes, 1),
        scores=dynamic(scores, 1),
        iou_threshold=0.3,
        score_threshold=0.1,
        max_boxes=5,
        label="dynamic",
        expect=_ios15,
    ),
    case(
        "non_maximum_suppression",
        boxes=const(boxes),
        scores=scores,
        iou_threshold=0.3,
        score_threshold=0.1,
        max_boxes=5,
        label="constant-boxes",
        expect=_ios15,
    ),
    case(
        "non_maximum_suppression",
        boxes=boxes,
        scores=-scores - 1,
        iou_threshold=0.3,
        score_threshold=-1.2,
        max_boxes=5,
        label="negative-scores",
        expect=_ios15,
    ),
]


@rows(CASES)
def test_non_maximum_suppression(row, engine, dtype):
    check(row, engine, dtype)
