"""A server with one open study of made-up clips: `python -m tests.browser.rate_app FOLDER`."""

import os
import sys
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI

from evaluation.preference.http import preference_router
from evaluation.preference.opening import Opener, open_study
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store, sqlite_url
from evaluation.preference.study import Study
from evaluation.ui.rate_page import rate_router
from ltx2 import Clip

DURATION_S, FRAME_RATE, SAMPLE_RATE = 1.5, 12.0, 16_000
PROMPTS = ("one", "two", "three", "four")
HOSTILE = '<img src=x onerror="document.title=1"> & "quotes"'


def made_up_clip(number: int) -> Clip:
    """A square that moves, and a tone."""
    count = int(DURATION_S * FRAME_RATE)
    frames = np.full((count, 96, 96, 3), 40 + 20 * number, np.uint8)
    for index in range(count):
        frames[index, 30:60, 2 * index : 2 * index + 30] = (250, 120, 20 * number)
    time = np.arange(int(DURATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 0.2 * np.sin(2 * np.pi * (220 + 60 * number) * time)
    return Clip(frames, np.stack([tone, tone]).astype(np.float32), FRAME_RATE, SAMPLE_RATE)


def plan(folder: Path) -> Study:
    """Two models, four prompts, many raters, two pairs that count."""
    for model in range(2):
        (folder / f"model-{model}").mkdir(parents=True)
        for index, prompt in enumerate(PROMPTS):
            made_up_clip(2 * index + model).save(folder / f"model-{model}" / f"{prompt}.mp4")
    return Study(
        name="Browser",
        models=[{"name": f"model-{m}", "folder": folder / f"model-{m}"} for m in range(2)],
        prompts=[{"id": prompt, "text": HOSTILE} for prompt in PROMPTS],
        raters=24,
        session={
            "pairs": 2,
            "training": 1,
            "attention": 0,
            "repeats": 0,
            "break_after": 1,
            "blinding_guesses": 1,
        },
    )


def main(folder: Path) -> None:
    """Serves until it is stopped; the study's id is in `folder/study`."""
    store = Store(sqlite_url(folder / "studies.db"))
    study_id = store.create(plan(folder / "clips")).id
    open_study(store, study_id, folder / "stimuli")
    (folder / "study").write_text(study_id)
    app = FastAPI()
    opener = Opener(store, folder / "stimuli")
    app.include_router(preference_router(store, Sessions(store), opener, owner_password=None))
    app.include_router(rate_router())
    port = int(os.environ["GRADIO_SERVER_PORT"])

    @app.get("/")
    def root() -> str:
        return "up"

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
