"""A module beside the DAG, with a relative import and a data file."""

from pathlib import Path
from typing import Any

from .counting import count


def longest() -> list[Any]:
    words = Path(__file__).with_name("words.txt").read_text().split()
    return [count(words), max(words, key=len)]


def fail(words: list[str]) -> str:
    return words[100]
