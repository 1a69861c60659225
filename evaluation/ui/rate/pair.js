// Two clips that play in step while one of them is heard, and how much of each was really played.

const STEP_S = 0.1; // Resolution of what counts as played.
const DRIFT_S = 0.04; // Ears notice sound that is further than this from its picture.

export class Pair extends EventTarget {
  // videos: {left, right}, two <video> elements of equally long clips.
  // `starts` counts how often each was heard anew.
  // Events: "played" when a share changed, "heard" when the other side is heard, "state" when it
  // starts or stops, "broken" when a clip cannot be played.
  constructor(videos) {
    super();
    this.videos = videos;
    this.heard = "left";
    this.starts = { left: 0, right: 0 };
    this.steps = { left: new Set(), right: new Set() };
    this.last = null;
    for (const [side, video] of Object.entries(videos)) {
      // What a seek jumps over was not played.
      video.addEventListener("seeking", () => side === this.heard && (this.last = null));
      video.addEventListener("ended", () => this.#finished(side));
      video.addEventListener("error", () => this.dispatchEvent(new Event("broken")));
      video.addEventListener("play", () => this.dispatchEvent(new Event("state")));
      video.addEventListener("pause", () => this.dispatchEvent(new Event("state")));
    }
    this.hide = () => (this.last = null); // Nor what passes in a hidden tab.
    document.addEventListener("visibilitychange", this.hide);
    this.#mute();
    this.frame = requestAnimationFrame(() => this.#tick());
  }

  get playing() {
    return !this.leader.paused && !this.leader.ended;
  }

  get leader() {
    return this.videos[this.heard];
  }

  get follower() {
    return this.videos[this.heard === "left" ? "right" : "left"];
  }

  // Seconds of a side that were heard.
  seconds(side) {
    return Math.min(this.steps[side].size * STEP_S, this.videos[side].duration || 0);
  }

  async play() {
    if (this.leader.ended) this.seek(0);
    this.last = null;
    this.starts[this.heard] += 1;
    await Promise.all([this.leader.play(), this.follower.play().catch(() => {})]);
  }

  pause() {
    this.leader.pause();
    this.follower.pause();
  }

  async toggle() {
    if (this.playing) this.pause();
    else await this.play();
  }

  async hear(side) {
    if (side === this.heard) {
      if (!this.playing) await this.play();
      return;
    }
    const resume = !this.leader.ended;
    this.heard = side;
    this.last = null;
    this.#mute();
    if (!resume || this.leader.ended) this.seek(0);
    this.dispatchEvent(new Event("heard"));
    await this.play();
  }

  seek(time) {
    for (const video of Object.values(this.videos)) video.currentTime = Math.max(0, time);
    this.last = null;
  }

  skip(seconds) {
    const end = this.leader.duration || 0;
    this.seek(Math.min(end, this.leader.currentTime + seconds));
  }

  close() {
    cancelAnimationFrame(this.frame);
    document.removeEventListener("visibilitychange", this.hide);
    this.pause();
  }

  #mute() {
    for (const [side, video] of Object.entries(this.videos)) video.muted = side !== this.heard;
  }

  #tick() {
    this.frame = requestAnimationFrame(() => this.#tick());
    const { leader, follower } = this;
    const audible = this.playing && !leader.muted && leader.volume > 0 && !document.hidden;
    if (audible) {
      const now = leader.currentTime;
      if (this.last !== null && now > this.last) this.#count(this.last, now);
      this.last = now;
      if (Math.abs(follower.currentTime - now) > DRIFT_S && !follower.seeking && !follower.ended) {
        follower.currentTime = now;
      }
    } else {
      this.last = null;
    }
  }

  #count(from, to) {
    const steps = this.steps[this.heard];
    const before = steps.size;
    for (let step = Math.floor(from / STEP_S); step <= Math.floor(to / STEP_S); step++) {
      steps.add(step);
    }
    if (steps.size !== before) this.dispatchEvent(new Event("played"));
  }

  #finished(side) {
    if (side !== this.heard) return;
    if (this.last !== null) this.#count(this.last, this.leader.duration);
    this.follower.pause();
    this.dispatchEvent(new Event("played"));
    this.dispatchEvent(new Event("state"));
  }
}
