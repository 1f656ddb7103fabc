"""The trained model as an object: load it, generate, guide, export; published weights."""

from fmlab.inference.card import model_card
from fmlab.inference.exported import Exported, read_exported, write_exported
from fmlab.inference.initial_weights import InitialWeights
from fmlab.inference.official import load_official_dit

__all__ = ["Exported", "InitialWeights", "load_official_dit", "model_card", "read_exported", "write_exported"]
