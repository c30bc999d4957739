"""What was published: whether it comes out the same again, and why a row is what it is."""

from batchscore.prove.replay import Mismatch, Replay, private_store, recorded_config, replay
from batchscore.prove.why import SetAside, Why, why

__all__ = ["Mismatch", "Replay", "SetAside", "Why", "private_store", "recorded_config", "replay", "why"]
