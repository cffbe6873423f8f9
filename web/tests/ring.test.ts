import { describe, expect, it } from "vitest";
import { Control, RingReader, copyIn, ringBytes, ringOver } from "$lib/engine/ring";
import { PortRing, SharedRing } from "$lib/engine/ring-writer";
import { Timeline } from "$lib/engine/timeline";

const frames = 1024;
const ramp = (from: number, n: number) => Float32Array.from({ length: n }, (_, i) => from + i);

function setup() {
  const buffer = new SharedArrayBuffer(ringBytes(frames));
  const memory = ringOver(buffer);
  const writer = new SharedRing(buffer);
  const reader = new RingReader(memory, 1);
  const left = new Float32Array(128);
  const right = new Float32Array(128);
  const process = () => {
    reader.process(left, right);
    return left;
  };
  writer.setRunning(true);
  return { memory, writer, reader, process, left, right };
}

describe("ring", () => {
  it("gives every frame once, in order, over the wrap of memory and of indices", () => {
    const { memory, writer, process, right } = setup();
    // As if it had run for 27 hours: the indices are about to wrap.
    memory.control[Control.read] = -300;
    writer.rewind(-300);
    let next = 0;
    let heard = 0;
    for (let round = 0; round < 40; round++) {
      while (writer.space() >= 200) {
        writer.write(ramp(next, 200), ramp(-next - 200, 200));
        next += 200;
      }
      const out = process();
      // The first block fades in over the step from silence.
      if (round > 1) expect([...out]).toEqual([...ramp(heard, 128)]);
      if (round > 1) expect(right[0]).toBeLessThan(0);
      heard += 128;
    }
    expect(writer.state().underruns).toBe(0);
  });

  it("counts one underrun for one want, none at the end or while paused", () => {
    const { writer, process } = setup();
    process();
    expect(writer.state().underruns).toBe(0); // nothing has sounded yet
    writer.write(ramp(0, 200), ramp(0, 200));
    process();
    process();
    process();
    expect(writer.state().underruns).toBe(1);
    writer.write(ramp(0, 128), ramp(0, 128));
    writer.setEnded(true);
    process();
    process();
    expect(writer.state().underruns).toBe(1);
    writer.setEnded(false);
    writer.write(ramp(0, 256), ramp(0, 256));
    process();
    writer.setRunning(false);
    process();
    expect(writer.state().underruns).toBe(1);
    expect(writer.buffered()).toBe(128);
  });

  it("jumps over what is flushed and says where it was", () => {
    const { writer, process } = setup();
    writer.write(ramp(0, 600), ramp(0, 600));
    process();
    writer.flush();
    expect(writer.buffered()).toBe(0);
    expect(writer.state().flushed).toBe(false);
    writer.write(ramp(5000, 384), ramp(5000, 384));
    expect(writer.buffered()).toBe(384);
    process();
    const s = writer.state();
    expect([s.flushed, s.readAtFlush, s.read]).toEqual([true, 128, 728]);
    process();
    expect([...process()]).toEqual([...ramp(5256, 128)]);
  });

  it("waits for a reserve before it begins, but not at the end", () => {
    const { memory, writer } = setup();
    const reader = new RingReader(memory, 256);
    const out = new Float32Array(128);
    writer.write(ramp(1, 200), ramp(1, 200));
    reader.process(out, new Float32Array(128));
    expect(writer.buffered()).toBe(200);
    writer.write(ramp(201, 100), ramp(201, 100));
    reader.process(out, new Float32Array(128));
    expect(writer.buffered()).toBe(172);
    reader.process(out, new Float32Array(128));
    reader.process(out, new Float32Array(128));
    expect([writer.buffered(), writer.state().underruns]).toEqual([0, 1]);
    writer.write(ramp(1, 100), ramp(1, 100));
    reader.process(out, new Float32Array(128));
    expect(writer.buffered()).toBe(100);
    writer.setEnded(true);
    reader.process(out, new Float32Array(128));
    expect(writer.buffered()).toBe(0);
  });

  it("fades a step instead of clicking", () => {
    const { writer, process, left } = setup();
    writer.write(new Float32Array(128).fill(1), new Float32Array(128).fill(1));
    process();
    process();
    writer.flush();
    writer.write(new Float32Array(512).fill(-1), new Float32Array(512).fill(-1));
    let before = left.at(-1)!;
    for (let i = 0; i < 4; i++) {
      for (const x of process()) {
        expect(Math.abs(x - before)).toBeLessThan(0.02);
        before = x;
      }
    }
    expect(before).toBe(-1);
  });
});

describe("PortRing", () => {
  it("writes by message and learns the reader's place from messages", () => {
    const { port1, port2 } = new MessageChannel();
    const sent: { at?: number; left?: Float32Array; control: [number, number][] }[] = [];
    const port = { postMessage: (m: never) => sent.push(m), onmessage: null } as unknown as MessagePort;
    const ring = new PortRing(port, frames);
    ring.write(ramp(0, 100) as Float32Array<ArrayBuffer>, ramp(0, 100) as Float32Array<ArrayBuffer>);
    expect(sent[0]).toMatchObject({ at: 0, control: [[Control.write, 100]] });
    expect(ring.buffered()).toBe(100);
    port.onmessage?.({ data: [60, 0, 0, 2] } as MessageEvent);
    expect(ring.buffered()).toBe(40);
    expect(ring.state().underruns).toBe(2);
    port1.close();
    port2.close();
  });
});

describe("copyIn", () => {
  it("splits at the end of memory", () => {
    const m = ringOver(new ArrayBuffer(ringBytes(8)));
    copyIn(m, 6, ramp(1, 4), ramp(1, 4));
    expect([...m.left]).toEqual([3, 4, 0, 0, 0, 0, 1, 2]);
  });
});

describe("Timeline", () => {
  it("counts what was heard of each play and says where the sound is", () => {
    const t = new Timeline();
    t.append(1, 1000, 50);
    t.append(1, 1050, 50);
    t.append(2, 0, 100);
    expect(t.advance(30)).toEqual([{ play: 1, frames: 30 }]);
    expect(t.now()).toEqual({ play: 1, tick: 1030 });
    expect(t.startOf(2)).toBe(100);
    expect(t.advance(120)).toEqual([
      { play: 1, frames: 70 },
      { play: 2, frames: 20 },
    ]);
    expect(t.now()).toEqual({ play: 2, tick: 20 });
    expect(t.startOf(2)).toBeNull();
  });
  it("leaves out what a flush dropped", () => {
    const t = new Timeline();
    t.append(1, 0, 100);
    t.advance(40);
    t.append(1, 5000, 60); // written behind the flush at 100
    expect(t.flushed(50, 100)).toEqual([{ play: 1, frames: 10 }]);
    expect(t.now()).toEqual({ play: 1, tick: 5000 });
    expect(t.advance(130)).toEqual([{ play: 1, frames: 30 }]);
    expect(t.now()).toEqual({ play: 1, tick: 5030 });
  });
  it("stays at the end when the ring has run dry", () => {
    const t = new Timeline();
    t.append(1, 0, 100);
    t.advance(100);
    expect(t.now()).toEqual({ play: 1, tick: 100 });
    expect(t.advance(100)).toEqual([]);
    t.append(2, 0, 10);
    expect(t.now()).toEqual({ play: 2, tick: 0 });
  });
  it("forgets a play that was taken back", () => {
    const t = new Timeline();
    t.append(1, 0, 100);
    t.append(2, 0, 40);
    expect(t.drop(2)).toBe(40);
    t.append(3, 0, 10);
    expect(t.startOf(3)).toBe(100);
  });
  it("begins anywhere, also where indices have wrapped", () => {
    const t = new Timeline(-10);
    t.append(1, 0, 30);
    expect(t.advance(5)).toEqual([{ play: 1, frames: 15 }]);
  });
});
