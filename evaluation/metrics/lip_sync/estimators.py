"""The estimators of the offset between lips and sound, by the names that commands use."""

from evaluation.measurement import Metric
from evaluation.metrics.lip_sync import closure, landmarks, syncnet

ESTIMATORS: dict[str, Metric] = {
    "landmarks": landmarks.METRIC,
    "syncnet": syncnet.METRIC,
    "closure": closure.METRIC,
}
