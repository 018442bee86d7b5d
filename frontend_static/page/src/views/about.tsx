/** What the server says about itself, and the roots that this client tells it. */

import { useState } from "preact/hooks";
import { eraName } from "../format.js";
import type { Connection } from "../mcp/connection.js";
import { endpointOf } from "../mcp/target.js";
import { servers, usePolled } from "../polled.js";
import { JsonTree } from "../ui/json.js";
import { Banner } from "../ui/parts.js";
import { Facts } from "../ui/table.js";

export function About({ connection }: { connection: Connection }) {
  const info = connection.info.value;
  if (info === undefined) return <section class="view" aria-label="About" />;
  const facts: readonly [string, string][] = [
    ["Server", `${info.name || "(unnamed)"} ${info.version}`],
    ["Protocol", `${info.protocol} (${eraName(info.era)} era)`],
    ["Transport", info.transport],
    ["Endpoint", endpointOf(connection.target)],
    ["Session", connection.session.value || "(not resumable)"],
  ];
  return (
    <section class="view" aria-label="About">
      <Facts facts={[...facts, ...Object.entries(info.refused).map(([name, reason]) => [`Not ${name}`, reason] as const)]} />
      <EraNote connection={connection} />
      <Ping connection={connection} />
      {info.instructions && (
        <>
          <h2>Instructions</h2>
          <p class="said">{info.instructions}</p>
        </>
      )}
      <h2>Capabilities</h2>
      <JsonTree value={info.capabilities} open={3} />
      <Roots connection={connection} />
    </section>
  );
}

/** What the gateway's bridge leaves out, where the server has only the handshake era, and the way around it. */
export function EraNote({ connection }: { connection: Connection }) {
  const { value } = usePolled(servers);
  const server = connection.target.url === "" ? value?.servers.find(({ name }) => name === connection.name) : undefined;
  if (server?.era !== "legacy" || connection.info.value?.era !== "modern") return null;
  const reconnect = async (): Promise<void> => {
    connection.target = { ...connection.target, era: "legacy" };
    await connection.disconnect();
    await connection.connect();
  };
  return (
    <Banner>
      <span class="row wrap">
        This server has the handshake era only, and the gateway translates: log messages between calls are lost, and questions between calls wait for the next one.
        {server.sharing !== "always" && (
          <button type="button" onClick={() => void reconnect()}>
            Connect in the handshake era
          </button>
        )}
      </span>
    </Banner>
  );
}

function Ping({ connection }: { connection: Connection }) {
  const [result, setResult] = useState("");
  const ping = (): void => {
    setResult("…");
    connection.ping().then(
      (took) => setResult(`answered after ${took.toFixed(1)} ms`),
      (error: unknown) => setResult(error instanceof Error ? error.message : String(error)),
    );
  };
  return (
    <div class="row">
      <button type="button" onClick={ping}>
        Ping
      </button>
      <span class="muted" role="status">{result}</span>
    </div>
  );
}

/** The roots: directories that the server is told it may work in. */
function Roots({ connection }: { connection: Connection }) {
  const [uri, setUri] = useState("");
  const [error, setError] = useState("");
  const roots = connection.roots.value;
  const add = (): void => {
    if (!uri.startsWith("file:///")) return setError("A root must start with file:///");
    setError("");
    setUri("");
    void connection.setRoots([...roots.filter((root) => root.uri !== uri), { uri }]);
  };
  return (
    <>
      <h2>Roots</h2>
      <p class="muted">Directories that the server is told it may work in. They are not enforced.</p>
      <ul class="stack">
        {roots.map((root) => (
          <li key={root.uri} class="row">
            <code class="uri">{root.uri}</code>
            <button type="button" class="quiet" onClick={() => void connection.setRoots(roots.filter((other) => other !== root))}>
              Remove
            </button>
          </li>
        ))}
      </ul>
      <form class="row" onSubmit={(event) => (event.preventDefault(), add())}>
        <input type="text" aria-label="New root" placeholder="file:///home/me/project" aria-invalid={error !== ""} value={uri} onInput={(event) => setUri(event.currentTarget.value)} />
        <button type="submit">Add</button>
      </form>
      {error && <Banner kind="bad">{error}</Banner>}
    </>
  );
}
