"""Chrome format: a JSON schema of what this project writes of the "Trace Event Format", from its public description
(Duncan and others, Google: the JSON object format; complete, instant, counter and metadata events)."""

NUMBER = {"type": "number", "minimum": 0}
WHOLE = {"type": "integer", "minimum": 0}
PLACE = {"pid": WHOLE, "tid": WHOLE}


def event(phase, required, **properties):
    """The schema of events of one phase."""
    return {
        "if": {"properties": {"ph": {"const": phase}}},
        "then": {"required": required, "properties": properties, "additionalProperties": False},
    }


COMMON = {"name": {"type": "string", "minLength": 1}, "ph": {"type": "string"}, **PLACE}

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object"},
        "traceEvents": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "ph", "pid", "tid"],
                "properties": {"ph": {"enum": ["X", "i", "C", "M"]}},
                "allOf": [
                    event(
                        "X",
                        ["ts", "dur"],
                        **COMMON,
                        cat={"type": "string"},
                        ts=NUMBER,
                        dur=NUMBER,
                        args={"type": "object"},
                    ),
                    event(
                        "i",
                        ["ts", "s"],
                        **COMMON,
                        cat={"type": "string"},
                        ts=NUMBER,
                        s={"enum": ["g", "p", "t"]},
                        args={"type": "object"},
                    ),
                    event(
                        "C",
                        ["ts", "args"],
                        **COMMON,
                        ts=NUMBER,
                        args={"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
                    ),
                    event(
                        "M",
                        ["args"],
                        **(
                            COMMON
                            | {
                                "name": {
                                    "enum": ["process_name", "process_sort_index", "thread_name", "thread_sort_index"]
                                }
                            }
                        ),
                        args={
                            "type": "object",
                            "minProperties": 1,
                            "properties": {"name": {"type": "string"}, "sort_index": {"type": "integer"}},
                            "additionalProperties": False,
                        },
                    ),
                ],
            },
        },
    },
}
