"""pippin convert: makes a Core ML model of an estimator or a network, or a Core AI model of a Core ML model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ConfigurationError
from .terminal import format_bytes, notice, say, write

if TYPE_CHECKING:
    from ...develop.estimators.converted import Converted


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A network: .pt2 (torch.export), .pt or .ts (TorchScript), .onnx. A fitted estimator: .joblib, .pkl or"
            " .pickle (with --trust), .skops, XGBoost's .json or .ubj, LightGBM's .txt, CatBoost's .cbm. Or a model for"
            " an .aimodel: .mlpackage, .mlmodel or .mlmodelc."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="X.mlmodel or X.mlpackage to write, or X.aimodel. An ML Program needs a package."
        ),
    ],
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="Input of a network: NAME=image:rgb:scale=1/255,bias=..., NAME=tensor:1,3,224..448,*:float16;"
            " several shapes are enumerated with |; repeatable."
        ),
    ] = None,
    output_name: Annotated[list[str] | None, typer.Option(help="Name of a network's next output; repeatable.")] = None,
    network_precision: Annotated[
        str, typer.Option("--precision", help="Precision of a network: float16 or float32.")
    ] = "float16",
    keep_float32: Annotated[
        str | None, typer.Option(help="Names or kinds of operations that stay float32, with commas.")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="File with a label in each line: a classifier is made.")] = None,
    target: Annotated[str, typer.Option(help="Oldest release that a network must run on, such as iOS17.")] = "iOS16",
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Write a torch network without comparing it with its source.")
    ] = False,
    minimum: Annotated[float, typer.Option(help="Signal-to-noise ratio that a network must have, in dB.")] = 40.0,
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
    force: Annotated[
        bool, typer.Option("--force", help="Write an .aimodel even if Apple's runtime is too far from Pippin.")
    ] = False,
) -> None:
    """Convert a torch or ONNX network, or an estimator of scikit-learn or XGBoost, to Core ML, or Core ML to Core AI.

    The model is compared with its source before it is written; what differs is not written.
    """
    converter = _CONVERTERS.get((source.suffix.lower(), output.suffix))
    if converter is not None:
        if inputs is not None or check is not None or tolerance is not None or trust:
            raise ConfigurationError(f"{source}: --inputs, --check, --tolerance and --trust are for estimators")
        converter(source, output, force)
        return
    if force:
        raise ConfigurationError("--force is for an .aimodel; --tolerance says how far an estimator's model may differ")
    if source.suffix.lower() in _NETWORKS:
        words = keep_float32.split(",") if keep_float32 else []
        _network(
            source, output, input or [], outputs=output_name or [], precision=network_precision, keep_float32=words,
            classes=_lines(classes), target=target, check=not no_check, minimum=minimum,
        )  # fmt: skip
        return
    from ...develop.estimators.files import read_estimator
    from ...develop.estimators.from_estimator import from_estimator
    from .output_file import check_file

    if output.suffix not in (".mlmodel", ".mlpackage"):
        raise ConfigurationError(
            f"{output}: the output must be an .mlmodel or .mlpackage"
            + (" for an estimator" if output.suffix == ".aimodel" else "")
        )
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


_NETWORKS = (".onnx", ".pt", ".pt2", ".pth", ".ts")


def _network(source: Path, output: Path, inputs: list[str], **how: Any) -> None:
    from ...develop.convert import convert as converted
    from .loading_bar import loading_bar
    from .output_file import check_file

    check_file(output, "--output")
    _silence_converters()
    with loading_bar("convert"):
        found = converted(source, output, inputs, **how)
    say(f"{output}: {format_bytes(found.size)}")
    for name, noise in found.noise.items():
        same = "equal" if noise == float("inf") else f"{noise:.1f} dB"
        say(f"  {name}: {same} against {source.name}")


def _silence_converters() -> None:
    """coremltools and torch say what they have not been tested with, and draw bars for each of their passes."""
    import logging
    import os
    import warnings

    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")
    logging.getLogger("coremltools").setLevel(logging.ERROR)


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    try:
        return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--classes {path} cannot be read: {error}") from None


def _to_coreai(source: Path, output: Path, force: bool) -> None:
    from ...develop.to_coreai import to_coreai
    from .open_argument import open_argument
    from .output_file import check_file

    check_file(output, "--output")
    found = to_coreai(open_argument(source), output, force=force)
    write(f"{output}: {format_bytes(found.size)}")
    for function, outputs in found.noise.items():
        for name, noise in outputs.items():
            write(
                f"checked: '{name}' of '{function}': {noise:.1f} dB in Apple's runtime ({found.required:.0f} required)"
            )
    for note in found.notes:
        notice(note)


# By the suffixes of source and target; an estimator's file is all that is not here.
_CONVERTERS: dict[tuple[str, str], Callable[[Path, Path, bool], None]] = {
    (source, ".aimodel"): _to_coreai for source in (".mlpackage", ".mlmodel", ".mlmodelc")
}


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
