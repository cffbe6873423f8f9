// Typed clients of Segue's services, with the access token on every call.
import { Code, ConnectError, type Interceptor, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { auth } from "$lib/auth/auth.svelte";
import { CollectService } from "$lib/gen/segue/collect/v1/collect_pb";
import { CatalogueService } from "$lib/gen/segue/metadata/v1/service_pb";
import { PlayerService, SessionService } from "$lib/gen/segue/playback/v1/playback_pb";
import { withTrace } from "./trace";

/** One second try with a fresh token when the first was refused. */
const withToken: Interceptor = (next) => async (req) => {
  const token = await auth.accessToken();
  if (!token) throw new ConnectError("signed out", Code.Unauthenticated);
  req.header.set("Authorization", `Bearer ${token}`);
  try {
    return await next(req);
  } catch (e) {
    if (ConnectError.from(e).code !== Code.Unauthenticated || req.stream) throw e;
    auth.invalidate();
    const fresh = await auth.accessToken();
    if (!fresh) throw e;
    req.header.set("Authorization", `Bearer ${fresh}`);
    return next(req);
  }
};

export const transport = createConnectTransport({
  baseUrl: location.origin,
  useBinaryFormat: true,
  interceptors: [withTrace, withToken],
});

export const catalogue = createClient(CatalogueService, transport);
export const sessions = createClient(SessionService, transport);
export const players = createClient(PlayerService, transport);
export const collect = createClient(CollectService, transport);

/** A sentence for a person. */
export function sentence(e: unknown): string {
  const c = ConnectError.from(e);
  switch (c.code) {
    case Code.Unavailable:
    case Code.DeadlineExceeded:
      return "Segue does not answer just now.";
    case Code.Unauthenticated:
      return "You are signed out.";
    case Code.PermissionDenied:
      return "Your account may not do this.";
    case Code.NotFound:
      return "This is not there (any more).";
    case Code.Unknown:
      return navigator.onLine ? "Segue cannot be reached." : "You are offline.";
    default:
      return c.rawMessage || "Something went wrong.";
  }
}
