"""In place of `audiobox_aesthetics.infer`: a script that was written for it changes this import alone."""

from mmmos.heads.scoring.audio_aes import AesPredictor, initialize_predictor

__all__ = ["AesPredictor", "initialize_predictor"]
