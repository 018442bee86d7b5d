/** The consent dialog: what an entry would run, in full, before anything is started. */

import { useState } from "preact/hooks";
import { eraName } from "../format.js";
import { useAttempt } from "../ui/attempt.js";
import { Dialog } from "../ui/dialog.js";
import { Banner } from "../ui/parts.js";
import type { Launch, Report } from "./definitions.js";
import { Visible } from "./visible.js";

interface Props {
  title: string;
  launch: Launch;
  file: string;
  /** Label of the button that gives consent. */
  yes: string;
  onAgree: () => Promise<void>;
  /** Save without consent: nothing is started. */
  onLater?: () => Promise<void>;
  /** Give consent for one trial run. */
  onTry?: () => Promise<Report>;
  onClose: () => void;
}

export function ConsentDialog({ title, launch, file, yes, onAgree, onLater, onTry, onClose }: Props) {
  const { busy, error, attempt } = useAttempt();
  const [report, setReport] = useState<Report | undefined>();
  const running = (name: string, action: () => Promise<unknown>) => (): void => void attempt(name, action);
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="stack">
        <p>{EFFECTS[launch.kind] ?? "Jupyter will connect to this address, sending the headers of the entry:"}</p>
        <LaunchTable launch={launch} />
        {launch.notes.map((note) => (
          <Banner key={note} kind="warn">
            <Visible text={note} />
          </Banner>
        ))}
        <p class="muted">
          The entry is stored in <code>{file}</code>. If what it runs changes, you are asked again.
        </p>
        {report && <TrialReport report={report} />}
        {error && <Banner kind="bad">{error}</Banner>}
        <div class="row wrap">
          <button type="button" class="primary" disabled={busy !== ""} onClick={running("yes", onAgree)}>
            {yes}
          </button>
          {onTry && (
            <button type="button" disabled={busy !== ""} onClick={running("try", async () => setReport(await onTry()))}>
              {busy === "try" ? "Testing …" : "Allow and test once"}
            </button>
          )}
          {onLater && (
            <button type="button" disabled={busy !== ""} onClick={running("later", onLater)}>
              Save without starting
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

/** What consent allows, by kind of entry. */
const EFFECTS: Record<string, string> = {
  stdio: "Jupyter will run this program as your user, with access to all your files:",
  python: "Jupyter will import this object into its own process, where it can do anything Jupyter can:",
  group: "These servers will be combined into one; each needs its own consent:",
};

function LaunchTable({ launch }: { launch: Launch }) {
  return (
    <table class="data launch">
      <tbody>
        <Line name="Program" value={launch.command}>
          {launch.program !== null && launch.program !== launch.command && (
            <span class="muted">
              {" "}
              resolved to <Visible text={launch.program} />
            </span>
          )}
          {launch.kind === "stdio" && launch.program === null && <span class="warn"> not found</span>}
        </Line>
        {launch.args.length > 0 && (
          <tr>
            <th scope="row">Arguments</th>
            <td>
              <ol class="argv">
                {launch.args.map((arg, index) => (
                  <li key={index}>
                    {arg === null ? <i>not a string</i> : <Visible text={arg} />}
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
            <td>Jupyter's working directory</td>
          </tr>
        )}
        <Line name="Address" value={launch.url} />
        <Line name="Object" value={launch.python} />
        <Line name="Members" value={launch.group.join(", ") || null} />
        <Pairs name="Variables" pairs={launch.env.map((name) => [name, launch.values[name] ?? ""])} />
        <Line name="Headers" value={launch.headers.join(", ") || null} />
        <Line name="Certificates" value={launch.ca_file} />
        {launch.oauth && <Pairs name="OAuth" pairs={Object.entries(launch.oauth)} empty="no client ID configured" />}
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

function TrialReport({ report }: { report: Report }) {
  return (
    <div class={`banner ${report.ok ? "" : "bad"}`} role="status">
      {report.ok ? (
        <p>
          Success: <b>{[report.server || "unnamed server", report.version].filter(Boolean).join(" ")}</b>, {eraName(report.era)} era,{" "}
          {report.tools === 1 ? "1 tool" : `${report.tools ?? 0} tools`}, after {report.seconds} s. The server was stopped again.{report.note && ` Its list of tools: ${report.note}.`}
        </p>
      ) : (
        <p>Failed: {report.error}</p>
      )}
      {report.stderr.length > 0 && (
        <pre class="stderr" tabIndex={0} aria-label="stderr">
          {report.stderr.join("\n")}
        </pre>
      )}
    </div>
  );
}
