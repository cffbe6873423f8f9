import { describe, expect, it } from "vitest";
import { base64url, challenge, claims, randomText } from "$lib/auth/pkce";

describe("challenge", () => {
  it("is RFC 7636's, appendix B", async () => {
    expect(await challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")).toBe(
      "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    );
  });
  it("verifiers differ and are long enough", () => {
    expect(randomText()).toHaveLength(43);
    expect(randomText()).not.toBe(randomText());
  });
});

describe("claims", () => {
  const token = (body: unknown) =>
    `x.${base64url(new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body)))}.y`;
  it("reads roles", () => {
    expect(claims(token({ sub: "ü", roles: ["admin", 3], exp: 9 }))).toEqual({ sub: "ü", roles: ["admin"], exp: 9 });
  });
  it.each(["", "a.b", token("null"), token("{"), token("[1")])("gives nothing for %j", (t) => expect(claims(t)).toBeNull());
});
