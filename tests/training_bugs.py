"""Known bugs of training, for `tests/mutants.py`."""

from __future__ import annotations

from bug import Bug


def _of(file: str, tests: tuple[str, ...], *bugs: tuple[str, str, str]) -> list[Bug]:
    return [Bug(*bug, file=f"training/{file}", tests=tests) for bug in bugs]


_LOOP = ("training/test_trainer.py",)

TRAINING = [
    *_of(
        "trainer.py",
        _LOOP,
        (
            "attacks of an epoch repeat those of the first",
            'stream = f"training attack {epoch}"',
            'stream = "training attack"',
        ),
        (
            "the optimizer's memory is lost on resume",
            "memory, numbers = optimizer_state(self._optimizer.optimizer)\n",
            "memory, numbers = {}, {}\n",
        ),
        (
            "averaged weights begin anew on resume",
            'self._average.load_state_dict(unpack(tensors, "average"))',
            "pass",
        ),
        (
            "what a step keeps is lost on resume",
            'self.extra = unpack(tensors, "extra")',
            "self.extra = {}",
        ),
        (
            "resume begins the epoch again",
            "            start=start,\n",
            "            start=0,\n",
        ),
        (
            "the crafting copy keeps the first weights",
            "            self.student.moved()\n",
            "",
        ),
        (
            "running statistics count what failed",
            "                buffer.copy_(before)\n",
            "                pass\n",
        ),
        (
            "portions are averaged as if they were batches",
            "nominal=count / self.accelerator.num_processes,",
            "nominal=size,",
        ),
        (
            "weights that diverge are stepped on",
            "            self._check(loss, norm)\n",
            "",
        ),
        (
            "dropout is the same in every step",
            "with keyed(self.recipe.seed, self.step, replay, self.classifier.device):",
            "with keyed(self.recipe.seed, 0, replay, self.classifier.device):",
        ),
        (
            "the second phase trains what the first did",
            "        if not self._phase.first <= epoch <= self._phase.last:\n",
            "        if False:\n",
        ),
        (
            "averaging stops",
            '            self._average.update_parameters(cast("nn.Module", self.classifier.net))\n',
            "            pass\n",
        ),
    ),
    *_of(
        "student.py",
        _LOOP,
        (
            "batch normalization thaws when others call train",
            '        self._mode = ""\n        self._moved = True\n',
            "        self._moved = True\n",
        ),
        (
            "crafting on batch statistics updates the running ones",
            "any_norm.track_running_stats = False",
            "pass",
        ),
    ),
    *_of(
        "protocols.py",
        ("training/test_protocols.py", "training/test_trainer.py"),
        (
            "the probed backbone is in training mode",
            "        for module in self._frozen:\n            module.eval()\n",
            "",
        ),
        ("norms are decayed", "return norms | biases", "return biases"),
        ("biases are decayed", "return norms | biases", "return norms"),
        (
            "the head learns at the backbone's rate",
            "        lr = settings.head_lr\n",
            "        pass\n",
        ),
        (
            "frozen norms keep their gradients",
            "        for module in self._norms:\n            module.requires_grad_(False)\n",
            "",
        ),
    ),
    *_of(
        "schedules.py",
        ("training/test_schedules.py",),
        ("the cycle peaks a step late", "turn = peak * total - 1", "turn = peak * total"),
        (
            "momentum does not go against the rate",
            "(_HIGH, _LOW, _HIGH)",
            "(_LOW, _HIGH, _LOW)",
        ),
        (
            "the radius grows over all epochs",
            "part = min(1.0, epoch / (train.epochs * train.eps_share))",
            "part = min(1.0, epoch / train.epochs)",
        ),
    ),
    *_of(
        "watching.py",
        ("training/test_watching.py",),
        (
            "the best is chosen by clean accuracy",
            'score = row["validation_accuracy"] if score is None else score',
            'score = row["validation_accuracy"]',
        ),
        ("the start may be the best", '        if row["step"] == 0:\n', "        if False:\n"),
        ("a tie is better", "score > self.best_score:", "score >= self.best_score:"),
        ("overfitting is measured from the last look", "max(self._held, held)", "held"),
    ),
    *_of(
        "run.py",
        ("training/test_run.py",),
        (
            "curves keep what the checkpoint does not know",
            "            cut_curves(self.folder, self.trainer.step)\n",
            "            pass\n",
        ),
    ),
    *_of(
        "folders.py",
        ("training/test_run.py",),
        (
            "another recipe goes on with the folder",
            "    if there.digest == recipe.digest:\n",
            "    if True:\n",
        ),
        (
            "other images are gone on with",
            "if known.data_fingerprint != prepared.fingerprint:",
            "if False:",
        ),
    ),
    *_of(
        "objectives/trades.py",
        ("training/objectives/test_formulas.py", "training/objectives/test_laws.py"),
        (
            "the divergence is turned around",
            "kl_divergence(F.log_softmax(clean, 1), F.log_softmax(moved, 1))",
            "kl_divergence(F.log_softmax(moved, 1), F.log_softmax(clean, 1))",
        ),
    ),
    *_of(
        "batches.py",
        ("training/test_batches.py",),
        (
            "a part of a batch goes to two processes",
            "begin = rank * each + min(rank, more)",
            "begin = rank * each",
        ),
    ),
]
