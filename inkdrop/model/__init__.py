"""Model: the one place where diffusion and networks meet."""

from inkdrop.conditions import Between, Condition, Conditions, Prompt
from inkdrop.model.model import Model
from inkdrop.model.spec import Spec, Tuned

__all__ = ["Between", "Condition", "Conditions", "Model", "Prompt", "Spec", "Tuned"]
