/** One server: its state, processes and stderr; restart, stop, edit, remove, and use from other programs. */

import { useState } from "preact/hooks";
import { announce } from "../announce.js";
import { rest, type Server } from "../api.js";
import { bytes, clock, duration, eraName } from "../format.js";
import { ConsentDialog } from "../manage/consent.js";
import { agree, read, remove, type Definition } from "../manage/definitions.js";
import { Elsewhere } from "../manage/elsewhere.js";
import { serversWithUsage, usePolled } from "../polled.js";
import { go, href, route } from "../route.js";
import { useAttempt } from "../ui/attempt.js";
import { Confirm } from "../ui/dialog.js";
import { Banner, Empty } from "../ui/parts.js";
import { isUsable, ServerState } from "../ui/server-state.js";
import { Facts, Table } from "../ui/table.js";
import { Stderr } from "./stderr.js";

export default function ServerDetail({ name }: { name: string }) {
  const { value, error } = usePolled(serversWithUsage);
  const server = value?.servers.find((each) => each.name === name);
  return (
    <section class="view" aria-label={`Server ${name}`}>
      <p>
        <a href={href(["servers"])}>← Servers</a>
      </p>
      {error && <Banner kind="bad">{error.message}</Banner>}
      {value === undefined && !error && <Empty>Loading …</Empty>}
      {value !== undefined && server === undefined && <Empty>There is no server named {name}.</Empty>}
      {server !== undefined && (
        <>
          <Head server={server} />
          <ServerFacts server={server} />
          <Processes server={server} />
          <Stderr name={server.name} led={route.value.query["show"] === "stderr"} />
          <Elsewhere name={server.name} />
        </>
      )}
    </section>
  );
}

function Head({ server }: { server: Server }) {
  const { busy, error, attempt } = useAttempt();
  const [removing, setRemoving] = useState(false);
  const [awaited, setAwaited] = useState<Definition | undefined>();
  const order = async (what: "restart" | "stop"): Promise<void> => {
    const done = await attempt(what, () => rest(`servers/${encodeURIComponent(server.name)}/${what}`, { method: "POST" }));
    if (done) announce(`${server.name}: ${what === "stop" ? "stopped" : "restarted"}`);
    await serversWithUsage.refresh();
  };
  const review = (): void => void attempt("review", async () => setAwaited(await read(server.name)));
  return (
    <>
      <Buttons server={server} busy={busy !== ""} order={(what) => void order(what)} onRemove={() => setRemoving(true)} />
      {error && <Banner kind="bad">{error}</Banner>}
      {server.awaits_consent && <ConsentBanner readOnly={server.read_only !== ""} onReview={review} />}
      {server.reason && !server.awaits_consent && <Banner kind={server.state === "running" ? "info" : "warn"}>{server.reason}</Banner>}
      {removing && <Remove name={server.name} onClose={() => setRemoving(false)} />}
      {awaited && <Consent definition={awaited} onClose={() => setAwaited(undefined)} />}
    </>
  );
}

interface ButtonsProps {
  server: Server;
  busy: boolean;
  order: (what: "restart" | "stop") => void;
  onRemove: () => void;
}

function Buttons({ server, busy, order, onRemove }: ButtonsProps) {
  return (
    <div class="row wrap">
      <h2 class="server-name">{server.title}</h2>
      {server.title !== server.name && <code class="muted">{server.name}</code>}
      <ServerState server={server} />
      <span class="spring" />
      {isUsable(server) && (
        <a class="button" href={href(["server", server.name])}>
          Open
        </a>
      )}
      <a class="button" href={href(["traffic"], { filter: `server:${server.name}` })}>
        Traffic
      </a>
      <button type="button" disabled={busy || server.state === "disabled"} onClick={() => order("restart")}>
        {server.state === "stopped" ? "Start" : "Restart"}
      </button>
      <button type="button" disabled={busy || !isUsable(server)} onClick={() => order("stop")}>
        Stop
      </button>
      {server.read_only === "" && (
        <>
          <a class="button" href={href(["servers", server.name, "edit"])}>
            Edit
          </a>
          <button type="button" class="danger" onClick={onRemove}>
            Remove
          </button>
        </>
      )}
    </div>
  );
}

function ConsentBanner({ readOnly, onReview }: { readOnly: boolean; onReview: () => void }) {
  return (
    <Banner kind="warn">
      <span class="row wrap">
        This server needs your consent. Nothing is started until you have reviewed what it runs.
        <button type="button" class="primary" disabled={readOnly} onClick={onReview}>
          Review …
        </button>
      </span>
    </Banner>
  );
}

function Consent({ definition, onClose }: { definition: Definition; onClose: () => void }) {
  const consent = async (): Promise<void> => {
    await agree(definition.name, definition.digest ?? "");
    await serversWithUsage.refresh();
    onClose();
  };
  return <ConsentDialog title={`Start ${definition.name}?`} launch={definition.launch} file={definition.file} yes="Allow" onAgree={consent} onClose={onClose} />;
}

function Remove({ name, onClose }: { name: string; onClose: () => void }) {
  const act = async (): Promise<void> => {
    await remove(name);
    announce(`${name} was removed`);
    go(["servers"]); // first: this view would go on requesting a server that no longer exists
    await serversWithUsage.refresh();
  };
  return (
    <Confirm title={`Remove ${name}?`} yes="Remove" act={act} onClose={onClose}>
      This deletes its entry from <code>{serversWithUsage.value.value?.editing.file}</code>. Open sessions keep the server until they end.
    </Confirm>
  );
}

function ServerFacts({ server }: { server: Server }) {
  const command = server.command.join(" ");
  return (
    <Facts
      facts={[
        command ? ["Command", <span class="mono">{command}</span>] : ["Address", server.address],
        ["Transport", server.transport],
        ["Era", eraName(server.era)],
        ["Sharing", server.sharing],
        ["Sessions", String(server.sessions)],
        ["Crashes", String(server.restarts)],
        ["Last exit", server.last_exit ? `${clock(server.last_exit.at)}: ${server.last_exit.reason}` : ""],
        ["Defined in", server.source],
        ["Read-only", server.read_only],
      ]}
    />
  );
}

function Processes({ server }: { server: Server }) {
  if (server.processes.length === 0) return null;
  const now = serversWithUsage.at;
  return (
    <>
      <h3>{server.processes[0]?.pid === null ? "Connections" : "Processes"}</h3>
      <Table columns={["Process", "Era", "Used by", "#Memory", "#CPU time", "#Uptime"]}>
        {server.processes.map((process) => (
          <tr key={process.pid ?? process.started}>
            <td class="mono">{process.pid ?? "remote"}</td>
            <td>{eraName(process.era)}</td>
            <td>{process.shared ? (process.sessions === 1 ? "1 session" : `${process.sessions} sessions`) : "1 session (private)"}</td>
            <td class="number">{process.memory === null ? "" : bytes(process.memory)}</td>
            <td class="number">{process.cpu === null ? "" : `${process.cpu.toFixed(1)} s`}</td>
            <td class="number">{duration(now - process.started)}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}
