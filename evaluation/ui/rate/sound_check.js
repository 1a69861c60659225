// Sounds that show whether a rater hears both sides, made in the browser: nothing to download.

const BEEP_S = 0.18;
const PAUSE_S = 0.32;
const LEVEL = 0.12; // Full scale; about the loudness of the clips.

// Plays `count` beeps, each on a side drawn at random, and says how many were on the left.
export async function playBeeps(count) {
  const context = new AudioContext();
  await context.resume();
  const sides = Array.from({ length: count }, () => (Math.random() < 0.5 ? -1 : 1));
  sides.forEach((side, index) => beep(context, side, context.currentTime + 0.1 + index * (BEEP_S + PAUSE_S)));
  const seconds = 0.3 + count * (BEEP_S + PAUSE_S);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  await context.close();
  return sides.filter((side) => side < 0).length;
}

function beep(context, side, start) {
  const tone = new OscillatorNode(context, { frequency: 660 });
  const level = new GainNode(context, { gain: 0 });
  const place = new StereoPannerNode(context, { pan: side });
  tone.connect(level).connect(place).connect(context.destination);
  level.gain.setValueAtTime(0, start);
  level.gain.linearRampToValueAtTime(LEVEL, start + 0.01);
  level.gain.setValueAtTime(LEVEL, start + BEEP_S - 0.02);
  level.gain.linearRampToValueAtTime(0, start + BEEP_S);
  tone.start(start);
  tone.stop(start + BEEP_S);
}
