"""What a new version of a plan has in common with the one before is held once."""

import msgspec

from tests.app.definitions.test_plans import REGION, created, updated
from tests.world.definitions_log import ORG, Log


def test_what_does_not_change_in_a_changed_charge_is_held_once() -> None:
    log = Log()
    filters = [
        {"values": {"region": [each]}, "properties": {"amount": "1"}} for each in ("eu", "us")
    ]
    charge = {"charge_model": "standard", "filters": filters, "properties": {"amount": "1"}}
    (old, other) = created(log, charge, charge, filters=REGION)
    filters[1]["properties"] = {"amount": "2"}
    changed = {"id": old.id, "properties": {"amount": "9"}, "filters": filters}
    before = log.definitions.plan(ORG, "plan_code")
    plan = updated(log, name="new", amount_currency="EUR", charges=[changed, {"id": other.id}])
    (new, same) = plan.charges
    assert before is not None
    assert same is other
    assert new.filters[0] is old.filters[0]
    assert new.filters[1].properties == {"amount": "2"}
    assert new.filters[1].values is old.filters[1].values
    assert (new.code is old.code, new.charge_model is old.charge_model) == (True, True)
    assert plan.amount_currency is before.amount_currency
    # Another amount alone leaves the list of charges as it is.
    assert updated(log, amount_cents=7).charges is plan.charges


def test_other_keys_first_and_other_types_are_a_change_of_what_is_echoed() -> None:
    log = Log()
    properties = {"amount": "1", "a": 1, "b": 2}
    (charge,) = created(log, {"charge_model": "standard", "properties": properties})
    turned = {"b": 2, "a": True, "amount": "1"}
    changed = {"id": charge.id, "properties": turned, "min_amount_cents": 5}
    (new,) = updated(log, charges=[changed]).charges
    assert list(new.properties) == ["b", "a", "amount"]
    assert msgspec.json.encode(new.properties) == b'{"b":2,"a":true,"amount":"1"}'
