"""Signals for the demonstration: voice-like, music-like and environmental sounds, and their degradations.

`demo_corpus` makes clips of them.  They only have to be something that can be learned from.  Everything is a
function of (generator, length, rate); a waveform is float64 [n], and `demo_corpus` sets its level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.floating]
Generator = np.random.Generator

MAX_LAYERS = 6
"""The most voices, instruments or sound sources that one content item has."""
CONTENT_RATE_HZ = 16000
BANDWIDTH_HZ = 7000.0
"""All content lies below, so that only systems add anything above."""
LOWEST_REGISTER_HZ, REGISTER_STEP = 250.0, 1.8
ROOM_TONE = 0.005
"""-46 dB."""


def content(domain: str, layers: int, rng: Generator, samples: int, rate_hz: int) -> Wave:
    """Sources of a domain's kind, each in a register of its own, with rests and a faint room tone throughout.

    Parameters
    ----------
    domain : str
        A name in CONTENTS.
    layers : int
        How many sources.
    samples, rate_hz : int
        Length and rate of the result; the rate is at least CONTENT_RATE_HZ.

    Returns
    -------
    float64 [samples]
        Its rms is 1.
    """
    seconds = -(-samples // rate_hz)
    count = seconds * CONTENT_RATE_HZ
    mix = np.zeros(count)
    for index in range(layers):
        mix += unit(CONTENTS[domain](index, rng, count, CONTENT_RATE_HZ))
    mix = unit(mix) * _phrases(rng, count, CONTENT_RATE_HZ) + ROOM_TONE * rng.standard_normal(count)
    low = np.fft.rfft(mix) / (1 + (np.fft.rfftfreq(count, 1 / CONTENT_RATE_HZ) / BANDWIDTH_HZ) ** 24)
    return unit(np.fft.irfft(low, seconds * rate_hz)[:samples])  # zeros above: resampled on the way


def _phrases(rng: Generator, samples: int, rate_hz: int) -> Wave:
    """A gate [samples]: 1, with rests of 0 about every second, a quarter of the time in all."""
    time_s = np.arange(samples) / rate_hz
    place = (time_s + 0.1 * _wander(rng, samples, rate_hz, 0.5)) / rng.uniform(0.8, 1.2) % 1.0
    return np.clip(20 * np.minimum(place, 0.75 - place), 0, 1)


def unit(wave: Wave) -> Wave:
    """The wave at rms 1."""
    return wave / max(float(np.sqrt(np.mean(wave**2))), 1e-12)


def _voice(index: int, rng: Generator, samples: int, rate_hz: int) -> Wave:
    """A gliding harmonic source under two sets of formants, in syllables with pauses."""
    pitch_hz = rng.uniform(90, 260) * 2 ** (0.25 * _wander(rng, samples, rate_hz, 2.0))
    source = _saw(pitch_hz, rate_hz) + 0.15 * rng.standard_normal(samples)
    tracts_hz = rng.uniform((300, 900, 2300), (800, 2000, 3500), (2, 3))

    def vowel(tract_hz: Wave) -> Wave:
        return _shaped(source, rate_hz, lambda hz: _formants(hz, tract_hz) * _register(hz, index))

    first, second = (vowel(tract_hz) for tract_hz in tracts_hz)
    turn = 0.5 + 0.5 * np.tanh(2 * _wander(rng, samples, rate_hz, 3.0))
    syllables = np.clip(_wander(rng, samples, rate_hz, 5.0) + 0.4, 0, None)
    return (turn * first + (1 - turn) * second) * syllables


def _instrument(index: int, rng: Generator, samples: int, rate_hz: int) -> Wave:
    """Bass, melody or chord, and percussion in turn, each on its own beat."""
    beat_s = rng.choice([0.25, 0.375, 0.5])
    onset = (np.arange(samples) / rate_hz) % beat_s
    if index % 3 == 2:
        hits = rng.standard_normal(samples) * np.exp(-onset * rng.uniform(15, 50))
        centre_hz = rng.uniform(2500, 7000)
        return _shaped(hits, rate_hz, lambda hz: _band(hz, centre_hz, 1.2) * _register(hz, index))
    note = (np.arange(samples) / rate_hz / beat_s).astype(int)
    scale = 2.0 ** (np.array([0, 2, 4, 7, 9]) / 12)
    tune = rng.choice(scale, note[-1] + 1) * rng.choice([1, 2], note[-1] + 1)
    root_hz = rng.uniform(55, 80) * 2 ** (index % 4)
    intervals = (1.0,) if index % 2 == 0 else (1.0, 1.26, 1.5)
    tone = sum((_saw(root_hz * interval * tune[note], rate_hz) for interval in intervals), np.zeros(samples))
    tone *= np.exp(-onset * rng.uniform(2, 8))
    return _shaped(tone, rate_hz, lambda hz: _register(hz, index) / (1 + (hz / (12 * root_hz)) ** 2))


def _source(index: int, rng: Generator, samples: int, rate_hz: int) -> Wave:
    """Wind or water, chirps and knocks in turn."""
    if index % 3 == 0:
        swell = np.exp(0.5 * _wander(rng, samples, rate_hz, 0.5))
        return swell * _shaped(rng.standard_normal(samples), rate_hz, lambda hz: _register(hz, index))
    events = np.clip(_wander(rng, samples, rate_hz, rng.uniform(2, 6)) - 0.5, 0, None) ** 2 + 1e-3
    if index % 3 == 1:
        glide_hz = rng.uniform(1800, 5000) * 2 ** (0.4 * _wander(rng, samples, rate_hz, 8.0))
        chirps = events * np.sin(2 * np.pi * np.cumsum(glide_hz) / rate_hz)
        return _shaped(chirps, rate_hz, lambda hz: _register(hz, index))
    return events * _shaped(rng.standard_normal(samples), rate_hz, lambda hz: _register(hz, index))


def _wander(rng: Generator, samples: int, rate_hz: int, speed_hz: float) -> Wave:
    """A random curve of variance about 1 that turns some `speed_hz` times a second."""
    points = rng.standard_normal(int(samples / rate_hz * 2 * speed_hz) + 3)
    return 1.3 * np.interp(np.linspace(0, len(points) - 1, samples), np.arange(len(points)), points)


def _saw(pitch_hz: Wave, rate_hz: int) -> Wave:
    return 2 * (np.cumsum(pitch_hz) / rate_hz % 1.0) - 1


def _shaped(wave: Wave, rate_hz: int, gain: Callable[[Wave], Wave]) -> Wave:
    """The wave with each frequency multiplied by gain(Hz)."""
    size = _fast_size(len(wave))
    spectrum = np.fft.rfft(wave, size) * gain(np.fft.rfftfreq(size, 1 / rate_hz))
    return np.fft.irfft(spectrum, size)[: len(wave)]


def _fast_size(samples: int) -> int:
    """The next length that is a power of two times 1, 3 or 5 (quarters)."""
    power = 1 << (samples - 1).bit_length()
    return min(size for size in (power, power * 5 // 8, power * 3 // 4) if size >= samples)


def _register(hz: Wave, index: int) -> Wave:
    """Gain at each frequency for the layer of that number: its own register, and 0.03 everywhere."""
    return 0.03 + _band(hz, LOWEST_REGISTER_HZ * REGISTER_STEP**index, 0.6)


def _band(hz: Wave, centre_hz: float, octaves: float) -> Wave:
    return np.exp(-0.5 * (np.log2(np.maximum(hz, 1.0) / centre_hz) / octaves) ** 2)


def _formants(hz: Wave, centres_hz: Wave) -> Wave:
    peaks = sum((_band(hz, centre, 0.25) / (k + 1) for k, centre in enumerate(centres_hz)), np.zeros(len(hz)))
    return peaks + 0.02


CONTENTS: dict[str, Callable[[int, Generator, int, int], Wave]] = {
    "speech": _voice,
    "music": _instrument,
    "sound": _source,
}


def add_noise(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """White noise from 50 dB down to 0 dB below the content."""
    return wave + 10 ** (-(50 - 50 * severity) / 20) * rng.standard_normal(len(wave))


def limit_band(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """Low-pass from 12 kHz down to 750 Hz."""
    edge_hz = 12000 * 2.0 ** (-4 * severity)
    return _shaped(wave, rate_hz, lambda hz: 1 / (1 + (hz / edge_hz) ** 16))


def clip_peaks(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """Hard clipping from 4 times the rms down to a tenth of it."""
    return np.clip(unit(wave), *(4 * 40.0 ** (-severity) * np.array([-1, 1])))


def add_reverb(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """A noise tail of up to 3 s, up to 10 dB above the direct sound."""
    length = int((0.1 + 2.9 * severity) * rate_hz)
    decay = np.exp(-6.9 * np.arange(length) / length) * rng.standard_normal(length)
    size = _fast_size(len(wave) + length)
    tail = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(decay, size), size)[: len(wave)]
    return unit(wave) + 10 ** ((-20 + 30 * severity) / 20) * unit(tail)


def drop_out(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """Gaps of 20 to 120 ms, up to 60 % of the time."""
    gaps = wave.copy()
    for start in rng.integers(0, len(wave), int(severity * 0.9 * len(wave) / rate_hz / 0.07)):
        gaps[start : start + int(rng.uniform(0.02, 0.12) * rate_hz)] = 0.0
    return gaps


def quantise(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """From 12 bits over 4 times the rms down to 2."""
    step = 4 * 2.0 ** -(11 - 10 * severity)
    return (np.floor(unit(wave) / step) + 0.5) * step


def add_hiss(wave: Wave, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """Noise that every system adds, whatever else it does: from about 60 dB down to 25 dB below."""
    return unit(wave) + 10 ** ((35 * severity - 60 + rng.normal(0, 3)) / 20) * rng.standard_normal(len(wave))


DEGRADATIONS: dict[str, Callable[[Wave, float, Generator, int], Wave]] = {
    "noise": add_noise,
    "band": limit_band,
    "clipping": clip_peaks,
    "reverb": add_reverb,
    "dropouts": drop_out,
    "quantisation": quantise,
}
"""(wave, severity 0-1, generator, rate) -> wave."""
