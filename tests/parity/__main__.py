"""`python -m tests.parity [FOLDER]`: every recorded case, one line each; exit code 1 if any fails.

FOLDER holds one folder per component, or is one; default: $LTX2_GOLDEN, else `../shared/golden`
beside the repository.
"""

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from tests.parity.runner import (
    Folder,
    Run,
    find_folders,
    find_runners,
    optional_outputs,
    run_folder,
)

DEFAULT_FOLDER = Path(__file__).parents[3] / "shared" / "golden"


def main(arguments: list[str]) -> int:
    """Exit code after everything ran."""
    if len(arguments) > 1:
        return _say("usage: python -m tests.parity [FOLDER]", code=2)
    chosen = Path(arguments[0] if arguments else os.environ.get("LTX2_GOLDEN") or DEFAULT_FOLDER)
    try:
        folders = find_folders(chosen)
    except ValueError as error:
        return _say(f"FAILED: {error}", code=1)
    runners = find_runners()
    passed = failed = skipped = 0
    for folder in folders:
        run = runners.get(folder.component)
        if run is None:
            _line(folder.path.name, "all cases", "no runner")
            skipped += max(1, len(folder.cases))
            continue
        counts = _run(folder, run)
        passed, failed, skipped = (
            a + b for a, b in zip((passed, failed, skipped), counts, strict=True)
        )
    _say(f"{passed} cases passed, {failed} failed, {skipped} without a runner")
    return 1 if failed or not passed else 0


def _run(folder: Folder, run: Run) -> tuple[int, int, int]:
    """Counts of passed, failed and skipped cases."""
    name = folder.path.name
    seen: dict[str, bool] = {}
    failed_to_run = 0
    try:
        optional = optional_outputs(folder)
        for summary in run_folder(folder, run):
            seen[summary.case] = seen.get(summary.case, True) and summary.passed
            worst = summary.worst
            _line(
                name,
                summary.case,
                "ok" if summary.passed else "FAILED",
                f"largest error {worst.max_error:8.1e}, tolerance {worst.tolerance:.1e}"
                f" ({worst.tensor})"
                + (
                    f"; {_unimplemented(optional, summary.case)}"
                    if summary.case in optional
                    else ""
                ),
            )
    except Exception:  # noqa: BLE001 - one component that breaks must not hide the others
        failed_to_run = 1
        _line(name, "stopped", "FAILED", traceback.format_exc())
    left = [case for case in folder.cases if case not in seen] if not failed_to_run else []
    for case in left:
        if case in optional:
            _line(name, case, "no runner", _unimplemented(optional, case))
        else:
            _line(name, case, "no runner")
    num_passed = sum(seen.values())
    return num_passed, len(seen) - num_passed + failed_to_run, len(left)


def _unimplemented(optional: Mapping[str, list[str]], case: str) -> str:
    return f"optional, not implemented: {', '.join(optional[case])}"


def _line(component: str, case: str, verdict: str, details: str = "") -> None:
    _say(f"{component:<28} {case:<28} {verdict:<9} {details}".rstrip())


def _say(text: str, *, code: int = 0) -> int:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
