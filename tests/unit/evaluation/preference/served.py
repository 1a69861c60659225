"""A server of a study with clips that are only bytes: `python -m ... URL FOLDER PORT [RATERS]`."""

import sys
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from evaluation.preference.http import preference_router
from evaluation.preference.opening import Opener
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from tests.unit.evaluation.preference.studies import NO_LIMITS, a_plan, open_study

PASSWORD = "correct horse"


def an_app(store, folder, *, limits=NO_LIMITS, clock=time.time, password=PASSWORD):
    app = FastAPI()
    app.include_router(
        preference_router(
            store,
            Sessions(store, limits=limits, clock=clock),
            Opener(store, folder),
            owner_password=password,
            limits=limits,
        )
    )
    return app


def main(url, folder, port, raters="4"):
    store = Store(url)
    if not store.studies():
        open_study(store, Path(folder), a_plan(raters=int(raters)), duration_s=0.5)
    sys.stdout.write(f"{store.studies()[0].id}\n")
    sys.stdout.flush()
    uvicorn.run(
        an_app(store, Path(folder)), port=int(port), log_level="error", timeout_keep_alive=60
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
