"""Encoders of the user's own keep the promises of all encoders; tried on tiny random models made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from mmmos.extract.encoders import Encoder, load_encoder
from mmmos.extract.encoders.own import FILES, is_own, source_of
from tests.conftest import ROOT

TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def keep(model: PreTrainedModel, folder: Path, extractor: object) -> Path:
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)  # type: ignore[attr-defined]
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def hubert(folder: Path) -> Path:
    return keep(HubertModel(HubertConfig(**TINY)), folder, Wav2Vec2FeatureExtractor(do_normalize=True))


def wav2vec2(folder: Path) -> Path:
    model = Wav2Vec2Model(Wav2Vec2Config(**TINY))
    return keep(model, folder, Wav2Vec2FeatureExtractor(do_normalize=False))


def whisper(folder: Path) -> Path:
    config = WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80, vocab_size=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return keep(WhisperModel(config), folder, WhisperFeatureExtractor())


MODELS: dict[str, Callable[[Path], Path]] = {"hubert": hubert, "wav2vec2": wav2vec2, "whisper": whisper}
FRAMES = {"hubert": 499, "wav2vec2": 499, "whisper": 500}


def load(name: object, **options: object) -> Encoder:
    return load_encoder(str(name), audio_recipe="test", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param, MODELS[request.param](tmp_path_factory.mktemp("models") / request.param)


def test_a_model_of_transformers_is_an_encoder(model: tuple[str, Path]) -> None:
    kind, folder = model
    encoder = load(f"hf:{folder}")
    spec = encoder.spec
    assert (spec.name, spec.sample_rate_hz, spec.frame_rate_hz) == (f"hf.{kind}", 16000, 50.0)
    assert (spec.frames, spec.dim, spec.layers) == (FRAMES[kind], 16, 3)
    assert spec.licence == "mit, as its model card says"
    waves = torch.randn(3, 160_000, generator=torch.Generator().manual_seed(1)) * 0.1
    states = encoder.hidden_states(waves)
    assert [tuple(state.shape) for state in states] == [(3, spec.frames, 16)] * 3
    alone = encoder.hidden_states(waves[1:2])
    torch.testing.assert_close(states[2][1:2], alone[2], atol=1e-4, rtol=1e-4)


def test_the_signature_follows_the_weights(model: tuple[str, Path], tmp_path: Path) -> None:
    kind, folder = model
    spec = load(f"hf:{folder}").spec
    assert load(f"hf:{folder}").spec == spec
    other = MODELS[kind](tmp_path / kind)
    assert load(f"hf:{other}").spec.id != spec.id
    untrained = load(f"hf:{folder}", random_seed=3).spec
    assert (untrained.weights, untrained.id != spec.id) == ("random:3", True)


def test_hidden_states_are_those_of_the_model_itself(model: tuple[str, Path]) -> None:
    kind, folder = model
    if kind != "wav2vec2":
        pytest.skip("the others prepare the waves first")
    waves = torch.randn(1, 160_000) * 0.1
    with torch.inference_mode():
        expected = Wav2Vec2Model.from_pretrained(folder).eval()(waves, output_hidden_states=True)
    found = load(f"hf:{folder}").hidden_states(waves)
    torch.testing.assert_close(found[-1], expected.hidden_states[-1])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hf:/no/such/folder", "hf:/no/such/folder cannot be loaded"),
        ("nowhere.py:Mine", "nowhere.py is not there"),
        ("own.Mine", f"{FILES}=file.py:Mine"),
        ("wavml", "unknown encoder 'wavml'"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=reason) as refused:
        load(name)
    assert "\n" not in str(refused.value)


def test_code_from_the_hub_is_not_run_unless_trusted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "strange", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}'
    )
    (tmp_path / "code.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match="--trust-remote-code"):
        load(f"hf:{tmp_path}")


MINE = """
import torch

class Mine(torch.nn.Module):
    sample_rate_hz = 8000
    frame_rate_hz = 25.0
    licence = "CC BY 4.0"

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(4))

    def forward(self, waves):
        frames = waves.unfold(1, 320, 320)
        return torch.stack([frames.mean(2), frames.std(2), frames.amax(2), frames.amin(2)], 2) * self.scale

class Moody(Mine):
    def forward(self, waves):
        return super().forward(waves) + torch.rand(1)

class Flat(Mine):
    def forward(self, waves):
        return waves.mean(1)

class Fast(Mine):
    frame_rate_hz = 100.0

class Bare:
    sample_rate_hz = 8000
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_class_in_a_file_is_an_encoder(file: Path) -> None:
    spec = load(f"{file}:Mine").spec
    assert (spec.name, spec.sample_rate_hz, spec.frame_rate_hz) == ("own.Mine", 8000, 25.0)
    assert (spec.frames, spec.dim, spec.layers, spec.licence) == (250, 4, 1, "CC BY 4.0")
    assert load(source_of(spec)).spec == spec  # named in this process
    file.write_text(MINE.replace("torch.ones(4)", "torch.ones(4) * 2"))
    assert load(f"{file}:Mine").spec.id != spec.id


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Moody", "is not deterministic"),
        ("Flat", r"not hidden states \[B, T, D\]"),
        ("Fast", "says 100 frames a second and returns 250"),
        ("Bare", "lacks frame_rate_hz, licence"),
        ("Other", "cannot be made: AttributeError"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused(file: Path, kind: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load(f"{file}:{kind}")


def test_the_page_puts_a_packages_model_to_work(tmp_path: Path) -> None:
    """The class of docs/encoders.md around the network that the package silero-vad ships."""
    pytest.importorskip("silero_vad", reason="pip install silero-vad: no dependency of this project")
    page = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    section = page.partition("## A model that a package ships")[2]
    code = section.partition("```py\n")[2].partition("```")[0]
    (tmp_path / "silero.py").write_text(code, encoding="utf-8")
    encoder = load(f"{tmp_path / 'silero.py'}:Silero", permissive=True)
    assert (encoder.spec.frames, encoder.spec.dim, encoder.spec.licence) == (312, 256, "MIT")
    waves = torch.randn(2, encoder.samples, generator=torch.Generator().manual_seed(0)) * 0.1
    (together,), (alone,) = encoder.hidden_states(waves), encoder.hidden_states(waves[1:])
    # An LSTM of 312 steps whose states reach 82: 4.6e-5 was seen, six of the last digits of such a number.
    torch.testing.assert_close(together[1:], alone, atol=1e-5 * float(alone.abs().max()), rtol=0)
    assert together.std() > 0.01


def test_names_of_own_encoders_are_told_from_ours() -> None:
    assert all(map(is_own, ("hf:a/b", "hf.a--b", "own.Mine", "dir/mine.py:Mine")))
    assert not any(map(is_own, ("wavlm", "logmel", "hf", "mine.py")))


@pytest.mark.parametrize("name", ["logmel"])
def test_permissive_terms_are_let_through(name: str) -> None:
    assert load(name, permissive=True).spec.name == name


@pytest.mark.parametrize(("name", "reason"), [("muq", "forbid commercial use"), ("m2d", "are not known to")])
def test_other_terms_are_refused_where_permissive_ones_are_asked_for(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load(name, random_seed=0, size="tiny", permissive=True)
