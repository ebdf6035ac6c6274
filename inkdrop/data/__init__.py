"""Data: folders, archives, arrays and tables of pictures, in an order that can be resumed."""

from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.data.order import batch_indices, epoch_order
from inkdrop.data.pictures.augment import flip

__all__ = ["Dataset", "batch_indices", "epoch_order", "flip", "open_data"]
