/** What the server says about itself, and what it is told about this client. */

import { useState } from "preact/hooks";
import type { Connection } from "../mcp/connection.js";
import { endpointOf } from "../mcp/target.js";
import { JsonTree } from "../ui/json.js";
import { Banner } from "../ui/parts.js";

export function About({ connection }: { connection: Connection }) {
  const info = connection.info.value;
  if (info === undefined) return <section class="view" aria-label="About" />;
  const rows: readonly [string, string][] = [
    ["Server", `${info.name || "(it gives no name)"} ${info.version}`],
    ["Protocol", `${info.protocol} (${info.era === "modern" ? "modern era" : "handshake era"})`],
    ["Transport", info.transport],
    ["Endpoint", endpointOf(connection.target)],
    ["Session", connection.session.value || "(not resumable)"],
  ];
  return (
    <section class="view" aria-label="About">
      <table class="data about">
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{value}</td>
            </tr>
          ))}
          {Object.entries(info.refused).map(([name, words]) => (
            <tr key={name}>
              <th scope="row">Not by {name}</th>
              <td>{words}</td>
            </tr>
          ))}
        </tbody>
      </table>
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

function Ping({ connection }: { connection: Connection }) {
  const [words, setWords] = useState("");
  const ping = (): void => {
    setWords("…");
    connection.ping().then(
      (took) => setWords(`answered after ${took.toFixed(1)} ms`),
      (error: unknown) => setWords(error instanceof Error ? error.message : String(error)),
    );
  };
  return (
    <div class="row">
      <button type="button" onClick={ping}>
        Ping
      </button>
      <span class="muted" role="status">{words}</span>
    </div>
  );
}

/** Directories that the server is told it may work in. */
function Roots({ connection }: { connection: Connection }) {
  const [uri, setUri] = useState("");
  const [wrong, setWrong] = useState("");
  const roots = connection.roots.value;
  const add = (): void => {
    if (!uri.startsWith("file:///")) return setWrong("A root begins with file:///");
    setWrong("");
    setUri("");
    void connection.setRoots([...roots.filter((root) => root.uri !== uri), { uri }]);
  };
  return (
    <>
      <h2>Roots</h2>
      <p class="muted">Directories that the server is told it may work in. Nothing enforces them.</p>
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
        <input type="text" aria-label="A further root" placeholder="file:///home/me/project" aria-invalid={wrong !== ""} value={uri} onInput={(event) => setUri(event.currentTarget.value)} />
        <button type="submit">Add</button>
      </form>
      {wrong && <Banner kind="bad">{wrong}</Banner>}
    </>
  );
}
