// What of the chrome is open.
import { preferences, remember } from "$lib/player/device";

class View {
  title = $state("Segue");
  panel = $state(preferences().panel && innerWidth >= 1280);
  stats = $state(preferences().stats);
  sheet = $state(false);
  help = $state(false);

  togglePanel(): void {
    this.panel = !this.panel;
    remember("panel", this.panel ? "on" : "off");
  }

  toggleStats(): void {
    this.stats = !this.stats;
    remember("stats", this.stats ? "on" : "off");
  }
}

export const view = new View();
