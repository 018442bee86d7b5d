/** Servers of other MCP clients on the gateway's machine: listed when the user asks, imported one review after another. */

import { useState } from "preact/hooks";
import { announce } from "../announce.js";
import { rest } from "../api.js";
import { servers } from "../polled.js";
import { go } from "../route.js";
import { useAttempt } from "../ui/attempt.js";
import { Badge, Banner } from "../ui/parts.js";
import { Table } from "../ui/table.js";
import { ConsentDialog } from "./consent.js";
import { isHidden, preview, save, tryOnce, type Entry, type Origin, type Preview } from "./definitions.js";
import type { Pasted } from "./paste.js";

interface Found {
  readonly key: string;
  readonly name: string;
  readonly address: string;
  readonly entry: Entry;
  readonly notices: readonly string[];
}

interface ClientFile {
  readonly program: string;
  readonly path: string;
  readonly problem: string;
  readonly entries: readonly Found[];
}

/** An entry that the user has ticked, and the free name that it gets. */
interface Choice {
  readonly name: string;
  readonly program: string;
  readonly found: Found;
  readonly from: Origin;
}

/** @param onPasted opens one entry in the form instead. */
export function ClientFiles({ onPasted }: { onPasted: (pasted: Pasted) => void }) {
  const { busy, error, attempt } = useAttempt();
  const [files, setFiles] = useState<readonly ClientFile[] | undefined>();
  const look = (): void => void attempt("look", async () => setFiles((await rest<{ files: ClientFile[] }>("client-files")).files));
  return (
    <div class="stack">
      <div class="row wrap">
        <button type="button" disabled={busy !== ""} onClick={look}>
          Look for other clients&rsquo; files
        </button>
        <span class="muted">Reads their settings in your home directory on Jupyter&rsquo;s machine; values that may be secret stay there.</span>
      </div>
      {error && <Banner kind="bad">{error}</Banner>}
      {files?.length === 0 && <p role="status">No file of another client has servers.</p>}
      {files !== undefined && files.length > 0 && <Files files={files} onPasted={onPasted} />}
    </div>
  );
}

function Files({ files, onPasted }: { files: readonly ClientFile[]; onPasted: (pasted: Pasted) => void }) {
  const [chosen, setChosen] = useState<readonly Choice[]>([]);
  const { shown, step, steps, problem, start, write, stop } = useReviews(chosen, setChosen);
  const toggle = (file: ClientFile, found: Found): void => {
    const from = { path: file.path, key: found.key };
    const others = chosen.filter((choice) => !isSame(choice.from, from));
    if (others.length < chosen.length) return setChosen(others);
    setChosen([...others, { name: freeName(found.address, others), program: file.program, found, from }]);
  };
  return (
    <>
      {files.map((file) => (
        <OneFile key={file.path} file={file} chosen={chosen} onToggle={(found) => toggle(file, found)} onPasted={onPasted} />
      ))}
      {problem && <Banner kind="bad">{problem}</Banner>}
      <div class="row wrap">
        <button type="button" class="primary" disabled={chosen.length === 0} onClick={() => void start(chosen)}>
          {chosen.length === 1 ? "Review 1 server …" : `Review ${chosen.length} servers …`}
        </button>
        <span class="muted">Nothing is saved or started until you allow it.</span>
      </div>
      {shown?.seen.launch && (
        <ConsentDialog
          key={shown.name}
          title={`Import ${shown.name} from ${shown.program}${steps > 1 ? ` (${step} of ${steps})` : ""}`}
          launch={shown.seen.launch}
          file={servers.value.value?.editing.file ?? "mcp.json"}
          yes="Allow and save"
          onAgree={() => write(true)}
          onLater={() => write(false)}
          {...(shown.seen.launch.kind !== "group" && { onTry: () => tryOnce(shown.name, shown.found.entry, shown.seen.digest ?? "", shown.from) })}
          onClose={stop}
        />
      )}
    </>
  );
}

interface FileProps {
  file: ClientFile;
  chosen: readonly Choice[];
  onToggle: (found: Found) => void;
  onPasted: (pasted: Pasted) => void;
}

function OneFile({ file, chosen, onToggle, onPasted }: FileProps) {
  const choiceOf = (found: Found): Choice | undefined => chosen.find(({ from }) => isSame(from, { path: file.path, key: found.key }));
  return (
    <section class="stack" aria-label={`${file.program}: ${file.path}`}>
      <h3>
        {file.program} <code class="muted">{file.path}</code>
      </h3>
      {file.problem && <p class="warn reason">{file.problem}</p>}
      {file.entries.length > 0 && (
        <div class="scroll">
          <Table columns={["Import", "Runs", ""]}>
            {file.entries.map((found) => (
              <Line key={found.key} found={found} choice={choiceOf(found)} onToggle={() => onToggle(found)} onEdit={() => onPasted({ name: freeName(found.address, []), entry: found.entry, from: { path: file.path, key: found.key } })} />
            ))}
          </Table>
        </div>
      )}
    </section>
  );
}

function Line({ found, choice, onToggle, onEdit }: { found: Found; choice: Choice | undefined; onToggle: () => void; onEdit: () => void }) {
  const { entry, name, notices } = found;
  const carried = [...Object.keys(entry["env"] ?? {}), ...Object.keys(entry["headers"] ?? {})];
  return (
    <tr>
      <td>
        <label class="inline">
          <input type="checkbox" checked={choice !== undefined} onChange={onToggle} /> {name}
        </label>
        {choice !== undefined && choice.name !== name && <div class="muted reason">as {choice.name}</div>}
        {(entry["disabled"] === true || entry["enabled"] === false) && <Badge>switched off there</Badge>}
      </td>
      <td>
        <div class="mono reason">{targetOf(entry)}</div>
        {carried.length > 0 && <div class="muted reason">with {carried.join(", ")}</div>}
        {notices.map((notice) => (
          <div key={notice} class="warn reason">
            {notice}
          </div>
        ))}
      </td>
      <td>
        <div class="row">
          <button type="button" aria-label={`Edit first: ${name}`} onClick={onEdit}>
            Edit first
          </button>
        </div>
      </td>
    </tr>
  );
}

interface Reviews {
  /** What the user is asked to consent to, and its place among those of this round. */
  readonly shown: (Choice & { readonly seen: Preview }) | undefined;
  readonly step: number;
  readonly steps: number;
  readonly problem: string;
  readonly start: (choices: readonly Choice[]) => Promise<void>;
  /** @param consent whether the server may be started. */
  readonly write: (consent: boolean) => Promise<void>;
  readonly stop: () => void;
}

/** Reviews the chosen entries in turn; one that was saved is no longer chosen. */
function useReviews(chosen: readonly Choice[], setChosen: (choices: readonly Choice[]) => void): Reviews {
  const [shown, setShown] = useState<Reviews["shown"]>();
  const [steps, setSteps] = useState(0);
  const [problem, setProblem] = useState("");
  const next = async (choices: readonly Choice[]): Promise<void> => {
    const [choice] = choices;
    setShown(undefined);
    if (choice === undefined) return go(["servers"]);
    try {
      const seen = await preview(choice.name, choice.found.entry, undefined, choice.from);
      const mistake = seen.problems.find(({ severity }) => severity === "error");
      if (seen.digest === null) setProblem(`${choice.name} cannot be imported as it is: ${mistake?.key} ${mistake?.reason}`);
      else setShown({ ...choice, seen });
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  const start = (choices: readonly Choice[]): Promise<void> => {
    setSteps(choices.length);
    setProblem("");
    return next(choices);
  };
  const write = async (consent: boolean): Promise<void> => {
    if (shown === undefined) return;
    const { name, found, from, seen } = shown;
    await save(name, found.entry, seen.version, consent ? (seen.digest ?? undefined) : undefined, from);
    announce(`${name} was saved`);
    await servers.refresh();
    const left = chosen.filter((choice) => choice.name !== name);
    setChosen(left);
    await next(left);
  };
  return { shown, step: steps - chosen.length + 1, steps, problem, start, write, stop: () => setShown(undefined) };
}

function isSame(one: Origin, other: Origin): boolean {
  return one.path === other.path && one.key === other.key;
}

/** A name that neither a configured server nor one of the choices has. */
function freeName(address: string, choices: readonly Choice[]): string {
  const taken = new Set([...(servers.value.value?.servers ?? []), ...choices].map(({ name }) => name));
  let name = address;
  for (let number = 2; taken.has(name); number += 1) name = `${address}-${number}`;
  return name;
}

function targetOf(entry: Entry): string {
  const parts = [entry["command"] ?? entry["url"], ...(Array.isArray(entry["args"]) ? entry["args"] : [])];
  return parts.map((part) => (isHidden(part) ? (part.shown ?? "••••") : String(part ?? ""))).join(" ");
}
