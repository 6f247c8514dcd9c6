"""Known bugs of the engine and of the loop that measures; see `bugs.py`."""

from __future__ import annotations

from bug import of_attack, of_measuring

ENGINE = [
    *of_attack(
        "engine",
        "test_engine",
        (
            "forward passes counted twice",
            "samples.forward[:, place].add_(",
            "samples.forward[:, place].add_(2 * ",
        ),
        (
            "images outside the ball put to the judge",
            "fell = smallest <= limit(attack.eps)",
            "fell = smallest < torch.inf",
        ),
        ("next lane skipped", "samples.lane + stage.width", "samples.lane + stage.width + 1"),
        ("lane not set back for the next stage", "torch.zeros_like(done.lane)", "done.lane"),
        (
            "revived lanes lost",
            "            stage.join(samples.take(~spent)",
            "            (samples.take(~spent)",
        ),
        (
            "image found at a smaller eps not used",
            "(samples.lane == 0) & (samples.norm <= limit(eps))",
            "(samples.lane < 0) & (samples.norm <= limit(eps))",
        ),
        (
            "image of any size taken as found at a smaller eps",
            "(samples.lane == 0) & (samples.norm <= limit(eps))",
            "(samples.lane == 0) & samples.norm.isfinite()",
        ),
        (
            "stage of the smaller eps credited",
            "by = entry.stage - entry.stage % members + done.found_by % members",
            "by = done.found_by",
        ),
        ("restarts all alike", "keys.at(lane.view(-1))", "keys"),
        ("fallen samples sent on as well", "spent = finished & ~fell", "spent = finished | fell"),
    ),
    *of_attack(
        "_confirming",
        "test_engine test_confirming",
        ("fallen without confirmation", " & (highest <= 1) & wrong", " & (highest <= 1)"),
        ("refused images not pushed", "in PUSHES if push else ()", "in ()"),
        ("looks of the judge not counted", "forward[rows, -1] += 1", "forward[rows, -1] += 0"),
    ),
    *of_attack(
        "samples",
        "test_confirming",
        ("latest image transferred", "if attack.minimum_norm:", "if False:"),
    ),
    *of_attack(
        "_stages",
        "test_engine",
        (
            "samples mixed on refill",
            "Samples.concat([self.samples, samples])",
            "Samples.concat([samples, self.samples])",
        ),
    ),
    *of_attack(
        "_stages",
        "test_joined",
        ("an attack joined to itself draws the same", 'f"{t} #{count + 1}" if count else t', "t"),
    ),
    *of_attack(
        "engine",
        "test_craft",
        (
            "clean logits that are not finite counted as right",
            "wrong = ~(finite & (logits.argmax(1) == samples.labels))",
            "wrong = logits.argmax(1) != samples.labels",
        ),
    ),
    *of_attack(
        "samples",
        "test_engine test_craft",
        (
            "largest image found kept",
            "better = sizes < self.norm",
            "better = sizes.isfinite() & ((sizes > self.norm) | self.norm.isinf())",
        ),
        ("size check dropped", "return float(eps) * (1 + SLACK) + SLACK", 'return float("inf")'),
        ("eps tolerance 1 %", "SLACK = 1e-6", "SLACK = 1e-2"),
        (
            "wrong class taken for the wanted one",
            "given != labels, given == targets)",
            "given != labels, given != labels)",
        ),
    ),
    *of_attack(
        "run",
        "test_engine",
        (
            "a fall at the next eps counted at this one",
            "fell = verdict.stage < start + count",
            "fell = verdict.stage <= start + count",
        ),
        ("eps of the conditions swapped", "count * place, condition", "count * -place, condition"),
    ),
    *of_attack(
        "evaluator",
        "test_evaluator",
        (
            "padding leaks into the result",
            "return logits[: images.shape[0]]",
            "return logits",
        ),
        (
            "padding leaks into the gradients",
            "return found[:count, None]",
            "return found[:, None]",
        ),
        (
            "logits that are not finite counted as a success",
            "torch.where(finite[:, None], logits, torch.zeros_like(logits)), finite",
            "torch.where(finite[:, None], logits, torch.zeros_like(logits)), finite | True",
        ),
        ("repeats summed, not averaged", "total[1] / self.repeats", "total[1]"),
    ),
]

CHECKS = of_attack(
    "checks",
    "test_checks",
    ("a randomized model not noticed", "amax() / scale) > _ROUNDING", "amax() / scale) > 1e9"),
    ("a huge eps not tried", "if self._again(huge, samples)[1]:", "if False:"),
)

FLOW = [
    *of_measuring(
        "measuring/flow",
        "test_flow",
        (
            "conditions swapped",
            "entry.scores[outcome.condition].add(",
            "entry.scores[-1 - outcome.condition].add(",
        ),
        (
            "pieces of an earlier process overwritten",
            "default=-1) + 1",
            "default=-1) * 0",
        ),
        (
            "finished samples measured again",
            "[id_ not in self._earlier.ids for",
            "[True for",
        ),
        (
            "a part flushed before all its outcomes are there",
            "if not entry.read or entry.awaited:",
            "if not entry.read:",
        ),
    ),
    *of_measuring(
        "measuring/stopping",
        "test_prefix",
        (
            "what was measured after the prefix counted too",
            "return [None if self._halfwidth is None else seen.parts for seen in self._seen]",
            "return [None for _ in self._seen]",
        ),
        (
            "a gap in the prefix",
            "while not seen.narrow and seen.parts in whole:",
            "while not seen.narrow and seen.parts <= max(whole, default=-1):",
        ),
        ("whole width taken for half", "(high - low) / 2 <=", "(high - low) / 4 <="),
    ),
]
