"""How long the embedded models take for a clip of 4 s with sound, from the prompt to the MP4.

Every model runs in a process of its own, which makes one clip to warm up and then some more; the
best counts. The distilled model is raced against the guided one it was taught by. Run it on a
quiet machine: other work on the cores counts.

    python -m benchmarks.puppet_clip
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ltx2.checkpoint.catalog import embedded_models
from ltx2.preview import Preview

DURATION_S = 4.0
CLIPS = 3
PROMPT = 'A green puppet with a crown on a white background says "banana" in a low voice.'


class FirstPreview:
    """Notes when the first preview came."""

    at = float("nan")

    def __call__(self, preview: Preview) -> None:
        """Receives a preview."""
        if math.isnan(self.at):
            self.at = time.perf_counter()


def run(model: str) -> dict[str, float]:
    """Seconds and bytes of one model, in this process."""
    started = time.perf_counter()
    import ltx2

    pipeline = ltx2.load(model)
    loaded = time.perf_counter()
    seconds, previews = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + CLIPS):
            request = ltx2.Request(prompt=PROMPT, duration_s=DURATION_S, seed=number)
            shown = FirstPreview()
            begun = time.perf_counter()
            clip = pipeline(request, on_preview=shown)
            clip.save(Path(folder) / "clip.mp4")
            seconds.append(time.perf_counter() - begun)
            previews.append(shown.at - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "load_s": loaded - started,
        "first_clip_s": seconds[0],
        "clip_s": min(seconds[1:]),
        "first_preview_s": min(previews[1:]),
        "peak_bytes": peak,
    }


def main() -> None:
    """Measure every embedded model and print a row for each."""
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1])))
        return
    figures = {}
    for model in embedded_models():
        command = [sys.executable, "-m", "benchmarks.puppet_clip", model]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        figures[model] = json.loads(answer.stdout.splitlines()[-1])
    guided = max(row["clip_s"] for row in figures.values())
    print("| model | clip of 4 s | beside the slowest | first preview | loading | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for model, row in figures.items():
        print(
            f"| {model} | {row['clip_s']:.2f} s | {row['clip_s'] / guided:.2f} "
            f"| {row['first_preview_s']:.2f} s | {row['load_s']:.1f} s "
            f"| {row['peak_bytes'] / 1e9:.2f} GB |"
        )


if __name__ == "__main__":
    main()
