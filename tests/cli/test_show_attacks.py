from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.records import Store
from report.make_attacks import FMN, MEMBERS, add_attack, attacked, auto, smallest
from report.make_store import MODELS, add_run, samples_of


def shown(path, *options):
    store = Store(path)
    add_run(store, MODELS[0], "clean", samples_of(0, "clean", 150))
    add_attack(store, 0, auto(0), attacked(0, 2 / 255, MEMBERS), eps=2 / 255)
    add_attack(store, 0, FMN, smallest(0), eps=None)
    done = CliRunner().invoke(app, ["show", str(path), *options], env={"COLUMNS": "200"})
    return done.output.replace("\N{NO-BREAK SPACE}", " ")


def test_the_summary_lists_robust_accuracy_under_a_short_name(tmp_path):
    text = shown(tmp_path)

    assert "robust accuracy" in text and "AutoAttack Linf 2/255" in text


def test_the_summary_gives_no_accuracy_to_an_attack_without_a_radius(tmp_path):
    assert "FMN" not in shown(tmp_path)


def test_conditions_list_every_attack_under_a_short_name(tmp_path):
    text = shown(tmp_path, "--conditions")

    assert "FMN Linf smallest norm" in text and "autoattack(" not in text
