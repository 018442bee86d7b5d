// What helps to fill in a form: places of mistakes in JSON, dates, optional values, and values of earlier calls.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dateInput, localOf, momentOf } from "../build/page/form/dates.js";
import { mistakeIn, placed } from "../build/page/form/json-place.js";
import { Recent } from "../build/page/form/recent.js";
import { optionalOf, variantsOf } from "../build/page/form/schema.js";

const place = (text) => placed(mistakeIn(text));

test("a mistake in JSON has its line, its column and what is wrong there", () => {
  assert.equal(place('{"a": 1,\n "b": }'), "line 2, column 7: a value is missing");
  assert.equal(place('{"a": 1\n "b": 2}'), "line 2, column 2: a comma or } is missing");
  assert.equal(place('{"a": [1, 2,]}'), "line 1, column 12: no comma may stand before ]");
  assert.equal(place("{a: 1}"), "line 1, column 2: a member must begin with its name, in double quotes");
  assert.equal(place("{'a': 1}"), "line 1, column 2: a member must begin with its name, in double quotes");
  assert.equal(place('{"a": \'x\'}'), 'line 1, column 7: a string must be in double quotes (")');
  assert.equal(place('{"a": True}'), "line 1, column 7: this is not a value; a string must be in double quotes");
  assert.equal(place('{"a": "x}'), "line 1, column 7: this text has no closing quote");
  assert.equal(place('{"a": "x\n"}'), "line 1, column 9: a line break in a text must be written as \\n");
  assert.equal(place('{"a": "\\x"}'), "line 1, column 8: this escape does not exist");
  assert.equal(place('{"a": {\n"b": 1}'), "line 2, column 8: } is missing, for the { in line 1");
  assert.equal(place('{"a" 1}'), "line 1, column 6: a colon is missing");
  assert.equal(place("{} x"), "line 1, column 4: nothing may follow the value");
  assert.equal(place(""), "line 1, column 1: a value is missing");
  assert.equal(place("[".repeat(2_000)), "line 1, column 502: too many levels");
});

test("the places agree with the parser of the browser about what is JSON", () => {
  const parses = (text) => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const whole = '{"a": [1, -2.5e+3, true, null, "\\u00e4\\n"], "b": {"c": {}, "d": []}} ';
  assert.ok(parses(whole));
  const insertions = ["", ",", "}", "]", '"', "\\", "0", "-", ".", "e", "x", "\n", "\u0001", ":", "true", "{", "[1]"];
  for (let at = 0; at <= whole.length; at++) {
    for (const given of insertions) {
      for (const text of [whole.slice(0, at) + given + whole.slice(at), whole.slice(0, at) + given + whole.slice(at + 1), whole.slice(0, at) + given]) {
        const mistake = mistakeIn(text);
        assert.equal(mistake === undefined, parses(text), text);
        if (mistake !== undefined) assert.ok(mistake.at >= 0 && mistake.at <= text.length);
      }
    }
  }
});

test("dates have fields of their own, and what is not a date stays a text", () => {
  assert.equal(dateInput("date", ""), "date");
  assert.equal(dateInput("date", "2026-02-28"), "date");
  for (const other of ["tomorrow", "2026-13-01", "2026-1-1"]) assert.equal(dateInput("date", other), undefined);
  assert.equal(dateInput("date-time", "2026-01-31T12:00:00+02:00"), "datetime-local");
  assert.equal(dateInput("date-time", "2026-01-31"), undefined);
  assert.equal(dateInput("time", ""), undefined);
  const moment = "2026-01-31T12:00:05Z";
  assert.equal(momentOf(localOf(moment)), moment);
  assert.equal(momentOf(localOf("2026-07-31T23:59:59+02:00")), "2026-07-31T21:59:59Z");
  assert.equal(momentOf(""), "");
  assert.equal(localOf(""), "");
});

test("a value that may also be null has one shape, and any other choice has more", () => {
  const of = (schema) => optionalOf(variantsOf(schema, {}))?.schema.type;
  assert.equal(of({ anyOf: [{ type: "string" }, { type: "null" }], default: null }), "string");
  assert.equal(of({ type: ["null", "integer"] }), "integer");
  assert.equal(of({ anyOf: [{ type: "string" }, { type: "integer" }, { type: "null" }] }), undefined);
  assert.equal(of({ anyOf: [{ type: "string" }, { type: "integer" }] }), undefined);
  assert.equal(of({ type: "string" }), undefined);
});

test("values of earlier calls are offered by name, the newest first, without secrets", () => {
  const recent = new Recent();
  recent.add({ owner: "ada", count: 3, flag: true, list: ["x"], token: "t", password: "p", nested: { repo: "engine" }, empty: " ", long: "x".repeat(500) });
  assert.deepEqual(["owner", "count", "repo", "flag", "list", "token", "password", "empty", "long", "constructor"].map((name) => recent.of(name)), [["ada"], [3], ["engine"], [], [], [], [], [], [], []]);
  for (const owner of ["b", "c", "ada", "d"]) recent.add({ owner });
  assert.deepEqual(recent.of("owner"), ["d", "ada", "c"]);
  const saved = JSON.parse(JSON.stringify(recent.saved()));
  assert.deepEqual(new Recent(saved).of("owner"), ["d", "ada", "c"]);
  for (let at = 0; at < 300; at++) recent.add({ [`n${at}`]: at });
  assert.equal(recent.saved().length, 200);
  assert.deepEqual(recent.of("owner"), []);
});
