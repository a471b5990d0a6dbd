"""Ask the Python bindings of TensorRT 10 and 11 which of the names that we use they have, and write api.json.

Run by hand when we use a new name, or TensorRT has a new version: `python tests/backends/tensorrt/make_api.py`. It
needs the network (pip), a C compiler, and x86-64 Linux. The bindings are downloaded without the libraries that they
call: in place of these stands one that does nothing, since nothing is called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSIONS = ("10.0.1", "10.16.1.11", "11.0.0.114", "11.4.0.106")
"""The first and the last one of each line there is."""
PACKAGE = "tensorrt-cu12-bindings"
FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip
"""What the bindings want of the libraries (nm -D --undefined-only)."""
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
ASK = (
    "import json, tensorrt_bindings; from api_use import has, used; "
    "print(json.dumps([name for name in used() if has(tensorrt_bindings, name)]))"
)
API = Path(__file__).parent / "api.json"


def main() -> None:
    """Write api.json: the names by version, in order."""
    found = {}
    for version in VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            found[version] = sorted(names_of(version, Path(folder)))
            print(version, len(found[version]))
    API.write_text(json.dumps(found, indent=1) + "\n")


def names_of(version: str, folder: Path) -> list[str]:
    """The names that we use and that this version has."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, f"{PACKAGE}=={version}"]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for library in LIBRARIES:
        name = f"lib{library}.so.{version.partition('.')[0]}"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / name, source, f"-Wl,-soname,{name}"], check=True)
    paths = os.pathsep.join((str(folder), str(API.parent)))
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", ASK], env=env, check=True, stdout=subprocess.PIPE, text=True)
    found: list[str] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
