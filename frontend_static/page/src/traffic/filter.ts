/**
 * The filter language of the traffic view: from a line of text to a test of a row.
 *
 * The language of `mcp-ws-inspect` (docs/reference/inspector.md, Filters); both are tested against
 * tests/vectors/filters.json. Left out are regular expressions, since a page cannot stop one that takes forever, and marks.
 */

import { isTrouble, KINDS, STATUSES, textOf, type Row } from "./row.js";

export type Test = (row: Row) => boolean;

export class FilterError extends Error {
  override readonly name = "FilterError";
  /** @param position index of the character at fault. */
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(message);
  }
}

/** Characters of a filter. */
const MAX_CHARACTERS = 2_000;
/** Nested parentheses and `!`. */
const MAX_DEPTH = 50;
/** For the test that compares both implementations. */
export const LIMITS = { characters: MAX_CHARACTERS, depth: MAX_DEPTH };

/**
 * Parse a filter. An empty filter matches every row.
 *
 * @throws FilterError with the position of the mistake.
 */
export function parseFilter(text: string): Test {
  if (text.length > MAX_CHARACTERS) throw new FilterError(`a filter has at most ${MAX_CHARACTERS} characters`, MAX_CHARACTERS);
  if (text.trim() === "") return () => true;
  const parser = new Parser(text);
  const test = parser.either(0);
  parser.end();
  return test;
}

// --- the grammar ---------------------------------------------------------------------------------

/** Recursive descent: either := all ('|' all)*, all := not+, not := '!' not | '(' either ')' | term. */
class Parser {
  #at = 0;
  constructor(readonly text: string) {}

  either(depth: number): Test {
    const tests = [this.#all(depth)];
    while (this.#takes("|")) tests.push(this.#all(depth));
    return tests.length === 1 ? (tests[0] as Test) : (row) => tests.some((test) => test(row));
  }

  #all(depth: number): Test {
    const tests = [this.#not(depth)];
    while (this.#takes("&") || !/^$|[|)]/.test(this.#next())) tests.push(this.#not(depth));
    return tests.length === 1 ? (tests[0] as Test) : (row) => tests.every((test) => test(row));
  }

  #not(depth: number): Test {
    const next = this.#next();
    if (depth > MAX_DEPTH) throw this.#error(`parentheses and "!" are nested deeper than ${MAX_DEPTH}`);
    if (this.#takes("!")) {
      const test = this.#not(depth + 1);
      return (row) => !test(row);
    }
    if (this.#takes("(")) {
      const opened = this.#at - 1;
      const test = this.either(depth + 1);
      if (!this.#takes(")")) throw new FilterError('this "(" is not closed', opened);
      return test;
    }
    if (next === "" || "&|)".includes(next)) throw this.#error("a term is missing here");
    return this.#term(next);
  }

  #term(next: string): Test {
    if (next === "~") throw this.#error("regular expressions are not supported on this page; write the text itself, or use mcp-ws-inspect");
    const name = /^([a-z]+):/.exec(this.text.slice(this.#at))?.[1];
    if (name === undefined) {
      const text = this.#value();
      return (row) => `${row.id}\n${textOf(row)}`.includes(text);
    }
    const key = Object.hasOwn(KEYS, name) ? KEYS[name] : undefined;
    if (key === undefined) throw this.#error(`unknown key "${name}"; known keys: ${Object.keys(KEYS).join(", ")}`);
    this.#at += name.length + 1;
    const start = this.#at;
    const value = key.type === "id" ? this.#raw() : this.#value();
    if (value === "") throw new FilterError(`${name}: needs a value`, start);
    return key.test(value, start);
  }

  /** A word, or the text between quotes. */
  #value(): string {
    const raw = this.#raw();
    return raw.startsWith('"') ? raw.slice(1, -1).replace(/\\(.)/gs, "$1") : raw;
  }

  /** A word, or a text with its quotes; empty where there is neither. */
  #raw(): string {
    const rest = this.text.slice(this.#at);
    const match = rest.startsWith('"') ? /^"(?:[^"\\]|\\.)*"/.exec(rest) : /^[^\s()&|"]*/.exec(rest);
    if (match === null) throw this.#error("this quote is not closed");
    this.#at += match[0].length;
    return match[0];
  }

  #takes(sign: string): boolean {
    if (this.#next() !== sign) return false;
    this.#at += 1;
    return true;
  }

  /** The next character that is not a space; empty at the end. */
  #next(): string {
    while (/\s/.test(this.text[this.#at] ?? "")) this.#at += 1;
    return this.text[this.#at] ?? "";
  }

  end(): void {
    if (this.#next() !== "") throw this.#error('this ")" has no matching "("');
  }

  #error(message: string): FilterError {
    return new FilterError(message, this.#at);
  }
}

// --- the keys ------------------------------------------------------------------------------------

interface Key {
  readonly type: "glob" | "prefix" | "word" | "comparison" | "id" | "time" | "flag";
  /** What its value may be, where only some words are allowed. */
  readonly values?: readonly string[];
  /** What a unit behind a number multiplies it by. */
  readonly units?: Readonly<Record<string, number>>;
  /** @param at where `value` begins, for mistakes in it. */
  readonly test: (value: string, at: number) => Test;
}

const FLAGS: Readonly<Record<string, Test>> = {
  linked: (row) => row.linked,
  problem: isTrouble,
  truncated: ({ record }) => record.truncated,
};
/** Milliseconds. */
const LATENCY_UNITS = { "": 1, ms: 1, s: 1000 };
/** Bytes. */
const SIZE_UNITS = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
/** Seconds. */
const TIME_UNITS = { s: 1, m: 60, h: 3_600, d: 86_400 };

export const KEYS: Readonly<Record<string, Key>> = {
  tool: glob((row) => row.target),
  method: glob((row) => row.method),
  server: glob((row) => row.record.server),
  session: prefix(({ record }) => record.session ?? record.origin_session),
  gateway: prefix(({ record }) => record.gateway),
  kind: word(KINDS, (row) => row.kind),
  status: word(STATUSES, (row) => row.status),
  dir: word(["server", "client"], (row) => row.toward),
  leg: word(["client", "upstream"], (row) => (row.toward === "" ? "" : (row.record.leg ?? ""))),
  lat: comparison(LATENCY_UNITS, (row) => row.latency),
  size: comparison(SIZE_UNITS, (row) => row.record.size),
  id: { type: "id", test: idTest },
  since: { type: "time", units: TIME_UNITS, test: sinceTest },
  is: { type: "flag", values: Object.keys(FLAGS), test: flagTest },
};

/** `*`, `?` and `[…]` as in file names. */
function glob(of: (row: Row) => string): Key {
  const test = (value: string): Test => {
    const pattern = new RegExp(`^(?:${globPattern(value)})$`, "s");
    return (row) => of(row) !== "" && pattern.test(of(row));
  };
  return { type: "glob", test };
}

function globPattern(value: string): string {
  return value.replace(/\*+|\?|\[(!?)(\]?[^\]]*)\]|[^]/g, (part, not: string | undefined, members: string | undefined) => {
    if (part.startsWith("*")) return ".*";
    if (part === "?") return ".";
    if (members === undefined) return escaped(part);
    const set = `[${not ? "^" : ""}${members.replace(/[\\\]^[]/g, "\\$&")}]`;
    return isPattern(set) ? set : "(?!)";
  });
}

function isPattern(source: string): boolean {
  try {
    return Boolean(new RegExp(source));
  } catch {
    return false;
  }
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** The beginning of an id. What a session causes on a shared upstream belongs to it. */
function prefix(of: (row: Row) => string | null | undefined): Key {
  const test = (value: string): Test => {
    const pattern = new RegExp(`^${escaped(value).replaceAll("\\*", ".*")}`);
    return (row) => pattern.test(of(row) ?? "");
  };
  return { type: "prefix", test };
}

/** One of `values`, or the beginning of some. */
function word(values: readonly string[], of: (row: Row) => string): Key {
  const test = (value: string, at: number): Test => {
    const wanted = new Set(values.filter((each) => each.startsWith(value.toLowerCase())));
    if (wanted.size === 0) throw unknownValue(value, values, at);
    return (row) => wanted.has(of(row));
  };
  return { type: "word", values, test };
}

function unknownValue(value: string, values: readonly string[], at: number): FilterError {
  return new FilterError(`"${value}" is not one of ${values.join(", ")}`, at);
}

function flagTest(value: string, at: number): Test {
  const test = Object.hasOwn(FLAGS, value) ? FLAGS[value] : undefined;
  if (test === undefined) throw unknownValue(value, Object.keys(FLAGS), at);
  return test;
}

/** A number or a string as JSON, with its type; any other word is taken for a string. */
function idTest(value: string): Test {
  const id = value.startsWith('"') || /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value) ? value : JSON.stringify(value);
  return (row) => row.id === id;
}

const OPERATORS: Readonly<Record<string, (number: number, limit: number) => boolean>> = {
  ">": (number, limit) => number > limit,
  ">=": (number, limit) => number >= limit,
  "<": (number, limit) => number < limit,
  "<=": (number, limit) => number <= limit,
  "=": (number, limit) => number === limit,
};

function comparison(units: Readonly<Record<string, number>>, of: (row: Row) => number | undefined): Key {
  const test = (value: string, at: number): Test => {
    const match = /^(>=|<=|>|<|=)?(\d+(?:\.\d+)?)([a-z]*)$/.exec(value.toLowerCase());
    const unit = match?.[3] !== undefined && Object.hasOwn(units, match[3]) ? units[match[3]] : undefined;
    const compare = OPERATORS[match?.[1] ?? "="];
    if (match === null || unit === undefined || compare === undefined) {
      throw new FilterError(`"${value}" is not a comparison; write for example >500, <=20 or =3, with a unit of ${Object.keys(units).filter(Boolean).join(", ")} if you like`, at);
    }
    const limit = Number(match[2]) * unit;
    return (row) => {
      const number = of(row);
      return number !== undefined && compare(number, limit);
    };
  };
  return { type: "comparison", units, test };
}

function sinceTest(value: string, at: number): Test {
  const start = ago(value) ?? today(value);
  if (start === undefined) throw new FilterError(`"${value}" is not a time; write for example 30s, 10m, 2h or 21:05`, at);
  return ({ record }) => record.time >= start;
}

function ago(value: string): number | undefined {
  const match = /^(\d+)([smhd])$/.exec(value);
  return match === null ? undefined : Date.now() / 1000 - Number(match[1]) * TIME_UNITS[match[2] as keyof typeof TIME_UNITS];
}

function today(value: string): number | undefined {
  const match = /^(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?$/.exec(value);
  if (match === null) return undefined;
  const [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  return hour > 23 || minute > 59 || second > 59 ? undefined : new Date().setHours(hour, minute, second, 0) / 1000;
}
