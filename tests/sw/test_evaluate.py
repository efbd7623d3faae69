"""`haarlequin evaluate`: its count is that of the model's card, and bad input is one line."""

import json
import re

import pytest

from haarlequin.models.common.places import ROOT
from haarlequin.sw import evaluate


def test_the_trained_digits_are_as_good_as_their_card_says(capsys):
    evaluate.main(["digits"])
    *classes, empty, whole = capsys.readouterr().out.splitlines()
    card = json.loads((ROOT / "models" / "zoo" / "digits" / "card.json").read_text(encoding="utf-8"))
    share = card["accuracy"]["test_deploy"]
    assert (empty, whole.partition(", in")[0]) == ("", f"digits: {share:.2%} right (352 of 360)")
    found = [re.fullmatch(r"(\d)  .*% right \((\d+) of (\d+)\)", line) for line in classes]
    assert [line[1] for line in found] == list("0123456789")
    assert [sum(int(line[part]) for line in found) for part in (2, 3)] == [352, 360]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["letters"], "unknown model 'letters': give "),
        (["cifar10-nano"], "name the folder of the images that cifar10-nano was trained on, with --data DIR"),
        (["digits", "--data", "."], "digits comes with scikit-learn: leave --data out"),
        (["cifar10-nano", "--data", "nothing"], "nothing: no such file or folder; --data takes"),
    ],
)
def test_what_it_cannot_evaluate_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(f"error: {message}")
