// The worklet as a browser runs it, without shared memory: everything travels over the port.
import { describe, expect, it, vi } from "vitest";
import { PortRing } from "$lib/engine/ring-writer";
import { ringFrames } from "$lib/engine/ring";

interface Processor {
  port: MessagePort;
  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}

async function worklet(): Promise<new (o: unknown) => Processor> {
  let made: unknown;
  vi.stubGlobal("AudioWorkletProcessor", class {
    port = {} as MessagePort;
  });
  vi.stubGlobal("registerProcessor", (_: string, processor: unknown) => (made = processor));
  await import("$lib/engine/ring.worklet");
  return made as new (o: unknown) => Processor;
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("RingProcessor", () => {
  it("plays what comes over the port and tells how far it is", async () => {
    const Ring = await worklet();
    const p = new Ring({ processorOptions: { buffer: null } });
    const { port1, port2 } = new MessageChannel();
    p.port.onmessage!({ data: { writer: port2 } } as MessageEvent);
    const ring = new PortRing(port1, ringFrames);
    const out = [new Float32Array(128), new Float32Array(128)];
    const run = (blocks: number) => {
      for (let i = 0; i < blocks; i++) p.process([], [out]);
    };
    ring.flush();
    ring.setRunning(true);
    const plane = new Float32Array(10_000).fill(0.5);
    ring.write(plane, plane);
    await turn();
    run(1);
    await turn();
    expect(ring.state()).toMatchObject({ flushed: true, readAtFlush: 0 });
    run(39);
    await turn();
    expect(out[0]![0]).toBe(0.5);
    expect(ring.state().read).toBeGreaterThan(4_000);
    expect(ring.buffered()).toBeLessThan(6_000);
    run(80);
    await turn();
    ring.setEnded(true);
    await turn();
    run(2);
    await turn();
    expect([ring.buffered(), ring.state().underruns]).toEqual([0, 1]);
    port1.close();
  });
});
