/** The gateway's servers: all of them in a table, or one in detail. */

import type { Interference, Problem, Server } from "../api.js";
import { bytes, duration, eraName } from "../format.js";
import { useKeys } from "../keys.js";
import { serversWithUsage, usePolled } from "../polled.js";
import { go, href, route } from "../route.js";
import { lazy } from "../ui/lazy.js";
import { Badge } from "../ui/parts.js";
import { isUsable, ServerState } from "../ui/server-state.js";
import { FilteredTable } from "../ui/table.js";

const Editor = lazy<{ name?: string; demo?: boolean; importing?: boolean }>(() => import("../manage/editor.js"));
const ServerDetail = lazy<{ name: string }>(() => import("./server-detail.js"));

export function Servers() {
  const [, name, what] = route.value.parts;
  const { add } = route.value.query;
  if (name === undefined && add !== undefined) return <Editor key={add} demo={add === "demo"} importing={add === "import"} />;
  if (name !== undefined && what === "edit") return <Editor key={name} name={name} />;
  if (name !== undefined) return <ServerDetail key={name} name={name} />;
  return <Overview />;
}

function Overview() {
  const { value, error } = usePolled(serversWithUsage);
  useKeys(() => [{ key: "a", label: "add a server", run: () => go(["servers"], { add: "1" }) }]);
  return (
    <section class="view" aria-label="Servers">
      <FilteredTable
        label="servers"
        columns={COLUMNS}
        items={value?.servers}
        error={error?.message ?? ""}
        textsOf={({ name, transport, command, address }) => [name, transport, ...command, address]}
        empty={value && <FirstSteps file={value.editing.file} refused={value.editing.refused} />}
        tools={
          <>
            <span class="spring" />
            {value && <AddButton refused={value.editing.refused} />}
          </>
        }
        row={(server) => <Line key={server.name} server={server} />}
      />
      {value !== undefined && <Problems problems={value.problems} />}
      {value !== undefined && <Network noticed={value.network} />}
      {value?.servers.some(({ transport }) => transport === "stdio") && <Withheld names={value.withheld} />}
    </section>
  );
}

/** Where to begin when there is no server. */
function FirstSteps({ file, refused }: { file: string; refused: string }) {
  return (
    <span class="first-steps">
      <strong>No server is configured yet.</strong>
      {refused === "" && (
        <span class="row wrap">
          <a class="button primary" href={href(["servers"], { add: "1" })}>
            Add a server
          </a>
          <a class="button" href={href(["servers"], { add: "demo" })}>
            Try the demo
          </a>
          <a class="button" href={href(["servers"], { add: "import" })}>
            Import from other clients
          </a>
        </span>
      )}
      <span>
        Servers can also be written into <code>{file}</code>.
      </span>
    </span>
  );
}

function AddButton({ refused }: { refused: string }) {
  if (refused) {
    return (
      <button type="button" disabled title={refused}>
        Add a server
      </button>
    );
  }
  return (
    <a class="button" href={href(["servers"], { add: "1" })}>
      Add a server
    </a>
  );
}

const COLUMNS = ["Server", "State", "Transport", "Era", "#Sessions", "#Processes", "#Memory", "#Uptime", "#Crashes", ""];

function Line({ server }: { server: Server }) {
  const memory = server.processes.reduce((sum, process) => sum + (process.memory ?? 0), 0);
  const oldest = Math.min(...server.processes.map(({ started }) => started));
  const target = server.command.join(" ") || server.address;
  return (
    <tr>
      <td>
        <a class="strong" href={href(["servers", server.name])}>
          {server.title}
        </a>
        {server.title !== server.name && <code class="muted"> {server.name}</code>}
        <div class="muted command mono" title={target}>
          {target}
        </div>
        {server.reason && server.state !== "running" && <div class="warn reason">{server.reason}</div>}
        {(server.state === "failed" || (server.state === "idle" && server.reason !== "")) && (
          <div class="row wrap reason">
            <a href={href(["servers", server.name], { show: "stderr" })}>Show stderr</a>
            {server.read_only === "" && <a href={href(["servers", server.name, "edit"])}>Edit configuration</a>}
          </div>
        )}
      </td>
      <td>
        <ServerState server={server} />
      </td>
      <td>{server.transport}</td>
      <td>{eraName(server.era)}</td>
      <td class="number">{server.sessions || ""}</td>
      <td class="number">{server.processes.length || ""}</td>
      <td class="number">{memory ? bytes(memory) : ""}</td>
      <td class="number">{server.processes.length > 0 ? duration(serversWithUsage.at - oldest) : ""}</td>
      <td class={`number ${server.restarts > 0 ? "bad" : ""}`}>{server.restarts || ""}</td>
      <td>
        {isUsable(server) && (
          <a class="button" href={href(["server", server.name])}>
            Open
          </a>
        )}
      </td>
    </tr>
  );
}

/** What stands between clients and this gateway. */
function Network({ noticed }: { noticed: readonly Interference[] }) {
  if (noticed.length === 0) return null;
  return (
    <>
      <h2>Network problems</h2>
      <ul class="problems" aria-label="network problems">
        {noticed.map(({ code, message, cure, count }) => (
          <li key={code}>
            <Badge kind="warn">{count === 1 ? "once" : `${count} times`}</Badge> {message}; {cure}
          </li>
        ))}
      </ul>
    </>
  );
}

/** Which variables of Jupyter a program may miss. */
function Withheld({ names }: { names: readonly string[] }) {
  if (names.length === 0) return null;
  const isOne = names.length === 1;
  return (
    <details class="withheld">
      <summary>
        {isOne ? "1 variable" : `${names.length} variables`} of Jupyter&rsquo;s environment {isOne ? "reaches" : "reach"} a server only if its entry
        lists {isOne ? "it" : "them"} under <code>env_vars</code>
      </summary>
      <ul aria-label="variables that servers do not get">
        {names.map((name) => (
          <li key={name}>
            <code>{name}</code>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Problems({ problems }: { problems: readonly Problem[] }) {
  if (problems.length === 0) return null;
  return (
    <>
      <h2>Configuration problems</h2>
      <ul class="problems">
        {problems.map(({ source, key, reason, severity }) => (
          <li key={`${source} ${key} ${reason}`} class={severity === "error" ? "bad" : ""}>
            <Badge kind={severity === "error" ? "bad" : ""}>{severity}</Badge> <code>{key}</code> {reason} <span class="muted">{source}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
