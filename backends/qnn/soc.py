"""The SoCs that HTP graphs are made for, by the names that people use."""

from __future__ import annotations

import re
from dataclasses import dataclass

from onnxopt.errors import BadOption
from onnxopt.pipeline.suggest import did_you_mean


@dataclass(frozen=True)
class Soc:
    """A system on a chip."""

    name: str
    """Its part number."""
    id: int
    """Qualcomm's number, which the libraries take; they take a wrong one in silence too."""
    arch: int
    """The version of its Hexagon processor: 69 is V69."""
    also: tuple[str, ...] = ()
    """What it is sold as."""
    computes_float: bool = True
    """Whether its HTP runs float graphs, in fp16. Of one that does not the emulator computes them in float32."""


SOCS = (
    Soc("SM8350", 30, 68, ("Snapdragon 888", "Snapdragon 888+"), computes_float=False),
    Soc("SM7450", 41, 69, ("Snapdragon 7 Gen 1",)),
    Soc("SM8450", 36, 69, ("Snapdragon 8 Gen 1",)),
    Soc("SM8475", 42, 69, ("Snapdragon 8+ Gen 1",)),
    Soc("SM8550", 43, 73, ("Snapdragon 8 Gen 2",)),
    Soc("SM8650", 57, 75, ("Snapdragon 8 Gen 3",)),
    Soc("SM8750", 69, 79, ("Snapdragon 8 Elite",)),
    Soc("SM8850", 87, 81, ("Snapdragon 8 Elite Gen 5",)),
    Soc("SC8380XP", 60, 73, ("Snapdragon X Elite", "X1E")),
    Soc("SA8295", 39, 68, ("SA8295P",)),
    Soc("SA8255", 52, 73, ("SA8255P",)),
    Soc("QCS9100", 77, 73, ("QCS9075", "Dragonwing IQ9")),
    Soc("SXR2230P", 53, 69, ("Snapdragon XR2 Gen 2",)),
)
"""Those with an HTP. SM8350 to SM8850 as listed in onnxruntime's plugin; the others as ExecuTorch lists them."""

_WITHOUT = {
    "SDM845": ("Snapdragon 845", "SD845"),
    "SM8150": ("Snapdragon 855", "SD855"),
    "SM8250": ("Snapdragon 865", "SD865"),
    "SDM835": ("Snapdragon 835", "SD835", "MSM8998"),
}
"""Those whose Hexagon has no HTP: SNPE runs them on the GPU, or on the DSP that came before."""


def find(text: str) -> Soc:
    """The SoC of that name; neither capitals, spaces nor hyphens matter, nor whether it says Snapdragon.

    Raises:
        BadOption: There is no such, or it has no HTP.
    """
    wanted = _plain(text)
    for soc in SOCS:
        if wanted in map(_plain, (soc.name, *soc.also)):
            return soc
    for name, also in _WITHOUT.items():
        if wanted in map(_plain, (name, *also)):
            raise BadOption(
                f"soc {text}: {also[0]} has no HTP, and there is no path from here to its DSP: use --emit qnn-kit=DIR, "
                "which is for the SNPE SDK"
            )
    known = [name for soc in SOCS for name in (soc.name, *soc.also)]
    raise BadOption(
        f"soc {text}: there is no such{did_you_mean(text, known, '; there are ' + ', '.join(s.name for s in SOCS))}"
    )


def _plain(text: str) -> str:
    letters = re.sub(r"[\s_\-]|snapdragon", "", text.lower().replace("plus", "+"))
    return re.sub(r"^sd(?=\d)", "", letters)
