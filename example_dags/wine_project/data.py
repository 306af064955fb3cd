"""The wines, and which of them are kept for the test."""

import json
from pathlib import Path

from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split


def load():
    wines = load_wine()
    return wines.data, wines.target


def split(seed, test_share):
    _, cultivars = load()
    rows = list(range(len(cultivars)))
    train, test = train_test_split(rows, test_size=test_share, random_state=seed, stratify=cultivars)
    return {"train": sorted(train), "test": sorted(test)}


def names():
    """Read the file that lies beside this module; it is in the bundle too."""
    return json.loads(Path(__file__).with_name("cultivars.json").read_text())
