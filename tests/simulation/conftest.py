"""What is played by a test is the same each time."""

from __future__ import annotations

import random
import uuid

import pytest


@pytest.fixture(autouse=True)
def _ids_of_the_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw ids of commands from the name of the test: what a step draws follows its text."""
    choose = random.Random(request.node.name)

    def drawn() -> uuid.UUID:
        return uuid.UUID(int=choose.getrandbits(128), version=4)

    monkeypatch.setattr("app.definitions.shapes.uuid4", drawn)
