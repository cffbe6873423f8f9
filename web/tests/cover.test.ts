import { expect, test } from "vitest";
import { drawCover } from "../src/ui/cover";

test("initials leave fillers out, whatever the script", () => {
  expect(drawCover("The Battle for Wesnoth OST")?.initials).toBe("BW");
  expect(drawCover("The The")?.initials).toBe("TT");
  expect(drawCover("Ágætis byrjun")?.initials).toBe("ÁB");
  expect(drawCover("𝔘nicode")?.initials).toBe("𝔘");
  expect(drawCover("4")?.initials).toBe("4");
});

test("a name without letters draws nothing, and one name one colour", () => {
  expect(drawCover("")).toBeNull();
  expect(drawCover("—!?")).toBeNull();
  expect(drawCover("Same")).toEqual(drawCover("same"));
  expect(drawCover("One")?.hue).not.toBe(drawCover("Two")?.hue);
});
