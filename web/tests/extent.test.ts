import { expect, test } from "vitest";
import { extent } from "$lib/ui/extent";

test("a list makes room for what the total says, and for a page beyond it while there is more", () => {
  expect(extent(200, 350, false, 200)).toBe(350);
  expect(extent(1000, 1000, false, 200)).toBe(1200);
  expect(extent(1150, 1000, false, 200)).toBe(1350);
  expect(extent(1170, 1000, true, 200)).toBe(1170);
  expect(extent(0, 0, true, 200)).toBe(0);
});
