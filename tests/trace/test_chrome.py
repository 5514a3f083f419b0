"""Chrome: the file is what the format's description says, lanes and stacks are where they belong, and its summary is
what a hand would compute. The records are made up, so that every time is known."""

from __future__ import annotations

import json

import jsonschema
import pytest
from chrome_format import SCHEMA

import pippin
from pippin.errors import TraceError
from pippin.trace import chrome_json
from pippin.trace.recorder import COUNTER, COUNTS, FAILURE, PREDICTION, SAMPLE, SPAN
from pippin.trace.summary import summarize

A = (1, "a.mlpackage", "main", (("cpu", "onnxruntime", "float32"),))
B = (2, "b.mlpackage", "f", (("gpu", "openvino", "float16"),))


def prediction(subject, start, end, size=0):
    return (PREDICTION, subject, start, end, 5, start + 0.125, end - 0.125, (), size)


RECORDS = sorted(
    [
        (SPAN, "load", 10.0, 11.0, 5, "prepare and cache", "activity", 1, 100, 0, (("file", "a.mlpackage"),)),
        (SPAN, "compile", 10.25, 10.75, 5, "", "activity", "", 101, 100, ()),
        (SPAN, "load", 11.0, 11.5, 5, "cached", "activity", 2, 102, 0, (("file", "b.mlpackage"),)),
        prediction(A, 12.0, 13.0, 100),
        prediction(A, 12.5, 14.0, 50),  # overlaps the first one
        prediction(A, 13.0, 14.0),  # takes the first one's place
        prediction(B, 12.0, 13.0),
        (FAILURE, A, 16.0, 16.5, 5, "PredictionError"),
        (COUNTS, "a.mlpackage", 12.0, 3, 0, 0, 0),
        (COUNTS, "a.mlpackage", 12.5, 1, 1, 2, 0),
        (SAMPLE, "", 10.0, 1000, 0.0),
        (SAMPLE, "", 12.0, 5000, 1.5),
        (SAMPLE, "", 16.5, 2000, 0.5),
        (COUNTER, "tiles", 12.0, 7),
    ],
    key=lambda record: record[2],
)


@pytest.fixture
def path(tmp_path):
    chrome_json.write(RECORDS, tmp_path / "t.json", 0.0)
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]
    return tmp_path / "t.json"


@pytest.fixture
def entries(path):
    found = json.loads(path.read_text())
    jsonschema.validate(found, SCHEMA)
    return found["traceEvents"]


def lane_of(entries):
    return {e["pid"]: e["args"]["name"] for e in entries if e["name"] == "process_name"}


def test_lanes(entries):
    assert sorted(lane_of(entries).values()) == ["Activity", "Compute cpu", "Compute gpu", "Counters", "Data"]
    lanes = lane_of(entries)
    where = {(lanes[e["pid"]], e["args"]["event"]) for e in entries if e["ph"] == "X"}
    assert where == {
        ("Activity", "load"), ("Activity", "compile"), ("Activity", "prediction"), ("Data", "input copy"),
        ("Data", "output transformation"), ("Compute cpu", "compute"), ("Compute gpu", "compute"),
    }  # fmt: skip
    order = {e["args"]["sort_index"]: lanes[e["pid"]] for e in entries if e["name"] == "process_sort_index"}
    assert [order[key] for key in sorted(order)][:2] == ["Activity", "Data"]


def test_labels(entries):
    shown = [e["name"] for e in entries if e["ph"] == "X" and lane_of(entries)[e["pid"]] == "Activity"]
    assert "load (prepare and cache)" in shown and "load (cached)" in shown and "prediction (failed)" in shown


def test_subtracks_and_stacks(entries):
    """One subtrack for each model; what overlaps stands in the next place of its stack, in every lane."""
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in entries if e["name"] == "thread_name"}
    placed = [
        (e["ts"] / 1e6, threads[e["pid"], e["tid"]]) for e in entries if e["ph"] == "X" and e["name"] == "prediction"
    ]
    assert sorted(placed) == [
        (2.0, "a.mlpackage"),
        (2.0, "b.mlpackage f"),
        (2.5, "a.mlpackage (2 in flight)"),
        (3.0, "a.mlpackage"),
    ]


def test_no_track_has_overlaps(entries):
    """Complete events of one thread must nest."""
    tracks = {}
    for e in entries:
        if e["ph"] == "X":
            tracks.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
    for spans in tracks.values():
        for start, end in spans:
            for other, until in spans:
                assert (
                    until <= start
                    or end <= other
                    or (start <= other and until <= end)
                    or (other <= start and end <= until)
                )


def test_counters(entries):
    def values(name):
        return [(e["ts"] / 1e6, *e["args"].values()) for e in entries if e["ph"] == "C" and e["name"] == name]

    assert values("in flight")[-1] == (6.5, 0)
    assert max(count for _, count in values("in flight")) == 3
    assert max(held for _, held in values("bytes in flight")) == 150
    assert values("waiting, a.mlpackage") == [(2.0, 3), (2.5, 1)]
    assert values("dropped, a.mlpackage")[-1] == (2.5, 2)
    assert values("resident memory") == [(0.0, 1000), (2.0, 5000), (6.5, 2000)]
    assert values("tiles") == [(2.0, 7)]
    refused = sorted(e["name"] for e in entries if e["ph"] == "i")
    assert refused == ["cancelled", "dropped", "dropped"]


def test_two_models_of_one_name_have_two_subtracks(tmp_path):
    other = (9, *A[1:])
    chrome_json.write([prediction(A, 1.0, 2.0), prediction(other, 1.5, 2.5)], tmp_path / "t.json", 0.0)
    entries = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {e["args"]["name"] for e in entries if e["name"] == "thread_name"} == {"a.mlpackage #1", "a.mlpackage #9"}


def test_summary(path):
    found = summarize(path)
    rows = {(row.event, row.label, row.model): row for row in found.rows}
    row = rows["prediction", "", "a.mlpackage"]
    assert (row.count, row.total, row.average, row.minimum, row.maximum) == pytest.approx((3, 3.5, 3.5 / 3, 1, 1.5))
    assert rows["load", "cached", "b.mlpackage f"].total == pytest.approx(0.5)
    assert rows["compute", "openvino", "b.mlpackage f"].total == pytest.approx(0.75)
    assert (found.predictions, found.failed, found.concurrency) == (5, 1, 3)
    assert found.seconds == pytest.approx(6.5)
    assert found.refused == {"cancelled": 1, "dropped": 2, "rejected": 0}
    # 12..14 and 16..16.5 are busy: one gap of 2 in 4.5 seconds.
    assert (found.gaps.count, found.gaps.total, found.gaps.share) == pytest.approx((1, 2, 2 / 4.5))
    assert found.average_concurrency == pytest.approx((1 + 1.5 + 1 + 1 + 0.5) / 2.5)
    assert found.predictions_per_second == pytest.approx(5 / 4.5)
    assert (found.peak_memory, found.memory_growth, found.peak_bytes_in_flight) == (5000, 4000, 150)
    assert found.average_cpu == pytest.approx(1.0)


def test_an_empty_recording(tmp_path):
    with pippin.trace.record(tmp_path / "t.json", sample=0):
        pass
    jsonschema.validate(json.loads((tmp_path / "t.json").read_text()), SCHEMA)
    found = summarize(tmp_path / "t.json")
    assert (found.predictions, found.concurrency, found.gaps, found.peak_memory) == (0, 0, None, None)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{}", '{"traceEvents": 3}', '{"traceEvents": [{"ph": "X"}]}'])
def test_what_is_no_trace(text, tmp_path):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(TraceError, match=r"t\.json is not a"):
        summarize(tmp_path / "t.json")


def test_a_trace_that_is_not_there(tmp_path):
    with pytest.raises(TraceError, match="cannot be read"):
        summarize(tmp_path / "absent.json")
