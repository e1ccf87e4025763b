// Rates and latencies: what is counted, and how it is drawn.

import { format } from "./values.js";

const SECONDS = 60;
const SAMPLES = 200;
const KINDS = ["add", "change", "remove"];
const SVG = "http://www.w3.org/2000/svg";

// Events of the last minute by second and kind.
export class Rates {
  constructor(spark, figure, note) {
    this.figure = figure;
    this.note = note;
    this.spark = spark;
    this.second = Math.floor(Date.now() / 1000);
    this.bars = Array.from({ length: SECONDS }, () => [0, 0, 0]);
    spark.setAttribute("viewBox", `0 0 ${SECONDS} 100`);
    this.shapes = this.bars.map((_, place) =>
      KINDS.map((kind) => {
        const shape = document.createElementNS(SVG, "rect");
        shape.setAttribute("class", kind);
        shape.setAttribute("x", place + 0.1);
        shape.setAttribute("width", 0.8);
        spark.append(shape);
        return shape;
      }),
    );
  }

  count(kind) {
    this.roll();
    this.bars[SECONDS - 1][KINDS.indexOf(kind)] += 1;
  }

  clear() {
    this.bars.forEach((bar) => bar.fill(0));
    this.draw();
  }

  roll() {
    const now = Math.floor(Date.now() / 1000);
    for (let second = Math.max(this.second, now - SECONDS); second < now; second += 1) {
      const oldest = this.bars.shift();
      oldest.fill(0);
      this.bars.push(oldest);
    }
    this.second = now;
  }

  draw() {
    this.roll();
    const total = (bar) => bar[0] + bar[1] + bar[2];
    // The second that is running is not whole yet.
    const whole = this.bars.slice(SECONDS - 6, SECONDS - 1);
    const rate = whole.reduce((sum, bar) => sum + total(bar), 0) / whole.length;
    this.figure.textContent = rate >= 10 || rate === 0 ? format(Math.round(rate)) : rate.toFixed(1);
    const most = Math.max(...this.bars.map(total));
    this.note.textContent = most > 0 ? `at most ${format(most)}` : "";
    const highest = Math.max(4, most);
    this.bars.forEach((bar, place) => {
      let top = 100;
      bar.forEach((count, kind) => {
        const height = (count / highest) * 100;
        top -= height;
        this.shapes[place][kind].setAttribute("y", top);
        this.shapes[place][kind].setAttribute("height", height);
      });
    });
    this.spark.setAttribute("aria-label", `Events of the last minute; ${this.figure.textContent} a second now`);
  }
}

// Time from a commit to its event here, of the last events.
export class Latency {
  constructor(figure, note) {
    this.figure = figure;
    this.note = note;
    this.clear();
  }

  clear() {
    this.samples = [];
    this.next = 0;
  }

  take(milliseconds) {
    this.samples[this.next] = Math.max(0, milliseconds);
    this.next = (this.next + 1) % SAMPLES;
  }

  draw() {
    if (this.samples.length === 0) {
      this.figure.textContent = "–";
      this.note.textContent = "median, as events come";
      return;
    }
    const sorted = [...this.samples].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
    this.figure.textContent = milliseconds(at(0.5));
    this.note.textContent = `median; 99 of 100 within ${milliseconds(at(0.99))}`;
  }
}

export function milliseconds(value) {
  if (value < 1) return "under 1 ms";
  return value < 10_000 ? `${format(Math.round(value))} ms` : `${format(Math.round(value / 1000))} s`;
}
