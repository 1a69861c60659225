"""How clean speech sounds, by DNSMOS (Reddy et al., 2021 and 2022), which the package brings."""

import warnings
from importlib.util import find_spec

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.sound import SPEECH_RATE
from evaluation.metrics.speech import LEAST_SPEECH_S
from evaluation.metrics.voice_activity import heard
from ltx2 import Clip


def speech_quality(clip: Clip, expectation: Expectation) -> Outcome:
    """Mean opinion score 1..5 that listeners would give the speech (ITU-T P.808 scale).

    Every other sound lowers it, however clear the words are, so only clips of like prompts
    compare. The details hold the scores of P.835: signal, background, overall.
    """
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    if any(find_spec(package) is None for package in ("speechmos", "librosa")):
        return NotMeasurable(
            "The network that judges speech is not installed.",
            "Install it with `pip install speechmos librosa`.",
        )
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    speech, activity = found
    if activity.speech_s < LEAST_SPEECH_S:
        return NotMeasurable("Nobody speaks for half a second.")
    from speechmos import dnsmos

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's, about empty mel bands
        scores = dnsmos.run(speech, sr=SPEECH_RATE, return_df=False)
    details = {
        "signal": float(scores["sig_mos"]),
        "background": float(scores["bak_mos"]),
        "overall": float(scores["ovrl_mos"]),
    }
    return Measured(float(scores["p808_mos"]), "MOS", details=details)


METRIC = Metric("language.quality", 1, "DNSMOS", speech_quality)
