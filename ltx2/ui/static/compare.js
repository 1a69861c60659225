// Two clips that play in step while one of them is heard, and a table of what differs.
// `props.value` is {clips: [path, path], differences: [[name, left, right]]}, or null for none.

const DRIFT_S = 0.04; // Ears notice sound that is further than this from its picture.
const STEP_S = 0.5; // How far an arrow moves.
const root = element.firstElementChild;
const locale = (navigator.language ?? "en").split("-")[0];
const words = props.words[locale] ?? {};
const say = (text) => words[text] ?? text;

let stop = () => {};
show();
watch("value", show);

function show() {
  stop();
  root.replaceChildren();
  if (props.value?.clips) stop = compare(props.value);
}

function compare({ clips, differences }) {
  const videos = clips.map((path) => node("video", { src: address(path), playsinline: "", loop: "", preload: "auto" }));
  const hear = videos.map((_, side) => button("", () => choose(side)));
  const sides = videos.map((video, side) =>
    node("figure", {}, video, node("figcaption", {}, `${side + 1}. ${say(side ? "Other clip" : "Shown clip")}`, hear[side])),
  );
  const play = button(say("Play"), toggle);
  const position = node("input", { type: "range", min: 0, max: 1, step: "any", value: 0, "aria-label": say("Position in both clips") });
  position.addEventListener("input", () => seek(Number(position.value)));
  root.append(
    node("div", { class: "sides" }, ...sides),
    node("div", { class: "controls" }, play, position),
    node("p", { class: "keys" }, say("Keys: space plays, 1 and 2 choose the sound, arrows move.")),
    table(differences),
  );
  let heard = 0;
  choose(0);
  let frame = requestAnimationFrame(keepStep);
  root.addEventListener("keydown", onKey);
  for (const video of videos) {
    video.addEventListener("click", toggle);
    video.addEventListener("play", titled);
    video.addEventListener("pause", titled);
  }
  document.querySelector("#clip video")?.pause(); // One sound at a time.
  return () => {
    cancelAnimationFrame(frame);
    root.removeEventListener("keydown", onKey);
    for (const video of videos) video.pause();
  };

  function choose(side) {
    heard = side;
    videos.forEach((video, index) => (video.muted = index !== side));
    hear.forEach((made, index) => {
      made.setAttribute("aria-pressed", String(index === side));
      made.textContent = say(index === side ? "Heard" : "Hear this");
    });
  }

  function toggle() {
    const leader = videos[heard];
    if (leader.paused) for (const video of videos) video.play().catch(() => {});
    else for (const video of videos) video.pause();
  }

  function titled() {
    play.textContent = say(videos[heard].paused ? "Play" : "Pause");
  }

  function seek(seconds) {
    const end = Math.min(...videos.map((video) => video.duration || 0));
    for (const video of videos) video.currentTime = Math.min(Math.max(0, seconds), end);
  }

  // Clips of different length start again together, when the shorter one of them has ended.
  function keepStep() {
    frame = requestAnimationFrame(keepStep);
    if (!root.isConnected) return stop();
    const leader = videos[heard];
    const follower = videos[1 - heard];
    const end = Math.min(...videos.map((video) => video.duration || Infinity));
    if (!Number.isFinite(end)) return;
    position.max = end;
    if (leader.currentTime > end) seek(0);
    position.value = leader.currentTime;
    // Near the end one may have started again a moment before the other.
    const apart = Math.abs(leader.currentTime - follower.currentTime);
    if (!leader.seeking && !follower.seeking && apart > DRIFT_S && apart < end - 2 * DRIFT_S) {
      follower.currentTime = leader.currentTime;
    }
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isButton = event.target.tagName === "BUTTON";
    const isRange = event.target.tagName === "INPUT";
    const act = {
      " ": isButton ? null : toggle,
      1: () => choose(0),
      2: () => choose(1),
      ArrowLeft: isRange ? null : () => seek(videos[heard].currentTime - STEP_S),
      ArrowRight: isRange ? null : () => seek(videos[heard].currentTime + STEP_S),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

function table(differences) {
  if (!differences.length) return node("p", {}, say("The same settings."));
  const head = node("tr", {}, node("th", { scope: "col" }, say("Setting")), node("th", { scope: "col" }, "1"), node("th", { scope: "col" }, "2"));
  const rows = differences.map(([name, left, right]) =>
    node("tr", {}, node("th", { scope: "row" }, name), cell(left), cell(right)));
  return node("table", {}, node("thead", {}, head), node("tbody", {}, ...rows));
}

function cell(text) {
  return node("td", { dir: "auto" }, text);
}

function address(path) {
  const { root: base = "", api_prefix: prefix = "/gradio_api" } = window.gradio_config ?? {};
  return `${base}${prefix}/file=${path.split("/").map(encodeURIComponent).join("/")}`;
}

function button(text, act) {
  const made = node("button", { type: "button" }, text);
  made.addEventListener("click", act);
  return made;
}

function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
