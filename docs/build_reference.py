"""Builds the API reference: SDK and ipcore from docstrings (pdoc), the protos from comments (sabledocs).

python docs/build_reference.py [FOLDER]     (default .reference; `make reference` calls this)
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pdoc

ROOT = Path(__file__).resolve().parent.parent
# It needs an older protobuf than the service, so uv runs it in an environment of its own.
SABLEDOCS = "sabledocs==0.19.1050"
INDEX = """<!doctype html><meta charset="utf-8"><title>iplab: API reference</title>
<h1>iplab: API reference</h1>
<ul>
<li><a href="python/iplab.html">iplab</a>: the Python SDK</li>
<li><a href="python/ipcore.html">ipcore</a>: theory, training, analysis without a service</li>
<li><a href="proto/index.html">iplab.v1</a>: the gRPC API</li>
</ul>
"""


def modules(package: ModuleType) -> list[str]:
    """The package, its public modules, and what of the generated code `Run` and `Experiment` inherit."""
    found = [package.__name__]
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        parts = module.name.split(".")
        if module.name == "iplab.v1.fields" or not {"v1", "cli", "__main__"} & set(parts):
            found.append(module.name)
    return found


def python_reference(folder: Path) -> None:
    """Write one page a module, by pdoc."""
    names = []
    for name in ("iplab", "ipcore"):
        package = importlib.import_module(name)
        for lazy in package.__all__:  # pdoc reads a module's dictionary, where lazy names are only after use
            vars(package).setdefault(lazy, getattr(package, lazy))
        names += modules(package)
    warnings.filterwarnings("error", "Found .* does not resolve")  # a public name that is not there
    pdoc.render.configure(docformat="google", math=False, show_source=True)
    pdoc.pdoc(*names, output_directory=folder)


def proto_reference(folder: Path) -> None:
    """Write pages of services and messages, by sabledocs, from the protos' own comments."""
    folder.mkdir(parents=True)
    descriptors = folder / "iplab.protoset"
    protos = sorted((ROOT / "proto").glob("iplab/v1/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "proto", "--include_source_info"]
    subprocess.run([*command, "--include_imports", "-o", descriptors, *protos], check=True)
    settings = {"module-title": "iplab.v1", "input-descriptor-file": descriptors, "output-dir": folder}
    text = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    (folder / "sabledocs.toml").write_text(text + 'hidden-packages = ["google.protobuf"]\n')
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "tool", "run", "--from", SABLEDOCS, "sabledocs"], check=True, cwd=folder)


def main(folder: Path) -> None:
    """Build all of it into a folder, in the place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    python_reference(folder / "python")
    proto_reference(folder / "proto")
    (folder / "index.html").write_text(INDEX)
    print(f"open {folder / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".reference")
