"""The figures, against their definitions."""

import math

import numpy as np
import pytest

from onnxopt.data.metrics import cosine, psnr, snr, top1
from onnxopt.errors import BadData


def test_top1_is_the_share_of_rows_whose_best_class_is_the_label():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert top1(scores, [1, 0, 0, 0]) == 0.75
    assert top1(scores, np.array([[1], [0], [1], [0]])) == 1.0
    for bad in ((scores, [1, 0]), (scores[0], [1]), (scores[:0], [])):
        with pytest.raises(BadData, match="top-1 needs"):
            top1(*bad)


def test_snr_in_decibel():
    assert snr([3, 4], [3, 3.5]) == pytest.approx(10 * math.log10(25 / 0.25))
    assert snr([1, 2], [1, 2]) == math.inf
    assert snr([0, 0], [1, 0]) == -math.inf


def test_psnr_in_decibel_of_the_peak():
    assert psnr(np.zeros(4), np.full(4, 0.1)) == pytest.approx(20)
    assert psnr(np.zeros(4, np.uint8), np.full(4, 255, np.uint8), peak=255) == pytest.approx(0)
    assert psnr(np.ones(4), np.ones(4)) == math.inf


def test_integers_do_not_wrap():
    assert snr(np.array([1], np.uint8), np.array([2], np.uint8)) == 0


def test_cosine_similarity():
    assert cosine([1, 0], [0, 1]) == 0
    assert cosine([1, 2], [-2, -4]) == pytest.approx(-1)
    assert cosine([0, 0], [0, 0]) == 1
    assert cosine([0, 0], [1, 0]) == 0


def test_shapes_must_agree():
    with pytest.raises(BadData, match=r"cannot compare shapes \[2\] and \[3\]"):
        snr([1, 2], [1, 2, 3])
