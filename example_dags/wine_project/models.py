"""Models by name; each is fitted on some rows and asked about others."""

from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .data import load

MODELS = {
    "neighbours": KNeighborsClassifier(n_neighbors=5),
    "linear": LogisticRegression(max_iter=1000),
}


def predict(name, rows):
    measurements, cultivars = load()
    model = make_pipeline(StandardScaler(), MODELS[name])
    model.fit(measurements[rows["train"]], cultivars[rows["train"]])
    return model.predict(measurements[rows["test"]]).tolist()
