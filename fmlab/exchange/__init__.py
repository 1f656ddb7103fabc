"""Weights to and from elsewhere: one file that holds a trained model, its card, and published weights."""

from fmlab.exchange.card import model_card
from fmlab.exchange.exported import Exported, read_exported, write_exported
from fmlab.exchange.official import load_official_dit

__all__ = ["Exported", "load_official_dit", "model_card", "read_exported", "write_exported"]
