"""pippin convert: makes a Core ML model of a fitted estimator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ConfigurationError
from .terminal import format_bytes, notice, write

if TYPE_CHECKING:
    from ...develop.converted import Converted


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A fitted estimator: .joblib, .pkl or .pickle (with --trust), .skops, XGBoost's .json or .ubj, "
            "LightGBM's .txt, CatBoost's .cbm."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="X.mlmodel or X.mlpackage to write. An ML Program needs a package.")
    ],
    inputs: Annotated[
        str | None, typer.Option(help="Names of the columns, with commas, if the estimator was fitted without any.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="CSV file of rows on which the model must predict the same; default: made-up rows."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="How far predictions may differ; default: 1e-6, 1e-5 for XGBoost and CatBoost.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Read a file that runs the code that is in it, such as a .joblib.")
    ] = False,
) -> None:
    """Convert a fitted estimator of scikit-learn, XGBoost, LightGBM or CatBoost to Core ML.

    The model is compared with the estimator before it is written; what differs is not written.
    """
    from ...develop.estimator_files import read_estimator
    from ...develop.from_estimator import from_estimator
    from .output_file import check_file

    if output.suffix not in (".mlmodel", ".mlpackage"):
        raise ConfigurationError(f"{output}: the output must be an .mlmodel or .mlpackage")
    check_file(output, "--output")
    if output.exists():
        raise ConfigurationError(f"{output} already exists")
    if trust:
        notice(f"--trust: {source} may run code while it is read")
    estimator = read_estimator(source, trust)
    rows = None if check is None else _rows(check, estimator)
    names = None if inputs is None else [name.strip() for name in inputs.split(",")]
    converted = from_estimator(estimator, inputs=names, check=rows, tolerance=tolerance)
    converted.save(output)
    _say(converted, output, check)


def _rows(path: Path, estimator: Any) -> Any:
    """The columns of a CSV file that the estimator was fitted with; all of them if it has no names."""
    try:
        import pandas
    except ImportError:
        raise ConfigurationError(f"--check {path} needs the package pandas: pip install 'pippin[estimators]'") from None
    try:
        table = pandas.read_csv(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--check {path} cannot be read: {error}") from None
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return table.to_numpy()
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ConfigurationError(f"--check {path} has no column {missing[0]!r}, which the estimator was fitted with")
    return table[list(names)]


def _say(converted: Converted, output: Path, check: Path | None) -> None:
    description = converted.spec.description
    rows = "made-up rows" if check is None else f"the rows of {check}"
    lines = (
        f"{output}: {description.metadata.shortDescription}, {format_bytes(converted.spec.ByteSize())}",
        "inputs:  " + ", ".join(f"{f.name} ({_kind(f)})" for f in description.input),
        "outputs: " + ", ".join(f"{f.name} ({_kind(f)})" for f in description.output),
        "parts:   " + ", ".join(converted.kinds),
        f"checked: predicts what the estimator predicts on {rows}",
    )
    write("".join(f"{line}\n" for line in lines))


def _kind(feature: Any) -> str:
    kind: str = feature.type.WhichOneof("Type")
    shape = feature.type.multiArrayType.shape if kind == "multiArrayType" else ()
    return kind.removesuffix("Type").replace("multiArray", "array") + (f" of {shape[0]}" if shape else "")
