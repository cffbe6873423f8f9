import { describe, expect, it } from "vitest";
import { Meter } from "$lib/engine/meter";
import { type Conditions, adapt, startQuality } from "$lib/engine/quality";

const c = (over: Partial<Conditions> = {}): Conditions => ({
  wanted: 0,
  maxKbps: 320,
  available: [],
  throughputKbps: 0,
  ...over,
});

describe("startQuality", () => {
  it.each([
    ["unknown network", c(), 96],
    ["slow network", c({ throughputKbps: 300 }), 96],
    ["good network", c({ throughputKbps: 5000 }), 320],
    ["middling network", c({ throughputKbps: 450 }), 160],
    ["a choice", c({ wanted: 320 }), 320],
    ["a plan's bound", c({ wanted: 320, maxKbps: 160 }), 160],
    ["what there is", c({ wanted: 320, available: [24, 96] }), 96],
    ["nothing small", c({ available: [320] }), 320],
  ])("%s", (_, conditions, want) => expect(startQuality(conditions)).toBe(want));
});

describe("adapt", () => {
  it.each([
    ["stays when unknown", c(), 96, 1, null],
    ["steps down", c({ throughputKbps: 110 }), 96, 4, 24],
    ["has nothing below", c({ throughputKbps: 10 }), 24, 1, null],
    ["steps up", c({ throughputKbps: 400 }), 96, 21, 160],
    ["waits for a buffer", c({ throughputKbps: 4000 }), 96, 19, null],
    ["follows the choice", c({ wanted: 320 }), 96, 1, 320],
    ["keeps the choice", c({ wanted: 160, throughputKbps: 10 }), 160, 1, null],
  ] as const)("%s", (_, conditions, current, buffered, want) =>
    expect(adapt(conditions, current, buffered, false)).toBe(want),
  );
});

describe("Meter", () => {
  it("measures arriving data and not the pauses between", () => {
    const m = new Meter();
    let now = 0;
    for (let burst = 0; burst < 4; burst++) {
      for (let i = 0; i < 20; i++) m.add(2500, (now += 10)); // 2,000 kbit/s
      now += 5_000;
    }
    expect(m.kbps).toBeGreaterThan(1_900);
    expect(m.kbps).toBeLessThan(2_100);
  });
  it("is silent until it knows", () => {
    const m = new Meter();
    m.add(1_000_000, 0);
    expect(m.kbps).toBe(0);
  });
});
