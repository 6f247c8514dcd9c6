"""Everything that decides the weights, in one frozen object."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.identity import digest_json


class Recipe(BaseModel):
    """How a network is trained from scratch with cross-entropy.

    Attributes:
        epochs: Passes over the training images.
        learning_rate: Peak of the one-cycle schedule (Smith and Topin 2017, arXiv:1708.07120).
        weight_decay: Of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).
        mixup: Alpha of the Beta distribution of MixUp (Zhang et al. 2018, arXiv:1710.09412);
            0 mixes nothing.
        rotation: Each image is turned by an angle drawn from +-rotation degrees.
        shift: Each image is moved by up to this fraction of its side.
        noise: Upper end of the sigma, drawn uniformly from zero for each image, of Gaussian
            noise added in [0, 1] pixel units.
        adversarial_eps: Train on images that PGD has moved within this Linf radius instead of
            the images themselves (Madry et al. 2018, arXiv:1706.06083); 0 does not.
        adversarial_steps: Steps of that PGD.
        seed: Keys order and augmentation; the first weights are the caller's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=16, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=4e-3, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    mixup: float = Field(default=0.0, ge=0)
    rotation: float = Field(default=0.0, ge=0, le=180)
    shift: float = Field(default=0.0, ge=0, lt=1)
    noise: float = Field(default=0.0, ge=0)
    adversarial_eps: float = Field(default=0.0, ge=0, le=1)
    adversarial_steps: int = Field(default=5, ge=1)
    seed: int = 0

    @property
    def digest(self) -> str:
        """Names what the recipe makes; the same recipe, the same digest."""
        return digest_json(self.model_dump(mode="json"))
