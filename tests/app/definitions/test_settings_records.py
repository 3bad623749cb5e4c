from typing import Any

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import FOLD_VERSION, MAX_WAIT_S, HistoryRecord, SettingsRecord
from app.definitions.outcome import Applied, Impact, Rejected
from tests.world.definitions_log import ORG, Log


def settings(**changes: Any) -> Command:
    record = msgspec.to_builtins(SettingsRecord())
    payload = {**record, **changes}
    return Command(type="settings", id="c", organization_id="", payload=payload)


def test_the_first_record_of_the_log_holds_for_what_was_appended_before_it() -> None:
    log = Log()
    assert log.definitions.settings_at() == SettingsRecord()
    assert not log.definitions.settings
    wanted = SettingsRecord(grace_s=60, tzdata_version="2026.1")
    outcome = log.append(commands.set_settings(wanted))
    assert outcome == Applied("settings", wanted, Impact(None, of_settings=True))
    assert log.definitions.settings.at() == log.definitions.settings_at() == wanted
    assert log.definitions.settings_at(0) == wanted
    again = log.append(commands.set_settings(wanted))
    assert isinstance(again, Applied)
    assert again.impact is None
    newer = SettingsRecord(grace_s=90)
    log.append(commands.set_settings(newer))
    assert log.definitions.settings_at() == newer
    assert log.definitions.settings_at(0) == wanted


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"close_grid_s": 0}, {"close_grid_s": ["value_is_out_of_range"]}),
        ({"grace_s": -1}, {"grace_s": ["value_is_out_of_range"]}),
        ({"max_groups": 0}, {"max_groups": ["value_is_out_of_range"]}),
        ({"late_window_s": MAX_WAIT_S + 1}, {"late_window_s": ["value_is_out_of_range"]}),
        ({"grace_s": 10**12}, {"grace_s": ["value_is_out_of_range"]}),
        ({"revise_every_s": 36 * 10**10}, {"revise_every_s": ["value_is_out_of_range"]}),
        (
            {"revise_every_s": 10**12, "close_grid_s": 10**12},
            {
                "close_grid_s": ["value_is_out_of_range"],
                "revise_every_s": ["value_is_out_of_range"],
            },
        ),
        ({"fold_version": FOLD_VERSION + 1}, {"fold_version": ["value_is_out_of_range"]}),
        ({"close_grid_s": 7}, {"close_grid_s": ["value_is_invalid"]}),
        ({"late_policy": "drop"}, {"settings": ["value_is_invalid"]}),
        ({"producer_trust": "topic"}, {"default_organization_id": ["value_is_mandatory"]}),
        ({"close_elapsed": "yes"}, {"settings": ["value_is_invalid"]}),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(
    changes: dict[str, Any], details: dict[str, list[str]]
) -> None:
    log = Log()
    assert log.refuse(settings(**changes)) == Rejected(422, "validation_errors", details)
    assert not log.definitions.settings


@pytest.mark.parametrize("field", ["home_partitioner", "default_organization_id"])
def test_whose_an_event_is_and_where_it_lives_is_fixed(field: str) -> None:
    log, values = Log(), {"home_partitioner": "murmur2", "default_organization_id": ORG}
    log.accept(settings(**values))
    first = log.definitions.settings_at()
    others = {"home_partitioner": "crc32", "default_organization_id": None}
    refused = log.refuse(settings(**values | {field: others[field], "grace_s": 5}))
    assert refused.details == {field: ["value_cannot_be_changed"]}
    assert log.definitions.settings_at() == first
    log.accept(settings(**values, grace_s=5))


def test_rules_of_an_earlier_version_do_not_come_back() -> None:
    log = Log()
    log.accept(settings(fold_version=1))
    log.accept(settings(fold_version=2))
    refused = log.refuse(settings(fold_version=1))
    assert refused.details == {"fold_version": ["value_cannot_be_changed"]}


def test_a_setting_of_a_later_version_is_passed_over() -> None:
    assert Log().accept(settings(colour="blue")) == SettingsRecord()


def test_a_history_record_is_kept_with_its_place_in_the_log() -> None:
    log = Log()
    metric = log.metric()
    command = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=5, to_ms=9)
    outcome = log.append(command)
    record = HistoryRecord(
        organization_id=ORG,
        metric_ids=(metric.id,),
        from_ms=5,
        to_ms=9,
        append_time_ms=log.now_ms,
        offset=1,
    )
    assert outcome == Applied("history", record, None)
    assert log.definitions.history_records == [record]


NAMED = {"billable_metric_ids": ["m"]}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"from_ms": "x", "to_ms": 1, **NAMED},
        {"from_ms": 1, **NAMED},
        {"from_ms": 1, "to_ms": 1, **NAMED},
        {"from_ms": 0, "to_ms": 1},
        {"from_ms": 0, "to_ms": 1, "billable_metric_ids": [], "charge_ids": []},
        {"from_ms": 0, "to_ms": 1, "charge_ids": "c"},
    ],
    ids=str,
)
def test_a_history_record_of_nothing_or_without_a_range_is_refused(payload: dict[str, Any]) -> None:
    log = Log()
    command = Command(type="history", id="c", organization_id=ORG, payload=payload)
    assert log.refuse(command).details == {"history": ["value_is_invalid"]}
    assert log.definitions.history_records == []


@pytest.mark.parametrize(
    ("change", "impact"),
    [
        ({"usage_changed": True}, Impact(None, codes=frozenset())),
        ({"producer_trust": "header"}, Impact(None, codes=frozenset())),
        ({"producers_may_correct": False}, Impact(None, codes=frozenset())),
        ({"producers_may_admit": False, "grace_s": 7}, Impact(None, of_settings=True)),
        ({"daily_records": True}, Impact(None, of_settings=True)),
        ({}, None),
    ],
)
def test_what_leaves_every_cell_as_it_is_has_nobody_looked_at(
    change: dict[str, Any], impact: Impact | None
) -> None:
    log, first = Log(), SettingsRecord(grace_s=0)
    log.append(commands.set_settings(first))
    outcome = log.append(commands.set_settings(msgspec.structs.replace(first, **change)))
    assert isinstance(outcome, Applied)
    assert outcome.impact == impact
