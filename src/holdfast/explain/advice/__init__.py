"""What would help one model: changes, what they are predicted to do, and what they did."""

from holdfast.explain.advice.run import Question, Step, advise

__all__ = ["Question", "Step", "advise"]
