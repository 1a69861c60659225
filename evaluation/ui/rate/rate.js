// The rater's page: one view at a time, as the server says; nothing is decided here.

import { Pair } from "./pair.js";
import { playBeeps } from "./sound_check.js";
import { openSession } from "./session.js";

const ENOUGH_WIDTH = 640; // CSS pixels; two clips side by side show detail from here on.
const BEEPS = 6;
const SIDES = ["left", "right"];
// What the server refuses in English, in the rater's words.
const REFUSALS = {
  StudyFullError: "full",
  StudyNotOpenError: "not_open",
  UnknownRaterError: "unknown_link",
  EarlyVoteError: "play_first",
};
const LANGUAGE_KEY = "ltx2-rater-language";

const view = document.getElementById("view");
const notice = document.getElementById("notice");
const progress = document.getElementById("progress");
const picker = document.getElementById("language");

const strings = await (await fetch("/rate/static/strings.json")).json();
let session = null;
let words = strings.en;
let shown = null;
let leave = () => {};

start();

async function start() {
  for (const [code, entries] of Object.entries(strings)) picker.append(new Option(entries.name, code));
  speak(stored() ?? preferred());
  picker.addEventListener("change", () => {
    localStorage.setItem(LANGUAGE_KEY, picker.value);
    speak(picker.value);
    if (shown) show(shown);
  });
  await follow(
    openSession().then((opened) => {
      session = opened.session;
      return opened.first;
    }),
  );
}

function stored() {
  const code = localStorage.getItem(LANGUAGE_KEY);
  return code in strings ? code : null;
}

function preferred() {
  const codes = navigator.languages.map((language) => language.split("-")[0]);
  return codes.find((code) => code in strings) ?? "en";
}

function speak(code) {
  words = strings[code];
  picker.value = code;
  document.documentElement.lang = code;
  document.documentElement.dir = words.direction;
  document.title = words.title;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = words[element.dataset.text];
  }
}

// Shows what the server answers; a refusal is told and what was there stays.
async function follow(answer) {
  try {
    const state = await answer;
    notice.textContent = "";
    show(state);
    return true;
  } catch (error) {
    notice.textContent = words[REFUSALS[error.kind]] ?? error.told ?? words.retry;
    return false;
  }
}

function show(state) {
  leave();
  leave = () => {};
  shown = state;
  progress.textContent = state.number ? fill(words.pair_of, { number: state.number, total: state.of }) : "";
  view.replaceChildren();
  const views = { consent, checks, pair: trial, break: rest, end_questions: ending, done };
  (views[state.state] ?? closed)(state);
  view.focus();
}

function consent(state) {
  const agree = button(words.agree, () => follow(session.consent()), "first");
  view.append(
    heading(words.consent_title),
    paragraph(words.consent_text),
    ...(state.kept ? [] : [paragraph(words.not_kept, "warning")]),
    paragraph(state.instructions[picker.value] ?? words.instructions),
    keys(),
    row(agree),
  );
}

function checks() {
  const heard = element("input", { type: "number", min: 0, max: BEEPS, inputMode: "numeric", disabled: true });
  const pass = button(words.go_on, check, "first");
  pass.disabled = true;
  let left = null;
  const play = button(words.play_beeps, async () => {
    play.disabled = true;
    left = await playBeeps(BEEPS);
    play.disabled = false;
    heard.disabled = pass.disabled = false;
    heard.value = "";
    heard.focus();
  });
  const narrow = paragraph(words.screen_small);
  const measure = () => (narrow.hidden = innerWidth >= ENOUGH_WIDTH);
  addEventListener("resize", measure);
  leave = () => removeEventListener("resize", measure);
  measure();
  heard.addEventListener("keydown", (event) => event.key === "Enter" && check());
  view.append(
    heading(words.checks_title),
    paragraph(words.check_sound),
    row(play),
    row(label(words.how_many_left, heard), pass),
    narrow,
  );

  function check() {
    if (heard.value !== "" && Number(heard.value) === left) report(true);
    else notice.textContent = words.sound_wrong;
  }

  function report(heard) {
    return follow(
      session.checks({
        sound_heard: heard,
        screen_width: innerWidth,
        screen_height: innerHeight,
        languages: [...navigator.languages].slice(0, 10),
      }),
    );
  }
}

function trial(state) {
  const sides = { left: side("left"), right: side("right") };
  const pair = new Pair({ left: sides.left.video, right: sides.right.video });
  const answers = new Map(Object.entries(state.answers));
  const reasons = new Set(state.reasons_given);
  const requestKey = crypto.randomUUID?.() ?? String(Math.random());
  const told = { left: 0, right: 0 };
  const questions = element("div");
  const play = button(words.play, () => pair.toggle());
  const locked = paragraph(words.play_first, "soft");
  const send = button(words.send, vote, "first");
  let sending = false;

  view.append(heading(words.title));
  if (state.training) view.append(paragraph(words.training_note, "soft"));
  if (state.prompt) {
    view.append(paragraph(words.prompt, "soft"), element("blockquote", { textContent: state.prompt, dir: "auto" }));
  }
  const players = element("div", { className: "pair" });
  players.append(sides.left.box, sides.right.box);
  view.append(players, row(play, button(words.again, () => (pair.seek(0), pair.play()))), locked, questions);
  for (const axis of state.axes) questions.append(scale(axis));
  if (state.reasons.length) questions.append(ticks());
  const buttons = row(send);
  if (state.can_go_back) buttons.append(button(words.back, () => follow(session.back())));
  view.append(buttons, keys());

  pair.addEventListener("played", refresh);
  pair.addEventListener("heard", refresh);
  pair.addEventListener("state", () => {
    refresh();
    // Now and then, so that a reload keeps what was heard; the vote does not wait for it.
    if (!pair.playing) SIDES.forEach((name) => tell(name).catch(() => (told[name] = 0)));
  });
  pair.addEventListener("broken", () => (notice.textContent = words.broken));
  document.addEventListener("keydown", press);
  leave = () => {
    document.removeEventListener("keydown", press);
    pair.close();
  };
  refresh();

  function side(name) {
    const video = element("video", { src: session.clip(state.session, state.clips[name]), preload: "auto", playsInline: true, muted: true, disablePictureInPicture: true });
    video.setAttribute("aria-label", name === "left" ? words.side_a : words.side_b);
    video.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && pair.playing && pair.hear(name));
    video.addEventListener("click", () => pair.hear(name));
    const hear = button("", () => pair.hear(name));
    const bar = element("i");
    const track = element("div", { className: "bar" });
    track.append(bar);
    const box = element("div", { className: "side" });
    box.append(video, track, hear);
    return { box, video, hear, bar };
  }

  function refresh() {
    for (const [name, { box, hear, bar }] of Object.entries(sides)) {
      const heard = pair.heard === name;
      const share = Math.min(100, Math.floor((heardOf(name) / state.duration_s) * 100));
      box.classList.toggle("heard", heard);
      bar.style.width = `${share}%`;
      hear.setAttribute("aria-pressed", String(heard));
      const letter = name === "left" ? "a" : "b";
      const line = element("span", { className: "state" });
      line.append(
        element("strong", { textContent: words[`side_${letter}`] }),
        element("span", { textContent: heard ? words.heard : words[`hear_${letter}`] }),
        element("span", { textContent: fill(words.heard_share, { percent: share }) }),
      );
      hear.replaceChildren(line);
    }
    play.textContent = pair.playing ? words.pause : words.play;
    const open = SIDES.every((name) => heardOf(name) >= state.required_s);
    locked.hidden = open;
    for (const input of questions.querySelectorAll("input")) input.disabled = !open;
    send.disabled = !open || sending || state.axes.some((axis) => !answers.has(axis.key));
  }

  // What the server knows of an earlier visit counts too.
  function heardOf(name) {
    return Math.max(pair.seconds(name), state.played[name]?.played_s ?? 0);
  }

  async function tell(name) {
    const heard = pair.seconds(name);
    if (heard <= told[name]) return;
    told[name] = heard;
    await session.played({ trial: state.trial, side: name, played_s: heard, starts: pair.starts[name] });
  }

  function scale(axis) {
    const group = element("fieldset");
    const five = axis.answers.includes("left_much");
    const names = { left_much: "a_much", left: five ? "a_better" : "a", tie: "same", right: five ? "b_better" : "b", right_much: "b_much", both_bad: "both_bad" };
    const choices = element("div", { className: "scale" });
    for (const answer of axis.answers) {
      const input = element("input", { type: "radio", name: axis.key, value: answer, checked: answers.get(axis.key) === answer });
      input.addEventListener("change", () => (answers.set(axis.key, answer), refresh()));
      choices.append(label(words[names[answer]], input, true));
    }
    group.append(element("legend", { textContent: axis.question?.[picker.value] ?? words[axis.key] ?? axis.key }), choices);
    return group;
  }

  function ticks() {
    const group = element("fieldset");
    const choices = element("div", { className: "ticks" });
    for (const reason of state.reasons) {
      const input = element("input", { type: "checkbox", value: reason, checked: reasons.has(reason) });
      input.addEventListener("change", () => (input.checked ? reasons.add(reason) : reasons.delete(reason)));
      choices.append(label(words[reason] ?? reason, input, true));
    }
    group.append(element("legend", { textContent: words.reasons }), choices);
    return group;
  }

  async function vote() {
    if (send.disabled) return;
    sending = true;
    send.textContent = words.sending;
    refresh();
    const sent = Promise.all(SIDES.map(tell)).then(() =>
      session.vote({
        trial: state.trial,
        vote_token: state.vote_token,
        request_key: requestKey,
        answers: Object.fromEntries(answers),
        reasons: [...reasons],
      }),
    );
    if (await follow(sent)) return;
    sending = false;
    send.textContent = words.send;
    refresh();
  }

  function press(event) {
    const typing = event.target.matches("select, input:not([type=radio]):not([type=checkbox])");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const onButton = event.target.matches("button");
    const actions = {
      a: () => pair.hear("left"),
      b: () => pair.hear("right"),
      arrowleft: () => pair.skip(-1),
      arrowright: () => pair.skip(1),
    };
    if (!onButton && !event.target.matches("input[type=checkbox]")) actions[" "] = () => pair.toggle();
    if (!onButton) actions.enter = vote;
    if (/^[1-6]$/.test(event.key)) actions[event.key] = () => answer(Number(event.key));
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // Digits answer the question that has the focus, else the first one without an answer.
  function answer(digit) {
    const groups = [...questions.querySelectorAll("fieldset")].filter((group) => group.querySelector("[type=radio]"));
    const group =
      groups.find((each) => each.contains(document.activeElement) && !each.querySelector(":checked")) ??
      groups.find((each) => !each.querySelector(":checked")) ??
      groups.at(-1);
    const input = group.querySelectorAll("input")[digit - 1];
    if (!input || input.disabled) return;
    input.focus();
    input.click();
  }
}

function rest() {
  view.append(
    heading(words.break_title),
    paragraph(words.break_text),
    row(button(words.go_on, () => follow(session.rested()), "first")),
  );
}

function ending(state) {
  view.append(heading(words.ending_title));
  const choices = state.clips.map((guess) => {
    const choice = element("select");
    choice.append(new Option(words.dont_know, ""));
    for (const model of state.models) choice.append(new Option(model, model));
    const source = session.clip(state.session, guess.clip);
    const video = element("video", { src: source, controls: true, playsInline: true, preload: "auto", className: "guess" });
    video.setAttribute("aria-label", words.ending_question);
    view.append(video, row(label(words.ending_question, choice)));
    return { guess, choice };
  });
  const sent = () =>
    choices.map(({ guess, choice }) => ({ trial: guess.trial, side: guess.side, model: choice.value || null }));
  view.append(row(button(words.go_on, () => follow(session.guesses(sent())), "first")));
}

function done(state) {
  view.append(heading(words.done_title), paragraph(words.done_text));
  for (const pair of state.revealed) {
    const who = `${fill(words.pair_of, { number: pair.number, total: state.revealed.length })}: `;
    view.append(paragraph(who + fill(words.made_by, pair), "soft"));
  }
}

function closed() {
  view.append(heading(words.title), paragraph(words.not_open));
}

function keys() {
  const details = element("details", { className: "soft words" });
  details.append(element("summary", { textContent: words.keys }), paragraph(words.keys_text));
  return details;
}

// --- Elements -------------------------------------------------------------------------------

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

function heading(text) {
  return element("h1", { textContent: text });
}

function paragraph(text, kind = "") {
  return element("p", { textContent: text, className: `words ${kind}`.trim() });
}

function button(text, action, kind = "") {
  const made = element("button", { type: "button", textContent: text, className: kind });
  made.addEventListener("click", action);
  return made;
}

function row(...children) {
  const made = element("div", { className: "row" });
  made.append(...children);
  return made;
}

function label(text, input, inputFirst = false) {
  const made = element("label");
  made.append(...(inputFirst ? [input, text] : [text, " ", input]));
  return made;
}

function fill(pattern, values) {
  return pattern.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}
