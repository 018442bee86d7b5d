/** Adding or editing an entry of the user's mcp.json: as a form or as JSON, checked while typing, saved after review. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { ApiError, type Problem } from "../api.js";
import { servers } from "../polled.js";
import { go, href } from "../route.js";
import { Banner, Empty } from "../ui/parts.js";
import { ConsentDialog } from "./consent.js";
import { preview, read, save, tryOnce, type Entry, type Origin, type Preview, type Report } from "./definitions.js";
import { EntryFields, JsonField, withoutEmpty } from "./entry-fields.js";
import { TextField, type Errors } from "./fields.js";
import { PasteField } from "./paste-field.js";
import type { Pasted } from "./paste.js";

/** Milliseconds without a key press after which the gateway checks the entry. */
const CHECK_DELAY = 400;
const NAME = /^[A-Za-z0-9._-]+$/;

/** The demo server, which the package contains. */
const DEMO: Entry = { command: "python", args: ["-m", "mcp_ws_ide.demo"] };

/**
 * @param demo whether a new entry begins as that of the demo server.
 * @param importing whether the import is open.
 */
export default function Editor({ name: given, demo = false, importing = false }: { name?: string; demo?: boolean; importing?: boolean }) {
  const [entry, setEntry] = useState<Entry | undefined>(given === undefined ? (demo ? DEMO : { command: "" }) : undefined);
  const [name, setName] = useState(given ?? (demo ? "demo" : ""));
  const [error, setError] = useState("");
  const title = given === undefined ? "Add a server" : `Edit ${given}`;
  useEffect(() => {
    if (given === undefined) return;
    read(given).then(
      (definition) => setEntry(definition.entry),
      (failure: Error) => setError(failure.message),
    );
  }, [given]);
  return (
    <section class="view narrow" aria-label={title}>
      <p>
        <a href={href(given === undefined ? ["servers"] : ["servers", given])}>← {given ?? "Servers"}</a>
      </p>
      <h2>{title}</h2>
      {error && <Banner kind="bad">{error}</Banner>}
      {entry === undefined ? !error && <Empty>Loading …</Empty> : <Form isNew={given === undefined} importing={importing} name={name} entry={entry} onName={setName} onEntry={setEntry} />}
    </section>
  );
}

interface FormProps {
  isNew: boolean;
  importing: boolean;
  name: string;
  entry: Entry;
  onName: (name: string) => void;
  onEntry: (entry: Entry) => void;
}

function Form({ isNew, importing, name, entry, onName, onEntry }: FormProps) {
  const [touched, setTouched] = useState(!isNew);
  const [json, setJson] = useState<string | undefined>();
  const [jsonError, setJsonError] = useState("");
  const cleaned = useMemo(() => withoutEmpty(entry), [entry]);
  const [from, setFrom] = useState<Origin | undefined>();
  const { problems, error: checkError } = useCheck(name, cleaned, touched, from);
  const errors = useMemo(() => errorsByKey(name, problems), [problems]);
  const review = useReview(name, cleaned, from);
  const nameError = name !== "" && !NAME.test(name) ? "only letters, digits, '.', '_' and '-' are allowed" : undefined;
  const change = (next: Entry): void => {
    setTouched(true);
    review.setError("");
    onEntry(next);
  };
  const paste = ({ name: pastedName, entry: pasted, from: origin }: Pasted): void => {
    if (pastedName) onName(pastedName);
    setFrom(origin);
    setJson(undefined);
    change(pasted);
  };
  const typeJson = (text: string): void => {
    setJson(text);
    const parsed = objectIn(text);
    setJsonError(typeof parsed === "string" ? parsed : "");
    if (typeof parsed !== "string") change(parsed);
  };
  const error = review.error || checkError;
  return (
    <form class="stack" noValidate onSubmit={(event) => (event.preventDefault(), setTouched(true), void review.start())}>
      {isNew && <PasteField open={importing} onPasted={paste} />}
      {isNew && <TextField label="Name" value={name} error={nameError} placeholder="git" onInput={(text) => (setTouched(true), onName(text))} />}
      <Modes json={json !== undefined} toForm={() => !jsonError && setJson(undefined)} toJson={() => setJson(JSON.stringify(cleaned, null, 2))} />
      {json === undefined ? <EntryFields entry={entry} onChange={change} errors={errors} /> : <JsonField text={json} error={jsonError} onInput={typeJson} />}
      <Problems problems={problems} name={name} />
      {error && <Banner kind="bad">{error}</Banner>}
      <div class="row">
        <button type="submit" class="primary" disabled={review.loading || jsonError !== "" || nameError !== undefined}>
          Review …
        </button>
        <span class="muted">Nothing is started until you allow it.</span>
      </div>
      {review.seen && <Review title={`${isNew ? "Add" : "Edit"} ${name}`} review={review} />}
    </form>
  );
}

function Modes({ json, toForm, toJson }: { json: boolean; toForm: () => void; toJson: () => void }) {
  return (
    <div class="segments" role="group" aria-label="Edit as">
      <button type="button" aria-pressed={!json} onClick={() => json && toForm()}>
        Form
      </button>
      <button type="button" aria-pressed={json} onClick={toJson}>
        JSON
      </button>
    </div>
  );
}

interface ReviewState {
  /** What the user is asked to consent to. */
  readonly seen: Preview | undefined;
  readonly loading: boolean;
  readonly error: string;
  readonly setError: (message: string) => void;
  readonly start: () => Promise<void>;
  readonly close: () => void;
  /** @param consent whether the server may be started. */
  readonly write: (consent: boolean) => Promise<void>;
  /** Start the server once, as it was reviewed. */
  readonly trial: () => Promise<Report>;
}

/** Preview an entry for the user's consent, then save it. */
function useReview(name: string, entry: Entry, from: Origin | undefined): ReviewState {
  const [seen, setSeen] = useState<Preview | undefined>();
  const [loading, setLoading] = useState(false);
  const [error, setError] = useState("");
  const start = async (): Promise<void> => {
    if (name === "") return setError("Enter a name for the server.");
    setLoading(true);
    try {
      const answer = await preview(name, entry, undefined, from);
      setError(answer.digest === null ? "The entry has errors; see above." : "");
      setSeen(answer.digest === null ? undefined : answer);
    } catch (failure) {
      setError((failure as Error).message);
    }
    setLoading(false);
  };
  const write = async (consent: boolean): Promise<void> => {
    if (seen === undefined) return;
    try {
      await save(name, entry, seen.version, consent ? (seen.digest ?? undefined) : undefined, from);
    } catch (failure) {
      // Somebody else changed the file: what was reviewed is out of date.
      if (failure instanceof ApiError && (failure.status === 412 || failure.status === 409)) setSeen(undefined);
      setError((failure as Error).message);
      throw failure;
    }
    announce(`${name} was saved`);
    await servers.refresh();
    go(["servers", name]);
  };
  const trial = (): Promise<Report> => tryOnce(name, entry, seen?.digest ?? "", from);
  return { seen, loading, error, setError, start, close: () => setSeen(undefined), write, trial };
}

function Review({ title, review }: { title: string; review: ReviewState }) {
  const { launch } = review.seen ?? {};
  if (!launch) return null;
  const testable = launch.kind !== "group" && { onTry: review.trial };
  return (
    <ConsentDialog
      title={title}
      launch={launch}
      file={servers.value.value?.editing.file ?? "mcp.json"}
      yes="Allow and save"
      onAgree={() => review.write(true)}
      onLater={() => review.write(false)}
      {...testable}
      onClose={review.close}
    />
  );
}

/** What the gateway finds in the entry, shortly after the last key press. */
function useCheck(name: string, entry: Entry, active: boolean, from: Origin | undefined): { problems: readonly Problem[]; error: string } {
  const [problems, setProblems] = useState<readonly Problem[]>([]);
  const [error, setError] = useState("");
  const request = useRef<AbortController | undefined>(undefined);
  useEffect(() => {
    if (!active || !NAME.test(name)) return;
    const timer = setTimeout(() => {
      request.current?.abort();
      const stop = (request.current = new AbortController());
      preview(name, entry, stop.signal, from).then(
        (answer) => (setProblems(answer.problems), setError("")),
        (failure: Error) => stop.signal.aborted || setError(failure.message),
      );
    }, CHECK_DELAY);
    return () => clearTimeout(timer);
  }, [name, entry, active, from]);
  return { problems, error };
}

function errorsByKey(name: string, problems: readonly Problem[]): Errors {
  return new Map(problems.filter(({ severity }) => severity === "error").map(({ key, reason }) => [key.replace(`${name}.`, ""), reason]));
}

/** The JSON object in a text, or why there is none. */
function objectIn(text: string): Entry | string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Entry) : "must be an object";
  } catch (error) {
    return (error as Error).message;
  }
}

function Problems({ problems, name }: { problems: readonly Problem[]; name: string }) {
  if (problems.length === 0) return null;
  return (
    <ul class="problems" aria-label="Problems of the entry">
      {problems.map(({ key, reason, severity }) => (
        <li key={`${key} ${reason}`} class={severity === "error" ? "bad" : "warn"}>
          <code>{key.replace(`${name}.`, "")}</code> {reason}
        </li>
      ))}
    </ul>
  );
}
