"""How good predictions are. Needs nothing but Python, so the DAG's file imports it as it is."""


def accuracy(truth, predicted):
    return sum(map(int.__eq__, truth, predicted)) / len(truth)


def best(scores):
    """Return the model with the highest score; of equals, the first by name."""
    return max(sorted(scores), key=scores.__getitem__)
