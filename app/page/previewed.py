"""What a change of a metric or a plan makes of figures, before it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from app.meter.evidence import PreviewedCell
from app.numbers import exact_difference, parse_text, plain
from app.page.fields import Kind, posting
from app.page.figures import NOTHING, bucket, count, figure, group, instant, link_to, whole
from app.page.html import Html, Node, button, el, markup
from app.page.tables import Column, Row, table

SHOWN_CELLS: Final = 200


class Previewed(NamedTuple):
    """What a change would make, as far as the workers told."""

    cells: Sequence[PreviewedCell]
    pairs: int
    skipped: int
    missing: Sequence[str]
    """Workers that did not tell."""


def preview_part(
    kind: Kind, previewed: Previewed, fresh: Node, organization: str | None, is_new: bool
) -> Html:
    """Return the table of what changes, and the three buttons; `fresh`: what a new one counts."""
    cells = previewed.cells
    published = sum(cell.published for cell in cells)
    columns = (
        Column("Customer"),
        Column("Subscription"),
        Column("Before", "number"),
        Column("After", "number"),
        Column("Change", "number"),
        Column("Charge"),
        Column("Filter"),
        Column("Group"),
        Column("Period from"),
        Column("State"),
    )
    rows = (_changed(number, cell) for number, cell in enumerate(cells[:SHOWN_CELLS]))
    more = f", first {SHOWN_CELLS} of {whole(len(cells))}" if len(cells) > SHOWN_CELLS else ""
    return markup(
        el("h2", "What changes"),
        fresh,
        el("p", _sums(cells), f" {count(previewed.pairs, 'metric')} of subscriptions folded anew."),
        el("p", f"{count(previewed.skipped, 'metric')} of subscriptions cannot be told yet.")
        if previewed.skipped
        else None,
        el("p", f"No answer from {', '.join(previewed.missing)}: what they have is missing here.")
        if previewed.missing
        else None,
        table("changes", f"Figures that change{more}", columns, rows, "No figure changes."),
        _buttons(kind, organization, is_new, published),
    )


def _changed(number: int, cell: PreviewedCell) -> Row:
    before = "0" if cell.before is None else cell.before.units
    after = "0" if cell.after is None else cell.after.units
    return Row(
        str(number),
        (
            cell.external_customer_id,
            cell.external_subscription_id,
            figure(before),
            figure(after),
            figure(_difference(before, after)),
            cell.charge_code,
            bucket(cell.filters),
            group(cell.grouped_by) or NOTHING,
            instant(cell.period_from),
            "published" if cell.published else "not published",
        ),
    )


def _difference(before: str, after: str) -> str:
    first, second = parse_text(before), parse_text(after)
    if first is None or second is None:
        return "0"
    return plain(exact_difference(second, first))


def _sums(cells: Sequence[PreviewedCell]) -> str:
    customers = len({cell.external_customer_id for cell in cells})
    published = sum(cell.published for cell in cells)
    return (
        f"{count(len(cells), 'figure')} of {count(customers, 'customer')} change, "
        f"{whole(published)} of them published."
    )


def _buttons(kind: Kind, organization: str | None, is_new: bool, published: int) -> Html:
    post = posting(kind, organization, is_new=is_new)
    save = button("Save", "#preview", hx_post=post("save"), hx_include=f"#{kind} form")
    revise = None
    if published:
        revise = el(
            "p",
            el("label", "Revise published periods that start from", for_="from"),
            el("input", id="from", name="from", type="date"),
            el(
                "button",
                f"Save and revise: {count(published, 'record')}",
                type="button",
                hx_post=post("save", revise="yes"),
                hx_include=f"#{kind} form, #from",
                hx_target="#preview",
                hx_swap="innerHTML",
                hx_confirm=f"Save, and revise up to {count(published, 'published record')}?",
            ),
        )
    back = link_to("Back", "definitions", organization=organization)
    return el("div", el("p", save, " ", back), revise, id="save")


def saved_part(kind: Kind, code: str, organization: str | None, revised: bool) -> Html:
    """Return that it is saved, and where it is."""
    link = link_to(code, "definitions", f"{kind}s", code, organization=organization)
    more = " Revisions come at the next cut." if revised else ""
    return el("p", "Saved: ", link, f".{more}", id="saved", class_="good")
