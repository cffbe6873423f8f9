// Who is signed in. The access token lives in memory only; the refresh token is an HttpOnly
// cookie that this page never sees.
import { type Claims, challenge, claims, randomText } from "./pkce";

const clientId = "web";
const scope = "openid profile offline_access";
const pendingKey = "segue.signin";

interface TokenReply {
  access_token: string;
  expires_in?: number;
}

interface Pending {
  verifier: string;
  state: string;
  back: string;
}

export type AuthState = "unknown" | "signed-out" | "signed-in";

class Auth {
  state = $state<AuthState>("unknown");
  who = $state<Claims | null>(null);
  private token: string | null = null;
  private expiresAt = 0;
  private refreshing: Promise<boolean> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  has(...roles: string[]): boolean {
    return roles.some((r) => this.who?.roles.includes(r));
  }

  /** A token that is good for at least the next moments, or null: signed out. */
  async accessToken(): Promise<string | null> {
    if (this.token && Date.now() < this.expiresAt - 15_000) return this.token;
    return (await this.refresh()) ? this.token : null;
  }

  /** The token at hand, for requests that cannot wait (pagehide). */
  get present(): string | null {
    return this.token;
  }

  /** Called when the server refused the token: it is not used again. */
  invalidate(): void {
    this.expiresAt = 0;
  }

  /** Goes to the sign-in page; comes back to where the listener was. */
  async signIn(): Promise<void> {
    const pending: Pending = { verifier: randomText(), state: randomText(16), back: location.pathname + location.search };
    sessionStorage.setItem(pendingKey, JSON.stringify(pending));
    const query = new URLSearchParams({
      response_type: "code",
      client_id: clientId,
      redirect_uri: `${location.origin}/callback`,
      scope,
      state: pending.state,
      code_challenge: await challenge(pending.verifier),
      code_challenge_method: "S256",
    });
    location.assign(`/oauth/authorize?${query}`);
  }

  /** The way back from the sign-in page: returns where to go on, or throws with the reason. */
  async finish(query: URLSearchParams): Promise<string> {
    const text = sessionStorage.getItem(pendingKey);
    sessionStorage.removeItem(pendingKey);
    const pending = text ? (JSON.parse(text) as Pending) : null;
    const refused = query.get("error_description") ?? query.get("error");
    if (refused) throw new Error(refused);
    const code = query.get("code");
    if (!pending || !code || query.get("state") !== pending.state) throw new Error("This sign-in was not begun here.");
    const ok = await this.exchange({
      grant_type: "authorization_code",
      code,
      redirect_uri: `${location.origin}/callback`,
      code_verifier: pending.verifier,
      client_id: clientId,
    });
    if (!ok) throw new Error("The sign-in was not accepted.");
    // Only a path of this site: the value came from storage that scripts can write.
    return /^\/(?![/\\])/.test(pending.back) ? pending.back : "/";
  }

  /** One refresh at a time, also among tabs: the token family is one. */
  refresh(): Promise<boolean> {
    this.refreshing ??= this.locked(() => this.exchange({ grant_type: "refresh_token", client_id: clientId })).finally(
      () => (this.refreshing = null),
    );
    return this.refreshing;
  }

  private async locked(work: () => Promise<boolean>): Promise<boolean> {
    return "locks" in navigator ? await navigator.locks.request("segue.refresh", work) : work();
  }

  private async exchange(fields: Record<string, string>): Promise<boolean> {
    const reply = await fetch("/oauth/token", {
      method: "POST",
      body: new URLSearchParams(fields),
      credentials: "same-origin",
      cache: "no-store",
    });
    if (reply.status >= 500 || reply.status === 429) throw new Error(`sign-in service answered ${reply.status}`);
    if (!reply.ok) {
      this.forget();
      return false;
    }
    const body = (await reply.json()) as TokenReply;
    this.token = body.access_token;
    const life = (body.expires_in ?? 600) * 1000;
    this.expiresAt = Date.now() + life;
    this.who = claims(body.access_token);
    this.state = "signed-in";
    this.plan(life);
    return true;
  }

  /** Renews at three quarters of the token's life. */
  private plan(life: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.refresh().catch(() => this.plan(40_000));
    }, life * 0.75);
  }

  private forget(): void {
    clearTimeout(this.timer);
    this.token = null;
    this.expiresAt = 0;
    this.who = null;
    this.state = "signed-out";
  }

  /** Revokes the whole sign-in on the server, then here. */
  async signOut(): Promise<void> {
    // What is revoked is in the cookie; the server takes the access token's family with it.
    const reply = await fetch("/oauth/revoke", {
      method: "POST",
      body: new URLSearchParams({ client_id: clientId }),
      credentials: "same-origin",
    });
    if (!reply.ok) throw new Error(`sign-in service answered ${reply.status}`);
    this.forget();
  }
}

export const auth = new Auth();
