/** What an entry would run, shown in full before anything is started. */

import { useState } from "preact/hooks";
import { Banner, Dialog } from "../ui/parts.js";
import type { Launch, Report } from "./definitions.js";
import { Visible } from "./visible.js";

interface Props {
  title: string;
  launch: Launch;
  file: string;
  /** What the button that agrees says. */
  yes: string;
  onAgree: () => Promise<void>;
  /** Save, and start nothing. */
  onLater?: () => Promise<void>;
  onTry?: () => Promise<Report>;
  onClose: () => void;
}

export function ConsentDialog({ title, launch, file, yes, onAgree, onLater, onTry, onClose }: Props) {
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState("");
  const [report, setReport] = useState<Report | undefined>();
  const doing = (what: string, action: () => Promise<void>) => async (): Promise<void> => {
    setBusy(what);
    setWrong("");
    try {
      await action();
    } catch (error) {
      setWrong((error as Error).message);
    }
    setBusy("");
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="stack">
        <p>{PROMISE[launch.kind] ?? "Jupyter will connect to this address, with the headers of the entry:"}</p>
        <LaunchTable launch={launch} />
        {launch.notes.map((note) => (
          <Banner key={note} kind="warn">
            <Visible text={note} />
          </Banner>
        ))}
        <p class="muted">
          It is written to <code>{file}</code>. If what it runs is changed later, you are asked again.
        </p>
        {report && <ReportOf report={report} />}
        {wrong && <Banner kind="bad">{wrong}</Banner>}
        <div class="row wrap">
          <button type="button" class="primary" disabled={busy !== ""} onClick={doing("yes", onAgree)}>
            {yes}
          </button>
          {onTry && (
            <button type="button" disabled={busy !== ""} onClick={doing("try", async () => setReport(await onTry()))}>
              {busy === "try" ? "Trying …" : "Agree, and try it once"}
            </button>
          )}
          {onLater && (
            <button type="button" disabled={busy !== ""} onClick={doing("later", onLater)}>
              Save, start nothing
            </button>
          )}
          <button type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </div>
    </Dialog>
  );
}

const PROMISE: Record<string, string> = {
  stdio: "Jupyter will run this program, as you, with access to all your files:",
  python: "Jupyter will import this into its own process, where it can do whatever Jupyter can:",
  group: "These servers will be presented as one; each has a consent of its own:",
};

function LaunchTable({ launch }: { launch: Launch }) {
  return (
    <table class="data launch">
      <tbody>
        <Line name="Program" value={launch.command}>
          {launch.program !== null && launch.program !== launch.command && (
            <span class="muted">
              {" "}
              found at <Visible text={launch.program} />
            </span>
          )}
          {launch.kind === "stdio" && launch.program === null && <span class="warn"> not found now</span>}
        </Line>
        {launch.args.length > 0 && (
          <tr>
            <th scope="row">Arguments</th>
            <td>
              <ol class="argv">
                {launch.args.map((arg, index) => (
                  <li key={index}>
                    {arg === null ? <i>no text</i> : <Visible text={arg} />}
                  </li>
                ))}
              </ol>
            </td>
          </tr>
        )}
        <Line name="Directory" value={launch.cwd} />
        {launch.cwd === null && launch.kind === "stdio" && (
          <tr>
            <th scope="row">Directory</th>
            <td>that of Jupyter</td>
          </tr>
        )}
        <Line name="Address" value={launch.url} />
        <Line name="Object" value={launch.python} />
        <Line name="Members" value={launch.group.join(", ") || null} />
        <Pairs name="Variables" pairs={launch.env.map((name) => [name, launch.values[name] ?? ""])} />
        <Line name="Headers" value={launch.headers.join(", ") || null} />
        <Line name="Certificates" value={launch.ca_file} />
        {launch.oauth && <Pairs name="OAuth" pairs={Object.entries(launch.oauth)} empty="without a client of its own" />}
      </tbody>
    </table>
  );
}

function Line({ name, value, children }: { name: string; value: string | null; children?: preact.ComponentChildren }) {
  if (value === null) return null;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        <Visible text={value} />
        {children}
      </td>
    </tr>
  );
}

function Pairs({ name, pairs, empty }: { name: string; pairs: readonly (readonly [string, string])[]; empty?: string }) {
  if (pairs.length === 0 && empty === undefined) return null;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        {pairs.length === 0 && empty}
        {pairs.map(([key, value]) => (
          <div key={key}>
            <Visible text={key} /> = <Visible text={value} />
          </div>
        ))}
      </td>
    </tr>
  );
}

function ReportOf({ report }: { report: Report }) {
  return (
    <div class={`banner ${report.ok ? "" : "bad"}`} role="status">
      {report.ok ? (
        <p>
          It works: <b>{[report.server || "a server without a name", report.version].filter(Boolean).join(" ")}</b>, {report.era} era, {report.tools === 1 ? "1 tool" : `${report.tools ?? 0} tools`}, after {report.seconds} s. It was ended again.
        </p>
      ) : (
        <p>It does not work: {report.error}</p>
      )}
      {report.stderr.length > 0 && (
        <pre class="stderr" tabIndex={0} aria-label="Its stderr">
          {report.stderr.join("\n")}
        </pre>
      )}
    </div>
  );
}
