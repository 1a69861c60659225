"""The 19B transformer in little memory: a pass whose blocks are read from a file while it runs.

Writes a random checkpoint in the shape of the published transformer (about 38 GB), reads it from
end to end into one buffer, through the system's cache and past it, and runs passes of a small
latent that read every block as they need it. They take turns, and the cache of the file is emptied
before each, so that all of it comes from the disk. The file is deleted at the end, also after
Ctrl-C.

    python -m benchmarks.block_streaming [--folder FOLDER] [--layers N] [--threads N]
"""

import argparse
import json
import mmap
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch

from ltx2.checkpoint.components import TRANSFORMER
from ltx2.checkpoint.loader import load_component
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.runtime.streaming import BlockStream, find_homes
from ltx2.runtime.visitors import visits

SPARE_BYTES = 5_000_000_000
"""Left free for others."""

CHUNK = 64 * 2**20
"""Bytes read or written at once."""

PASSES = 2
VIDEO_GRID, AUDIO_TOKENS, TEXT_TOKENS = (2, 4, 8), 9, 128


def write_checkpoint(path: Path, config: TransformerConfig) -> int:
    """A file of random bfloat16 weights in the shape of a transformer; its size in bytes."""
    with torch.device("meta"):
        shapes = {n: tuple(t.shape) for n, t in Transformer(config).state_dict().items()}
    header: dict[str, object] = {}
    end = 0
    # As released: all tensors of a block beside each other.
    for name, shape in sorted(shapes.items()):
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[TRANSFORMER.prefix + name] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": (start, end),
        }
    section = {"num_layers": config.num_layers}
    header["__metadata__"] = {"config": json.dumps({"transformer": section})}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # as everybody writes it, so that tensors begin at even bytes
    needed = 8 + len(text) + end
    free = shutil.disk_usage(path.parent).free
    if needed + SPARE_BYTES > free:
        raise SystemExit(
            f"The checkpoint takes {needed / 1e9:.1f} GB and {SPARE_BYTES / 1e9:.0f} GB are to "
            f"stay free, but {path.parent} has {free / 1e9:.1f} GB. Give another folder or fewer "
            "layers."
        )
    noise = (0.02 * torch.randn(CHUNK // 2, generator=torch.Generator().manual_seed(0))).bfloat16()
    values = noise.view(torch.uint8).numpy().data
    with path.open("wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, end, CHUNK):
            file.write(values[: min(CHUNK, end - start)])
            if start % (16 * CHUNK) == 0:
                os.fsync(file.fileno())
        os.fsync(file.fileno())
    return needed


def forget(path: Path) -> None:
    """Empties the page cache of a file."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_speed(path: Path, *, is_direct: bool) -> float:
    """Bytes per second of reading a file from end to end into one buffer."""
    forget(path)
    buffer = mmap.mmap(-1, CHUNK)
    file = os.open(path, os.O_RDONLY | (os.O_DIRECT if is_direct else 0))
    try:
        started = time.perf_counter()
        while os.readv(file, [buffer]):
            pass
        return path.stat().st_size / (time.perf_counter() - started)
    finally:
        os.close(file)


def small_inputs(config: TransformerConfig) -> tuple[ModalityInput, ModalityInput]:
    """Random tokens of a very small clip."""
    torch.manual_seed(0)

    def part(num_tokens: int, stream: StreamConfig, axes: int) -> ModalityInput:
        starts = torch.arange(num_tokens).float().expand(1, axes, -1)
        return ModalityInput(
            tokens=torch.randn(1, num_tokens, stream.in_channels),
            timesteps=torch.full((1, num_tokens), 0.7),
            sigma=torch.full((1,), 0.7),
            positions=torch.stack([starts, starts + 1], dim=-1),
            context=torch.randn(1, TEXT_TOKENS, config.context_channels(stream)),
        )

    return (
        part(torch.Size(VIDEO_GRID).numel(), config.video, 3),
        part(AUDIO_TOKENS, config.audio, 1),
    )


def run(path: Path, threads: int) -> dict[str, object]:
    """Seconds and memory of passes, measured in this process."""
    torch.set_num_threads(threads)
    config = TransformerConfig.from_metadata(CheckpointFile.open(path).config)
    watch = MemoryWatch()
    with watch:
        file = CheckpointFile.open(path)
        network = load_component(
            file,
            TRANSFORMER,
            lambda _: Transformer(config),
            dtype=torch.bfloat16,
            device="cpu",
            stays=visits,
        )
        homes = find_homes(network, file.stored, TRANSFORMER.prefix)
        stream = BlockStream(list(network.transformer_blocks), torch.device("cpu"), homes)
        read = sum(home.num_bytes for home in homes.values())
        seconds = []
        with torch.inference_mode():
            for _ in range(PASSES):
                stream.release()
                forget(path)
                started = time.perf_counter()
                outputs = network(*small_inputs(config))
                seconds.append(time.perf_counter() - started)
    return {
        "seconds": seconds,
        "read_bytes": read,
        "is_finite": all(bool(output.isfinite().all()) for output in outputs),
        "peak": watch.peak,
    }


class MemoryWatch:
    """Most memory that this process had at once, by kind, looked at every 20 ms.

    Attributes:
        peak: bytes of private memory ("anonymous"), of pages of files ("mapped"), of both at once.
    """

    def __init__(self) -> None:
        self.peak = {"anonymous": 0, "mapped": 0, "both": 0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            now = {
                line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if "kB" in line
            }
            anonymous, mapped = now["RssAnon"], now["RssFile"] + now["RssShmem"]
            found = {"anonymous": anonymous, "mapped": mapped, "both": anonymous + mapped}
            self.peak = {name: max(value, found[name]) for name, value in self.peak.items()}


@contextmanager
def deleted_at_the_end(folder: Path) -> Iterator[Path]:
    """A path in a new folder; both are gone afterwards, also when the program is told to stop."""

    def stop(*_: "int | FrameType | None") -> NoReturn:
        raise KeyboardInterrupt

    for kind in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, stop)
    with tempfile.TemporaryDirectory(dir=folder, prefix="ltx2-streaming-") as own:
        yield Path(own) / "transformer.safetensors"


def main() -> None:
    """Write, measure, delete, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--layers", type=int, default=TransformerConfig().num_layers)
    # One core is for reading.
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--pass-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pass_of is not None:
        print(json.dumps(run(options.pass_of, options.threads)))
        return
    config = replace(TransformerConfig(), num_layers=options.layers)
    with deleted_at_the_end(options.folder) as path:
        started = time.perf_counter()
        size = write_checkpoint(path, config)
        print(f"written: {size / 1e9:.1f} GB in {time.perf_counter() - started:.0f} s", flush=True)
        speeds = [[read_speed(path, is_direct=kind) for kind in (False, True)]]
        command = [sys.executable, "-m", "benchmarks.block_streaming", "--pass-of", str(path)]
        command += ["--threads", str(options.threads)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures = json.loads(answer.stdout.splitlines()[-1])
        speeds.append([read_speed(path, is_direct=kind) for kind in (False, True)])
    usual, direct = (statistics.mean(column) for column in zip(*speeds, strict=True))
    streamed = figures["read_bytes"] / statistics.mean(figures["seconds"])
    peak = figures["peak"]
    seconds = ", ".join(f"{value:.1f}" for value in figures["seconds"])
    print(
        f"pass of {torch.Size(VIDEO_GRID).numel()} + {AUDIO_TOKENS} tokens: {seconds} s for "
        f"{figures['read_bytes'] / 1e9:.1f} GB, outputs finite: {figures['is_finite']}\n"
        f"reading end to end (before and after): {usual / 1e9:.2f} GB/s, past the cache "
        f"{direct / 1e9:.2f} GB/s; streamed: {streamed / 1e9:.2f} GB/s = "
        f"{streamed / usual:.0%} and {streamed / direct:.0%} of it\n"
        f"most memory: {peak['both'] / 1e9:.2f} GB at once; most that is anonymous "
        f"{peak['anonymous'] / 1e9:.2f} GB, most pages of files {peak['mapped'] / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
