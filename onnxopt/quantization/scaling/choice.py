"""How far each channel of a region is scaled: so that the noise that rounding puts into the layers behind is least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxopt.quantization.scaling.seen import Seen

Floats = npt.NDArray[np.float64]

_FLOOR = 2.0**-6
"""Of the largest channel: those that hardly say anything on the calibration data may say more on other data."""
_WIDEST = 2.0**8
"""Of the largest scale to the smallest."""
_STEPS = 255.0
_SHARE = 0.5
"""Of the way to the best, in logarithms: channels that all reach as far as the range leave no room for other data."""
_GAIN = 0.97
"""Of the noise that may be left, for it to be worth a change."""


@dataclass
class Reading:
    """A layer that reads a region."""

    largest: Floats
    """Largest magnitudes of the weights, [groups, outputs of the group, channels of the group]."""
    gain: Floats
    """Sum of squares of the weights of each channel, [channels]."""
    taps: int
    """Weights of one output in one channel."""
    square: Floats
    """Mean squares of its data, [channels]."""

    def noise_of_weights(self, scale: Floats) -> float:
        """Variance summed over the outputs, with a step for each output (per-channel) that covers its weights.

        Weights of 0 stay 0, and make no noise.
        """
        groups, _, channels = self.largest.shape
        step = (self.largest * scale.reshape(groups, 1, channels)).max(axis=2) / 127.0
        power = (self.square / np.square(scale)).reshape(groups, channels, 1)
        heard = ((self.largest > 0) @ power)[:, :, 0]
        return float((np.square(step) / 12.0 * heard).sum() * self.taps)

    @property
    def power(self) -> float:
        """What it gives out, about: of independent channels."""
        return float((self.gain * self.square).sum()) or 1.0


def noise(scale: Floats, tensors: Sequence[Seen], readings: Sequence[Reading]) -> float:
    """Of 8 bit activations and weights, relative to what each layer gives out, summed over the layers.

    A step of tensor t is D = range(x_t / s) / 255; scaled back it is D s_i in channel i, of variance (D s_i)^2 / 12.
    """
    steps = 0.0
    for seen in tensors:
        steps += float((seen.high / scale).max() - (seen.low / scale).min()) ** 2
    rounding = steps / _STEPS**2 / 12.0 * np.square(scale)
    return sum(float((rounding * each.gain).sum() + each.noise_of_weights(scale)) / each.power for each in readings)


def choose(tensors: Sequence[Seen], readings: Sequence[Reading]) -> Floats | None:
    """What to divide each channel by, [channels]; None where nothing is gained.

    Tried are s = a^p w^(-q), a the largest magnitude of a channel and w how much is made of it (p = q = 1/2 is
    Nagel et al. 2019 and, upon activations, Xiao et al. 2022). Half the way is gone.
    """
    largest = np.max([np.maximum(seen.high, -seen.low) for seen in tensors], axis=0)
    if not largest.any():
        return None
    largest = np.maximum(largest / largest.max(), _FLOOR)
    heard = np.sqrt(sum(each.gain / each.power for each in readings))
    heard = np.maximum(heard / (heard.max() or 1.0), _FLOOR)
    at_first = noise(np.ones_like(largest), tensors, readings)
    best, least = None, at_first
    for up in np.linspace(0.0, 1.0, 11):
        for down in (0.0, (1.0 - up) / 2, 1.0 - up):
            scale = _bounded(largest**up * heard**-down)
            found = noise(scale, tensors, readings)
            if found < least:
                best, least = scale, found
    if best is None:
        return None
    scale = best**_SHARE
    scale /= np.exp(np.log(scale).mean())
    return scale if noise(scale, tensors, readings) < _GAIN * at_first else None


def _bounded(scale: Floats) -> Floats:
    return np.asarray(np.maximum(scale, scale.max() / _WIDEST))
