// Which sound lies where in the ring: turns the reader's index into tracks and positions, and
// counts, frame by frame, what was given to the output.
import { distance } from "./ring";

interface Segment {
  play: number;
  /** Absolute index in the ring's life (not wrapped). */
  start: number;
  frames: number;
  /** Position in the track, in 44.1 kHz ticks, of its first frame. */
  tick: number;
}

export interface Heard {
  play: number;
  frames: number;
}

export class Timeline {
  private segments: Segment[] = [];
  private written: number;
  private played: number;

  /** start: the ring's wrapped index when this timeline begins. */
  constructor(start = 0) {
    this.written = this.played = start >>> 0;
  }

  /** Frames were written to the ring, the next ones in it. */
  append(play: number, tick: number, frames: number): void {
    const last = this.segments[this.segments.length - 1];
    if (last && last.play === play && last.tick + last.frames === tick) last.frames += frames;
    else this.segments.push({ play, start: this.written, frames, tick });
    this.written += frames;
  }

  /** The reader's wrapped index: returns what it played since the last call, in order. */
  advance(read: number): Heard[] {
    const delta = distance(this.played | 0, read);
    // An index that would lie past what is written is one from before a flush was obeyed.
    return this.consume(Math.min(delta, this.written - this.played));
  }

  /** A flush was obeyed when the reader was at this index: what lay behind it is gone. */
  flushed(readAtFlush: number, flushTo: number): Heard[] {
    const heard = this.advance(readAtFlush);
    const skipped = distance(this.played | 0, flushTo);
    const target = this.played + skipped;
    this.played = target;
    this.segments = this.segments.flatMap((s) => {
      const cut = Math.min(Math.max(0, target - s.start), s.frames);
      return cut === s.frames ? [] : [{ ...s, start: s.start + cut, frames: s.frames - cut, tick: s.tick + cut }];
    });
    return heard;
  }

  private consume(frames: number): Heard[] {
    const heard: Heard[] = [];
    let left = frames;
    while (left > 0) {
      const s = this.segments[0];
      if (!s) break;
      const n = Math.min(left, s.start + s.frames - this.played);
      if (n > 0) heard.push({ play: s.play, frames: n });
      this.played += n;
      left -= n;
      if (this.played === s.start + s.frames) {
        // The last one is kept: it tells where the sound stands when the ring has run dry.
        if (this.segments.length === 1) break;
        this.segments.shift();
      }
    }
    return heard;
  }

  /** What the next frame to be played belongs to. */
  now(): { play: number; tick: number } | null {
    const s = this.segments.find((x) => this.played < x.start + x.frames) ?? this.segments[this.segments.length - 1];
    return s ? { play: s.play, tick: s.tick + this.played - s.start } : null;
  }

  /** Wrapped index at which a play's first frame lies, if none of it was played yet. */
  startOf(play: number): number | null {
    const s = this.segments.find((x) => x.play === play);
    return s && s.start >= this.played ? s.start | 0 : null;
  }

  /** The play whose sound lies before this one's. */
  before(play: number): number | null {
    const i = this.segments.findIndex((x) => x.play === play);
    return this.segments[i - 1]?.play ?? null;
  }

  /** Forgets what was written from this play on (the ring was rewound). Returns the frames forgotten. */
  drop(play: number): number {
    const i = this.segments.findIndex((x) => x.play === play);
    if (i < 0) return 0;
    const gone = this.written - this.segments[i]!.start;
    this.written = this.segments[i]!.start;
    this.segments.length = i;
    return gone;
  }
}
