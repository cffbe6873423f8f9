// Short notes to the listener, read out politely.

export interface Toast {
  id: number;
  text: string;
  undo?: () => void;
}

class Toasts {
  list = $state.raw<Toast[]>([]);
  private last = 0;

  say(text: string, undo?: () => void): void {
    const id = ++this.last;
    this.list = [...this.list.slice(-2), { id, text, ...(undo && { undo }) }];
    setTimeout(() => this.drop(id), undo ? 8_000 : 5_000);
  }

  drop(id: number): void {
    this.list = this.list.filter((t) => t.id !== id);
  }
}

export const toasts = new Toasts();
