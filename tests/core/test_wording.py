from holdfast.core.wording import shortlist


def test_names_beyond_the_first_are_counted():
    assert shortlist(["a", "b", "c"], 2) == "a, b and 1 more"


def test_as_many_names_as_are_shown_are_all_named():
    assert shortlist(["a", "b"], 2) == "a, b"
    assert shortlist([]) == ""
