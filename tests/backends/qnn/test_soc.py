"""SoCs by the names that people use."""

import pytest

from onnxopt.backends.qnn.soc import SOCS, find
from onnxopt.errors import BadOption


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SM8450", "SM8450"),
        ("sm8450", "SM8450"),
        ("Snapdragon 8 Gen 1", "SM8450"),
        ("8 gen 3", "SM8650"),
        ("SD 8 Gen 2", "SM8550"),
        ("snapdragon-8-plus-gen-1", "SM8475"),
        ("Snapdragon 8+ Gen 1", "SM8475"),
        ("8 Elite", "SM8750"),
        ("8 Elite Gen 5", "SM8850"),
        ("SD888", "SM8350"),
    ],
)
def test_part_numbers_and_what_they_are_sold_as(text, name):
    assert find(text).name == name


def test_the_numbers_that_were_measured():
    known = {"SM8350": 30, "SM8450": 36, "SM8550": 43, "SM8650": 57, "SM8750": 69, "SM8850": 87}
    assert {soc.name: soc.id for soc in SOCS if soc.name in known} == known


def test_no_name_stands_for_two():
    names = [name.lower() for soc in SOCS for name in (soc.name, *soc.also)]
    assert len(names) == len(set(names)) and len({soc.id for soc in SOCS}) == len(SOCS)


def test_a_misspelt_one_gets_the_nearest():
    with pytest.raises(BadOption, match=r"^soc SM8665: there is no such; did you mean SM8650\?$"):
        find("SM8665")


@pytest.mark.parametrize("text", ["SD845", "Snapdragon 845", "SDM845", "sd 845"])
def test_one_without_htp_is_told_what_it_gets(text):
    with pytest.raises(BadOption, match=r"Snapdragon 845 has no HTP.*--emit qnn-kit=DIR"):
        find(text)
