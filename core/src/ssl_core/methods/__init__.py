"""How encoder, augmentation and objective become something to train."""
from .base import Method
from .joint_embedding import JointEmbedding
from .masked_prediction import MaskedPrediction

__all__ = ["JointEmbedding", "MaskedPrediction", "Method"]
