"""The 19B transformer in little memory: a pass whose blocks are read from a file while it runs.

Writes a random checkpoint in the shape of the published transformer (about 38 GB), reads it from
end to end into one buffer, through the system's cache and past it, and runs passes of a small
latent that read every block as they need it. They take turns, and the cache of the file is emptied
before each, so that all of it comes from the disk. The file is deleted at the end, also after
Ctrl-C.

With --whole the file holds every component of the published single file (43 GB) and a clip is made
of it, with a text encoder as wide and deep as the published one, and else tiny.

    python -m benchmarks.block_streaming [--whole] [--folder FOLDER] [--layers N] [--threads N]
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch

from ltx2.checkpoint.components import TRANSFORMER
from ltx2.checkpoint.loader import load_component
from ltx2.checkpoint.published import TEXT_LAYERS, TEXT_WIDTH, published_config, tensors_of
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.runtime.streaming import BlockStream, find_homes
from ltx2.runtime.visitors import visits
from ltx2.training.puppet.text import write_text_encoder_folder

Config = Mapping[str, Any]

SPARE_BYTES = 5_000_000_000
"""Left free for others."""

CHUNK = 64 * 2**20
"""Bytes read or written at once."""

PASSES = 2
VIDEO_GRID, AUDIO_TOKENS, TEXT_TOKENS = (2, 4, 8), 9, 128


def write_checkpoint(path: Path, shapes: Mapping[str, tuple[int, ...]], config: Config) -> int:
    """A file of random bfloat16 weights; its size in bytes."""
    header: dict[str, object] = {}
    end = 0
    # As released: all tensors of a block beside each other.
    for name, shape in sorted(shapes.items()):
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (start, end)}
    header["__metadata__"] = {"config": json.dumps(config)}
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


def write_text_encoder(folder: Path) -> None:
    """A Gemma 3 as wide and deep as the published one, and else tiny: random weights."""
    from transformers import Gemma3TextConfig, Gemma3TextModel  # takes seconds

    write_text_encoder_folder(folder, ["a red puppet says hello", "a yellow ball bounces"] * 20)
    settings = json.loads((folder / "config.json").read_text())
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32}
    sizes = {"hidden_size": TEXT_WIDTH, "num_hidden_layers": TEXT_LAYERS, "intermediate_size": 64}
    kinds = {"layer_types": ["full_attention"] * TEXT_LAYERS}
    torch.manual_seed(0)
    model = Gemma3TextModel(Gemma3TextConfig(**{**settings, **heads, **sizes, **kinds}))
    (folder / "config.json").unlink()
    model.bfloat16().save_pretrained(folder)


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


def run_whole(path: Path, threads: int) -> dict[str, object]:
    """Seconds and memory of a whole clip by the pipeline, measured in this process."""
    torch.set_num_threads(threads)
    watch = MemoryWatch()
    with watch:
        import ltx2

        started = time.perf_counter()
        pipeline = ltx2.load(path, text_encoder=path.parent / "text_encoder", device="cpu")
        loaded = time.perf_counter()
        block = pipeline.networks.transformer.transformer_blocks[0]
        guidance = ltx2.Guidance()
        clip = pipeline(
            ltx2.Request(
                prompt="a ball",
                width=64,
                height=64,
                num_frames=9,
                num_steps=1,
                video_guidance=guidance,
                audio_guidance=guidance,
            )
        )
        made = time.perf_counter()
    return {
        "seconds": [loaded - started, made - loaded],
        "is_on_disk": all(weight.is_meta for weight in block.parameters()),
        "frames": clip.frames.shape,
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

    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, stop)
    with tempfile.TemporaryDirectory(dir=folder, prefix="ltx2-streaming-") as own:
        yield Path(own) / "transformer.safetensors"


def main() -> None:
    """Write, measure, delete, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--layers", type=int, default=TransformerConfig().num_layers)
    parser.add_argument("--whole", action="store_true", help="a whole clip with all components")
    # One core is for reading.
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        run_one = run_whole if options.whole else run
        print(json.dumps(run_one(options.measure, options.threads)))
        return
    with deleted_at_the_end(options.folder) as path:
        (measure_whole if options.whole else measure_passes)(path, options)


def in_a_process(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What a new process measures, so that nothing else is in its memory."""
    command = [sys.executable, "-m", "benchmarks.block_streaming", "--measure", str(path)]
    command += ["--threads", str(options.threads), *(["--whole"] if options.whole else [])]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def written(path: Path, shapes: Mapping[str, tuple[int, ...]], config: Config) -> None:
    """Write the checkpoint and say so."""
    started = time.perf_counter()
    size = write_checkpoint(path, shapes, config)
    print(f"written: {size / 1e9:.1f} GB in {time.perf_counter() - started:.0f} s", flush=True)


def measure_passes(path: Path, options: argparse.Namespace) -> None:
    """The transformer alone, against the speed of the disk."""
    config = replace(TransformerConfig(), num_layers=options.layers)
    with torch.device("meta"):
        state = Transformer(config).state_dict()
    shapes = {TRANSFORMER.prefix + name: tuple(tensor.shape) for name, tensor in state.items()}
    written(path, shapes, {"transformer": {"num_layers": config.num_layers}})
    speeds = [[read_speed(path, is_direct=kind) for kind in (False, True)]]
    figures = in_a_process(path, options)
    speeds.append([read_speed(path, is_direct=kind) for kind in (False, True)])
    usual, direct = (statistics.mean(column) for column in zip(*speeds, strict=True))
    streamed = figures["read_bytes"] / statistics.mean(figures["seconds"])
    seconds = ", ".join(f"{value:.1f}" for value in figures["seconds"])
    print(
        f"pass of {torch.Size(VIDEO_GRID).numel()} + {AUDIO_TOKENS} tokens: {seconds} s for "
        f"{figures['read_bytes'] / 1e9:.1f} GB, outputs finite: {figures['is_finite']}\n"
        f"reading end to end (before and after): {usual / 1e9:.2f} GB/s, past the cache "
        f"{direct / 1e9:.2f} GB/s; streamed: {streamed / 1e9:.2f} GB/s = "
        f"{streamed / usual:.0%} and {streamed / direct:.0%} of it"
    )
    tell_peak(figures["peak"])


def measure_whole(path: Path, options: argparse.Namespace) -> None:
    """The command's own way, from the file to the clip, with one step."""
    config = published_config("ltx-2-19b-dev")
    write_text_encoder(path.parent / "text_encoder")
    written(path, {name: info.shape for name, info in tensors_of(config).items()}, config)
    forget(path)
    figures = in_a_process(path, options)
    load_s, clip_s = figures["seconds"]
    print(
        f"loading: {load_s:.1f} s; a clip of {figures['frames']} in one step: {clip_s:.1f} s; "
        f"weights left on disk without being asked to: {figures['is_on_disk']}"
    )
    tell_peak(figures["peak"])


def tell_peak(peak: Mapping[str, int]) -> None:
    """Print the most memory."""
    print(
        f"most memory: {peak['both'] / 1e9:.2f} GB at once; most that is anonymous "
        f"{peak['anonymous'] / 1e9:.2f} GB, most pages of files {peak['mapped'] / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
