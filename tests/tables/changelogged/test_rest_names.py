"""Names of the rest: nobody who was added is missed, and few others are taken for one."""

from tables.changelogged.rest_names import RestNames

ORG = "org"


def test_all_that_were_added_may_be_there_and_few_others() -> None:
    names = RestNames()
    for number in range(10_000):
        names.add((ORG, f"sub-{number}"), f"code-{number % 100}")
    assert all(names.may_have((ORG, f"sub-{number}")) for number in range(10_000))
    assert all(names.may_have_code(ORG, f"code-{number}") for number in range(100))
    assert sum(names.may_have((ORG, f"other-{number}")) for number in range(10_000)) < 10
    assert sum(names.may_have(("org-2", f"sub-{number}")) for number in range(10_000)) < 10
    assert sum(names.may_have_code(ORG, f"sub-{number}") for number in range(10_000)) < 10


def test_of_none_nobody_is_there_and_of_an_unknown_one_anybody() -> None:
    names = RestNames()
    assert not names.may_have((ORG, "sub"))
    assert not names.may_have_code(ORG, "code")
    lost = RestNames(is_whole=False)
    assert lost.may_have((ORG, "sub"))
    lost.add((ORG, "sub"), "code")
    lost.is_whole = True
    assert lost.may_have((ORG, "sub"))
    assert not lost.may_have((ORG, "sub-2"))
