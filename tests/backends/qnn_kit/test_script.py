"""The script of a kit: its dry run, what it says when things are missing, and a run with stand-ins for the SDK."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.backends.qnn_kit import kits

GOLDEN = Path(__file__).parent / "golden"
SH = shutil.which("sh") or "/bin/sh"
SNPE = ("snpe-onnx-to-dlc", "snpe-dlc-quantize", "snpe-diagview")
QAIRT = ("qairt-converter", "qairt-quantizer", "qnn-profile-viewer")
BESIDE = ("mkdir", "rm", "cat")
RECORD = """#!/bin/sh
printf '%s' "${0##*/}" >> "$RECORD"
for word in "$@"; do printf '|%s' "$word" >> "$RECORD"; done
echo >> "$RECORD"
"""


def several():
    return kits.model("g (float[1, 3, 4, 5] x, float[1, 2, 3] s) => (float[1, 3, 4, 5] y) { y = Relu(x) }")


KITS = {
    "float": (kits.image, ""),
    "quantized": (kits.quantized, "layout=nchw output-tensors=c"),
    "several": (several, ""),
    "native": (kits.image, "flow=qairt runtime=htp hexagon=v69 native=true activation-bits=16"),
}


@pytest.fixture(params=KITS)
def kit(request, tmp_path):
    return request.param, made(tmp_path, *KITS[request.param])


def made(tmp_path, model, options, name="kit"):
    sample = {**kits.images(1)[0], "s": np.ones((2, 3), np.float32)}
    kits.make(model(), kits.samples_for(model(), [sample]), tmp_path / name, options)
    return tmp_path / name


def call(kit, *arguments, path="", **environment):
    return subprocess.run(
        [SH, str(kit / "run.sh"), *arguments],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def sdk(tmp_path):
    """A folder that looks like the SDK, beside a PATH of programs that write down what they are called with."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in (*SNPE, *QAIRT, "adb"):
        (programs / name).write_text(RECORD)
        (programs / name).chmod(0o755)
    for name in BESIDE:
        (programs / name).symlink_to(shutil.which(name))
    root = tmp_path / "the sdk's"
    for name in ("snpe-net-run", "qnn-net-run"):
        (root / "bin/aarch64-android").mkdir(parents=True, exist_ok=True)
        (root / "bin/aarch64-android" / name).touch()
    for version in ("v65", "v69"):
        (root / f"lib/hexagon-{version}/unsigned").mkdir(parents=True)
    return root


def test_the_shell_can_read_it(kit):
    assert subprocess.run([SH, "-n", kit[1] / "run.sh"], check=False).returncode == 0
    assert os.access(kit[1] / "run.sh", os.X_OK)


@pytest.mark.parametrize("flow", ["snpe", "qairt"])
def test_a_dry_run_prints_each_command(kit, flow):
    """With nothing on PATH at all."""
    name, folder = kit
    ran = call(folder, "--dry-run", "--flow", flow)
    assert (ran.returncode, ran.stderr) == (0, "")
    golden = GOLDEN / f"{name}-{flow}.txt"
    if os.environ.get("ONNXOPT_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(ran.stdout)
    assert ran.stdout == golden.read_text()
    assert not (folder / "build").exists()


@pytest.mark.parametrize("flow", ["snpe", "qairt"])
def test_a_run_calls_what_the_dry_run_prints(kit, sdk, tmp_path, flow):
    _, folder = kit
    given = ("--flow", flow, "--sdk", str(sdk), "--serial", "it's mine")
    ran = call(folder, *given, path=tmp_path / "programs", RECORD=str(tmp_path / "record"))
    assert ran.returncode == 0, ran.stderr
    dry = call(folder, "--dry-run", *given)
    assert ran.stdout == dry.stdout + "run.sh: the outputs are in build/output\n"
    recorded = [line.split("|") for line in (tmp_path / "record").read_text().splitlines()]
    printed = [line[2:] for line in ran.stdout.splitlines() if line.startswith("+ ")]
    expected = [words for words in (shell_words(line) for line in printed) if words[0] not in BESIDE]
    assert recorded == expected
    assert ["adb", "-s", "it's mine", "get-state"] in recorded
    assert (folder / "build").is_dir()


def shell_words(line):
    """The words of a line, as the shell itself takes them apart."""
    told = subprocess.run(
        [SH, "-c", f"for word in {line}; do printf '%s\\n' \"$word\"; done"], capture_output=True, check=True
    )
    return told.stdout.decode().splitlines()


@pytest.mark.parametrize(("flow", "tool"), [("snpe", "snpe-onnx-to-dlc"), ("qairt", "qairt-converter")])
def test_no_sdk(kit, flow, tool):
    ran = call(kit[1], "--flow", flow)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"run.sh: {tool} is not on PATH: get Qualcomm's AI Runtime (QAIRT) or SNPE SDK from Qualcomm, and source its "
        "bin/envsetup.sh\n"
    )
    assert not (kit[1] / "build").exists()


@pytest.mark.parametrize(
    ("without", "given", "said"),
    [
        ("snpe-dlc-quantize", (), "snpe-dlc-quantize is not on PATH"),
        ("adb", (), "adb is not on PATH: install Android's platform tools, or give --no-device"),
        ("", ("--sdk", ""), "where the SDK is is not known: give --sdk DIR"),
        ("", ("--hexagon", "v79"), "SDK has no lib/hexagon-v79/unsigned: give the device's version with --hexagon"),
        ("", ("--sdk", "/nowhere"), "/nowhere is no SDK for this flow: it has no bin/aarch64-android/snpe-net-run"),
    ],
)
def test_something_else_is_missing(tmp_path, sdk, without, given, said):
    folder = made(tmp_path, *KITS["float"])
    if without:
        (tmp_path / "programs" / without).unlink()
    ran = call(folder, "--sdk", str(sdk), *given, path=tmp_path / "programs", RECORD=str(tmp_path / "record"))
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert ran.stderr.replace(str(sdk), "SDK").startswith(f"run.sh: {said}")
    assert not (tmp_path / "record").exists()


def test_what_is_not_needed_need_not_be_there(tmp_path, sdk):
    folder = made(tmp_path, *KITS["float"])
    for name in ("adb", "snpe-dlc-quantize"):
        (tmp_path / "programs" / name).unlink()
    given = ("--no-device", "--runtime", "gpu")
    ran = call(folder, *given, path=tmp_path / "programs", RECORD=str(tmp_path / "record"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("run.sh: the DLC is build/model.dlc\n")


def test_a_program_that_fails_ends_it(tmp_path, sdk):
    folder = made(tmp_path, *KITS["float"])
    (tmp_path / "programs/snpe-dlc-quantize").write_text("#!/bin/sh\nexit 7\n")
    ran = call(folder, "--sdk", str(sdk), path=tmp_path / "programs", RECORD=str(tmp_path / "record"))
    assert (ran.returncode, ran.stderr) == (1, "run.sh: snpe-dlc-quantize failed (exit status 7)\n")
    assert "adb" not in (tmp_path / "record").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--flow", "snap"), "--flow is snpe or qairt, not snap"),
        (("--runtime", "npu"), "--runtime is cpu, gpu, dsp or htp, not npu"),
        (("--hexagon", "65"), "--hexagon is a version as v65, not 65"),
        (("--fast",), "there is no option --fast"),
        (("--sdk",), "--sdk needs a value"),
        (("--device-dir", "/"), "--device-dir is a whole path with two folders or more, not /"),
        (("--device-dir", "/data/a; rm -rf b"), "--device-dir has letters, digits, _ . / - only"),
        (("--device-dir", "/data/../x"), "--device-dir has letters"),
    ],
)
def test_wrong_options(tmp_path, given, said):
    ran = call(made(tmp_path, *KITS["float"]), "--dry-run", *given)
    assert (ran.returncode, ran.stdout) == (2, "") and ran.stderr.startswith(f"run.sh: {said}")


def test_hostile_names_reach_neither_the_script_nor_the_list(tmp_path):
    evil = {"x": "$(touch gone)`touch gone`';touch gone;' := #", "y": '"; touch gone #'}
    model = kits.renamed(kits.image(), evil)
    sample = {evil["x"]: kits.images(1)[0]["x"]}
    kits.make(model, kits.samples_for(model, [sample]), tmp_path / "kit")
    for name in ("run.sh", "input_list.txt"):
        assert "touch" not in (tmp_path / "kit" / name).read_text().replace("__touch_gone", "")
    ran = call(tmp_path / "kit", "--dry-run")
    assert ran.returncode == 0 and not list(tmp_path.rglob("gone"))


@pytest.mark.parametrize("name", ["a kit's", "$(touch gone)", 'ki"t', "-n"])
def test_a_kit_with_an_odd_path_runs(tmp_path, sdk, name):
    folder = made(tmp_path, *KITS["float"], name=name)
    ran = call(folder, "--sdk", str(sdk), path=tmp_path / "programs", RECORD=str(tmp_path / "record"))
    assert ran.returncode == 0, ran.stderr
    assert (folder / "build").is_dir() and not list(tmp_path.rglob("gone"))


def test_help(tmp_path):
    ran = call(made(tmp_path, *KITS["native"]), "--help")
    assert ran.returncode == 0 and "(now: qairt)" in ran.stdout and "--dry-run" in ran.stdout
