"""Ids of a script: commands make random ones."""

from __future__ import annotations

import random
import re
import uuid

from tests.simulation.steps import AtOnce, Define, Script, Step

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def with_own_ids(script: Script, choose: random.Random) -> Script:
    """Commands make random ids: let them be the seed's."""
    ids: dict[bytes, bytes] = {}

    def own(found: re.Match[bytes]) -> bytes:
        known = ids.get(found[0])
        if known is None:
            made = uuid.UUID(int=choose.getrandbits(128), version=4)
            known = ids[found[0]] = str(made).encode()
        return known

    def owned(define: Define) -> Define:
        return define._replace(value=_UUID.sub(own, define.value))

    def with_own(step: Step) -> Step:
        match step:
            case Define():
                return owned(step)
            case AtOnce(elements):
                made = (owned(each) if isinstance(each, Define) else each for each in elements)
                return step._replace(elements=tuple(made))
        return step

    return script._replace(steps=[with_own(step) for step in script.steps])
