/** The newest messages between the page and a server, to show those of one call. Bounded. */

export interface Frame {
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly direction: "in" | "out";
  readonly message: any;
}

const MAX_FRAMES = 300;

export class Frames {
  #all: Frame[] = [];
  #count = 0;

  add(direction: Frame["direction"], message: unknown): void {
    this.#count += 1;
    this.#all.push({ number: this.#count, time: Date.now(), direction, message });
    if (this.#all.length > 2 * MAX_FRAMES) this.#all = this.#all.slice(-MAX_FRAMES);
  }

  /** The messages between two times, the oldest first. @param ended undefined: until now. */
  between(began: number, ended: number | undefined): readonly Frame[] {
    return this.#all.slice(-MAX_FRAMES).filter(({ time }) => time >= began && time <= (ended ?? Infinity));
  }
}

/** A message in a few words: its method, or that of the request that it answers. */
export function titleOf(frame: Frame, all: readonly Frame[]): string {
  const { method, id, error, params } = frame.message ?? {};
  if (typeof method === "string") return [method, params?.name ?? params?.uri ?? params?.taskId].filter((part) => typeof part === "string").join(" ");
  const request = all.find((other) => other.direction !== frame.direction && other.message?.id === id && other.message?.method !== undefined);
  return `${error === undefined ? "response" : "error"} to ${request?.message.method ?? `request ${String(id)}`}`;
}
