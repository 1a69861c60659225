import base64
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from evaluation.suites.commands import SUITES
from evaluation.suites.generators import find_generator
from evaluation.suites.generators.cloud import SoraGenerator, VeoGenerator
from evaluation.suites.generators.command import CommandGenerator, CommandTemplate, load_template
from evaluation.suites.generators.folder import FolderGenerator
from evaluation.suites.generators.pipeline import PipelineGenerator
from evaluation.suites.given import Given, GivenImage
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Counts, plan_run, run_suite
from evaluation.suites.schema import Shape, load_suite, request_of
from ltx2 import Clip, Request
from ltx2.errors import GenerationCancelled, GenerationError, RequestError
from ltx2.progress import ignore_progress, never_cancel
from tests.fakes.model import PROFILE, draw
from tests.unit.evaluation.suites.makers import Maker, suite_of


@pytest.fixture
def clip_file(tmp_path):
    path = tmp_path / "drawn.mp4"
    draw(Request(prompt="x", duration_s=0.4, width=64, height=64).resolve(PROFILE)).save(path)
    return path


def call(generator, output, *, prompt=None, should_cancel=never_cancel, **settings):
    (item,) = suite_of(1).items
    if prompt is not None:
        item = item.model_copy(update={"prompt": prompt})
    return generator(
        item,
        request_of(item, 5, settings),
        output,
        on_progress=ignore_progress,
        should_cancel=should_cancel,
    )


# --- a folder of clips -------------------------------------------------------------------------


def test_a_folder_gives_the_clip_of_the_item_and_seed_and_leaves_out_the_others(tmp_path):
    clips = tmp_path / "ovi"
    clips.mkdir()
    maker, suite = Maker(), suite_of(3)
    for name, number in (("item-0-1", 0), ("item-1", 1), ("other", 2)):
        item = suite.items[number]
        request = request_of(item, 1)
        maker(item, request, clips / f"{name}.mp4", on_progress=None, should_cancel=None)
    generator = FolderGenerator(clips)
    assert generator.name == "ovi"
    folder = RunFolder(tmp_path / "run")
    assert run_suite(suite, generator, folder, seeds=(1, 2)) == Counts(made=3, skipped=3)
    (clips / "other.mp4").unlink()
    assert FolderGenerator(clips).version() != generator.version()
    with pytest.raises(RequestError, match="There is no folder"):
        FolderGenerator(tmp_path / "nothing")


# --- any program -------------------------------------------------------------------------------

COPY = """
import json, shutil, sys
open(sys.argv[1] + "/said.json", "w").write(json.dumps(sys.argv[3:]))
shutil.copy(sys.argv[2], sys.argv[3])
shutil.copy(sys.argv[1] + "/said.json", sys.argv[3] + ".json")
"""


def template(*arguments, **more):
    return CommandTemplate(
        schema_version=1, name="program", arguments=(sys.executable, "-c", *arguments), **more
    )


def test_a_program_gets_the_prompt_as_one_argument_that_no_shell_reads(tmp_path, clip_file):
    output = tmp_path / "out.mp4"
    prompt = 'Rain; $(touch x) `ls` {seed} "number 0" && exit'
    made = template(
        COPY, "{work}", str(clip_file), "{output}", "{prompt}", "{seed}", "{num_frames}"
    )
    assert call(CommandGenerator(made), output, prompt=prompt) is None
    assert len(Clip.load(output).frames) == 9
    said = json.loads((tmp_path / "out.mp4.json").read_text())
    assert said[1:] == [prompt, "5", "10"]


def test_a_program_may_read_files_and_write_where_it_wants(tmp_path, clip_file):
    code = (
        "import shutil, sys, csv; from pathlib import Path; w = Path(sys.argv[1]);"
        "rows = list(csv.reader((w / 'p.csv').open(newline='')));"
        "assert rows == [['text_prompt'], ['A <S>number 0<E>, \"new\"']], rows;"
        "(w / 'deep').mkdir(); shutil.copy(sys.argv[2], w / 'deep' / 'x.mp4')"
    )
    made = template(
        code,
        "{work}",
        str(clip_file),
        files={"p.csv": "text_prompt\n{prompt_csv}\n"},
        output="**/*.mp4",
        speech_marks=("<S>", "<E>"),
    )
    output = tmp_path / "out.mp4"
    call(CommandGenerator(made), output, prompt='A "number 0", "new"')
    assert len(Clip.load(output).frames) == 9


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (template("import sys; print('no weights'); sys.exit(3)"), "code 3: no weights"),
        (template("import time; time.sleep(60)", timeout_s=0.3), "took more than 0.3 s"),
        (template("pass", output="*.mp4"), r"wrote no \*.mp4"),
        (
            CommandTemplate(schema_version=1, name="program", arguments=("no-such-program-here",)),
            "no-such-program-here cannot be started",
        ),
    ],
)
def test_a_program_that_fails_says_why(tmp_path, made, message):
    with pytest.raises(GenerationError, match=message):
        call(CommandGenerator(made), tmp_path / "out.mp4")


def test_a_program_is_ended_with_the_run(tmp_path):
    started = time.monotonic()
    with pytest.raises(GenerationCancelled):
        call(
            CommandGenerator(template("import time; time.sleep(60)")),
            tmp_path / "out.mp4",
            should_cancel=lambda: True,
        )
    assert time.monotonic() - started < 10


def test_what_a_request_leaves_open_has_to_be_in_the_template(tmp_path):
    with pytest.raises(RequestError, match="leaves num_steps open"):
        call(CommandGenerator(template("pass", "{num_steps}")), tmp_path / "out.mp4")


def test_delivered_templates_fill_in_everything(tmp_path):
    for name in ("ovi", "wan2.2"):
        made = load_template(name)
        with pytest.raises(GenerationError, match=r"cannot be started|ended with code"):
            call(CommandGenerator(made), tmp_path / "out.mp4", num_frames=121)
    with pytest.raises(RequestError, match="no command template nothing"):
        load_template("nothing")


def test_a_wrong_template_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("schema_version: 1\nname: x\narguments: [a]\nshell: yes\n")
    with pytest.raises(RequestError, match=r"mine.yaml:4: shell: "):
        load_template(str(path))


# --- services ----------------------------------------------------------------------------------


OPERATION = "projects/p/locations/global/publishers/google/models/m/operations/7"


class Service(BaseHTTPRequestHandler):
    """Both services in one: the second question finds the clip done."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, text.decode("utf-8", "replace")))
        if self.server.refuse:
            self._json({"error": {"code": 400, "message": "no such key", "status": "X"}}, 400)
        elif "predictLongRunning" in self.path:
            self._json({"name": OPERATION})
        elif "fetchPredictOperation" in self.path:
            self.server.polls += 1
            clip = base64.b64encode(self.server.video).decode()
            videos = [{"bytesBase64Encoded": clip, "mimeType": "video/mp4"}]
            done = {"done": True, "response": {"videos": videos}}
            self._json({"name": OPERATION, **(done if self.server.polls > 1 else {})})
        else:
            self._json({"id": "video_7", "object": "video", "status": "queued"})

    def do_GET(self):
        self.server.polls += 1
        if self.path.endswith("/videos/video_7"):
            status = "in_progress" if self.server.polls == 1 else "completed"
            self._json({"id": "video_7", "object": "video", "status": status})
        else:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.end_headers()
            self.wfile.write(self.server.video)

    def _json(self, value, status=200):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def service(clip_file, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "stand-in")
    monkeypatch.setenv("OPENAI_API_KEY", "stand-in")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.polls, server.refuse = [], 0, False
    server.video = clip_file.read_bytes()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


SERVICES = ["veo", "sora"]


def cloud(kind, service):
    if kind == "veo":
        pytest.importorskip("google.genai", reason="pip install google-genai")
        url = service.url
        return VeoGenerator("veo-3.1-generate-preview", base_url=url, poll_s=0.01)
    pytest.importorskip("openai", reason="pip install openai")
    return SoraGenerator("sora-2", base_url=f"{service.url}/v1", poll_s=0.01)


@pytest.mark.parametrize("kind", SERVICES)
def test_a_service_is_asked_through_its_official_client_and_its_clip_taken(kind, service, tmp_path):
    output = tmp_path / "out.mp4"
    assert call(cloud(kind, service), output, duration_s=5) is None
    assert output.read_bytes() == service.video
    path, asked = service.asked[0]
    assert "number 0" in asked
    if kind == "veo":
        assert "veo-3.1-generate-preview" in path
        assert json.loads(asked)["parameters"]["durationSeconds"] == 6
        assert json.loads(asked)["parameters"]["seed"] == 5
    else:
        assert path == "/v1/videos"
        assert "sora-2" in asked
        assert "8" in asked


@pytest.mark.parametrize("kind", SERVICES)
def test_a_service_that_refuses_is_an_error_with_a_reason(kind, service, tmp_path):
    service.refuse = True
    with pytest.raises(GenerationError, match="no such key"):
        call(cloud(kind, service), tmp_path / "out.mp4", duration_s=4)


def test_a_service_is_not_asked_for_more_than_it_can_make(tmp_path):
    generator = VeoGenerator("veo-3.1-generate-preview")
    (item,) = suite_of(1).items
    long = item.model_copy(update={"id": "long", "shape": Shape(duration_s=20)})
    assert "at most 8 s" in generator.leaves_out(long, request_of(long, 1))
    brief = item.model_copy(update={"shape": Shape(duration_s=5)})
    assert generator.leaves_out(brief, request_of(brief, 1)) == ""
    suite = suite_of(1).model_copy(update={"items": (brief, long)})
    plan = plan_run(suite, generator, RunFolder(tmp_path / "run"))
    assert sum(plan.left_out.values()) == 1
    assert plan.cost_usd == pytest.approx(6 * 0.4)


def test_prices_are_of_the_length_that_is_charged():
    veo, sora = VeoGenerator("veo-3.1-generate-preview"), SoraGenerator("sora-2")
    assert veo.cost_usd(Request(prompt="x", duration_s=5)) == pytest.approx(6 * 0.4)
    assert sora.cost_usd(Request(prompt="x", duration_s=5)) == pytest.approx(8 * 0.1)
    assert veo.cost_usd(Request(prompt="x", duration_s=20)) == 0
    with pytest.raises(RequestError, match="price of sora-9 is not known"):
        SoraGenerator("sora-9")


def test_generators_are_found_by_kind():
    assert find_generator("sora:sora-2").name == "sora-2"
    assert find_generator("command:ovi").name == "ovi"
    assert find_generator("diffusers:Wan-AI/Wan2.2-TI2V-5B-Diffusers").name.startswith("Wan2.2")
    assert find_generator("models/mine.safetensors").name == "mine"
    with pytest.raises(RequestError, match="does not say which"):
        find_generator("veo:")


# --- files that items give ---------------------------------------------------------------------


def test_items_with_files_go_to_generators_that_take_them_and_are_left_out_by_others(
    tmp_path, clip_file
):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "first.png")
    suite = suite_of(2)
    given = Given(images=(GivenImage(file=tmp_path / "first.png"),))
    items = (suite.items[0].model_copy(update={"given": given}), suite.items[1])
    suite = suite.model_copy(update={"items": items})
    copies = [sys.executable, "-c", "import sys, shutil; shutil.copy(*sys.argv[1:3])"]
    arguments = (*copies, str(clip_file), "{output}")
    plain = CommandGenerator(CommandTemplate(schema_version=1, name="plain", arguments=arguments))
    assert run_suite(suite, plain, RunFolder(tmp_path / "a")) == Counts(made=1, skipped=1)
    wants = CommandTemplate(schema_version=1, name="wants", arguments=(*arguments, "{image}"))
    folder = RunFolder(tmp_path / "b")
    run_suite(suite.chosen(ids=["item-0"]), CommandGenerator(wants), folder)
    (record,) = map(folder.read_item, folder.read_run().keys)
    assert (record.status, record.mode) == ("ok", "images")
    assert record.request.keyframes[0].image.name == "first.png"


def test_our_pipeline_keeps_to_the_picture_of_an_item(tmp_path):
    suite = load_suite(SUITES / "puppet-modes.yaml").chosen(ids=["first-picture-red"])
    short = {"num_frames": 9}
    folder = RunFolder(tmp_path / "run")
    generator = PipelineGenerator("puppet-distilled")
    assert run_suite(suite, generator, folder, settings=short) == Counts(made=1)
    (key,) = folder.read_run().keys
    given = np.asarray(Image.open(suite.items[0].given.images[0].file).convert("RGB"), float)
    made = Clip.load(folder.clip(key)).frames[0].astype(float)
    assert np.abs(made - given).mean() < 12
