// Speakers and what they say, as fields. What is typed lives here and in this browser's store; the
// server writes the prompt of it, and reads prompts back. `props.value` is the draft for Generate.

const STORE = "ltx2-dialogue";
const [root, remark] = element.children;
// Examples of what to write stay in English, in which the prompt describes.
const locale = (navigator.language ?? "en").split("-")[0];
const words = props.words[locale] ?? {};
const say = (text, values = {}) =>
  (words[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

let model = props.model;
let draft = remembered();
let prompt = ""; // As it was when it was last looked at.
let unanswered = false; // Something has changed since the server was asked.
let asking = false;
render();
props.value = structuredClone(draft);

// Sent by the page when another model is chosen, which may know other words.
root.addEventListener("model", (event) => {
  model = event.detail;
  render();
  ask();
});
// Sent by the page when the prompt changes, whoever changed it.
root.addEventListener("prompt", (event) => noticePrompt(event.detail));
// In other modes the fields are not shown, and wait.
new ResizeObserver(() => unanswered && ask()).observe(root);
noticePrompt(promptField()?.value);

// --- the other side -------------------------------------------------------------------------

function promptField() {
  return document.querySelector("#prompt textarea");
}

// A prompt that somebody else than these fields has changed leads from now on.
function noticePrompt(now) {
  if (now === undefined || now === prompt) return;
  prompt = now;
  draft.leads = false;
  store();
  ask();
}

// One question at a time, and another where something has changed meanwhile, so that no answer
// takes away what was typed since.
async function ask() {
  unanswered = true;
  if (asking || !root.offsetParent) return;
  asking = true;
  try {
    while (unanswered) {
      unanswered = false;
      const answer = await server.follow({ draft, prompt, model });
      noticePrompt(promptField()?.value); // Typed, and not yet told by the page.
      if (!unanswered && answer) take(answer);
    }
  } catch {
    unanswered = true; // Out of reach; the next change asks again.
  } finally {
    asking = false;
  }
}

function take(answer) {
  remark.textContent = answer.remark;
  if (draft.leads) return writePrompt(answer.prompt);
  const before = JSON.stringify(draft);
  draft = complete(answer.draft);
  if (JSON.stringify(draft) !== before) render();
  store();
}

function writePrompt(written) {
  if (written === prompt) return;
  prompt = written;
  const field = promptField();
  field.value = written;
  field.dispatchEvent(new Event("input", { bubbles: true })); // As if typed, so the page knows.
}

function changed() {
  draft.leads = true;
  store();
  ask();
}

function remembered() {
  try {
    // The prompt is remembered by itself, and may have been changed since.
    return { ...complete(JSON.parse(localStorage.getItem(STORE)) ?? {}), leads: false };
  } catch {
    return complete({}); // No store here, or another version wrote it.
  }
}

// Keeps the draft, and shows it to the page.
function store() {
  props.value = structuredClone(draft);
  try {
    localStorage.setItem(STORE, JSON.stringify(draft));
  } catch {
    // Private windows may refuse; then it lasts as long as the page.
  }
}

// A draft with at least one speaker and one line, every field there.
function complete(value) {
  const list = (some) => (Array.isArray(some) ? some : []);
  const speakers = list(value.speakers).map((some) => ({ ...blankSpeaker(), ...some }));
  const lines = list(value.lines).map((some) => ({ ...blankLine(0), ...some }));
  return {
    setting: String(value.setting ?? ""),
    speakers: speakers.length ? speakers : [blankSpeaker()],
    lines: lines.length ? lines : [blankLine(0)],
    leads: value.leads === true,
  };
}

function blankSpeaker() {
  return { name: "", looks: "", place: "", voice: "" };
}

function blankLine(speaker) {
  return { speaker, text: "", language: "", delivery: "" };
}

// After a change of what there is, not of what is written in it.
function rebuilt(focus) {
  render(); // First: lists of what a small model knows have a choice from the start.
  changed();
  if (focus) root.querySelector(focus)?.focus();
}

// --- layout ---------------------------------------------------------------------------------

function render() {
  const taught = props.taught[model];
  const most = taught?.most ?? props.most;
  const parts = [field(say("Around them"), settingControl(taught), "setting")];
  const cards = draft.speakers.map((speaker, index) => speakerCard(speaker, index, taught));
  parts.push(node("div", { class: "speakers" }, ...cards));
  if (draft.speakers.length < most.speakers) {
    parts.push(button("add", say("Add a speaker"), addSpeaker, { "data-add": "speaker" }));
  }
  const rows = draft.lines.map((line, index) => lineRow(line, index, taught));
  parts.push(node("ol", { class: "lines" }, ...rows));
  if (draft.lines.length < most.lines) {
    parts.push(button("add", say("Add a line"), () => addLine(draft.lines.length), { "data-add": "line" }));
  }
  root.replaceChildren(...parts);
}

function settingControl(taught) {
  if (taught) return choices(taught.setting, draft, "setting", say("Around them"));
  return text(draft, "setting", { placeholder: "A quiet kitchen at night" });
}

function speakerCard(speaker, index, taught) {
  const number = index + 1;
  const looks = taught
    ? choices(taught.looks, speaker, "looks", say("Looks"), retitle)
    : text(speaker, "looks", { placeholder: "a woman with red hair" }, retitle);
  const fields = [field(say("Looks"), looks, "looks")];
  if (!taught) fields.push(field(say("Name"), text(speaker, "name", {}, retitle), "name"));
  const places = [["", say("anywhere")], ...props.places.map((place) => [place, say(place)])];
  fields.push(field(say("Place"), select(speaker, "place", places), "place"));
  const voice = taught
    ? select(speaker, "voice", taught.voices.map((name) => [name, name]), taught.voices[0])
    : text(speaker, "voice", { placeholder: "low, warm" });
  fields.push(field(say("Voice"), voice, taught ? "voice" : "voice wide"));
  const legend = node("legend", {}, say("Speaker {number}", { number }));
  const card = node("fieldset", { class: "speaker" }, legend, ...fields);
  if (draft.speakers.length > 1) {
    card.append(button("remove", "×", () => removeSpeaker(index), {
      "aria-label": say("Remove speaker {number}", { number }),
    }));
  }
  return card;
}

function lineRow(line, index, taught) {
  const number = index + 1;
  const names = draft.speakers.map((speaker, place) => [String(place), title(speaker, place)]);
  const who = select(line, "speaker", names, "0", Number);
  who.dataset.who = "";
  const said = taught
    ? sayings(line, taught.sayings)
    : text(line, "text", { placeholder: say("What is said"), "data-line": index, enterkeyhint: "next" });
  if (!taught) {
    said.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      if (index + 1 < draft.lines.length) root.querySelector(`[data-line="${index + 1}"]`).focus();
      else if (draft.lines.length < props.most.lines) addLine(index + 1);
    });
  }
  const fields = [field(say("Who"), who, "who"), field(say("Line"), said, "said")];
  if (!taught) {
    const languages = [["", say("not said")], ...Object.entries(props.languages).map(
      ([code, name]) => [code, languageName(code) ?? name])];
    fields.push(field(say("Language"), select(line, "language", languages), "language"));
    fields.push(field(say("Delivery"), text(line, "delivery", { placeholder: "quietly, with a smile" }), "delivery"));
  }
  const tools = node("div", { class: "tools" });
  if (index > 0) {
    tools.append(button("move", "↑", () => moveUp(index), { "aria-label": say("Move line {number} up", { number }), "data-up": index }));
  }
  if (draft.lines.length > 1) {
    tools.append(button("remove", "×", () => removeLine(index), { "aria-label": say("Remove line {number}", { number }) }));
  }
  const group = { class: "line", role: "group", "aria-label": say("Line {number}", { number }) };
  return node("li", {}, node("div", group, ...fields, tools));
}

// --- what is there --------------------------------------------------------------------------

function addSpeaker() {
  const added = blankSpeaker();
  const [first, ...others] = draft.speakers;
  // Who stood alone in the middle makes room, and a small model knows two sides and nothing else.
  if (!others.length && (first.place || props.taught[model])) {
    if (first.place !== "right") first.place = "left";
    added.place = first.place === "left" ? "right" : "left";
  }
  draft.speakers.push(added);
  rebuilt(".speaker:last-child :is(input, select)");
}

function removeSpeaker(index) {
  draft.speakers.splice(index, 1);
  for (const line of draft.lines) {
    if (line.speaker > index || line.speaker >= draft.speakers.length) line.speaker = Math.max(0, line.speaker - 1);
  }
  rebuilt("[data-add=speaker]");
}

function addLine(index) {
  const before = draft.lines[index - 1]?.speaker ?? -1;
  draft.lines.splice(index, 0, blankLine((before + 1) % draft.speakers.length));
  rebuilt(`.lines > li:nth-child(${index + 1}) .said :is(input, select)`);
}

function removeLine(index) {
  draft.lines.splice(index, 1);
  rebuilt("[data-add=line]");
}

function moveUp(index) {
  draft.lines.splice(index - 1, 0, ...draft.lines.splice(index, 1));
  rebuilt(index > 1 ? `[data-up="${index - 1}"]` : ".lines > li:first-child .said :is(input, select)");
}

function title(speaker, index) {
  return speaker.name.trim() || speaker.looks.trim() || say("Speaker {number}", { number: index + 1 });
}

// Names of speakers, where lines choose them, follow what is typed.
function retitle() {
  for (const list of root.querySelectorAll("[data-who]")) {
    for (const option of list.options) {
      option.textContent = title(draft.speakers[option.index], option.index);
    }
  }
}

function languageName(code) {
  try {
    return new Intl.DisplayNames([locale in props.words ? locale : "en"], { type: "language" }).of(code);
  } catch {
    return null;
  }
}

// --- controls -------------------------------------------------------------------------------

function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(kind, label, act, attributes = {}) {
  const made = node("button", { type: "button", class: kind, ...attributes }, label);
  made.addEventListener("click", act);
  return made;
}

// A control, or several side by side, under one label.
function field(label, control, name) {
  if (control.tagName === "DIV") return node("div", { class: `field ${name}` }, node("span", { "aria-hidden": "true" }, label), control);
  return node("label", { class: `field ${name}` }, node("span", {}, label), control);
}

function text(target, key, attributes = {}, after = () => {}) {
  const made = node("input", { type: "text", autocomplete: "off", ...attributes });
  made.value = target[key];
  made.dir = "auto"; // Whatever the page's direction, a line has its own.
  made.addEventListener("input", () => {
    target[key] = made.value;
    after();
    changed();
  });
  return made;
}

// options: pairs of value and label.
function select(target, key, options, usual = "", parse = String) {
  const made = node("select", {}, ...options.map(([value, label]) => new Option(label, value)));
  const value = String(target[key]);
  made.value = options.some(([known]) => known === value) ? value : usual;
  target[key] = parse(made.value);
  made.addEventListener("change", () => {
    target[key] = parse(made.value);
    changed();
  });
  return made;
}

// One list a group; what they make together is found by its place among all that there are.
function choices(known, target, key, label, after = () => {}) {
  let place = Math.max(0, known.all.indexOf(target[key]));
  const digits = [];
  for (const group of [...known.groups].reverse()) {
    digits.unshift(place % group.length);
    place = Math.floor(place / group.length);
  }
  const lists = known.groups.map((group, index) => {
    const made = node("select", { "aria-label": `${label} ${index + 1}` },
      ...group.map((name, number) => new Option(name || "–", number)));
    made.value = digits[index];
    return made;
  });
  const take = () => {
    const found = known.groups.reduce((sum, group, index) => sum * group.length + Number(lists[index].value), 0);
    target[key] = known.all[found];
  };
  take();
  for (const list of lists) {
    list.addEventListener("change", () => {
      take();
      after();
      changed();
    });
  }
  return node("div", { class: "choices" }, ...lists);
}

// Lines that a small model has heard, by their language.
function sayings(line, known) {
  const groups = Object.entries(known).map(([code, said]) => {
    const group = node("optgroup", { label: languageName(code) ?? props.languages[code] ?? code });
    group.append(...said.map((saying) => new Option(saying, saying)));
    return group;
  });
  const made = node("select", {}, new Option("–", ""), ...groups);
  const all = Object.values(known).flat();
  made.value = all.includes(line.text) ? line.text : "";
  line.text = made.value;
  line.delivery = "";
  line.language = codeOf(line.text, known);
  made.addEventListener("change", () => {
    line.text = made.value;
    line.language = codeOf(line.text, known);
    changed();
  });
  return made;
}

function codeOf(text, known) {
  return Object.keys(known).find((code) => known[code].includes(text)) ?? "";
}
