"""What a row may be flagged with, and what it means to a reader."""

from __future__ import annotations

from collections.abc import Mapping

FLAGS: Mapping[str, str] = {
    "batch_halved": "The device's memory did not hold a batch; smaller ones were used.",
    "black_box_stronger": (
        "Square, which sees no gradients, broke images that the attacks with gradients had "
        "spared: gradients are probably masked, and the robust accuracy is too high."
    ),
    "broken_images": "Some images could not be read; they are in no count.",
    "constant_prediction": "One class was given to every image: accuracy is that class's share.",
    "dynamic_defense": (
        "The model differentiates or optimizes while it predicts; attacks do not see through "
        "that, so the robust accuracy is an upper bound and may be far too high."
    ),
    "few_classes": (
        "There are too few classes for a loss or for all target classes of the attack; the "
        "margin loss or fewer targets took their place, so the budget was smaller than published."
    ),
    "fewer_steps_stronger": (
        "PGD with few steps broke an image that longer attacks had spared: their search goes "
        "wrong on this model, and the robust accuracy is too high."
    ),
    "no_images": "No image could be read, so there is no number.",
    "nonfinite_gradients": (
        "Some gradients were not finite and were taken for zero, so attacks that follow them did "
        "not move there: the robust accuracy may be too high."
    ),
    "nonfinite_logits": (
        "Some logits were not finite. Unperturbed images with such logits count as wrong; "
        "perturbed ones are no success of an attack, so an accuracy under attack may be too high."
    ),
    "not_compiled": (
        "The network could not be compiled as asked; it was searched as it is. That is slower and "
        "changes no verdict beyond rounding."
    ),
    "not_reduced": (
        "The network could not be searched in the lower precision asked for; it was searched in "
        "float32. That is slower and, if anything, breaks more."
    ),
    "optional_stopping": (
        "Images were drawn until the interval of the accuracy was narrow. That interval is a "
        "confidence sequence and holds although one stopped; those of other metrics do not allow "
        "for the stopping and may be a little too narrow. Checks that an attack makes at the end "
        "of its run were not made, so their flags may be missing."
    ),
    "randomized": (
        "Equal images got other logits: the model is random, one attack is not enough for it, and "
        "the robust accuracy is probably too high; version rand averages over the randomness."
    ),
    "softmax_outputs": (
        "The model gives probabilities in place of logits; gradients vanish where it is sure, so "
        "the robust accuracy may be too high. Take the softmax layer off and measure again."
    ),
    "stands_at_huge_eps": (
        "An image stands although every pixel may become gray, where all images are alike: the "
        "attack fails on this model, and the robust accuracy is too high."
    ),
    "train_mode": "The model came in training mode and was switched to evaluation mode.",
    "unconfirmed": (
        "An adversarial image that was found failed its fresh float32 pass or was too large, and "
        "was not counted; if many did, the robust accuracy is too high."
    ),
    "untrained": "The weights are fresh, not trained.",
    "zero_gradients": (
        "Gradients of the loss were zero on some images, so attacks that follow them did not move "
        "there: the robust accuracy may be too high."
    ),
}

# Signs that an attack was misled, so that the accuracy under it may be too high.
TOO_HIGH: frozenset[str] = frozenset(
    {
        "black_box_stronger",
        "dynamic_defense",
        "fewer_steps_stronger",
        "nonfinite_gradients",
        "randomized",
        "softmax_outputs",
        "stands_at_huge_eps",
        "unconfirmed",
        "zero_gradients",
    }
)
