/**
 * The filter language of the inspector (docs/inspector.md, The filter language), over rows.
 *
 * What it leaves out, with a reason: regular expressions (nothing can stop one that takes forever in a page) and marks.
 */

import { isTrouble, type Row } from "./rows.js";

export type Test = (row: Row) => boolean;

export class FilterError extends Error {
  /** @param position index of the character at fault. */
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(message);
  }
}

/** Characters of a filter. */
const MOST = 2_000;
/** Brackets and `!` within each other. */
const DEEPEST = 50;

const CHOICES: Record<string, readonly string[]> = {
  kind: ["request", "response", "error", "notification", "malformed", "noise", "event", "gap"],
  status: ["pending", "ok", "failed", "error", "lost"],
  dir: ["server", "client"],
  leg: ["client", "upstream"],
  is: ["problem", "truncated", "linked"],
};
const KEYS = ["tool", "method", "server", "session", "kind", "status", "dir", "leg", "lat", "size", "id", "since", "is"];

/**
 * Understand a filter; the empty one matches everything.
 *
 * @throws FilterError with the position of the mistake.
 */
export function parseFilter(text: string): Test {
  if (text.length > MOST) throw new FilterError(`a filter has at most ${MOST} characters`, MOST);
  const parser = new Parser(text);
  if (text.trim() === "") return () => true;
  const test = parser.either(0);
  parser.end();
  return test;
}

class Parser {
  #at = 0;
  constructor(readonly text: string) {}

  either(depth: number): Test {
    const tests = [this.#both(depth)];
    while (this.#takes("|")) tests.push(this.#both(depth));
    return tests.length === 1 ? (tests[0] as Test) : (row) => tests.some((test) => test(row));
  }

  #both(depth: number): Test {
    const tests = [this.#one(depth)];
    while (this.#takes("&") || !/^$|[|)]/.test(this.#next())) tests.push(this.#one(depth));
    return tests.length === 1 ? (tests[0] as Test) : (row) => tests.every((test) => test(row));
  }

  #one(depth: number): Test {
    if (depth > DEEPEST) throw this.#wrong("too many brackets within each other");
    if (this.#takes("!")) {
      const test = this.#one(depth + 1);
      return (row) => !test(row);
    }
    if (this.#takes("(")) {
      const opened = this.#at - 1;
      const test = this.either(depth + 1);
      if (!this.#takes(")")) throw new FilterError("this bracket is not closed", opened);
      return test;
    }
    return this.#term();
  }

  #term(): Test {
    const next = this.#next();
    if (next === "") throw this.#wrong("something is missing here");
    if ("&|)".includes(next)) throw this.#wrong(`a term is missing before ${next}`);
    if (next === "~") throw this.#wrong("regular expressions are for mcp-ws-inspect; write the text itself here");
    const key = /^([a-z]+):/.exec(this.text.slice(this.#at))?.[1];
    if (key === undefined || next === '"') {
      const word = this.#value();
      return (row) => textOf(row).includes(word);
    }
    if (!KEYS.includes(key)) throw this.#wrong(`${key}: is unknown; known: ${KEYS.join(", ")}`);
    this.#at += key.length + 1;
    const start = this.#at;
    if (key === "id") return idTest(this.#raw(), start);
    const value = this.#value();
    return testOf(key, value, start);
  }

  /** A word, or a text in quotes. */
  #value(): string {
    const start = this.#at;
    const raw = this.#raw();
    if (!raw.startsWith('"')) return raw;
    try {
      return String(JSON.parse(raw));
    } catch {
      throw new FilterError("this text is no valid string", start);
    }
  }

  #raw(): string {
    const rest = this.text.slice(this.#at);
    const found = rest.startsWith('"') ? /^"(?:[^"\\]|\\.)*"/.exec(rest) : /^[^\s()&|"]+/.exec(rest);
    if (found === null) throw this.#wrong(rest.startsWith('"') ? "this quotation mark is not closed" : "a value is missing here");
    this.#at += found[0].length;
    return found[0];
  }

  #takes(sign: string): boolean {
    if (this.#next() !== sign) return false;
    this.#at += 1;
    return true;
  }

  /** The next character that is no space; empty at the end. */
  #next(): string {
    while (/\s/.test(this.text[this.#at] ?? "")) this.#at += 1;
    return this.text[this.#at] ?? "";
  }

  end(): void {
    if (this.#next() !== "") throw this.#wrong("nothing is open that this could close");
  }

  #wrong(message: string): FilterError {
    return new FilterError(message, this.#at);
  }
}

function testOf(key: string, value: string, at: number): Test {
  if (value === "") throw new FilterError("a value is missing here", at);
  const choices = CHOICES[key];
  if (choices !== undefined && !choices.includes(value)) throw new FilterError(`${key}: is one of ${choices.join(", ")}`, at);
  switch (key) {
    case "tool":
      return globTest(value, (row) => row.target);
    case "method":
      return globTest(value, (row) => row.method);
    case "server":
      return globTest(value, (row) => row.record.server);
    case "session":
      return ({ record }) => (record.session ?? record.origin_session ?? "").startsWith(value);
    case "kind":
      return ({ record }) => record.kind === value;
    case "status":
      return ({ status }) => status === value;
    case "dir":
      return ({ record }) => towardOf(record.leg, record.direction) === value;
    case "leg":
      return ({ record }) => record.leg === value;
    case "is":
      return flagTest(value);
    case "since":
      return sinceTest(value, at);
    default:
      return comparison(key, value, at);
  }
}

function globTest(glob: string, of: (row: Row) => string): Test {
  const pattern = glob.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
  const whole = new RegExp(`^(?:${pattern})$`, "s");
  return (row) => whole.test(of(row));
}

/** Toward whom a message goes; empty of what is none. */
export function towardOf(leg: string | null, direction: string | null): "server" | "client" | "" {
  if (leg === null || direction === null) return "";
  return (leg === "client") === (direction === "in") ? "server" : "client";
}

function flagTest(flag: string): Test {
  if (flag === "problem") return isTrouble;
  if (flag === "truncated") return ({ record }) => record.truncated;
  return ({ pair }) => pair !== undefined;
}

function idTest(raw: string, at: number): Test {
  if (!/^("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*)$/.test(raw)) throw new FilterError('an id is a number, or a text in quotes: id:7, id:"7"', at);
  return ({ id }) => id === raw;
}

const SCALE: Record<string, Record<string, number>> = {
  lat: { "": 1, ms: 1, s: 1_000, m: 60_000 },
  size: { "": 1, k: 1 << 10, m: 1 << 20, g: 2 ** 30 },
};

function comparison(key: string, value: string, at: number): Test {
  const found = /^(>=|<=|>|<|=)?(\d+(?:\.\d+)?)([a-z]*)$/.exec(value);
  const scale = SCALE[key]?.[found?.[3] ?? ""];
  if (found === null || scale === undefined) {
    const units = Object.keys(SCALE[key] ?? {}).filter((unit) => unit !== "");
    throw new FilterError(`${key}: takes a number, as in ${key}:>500, with one of ${units.join(", ")} behind it`, at);
  }
  const limit = Number(found[2]) * scale;
  const of = key === "lat" ? (row: Row) => row.latency : (row: Row) => row.record.size;
  const sign = found[1] ?? "=";
  return (row) => {
    const number = of(row);
    if (number === undefined) return false;
    if (sign === ">") return number > limit;
    if (sign === ">=") return number >= limit;
    if (sign === "<") return number < limit;
    return sign === "<=" ? number <= limit : Math.round(number) === Math.round(limit);
  };
}

function sinceTest(value: string, at: number): Test {
  const ago = /^(\d+(?:\.\d+)?)([smhd])$/.exec(value);
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(value);
  const seconds: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400 };
  let start: number;
  if (ago !== null) start = Date.now() / 1000 - Number(ago[1]) * (seconds[ago[2] ?? ""] ?? 1);
  else if (clock !== null) start = new Date().setHours(Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0), 0) / 1000;
  else throw new FilterError("since: takes 30s, 10m, 2h, or a time such as 21:05", at);
  return ({ record }) => record.time >= start;
}

/** What words are looked for in. */
export function textOf({ record }: Row): string {
  return record.raw ?? record.detail ?? "";
}
