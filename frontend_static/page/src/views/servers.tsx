/** The gateway's servers: all of them, or one in detail. */

import { useState } from "preact/hooks";
import type { Problem, Server, Servers as Answer } from "../api.js";
import { bytes, duration } from "../format.js";
import { useKeys } from "../keys.js";
import { Polled, servers as names, usePolled } from "../polled.js";
import { go, href, route } from "../route.js";
import { rest } from "../api.js";
import { lazy } from "../ui/lazy.js";
import { Badge, Banner, Empty, Filter, matches, WideTable } from "../ui/parts.js";

const Editor = lazy<{ name?: string }>(() => import("../manage/editor.js"));
const ServerDetail = lazy<{ name: string }>(() => import("./server-detail.js"));

/** With what the processes use, which costs the gateway a look at all processes. */
export const measured = new Polled(async () => {
  const answer = await rest<Answer>("servers?usage=1");
  names.value.value = answer;
  return answer;
}, 3_000);

export function Servers() {
  const [, name, what] = route.value.parts;
  if (name === undefined && route.value.query["add"] !== undefined) return <Editor />;
  if (name !== undefined && what === "edit") return <Editor key={name} name={name} />;
  if (name !== undefined) return <ServerDetail key={name} name={name} />;
  return <Overview />;
}

function Overview() {
  const { value, error } = usePolled(measured);
  const [filter, setFilter] = useState("");
  useKeys(() => [{ key: "a", words: "add a server", run: () => go(["servers"], { add: "1" }) }]);
  const shown = value?.servers.filter((server) => matches(filter, server.name, server.transport, ...server.command, server.address));
  return (
    <section class="view" aria-label="Servers">
      {error && <Banner kind="bad">{error.message}</Banner>}
      <div class="row wrap">
        <Filter label="Filter servers" value={filter} onInput={setFilter} />
        <span class="spring" />
        {value && <AddButton refused={value.editing.refused} />}
      </div>
      {value?.servers.length === 0 && <Empty>No server is configured. Add one here, or write it into {value.editing.file}.</Empty>}
      {value === undefined && !error && <Empty>Asking …</Empty>}
      {shown?.length === 0 && value?.servers.length !== 0 && <Empty>None of them matches.</Empty>}
      {shown !== undefined && shown.length > 0 && (
        <WideTable label="Table of servers" kind="servers" columns={COLUMNS}>
          {shown.map((server) => (
            <Line key={server.name} server={server} />
          ))}
        </WideTable>
      )}
      {value !== undefined && <Problems problems={value.problems} />}
    </section>
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

const COLUMNS = ["Server", "State", "Transport", "Era", "#Sessions", "#Processes", "#Memory", "#Up", "#Crashes", ""];

function Line({ server }: { server: Server }) {
  const memory = server.processes.reduce((sum, process) => sum + (process.memory ?? 0), 0);
  const oldest = Math.min(...server.processes.map(({ started }) => started));
  const usable = server.state !== "disabled" && server.state !== "stopped";
  return (
    <tr>
      <td>
        <a class="strong" href={href(["servers", server.name])}>
          {server.name}
        </a>
        <div class="muted command mono" title={server.command.join(" ") || server.address}>
          {server.command.join(" ") || server.address}
        </div>
        {server.reason && server.state !== "running" && <div class="warn reason">{server.reason}</div>}
      </td>
      <td>
        <StateBadge server={server} />
      </td>
      <td>{server.transport}</td>
      <td>{server.era === "unknown" ? "" : server.era}</td>
      <td class="number">{server.sessions}</td>
      <td class="number">{server.processes.length}</td>
      <td class="number">{memory ? bytes(memory) : ""}</td>
      <td class="number">{server.processes.length > 0 ? duration(Date.now() / 1000 - oldest) : ""}</td>
      <td class={`number ${server.restarts > 0 ? "bad" : ""}`}>{server.restarts || ""}</td>
      <td>{usable && <a href={href(["server", server.name])}>Open</a>}</td>
    </tr>
  );
}

export function StateBadge({ server }: { server: Server }) {
  if (server.awaits_consent) return <Badge kind="warn">awaits consent</Badge>;
  const kinds: Record<string, "" | "good" | "warn" | "bad"> = { running: "good", failed: "bad", stopped: "warn", disabled: "warn" };
  return <Badge kind={kinds[server.state] ?? ""}>{server.state}</Badge>;
}

function Problems({ problems }: { problems: readonly Problem[] }) {
  if (problems.length === 0) return null;
  return (
    <>
      <h2>Problems of the configuration</h2>
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
