"""Moved modules: keeps module names from before 0.2 importable for one release, with a DeprecationWarning."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_PACKAGE = __name__.partition(".")[0]

# Old name to new name, relative to `pippin`. Modules not listed moved with their folder.
_FOLDERS = {
    "cli": "apps.cli",
    "flow": "runtime.flow",
    "gallery": "apps.gallery",
    "interface": "apps.interface",
    "segment": "specialization.segment",
    "studio": "apps.studio",
}
_MODULES = {
    "cache.portable": "cache.archive",
    "cancellation": "support.cancellation",
    "custom_layers": "extend.custom_layers",
    "custom_models": "extend.custom_models",
    "feature_extractors": "extend.feature_extractors",
    "fork": "support.fork",
    "loading": "runtime.loading",
    "model": "runtime.model",
    "options": "runtime.prediction_options",
    "plain": "specialization.serialization",
    "plan": "specialization.compute_plan",
    "quantities": "support.units",
    "session": "runtime.session",
    "state": "runtime.state",
    "cli.console": "apps.cli.terminal",
    "cli.options": "apps.cli.common_options",
    "cli.results": "apps.cli.print_outputs",
    "cli.run": "apps.cli.run_script",
    "cli.values": "apps.cli.parse_inputs",
    "coremltools.gates": "coremltools.platform_patches",
    "coremltools.native": "coremltools.libcoremlpython",
    "coremltools.structure": "coremltools.model_structure",
    "coremltools.versions": "coremltools.specification_version",
    "engines.all": "engines.registry",
    "engines.distribution": "engines.installed_version",
    "engines.onnxruntime_bound": "engines.onnxruntime_io_binding",
    "engines.openvino_import": "engines.openvino_lean_import",
    "flow.batch": "runtime.flow.predict_batch",
    "flow.control": "runtime.flow.flow_control",
    "flow.gate": "runtime.flow.admission",
    "flow.lane": "runtime.flow.state_queue",
    "flow.pace": "runtime.flow.latency",
    "flow.service": "runtime.flow.executor",
    "flow.stacking": "runtime.flow.dynamic_batching",
    "flow.waiting": "runtime.flow.async_bridge",
    "format.blob": "format.weight_blob",
    "format.compiled": "format.mlmodelc",
    "format.package": "format.mlpackage",
    "format.pointer": "format.git_lfs_pointer",
    "gallery.colorizing": "apps.gallery.colorizer",
    "gallery.comparison": "apps.gallery.headless_comparison",
    "gallery.picture": "apps.gallery.before_after_picture",
    "gallery.wall": "apps.gallery.cut_tiles",
    "interface.module": "apps.interface.generate_module",
    "interface.names": "apps.interface.python_names",
    "interface.types": "apps.interface.python_types",
    "lowering.builder": "lowering.lower_blocks",
    "lowering.classical.boxes": "lowering.classical.non_maximum_suppression",
    "lowering.classical.categories": "lowering.classical.category_encoders",
    "lowering.classical.classical": "lowering.classical.feature_graph",
    "lowering.classical.custom": "lowering.classical.custom_model",
    "lowering.classical.forest": "lowering.classical.tree_arrays",
    "lowering.classical.normal": "lowering.classical.normal_distribution",
    "lowering.classical.probit": "lowering.classical.bayesian_probit",
    "lowering.classical.vectors": "lowering.classical.feature_engineering",
    "lowering.feature_models": "lowering.apple_feature_models",
    "lowering.graph": "lowering.onnx_builder",
    "lowering.layers.control": "lowering.layers.control_flow",
    "lowering.layers.custom": "lowering.layers.custom_layer",
    "lowering.lower": "lowering.lower_program",
    "lowering.lowered": "lowering.lowered_model",
    "lowering.model": "lowering.lower_model",
    "lowering.network": "lowering.lower_layers",
    "lowering.ops.windows": "lowering.ops.window_padding",
    "lowering.registry": "lowering.op_registry",
    "lowering.storage": "lowering.external_data",
    "program.contents": "program.classical_summary",
    "program.cost": "specialization.segment.relative_costs",
    "program.describe": "program.infer_description",
    "program.mil": "program.mil_writer",
    "program.read": "program.protobuf_reader",
    "program.records": "program.blob_constants",
    "program.text": "program.pretty_print",
    "program.write": "program.protobuf_writer",
    "reporting.condition": "reporting.fail_conditions",
    "reporting.page": "reporting.html_page",
    "reporting.plots": "reporting.svg_plots",
    "reporting.style": "reporting.css",
    "reporting.table": "reporting.csv_table",
    "reporting.units": "support.units",
    "segment.cost": "specialization.segment.cost_model",
    "specialization.adaptive": "specialization.concurrency_variants",
    "specialization.custom_models": "specialization.custom_model_operator",
    "specialization.inputs": "specialization.sample_inputs",
    "specialization.moments": "specialization.contention",
    "specialization.operations": "specialization.planned_operations",
    "specialization.parts": "specialization.artifacts",
    "specialization.quiet": "specialization.spinning_threads",
    "specialization.together": "specialization.concurrency",
    "studio.opened": "apps.studio.open_models",
    "studio.parts": "apps.studio.widgets",
    "studio.predictions": "apps.studio.feature_list",
    "studio.preview.controls": "apps.studio.preview.input_controls",
    "studio.preview.desk": "apps.studio.preview.tab_session",
    "studio.preview.drawn": "apps.studio.preview.draw_panels",
    "studio.preview.live": "apps.studio.preview.live_camera",
    "studio.preview.panels": "apps.studio.preview.output_panels",
    "studio.preview.pictures": "apps.studio.preview.draw_arrays",
    "studio.preview.stream": "apps.studio.preview.frame_stream",
    "studio.preview.table": "apps.studio.preview.csv_rows",
    "studio.preview.values": "apps.studio.preview.parse_values",
    "trace.chrome": "trace.chrome_json",
    "trace.program": "trace.autostart",
    "studio.start": "apps.studio.start_page",
}


def new_name(old: str) -> str | None:
    """The new name of module `old`, both relative to `pippin`; None if it did not move."""
    folder, dot, rest = old.partition(".")
    moved = f"{_FOLDERS[folder]}{dot}{rest}" if folder in _FOLDERS else None
    return _MODULES.get(old, moved)


def moved_attribute(name: str) -> ModuleType:
    """An old module used as an attribute, such as `pippin.model`. Raises AttributeError."""
    if new_name(name) is None:
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{_PACKAGE}.{name}")


class MovedModuleFinder:
    """Finder and loader at the end of `sys.meta_path`, used for modules that no other finder found."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        if package != _PACKAGE or new_name(old) is None:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Copy the contents of the new module, so that both names share their classes and functions."""
        import warnings
        from importlib import import_module

        moved = f"{_PACKAGE}.{new_name(module.__name__.partition('.')[2])}"
        warnings.warn(f"{module.__name__} is now {moved}", DeprecationWarning, stacklevel=2)
        contents = vars(import_module(moved))
        module.__dict__.update({name: value for name, value in contents.items() if not name.startswith("__")})


def install() -> None:
    sys.meta_path.append(MovedModuleFinder())
