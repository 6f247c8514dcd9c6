"""Everything that decides the weights, in one frozen object.

A recipe is read from YAML or built in Python, every field is checked when it is made, and its
digest names what it makes. Machine, number of processes and where it is written are no part.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from holdfast.core.identity import digest_json
from holdfast.core.nested import dotted
from holdfast.core.specs import Value, split_specs
from holdfast.training.augment.pipeline import Pipeline
from holdfast.training.inputs import DataSection, ModelSection
from holdfast.training.objectives import Objective, parse_objective
from holdfast.training.objectives._inner import Inner
from holdfast.training.pretrain import SelfSupervised
from holdfast.training.section import Section, rising
from holdfast.training.steps import Step, parse_step

AUTO = "auto"
_Share = Annotated[float, Field(ge=0, lt=1)]


class ProtocolSection(Section):
    """Which weights learn.

    Attributes:
        kind: full: all; scratch: all, from fresh weights; linear_probe: the last layer alone,
            the rest frozen and in evaluation mode; lp_ft: that for `probe_epochs`, then all
            (Kumar et al. 2022, arXiv:2202.10054); last_k: the last `blocks` blocks and the head.
        blocks: Of last_k.
        probe_epochs: Of lp_ft, out of `train.epochs`.
        freeze_bn: Keep every batch normalization in evaluation mode with frozen weights.
    """

    kind: Literal["full", "scratch", "linear_probe", "lp_ft", "last_k"] = "full"
    blocks: int = Field(default=1, ge=1)
    probe_epochs: int | None = Field(default=None, ge=1)
    freeze_bn: bool = False

    @model_validator(mode="after")
    def _probe(self) -> ProtocolSection:
        if (self.kind == "lp_ft") != (self.probe_epochs is not None):
            raise ValueError(
                "probe_epochs goes with kind=lp_ft, which needs it, got "
                f"kind={self.kind} and probe_epochs={self.probe_epochs}; give both or neither"
            )
        return self


class TrainSection(Section):
    """What is minimized, how long, and in which portions.

    Fields that are not listed here are parameters of the objective: `objective: trades` and
    `beta: 6` mean `objective: trades(beta=6)`.

    Attributes:
        objective: See `holdfast list objectives`; kept as its canonical text.
        step: How the gradients of a batch come about: plain, free(replays=8), awp(gamma=0.005).
        epochs: Passes over the training images.
        batch_size: Images of a step, whatever the number of devices.
        max_steps: End earlier, after so many steps.
        micro_batch: At most so many images at once, gradients being added; None: all.
        crafting: Batch normalization while images are crafted: eval uses running statistics,
            batch those of the batch, train those of the batch and updates the running ones.
        eps_schedule: How the radius of the objective's attack grows, epoch by epoch.
        eps_share: Part of the epochs in which it does.
        stop_on_overfitting: End when a one-step attack is overfitted catastrophically.
        clip: Largest norm of the gradients; None does not clip.
        ema: Decay of averaged weights, a step, which are then what is validated and kept.
        precision: Of the network's arithmetic.
    """

    objective: str = "cross_entropy"
    step: str = "plain"
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=1, le=2**31)
    max_steps: int | None = Field(default=None, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    crafting: Literal["eval", "batch", "train"] = "eval"
    eps_schedule: Literal["constant", "linear", "cosine"] = "constant"
    eps_share: float = Field(default=0.5, gt=0, le=1)
    stop_on_overfitting: bool = False
    clip: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @model_validator(mode="before")
    @classmethod
    def _parameters(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        own = {key: value for key, value in fields.items() if key in cls.model_fields}
        rest = {k: _parameter(v) for k, v in fields.items() if k not in cls.model_fields}
        text = own.get("objective", cls.model_fields["objective"].default)
        if isinstance(text, str):
            own["objective"] = parse_objective(text, rest).spec
        if isinstance(own.get("step"), str):
            own["step"] = parse_step(own["step"]).spec
        return own


class OptimizerSection(Section):
    """Who takes the steps.

    Attributes:
        kind: sgd, adam or adamw.
        lr: Learning rate, of the backbone where `head_lr` is given.
        head_lr: Of the last layer; None is `lr`.
        weight_decay: Of the backbone where `head_weight_decay` is given.
        head_weight_decay: Of the last layer; None is `weight_decay`.
        decay_all: Decay biases and the weights of normalizations too.
        momentum: Of sgd.
        nesterov: Of sgd.
        betas: Of adam and adamw.
    """

    kind: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, le=1e30)
    head_lr: float | None = Field(default=None, gt=0, le=1e30)
    weight_decay: float = Field(default=1e-2, ge=0, le=1e30)
    head_weight_decay: float | None = Field(default=None, ge=0, le=1e30)
    decay_all: bool = False
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    betas: tuple[_Share, _Share] = (0.9, 0.999)

    @model_validator(mode="after")
    def _moving(self) -> OptimizerSection:
        if self.kind == "sgd" and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, got momentum=0; leave it out")
        return self


class ScheduleSection(Section):
    """How the learning rate moves, as a factor on every group's own.

    Attributes:
        kind: constant; cosine to `end` times the rate (Loshchilov and Hutter 2017,
            arXiv:1608.03983, without restarts); onecycle (Smith and Topin 2018, arXiv:1708.07120:
            the rate given is the peak, momentum moves the other way); step: times `gamma` after
            each of the `milestones`.
        every: step or epoch: how often it moves.
        warmup: Epochs in which the rate rises linearly first.
        end: Of cosine.
        milestones: Of step, in epochs.
        gamma: Of step.
        peak: Of onecycle: part of the steps until it.
    """

    kind: Literal["constant", "cosine", "onecycle", "step"] = "cosine"
    every: Literal["step", "epoch"] = "step"
    warmup: float = Field(default=0.0, ge=0)
    end: float = Field(default=0.0, ge=0, le=1)
    milestones: tuple[float, ...] = ()
    gamma: float = Field(default=0.1, gt=0, le=1e30)
    peak: float = Field(default=0.3, gt=0, lt=1)

    @field_validator("milestones")
    @classmethod
    def _rising(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        return rising(milestones)

    @model_validator(mode="after")
    def _steps(self) -> ScheduleSection:
        if self.kind == "step" and not self.milestones:
            raise ValueError("kind=step needs milestones, got none; write milestones=[75, 90]")
        return self


class ValidateSection(Section):
    """What is measured between the epochs.

    Attributes:
        every: Epochs between two measurements; the first is before the training.
        n: Validation images, the same ones each time.
        train_n: Training images, unaugmented, the same ones each time.
        attack: Of the robust accuracy, by which the best checkpoint is chosen; auto is PGD with
            10 steps at the objective's norm and eps; None chooses by clean accuracy.
        patience: Stop after so many measurements without a better one; None never does.
    """

    every: int = Field(default=1, ge=1)
    n: int = Field(default=512, ge=1)
    train_n: int = Field(default=256, ge=0)
    attack: str | None = AUTO
    patience: int | None = Field(default=None, ge=1)

    @field_validator("attack")
    @classmethod
    def _known(cls, text: str | None) -> str | None:
        return text if text in (None, AUTO) else Inner.of(str(text)).text


class Recipe(Section):
    """All of it; see the sections.

    Attributes:
        data: `DataSection`.
        model: `ModelSection`.
        protocol: `ProtocolSection`.
        augment: Augmentations in order, such as flip, crop(padding=4), mixup(alpha=0.3).
        train: `TrainSection`.
        optimizer: `OptimizerSection`.
        schedule: `ScheduleSection`.
        validate_with: `ValidateSection`; in YAML `validate`.
        seed: Keys order, augmentation, attacks and fresh weights.
    """

    model_config = ConfigDict(populate_by_name=True)

    data: DataSection
    model: ModelSection
    protocol: ProtocolSection = ProtocolSection()
    augment: tuple[str, ...] = ()
    train: TrainSection = TrainSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    validate_with: ValidateSection = Field(default=ValidateSection(), alias="validate")
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("augment", mode="before")
    @classmethod
    def _augmentations(cls, value: Any) -> Any:
        if value is None:
            return ()
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            value = ", ".join(value)  # YAML's [a(b=1, c=2)] falls apart at the comma
        text = value.strip() if isinstance(value, str) else "]"
        if text.startswith("[") != text.endswith("]"):
            raise ValueError(f"expected a list such as [flip, crop(padding=4)], got {value!r}")
        texts = split_specs(text.removeprefix("[").removesuffix("]"))
        return tuple(Pipeline(texts).specs)

    @model_validator(mode="after")
    def _fit_together(self) -> Recipe:
        probe = self.protocol.probe_epochs
        if probe is not None and probe >= self.train.epochs:
            raise ValueError(
                f"protocol.probe_epochs={probe} leaves no epoch of train.epochs="
                f"{self.train.epochs} for the whole network"
            )
        if isinstance(self.objective, SelfSupervised):
            self._check_pretraining()
        if self.protocol.kind == "scratch" and self.model.weights is not None:
            raise ValueError(
                "protocol.kind=scratch starts from fresh weights, got "
                f"model.weights={self.model.weights}; leave them out, or take protocol.kind=full"
            )
        if self.protocol.kind != "scratch" or not self.model.pretrained:
            return self
        # One way to say one thing, so that one digest names it.
        self.__dict__["model"] = self.model.model_copy(update={"pretrained": False})
        return self

    def _check_pretraining(self) -> None:
        name = self.objective.name
        if self.augment:
            raise ValueError(f"augment must be empty: {name} makes its own views of an image")
        if self.train.micro_batch is not None:
            raise ValueError(
                f"train.micro_batch cuts a batch that {name} needs whole; leave it out"
            )
        if self.protocol.kind not in ("full", "scratch"):
            raise ValueError(f"{name} trains the whole backbone: protocol.kind is full or scratch")
        if self.train.step != "plain":
            raise ValueError(f"{name} goes with train.step=plain")

    @property
    def objective(self) -> Objective:
        """What is minimized."""
        return _objective(self.train.objective)

    @property
    def step(self) -> Step:
        """How gradients come about."""
        return _step(self.train.step)

    def body(self) -> dict[str, Any]:
        """Plain types, every default written out; `recipe_of` reads them back."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        """Names what the recipe makes; the same recipe, the same digest."""
        return digest_json(self.body())

    @property
    def changed(self) -> tuple[str, ...]:
        """Dotted fields that are not at their defaults; data and model have none."""
        plain = Recipe(data=self.data, model=self.model)
        mine, theirs = dotted(self.body()), dotted(plain.body())
        return tuple(key for key in mine if mine[key] != theirs[key])

    @property
    def robust_attack(self) -> Inner | None:
        """Attack of the robust validation score; None where there is none."""
        wanted = self.validate_with.attack
        if wanted is None:
            return None
        if wanted != AUTO:
            return Inner.of(wanted)
        if self.objective.attack is None:
            return None
        attack = Inner.of(self.objective.attack).attack
        if attack is None:
            return None
        return Inner.of(f"pgd(norm={attack.norm}, eps={_number(attack.eps)}, steps=10)")

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        self.step.check(self.objective)
        return self


@lru_cache(maxsize=256)
def _objective(text: str) -> Objective:
    return parse_objective(text)


@lru_cache(maxsize=256)
def _step(text: str) -> Step:
    return parse_step(text)


def _parameter(value: Any) -> Value:
    """As in a spec, where 8/255 is a fraction."""
    over, slash, under = value.partition("/") if isinstance(value, str) else ("", "", "")
    if slash and over.strip().isdecimal() and under.strip().isdecimal() and int(under):
        return Fraction(int(over), int(under))
    return value


def _number(eps: Any) -> str:
    return str(eps) if not isinstance(eps, float) else repr(eps)


def changed_fields(before: Recipe, after: Recipe) -> list[str]:
    """Dotted fields in which two recipes differ, each as `train.epochs: 5 -> 10`."""
    old, new = dotted(before.body()), dotted(after.body())
    return [f"{key}: {old[key]} -> {new[key]}" for key in old if old[key] != new[key]]
