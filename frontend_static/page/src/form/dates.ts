/** Dates and times between JSON (RFC 3339) and the fields of a browser. Pure. */

/** The type of the input that shows a value of this format; undefined where only a text field can. */
export function dateInput(format: string, value: string): "date" | "datetime-local" | undefined {
  if (format === "date" && (value === "" || (/^\d{4}-\d\d-\d\d$/.test(value) && isDate(value)))) return "date";
  if (format === "date-time" && (value === "" || (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$/i.test(value) && isDate(value)))) return "datetime-local";
  return undefined;
}

function isDate(text: string): boolean {
  return !Number.isNaN(Date.parse(text));
}

/** A moment as the local time of a `datetime-local` field. */
export function localOf(moment: string): string {
  if (moment === "") return "";
  const time = new Date(moment);
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** The moment that a local time means, in UTC; empty where the text is none. */
export function momentOf(local: string): string {
  const time = new Date(local);
  return Number.isNaN(time.getTime()) ? "" : time.toISOString().replace(".000Z", "Z");
}
