/** One connected server: state, questions, and a tab for each kind of thing it offers. */

import { useEffect, useState } from "preact/hooks";
import { rest } from "../api.js";
import type { Connection } from "../mcp/connection.js";
import { openServer, remove } from "../mcp/connections.js";
import { connectionOf } from "../mcp/registry.js";
import { servers, usePolled } from "../polled.js";
import { go, href, route } from "../route.js";
import { useAttempt } from "../ui/attempt.js";
import { Guard } from "../ui/guard.js";
import { Icon } from "../ui/icons.js";
import { Badge, Banner, Empty } from "../ui/parts.js";
import { StateLine } from "../ui/state.js";
import { About } from "./about.js";
import { Calls } from "./calls.js";
import { Log } from "./log.js";
import { Prompts } from "./prompts.js";
import { Questions } from "./questions.js";
import { Resources } from "./resources.js";
import { Tools } from "./tools.js";

export default function ServerClient({ name }: { name: string }) {
  const connection = connectionOf(name);
  useEffect(() => {
    if (connection === undefined) openServer(name);
  }, []);
  if (connection === undefined) return null;
  return (
    <div class="server">
      <Head connection={connection} />
      <Tabs connection={connection} />
      <Trouble connection={connection} />
      <Questions connection={connection} />
      <Guard key={route.value.parts[2]} what="this tab">
        <Body connection={connection} />
      </Guard>
    </div>
  );
}

function Head({ connection }: { connection: Connection }) {
  const info = connection.info.value;
  const { kind } = connection.state.value;
  const close = (): void => {
    go(["servers"]);
    void remove(connection);
  };
  return (
    <div class="server-head row wrap">
      <h2>{connection.name}</h2>
      <StateLine connection={connection} />
      {info && (
        <>
          <Badge title="protocol revision">{info.protocol}</Badge>
          <Badge title="transport">{info.transport}</Badge>
        </>
      )}
      {connection.session.value && kind !== "closed" && (
        <span class="muted mono session" title={`session ${connection.session.value}`}>
          {connection.session.value.slice(0, 8)}
        </span>
      )}
      <span class="spring" />
      {kind === "reconnecting" && (
        <button type="button" onClick={() => connection.tryNow()}>
          Reconnect now
        </button>
      )}
      {kind === "closed" ? (
        <button type="button" class="primary" onClick={() => void connection.connect()}>
          Reconnect
        </button>
      ) : (
        <button type="button" onClick={() => void connection.disconnect()}>
          Disconnect
        </button>
      )}
      <button type="button" class="quiet" aria-label={`Close ${connection.name}`} title="Disconnect and close" onClick={close}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** A server of this gateway that the user has stopped. */
function Stopped({ connection }: { connection: Connection }) {
  const { busy, error, attempt } = useAttempt();
  const start = async (): Promise<void> => {
    await rest(`servers/${encodeURIComponent(connection.name)}/restart`, { method: "POST" });
    await connection.connect();
  };
  return (
    <Banner kind="bad">
      <span class="row wrap">
        {connection.name} is stopped.
        <button type="button" disabled={busy !== ""} onClick={() => void attempt("start", start)}>
          Start and connect
        </button>
        <a href={href(["servers", connection.name])}>Details and stderr</a>
      </span>
      {error && <p>{error}</p>}
    </Banner>
  );
}

function Trouble({ connection }: { connection: Connection }) {
  const state = connection.state.value;
  if (state.kind === "reconnecting") return <Banner kind="warn">{(state.reason || "The link was lost").replace(/\.$/, "")}. Calls wait for the link; nothing is lost as long as the session exists.</Banner>;
  if (state.kind !== "closed" || state.wanted) return null;
  if (!connection.target.url && STOPPED.test(state.reason)) return <Stopped connection={connection} />;
  return (
    <Banner kind="bad">
      <p>{state.reason || "The connection has ended."}</p>
      {!connection.target.url && !state.refused && <Remedies name={connection.name} />}
      {state.refused && (connection.target.url ? <NewToken connection={connection} /> : <LogIn />)}
    </Banner>
  );
}

/** Where to look, and what to change, after a server of this gateway has failed. */
function Remedies({ name }: { name: string }) {
  const { value } = usePolled(servers);
  const server = value?.servers.find((each) => each.name === name);
  if (server === undefined) return null;
  const noticed = value?.problems.filter(({ key }) => `${key}.`.includes(`.${name}.`)) ?? [];
  return (
    <>
      {noticed.map(({ key, reason }) => (
        <p key={key}>
          <code>{key}</code>: {reason}
        </p>
      ))}
      <p class="row wrap remedies">
        <a class="button" href={href(["servers", name], { show: "stderr" })}>
          Show stderr
        </a>
        {server.read_only === "" && (
          <a class="button" href={href(["servers", name, "edit"])}>
            Edit configuration
          </a>
        )}
        <a class="button" href={href(["servers", name])}>
          State of the server
        </a>
      </p>
    </>
  );
}

function LogIn() {
  return (
    <p>
      <button type="button" onClick={() => location.reload()}>
        Log in again
      </button>
    </p>
  );
}

function NewToken({ connection }: { connection: Connection }) {
  const [token, setToken] = useState("");
  return (
    <form class="row wrap" onSubmit={(event) => (event.preventDefault(), void connection.connect(undefined, token))}>
      <input type="password" class="filter" autocomplete="off" aria-label="New token" placeholder="new token" value={token} onInput={(event) => setToken(event.currentTarget.value)} />
      <button type="submit">Connect</button>
    </form>
  );
}

/** The gateway's reason for a server that a user has stopped. */
const STOPPED = /\bwas stopped\b/;

const TABS = ["tools", "resources", "prompts", "calls", "log", "about"] as const;
const TITLES = { tools: "Tools", resources: "Resources", prompts: "Prompts", calls: "Calls", log: "Log", about: "About" };

function Tabs({ connection }: { connection: Connection }) {
  const current = route.value.parts[2] ?? "tools";
  const running = connection.calls.all.value.filter((call) => call.state.value.kind === "running").length;
  const counts: Record<string, number | undefined> = {
    tools: connection.lists.tools.value.items?.length,
    resources: connection.lists.resources.value.items && connection.lists.resources.value.items.length + (connection.lists.templates.value.items?.length ?? 0),
    prompts: connection.lists.prompts.value.items?.length,
    calls: running || undefined,
  };
  return (
    <nav class="tabs" aria-label={`Sections of ${connection.name}`}>
      {TABS.map((tab) => (
        <a key={tab} href={href(["server", connection.name, tab])} aria-current={tab === current ? "page" : undefined}>
          {TITLES[tab]}
          {counts[tab] !== undefined && <span class="count">{tab === "calls" ? `${counts[tab]} running` : counts[tab]}</span>}
        </a>
      ))}
    </nav>
  );
}

function Body({ connection }: { connection: Connection }) {
  const [, , tab = "tools", chosen] = route.value.parts;
  const given = route.value.query["args"];
  switch (tab) {
    case "tools":
      return <Tools connection={connection} chosen={chosen} given={given} />;
    case "resources":
      return <Resources connection={connection} chosen={chosen} />;
    case "prompts":
      return <Prompts connection={connection} chosen={chosen} given={given} />;
    case "calls":
      return (
        <div class="view">
          <div class="row">
            <span class="spring" />
            <button type="button" onClick={() => connection.calls.clear()}>
              Clear
            </button>
          </div>
          <Calls connection={connection} />
        </div>
      );
    case "log":
      return <Log connection={connection} />;
    case "about":
      return <About connection={connection} />;
    default:
      return <Empty>This page does not exist.</Empty>;
  }
}
