"""The limit of groups where filters group by different keys."""

from __future__ import annotations

from tests.world.story import Story


def test_equal_texts_of_different_filters_take_one_place() -> None:
    regions = ("a", "b")
    filters = [
        {"values": {"r": [r]}, "properties": {"amount": "1", "pricing_group_keys": [f"k{r}"]}}
        for r in regions
    ]
    story = Story(max_groups=2).metric("m", "count_agg", filters=[{"key": "r", "values": regions}])
    story.plan({"filters": filters}).subscribe()
    for text in ("0", "1", "2"):
        for r in regions:
            story.send("2024-01-02", r=r, **{f"k{r}": text})
    (shown,) = story.usage("2024-01-03")["charges_usage"]
    found = [
        (group["grouped_by"], each["units"])
        for group in shown["grouped_usage"]
        for each in group["filters"]
        if each["events_count"]
    ]
    assert found == [({f"k{r}": text}, "1.0") for r in regions for text in ("0", "1")]
