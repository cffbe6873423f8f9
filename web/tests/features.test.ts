import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AudioFeaturesSchema } from "$lib/gen/segue/metadata/v1/catalogue_pb";
import { soundText } from "$lib/player/features";

test("tempo and key are told as far as they are known", () => {
  const of = (f: object) => soundText(create(AudioFeaturesSchema, f));
  expect(of({ bpm: 123.6, key: 9, minor: true })).toBe("124 BPM · A minor (8A)");
  expect(of({ bpm: 90 })).toBe("90 BPM");
  expect(of({ key: 0 })).toBe("C major (8B)");
  expect(of({ key: 7 })).toBe("G major (9B)");
  expect(of({ key: 0, minor: true })).toBe("C minor (5A)");
  expect(of({ key: 11 })).toBe("B major (1B)");
  expect(of({ key: 12 })).toBe("");
  expect(of({})).toBe("");
  expect(soundText(undefined)).toBe("");
});
