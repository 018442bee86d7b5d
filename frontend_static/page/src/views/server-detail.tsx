/** One server: what runs, what it says, how to use it elsewhere; restart, stop, change, remove. */

import { useEffect, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { rest, type Server } from "../api.js";
import { bytes, clock, duration } from "../format.js";
import { ConsentDialog } from "../manage/consent.js";
import { agree, read, remove, type Definition } from "../manage/definitions.js";
import { Elsewhere } from "../manage/elsewhere.js";
import { usePolled } from "../polled.js";
import { go, href } from "../route.js";
import { Banner, Columns, Confirm, Empty } from "../ui/parts.js";
import { measured, StateBadge } from "./servers.js";

export default function ServerDetail({ name }: { name: string }) {
  const { value, error } = usePolled(measured);
  const server = value?.servers.find((one) => one.name === name);
  return (
    <section class="view" aria-label={`Server ${name}`}>
      <p>
        <a href={href(["servers"])}>← Servers</a>
      </p>
      {error && <Banner kind="bad">{error.message}</Banner>}
      {value === undefined && !error && <Empty>Asking …</Empty>}
      {value !== undefined && server === undefined && <Empty>There is no server {name} now.</Empty>}
      {server !== undefined && <Detail server={server} />}
    </section>
  );
}

function Detail({ server }: { server: Server }) {
  return (
    <>
      <Head server={server} />
      <Facts server={server} />
      <Processes server={server} />
      <Stderr name={server.name} />
      <Elsewhere name={server.name} />
    </>
  );
}

function Head({ server }: { server: Server }) {
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState("");
  const [removing, setRemoving] = useState(false);
  const [awaited, setAwaited] = useState<Definition | undefined>();
  const order = async (what: "restart" | "stop"): Promise<void> => {
    setBusy(what);
    setWrong("");
    try {
      await rest(`servers/${encodeURIComponent(server.name)}/${what}`, { method: "POST" });
      announce(`${server.name}: ${what === "stop" ? "stopped" : "restarted"}`);
    } catch (error) {
      setWrong((error as Error).message);
    }
    await measured.refresh();
    setBusy("");
  };
  const look = (): void => {
    read(server.name).then(setAwaited, (error: Error) => setWrong(error.message));
  };
  const usable = server.state !== "disabled" && server.state !== "stopped";
  return (
    <>
      <div class="row wrap">
        <h2 class="server-name">{server.name}</h2>
        <StateBadge server={server} />
        <span class="spring" />
        {usable && (
          <a class="button" href={href(["server", server.name])}>
            Open
          </a>
        )}
        <a class="button" href={href(["traffic"], { filter: `server:${server.name}` })}>
          Traffic
        </a>
        <button type="button" disabled={busy !== "" || server.state === "disabled"} onClick={() => void order("restart")}>
          {server.state === "stopped" ? "Start again" : "Restart"}
        </button>
        <button type="button" disabled={busy !== "" || !usable} onClick={() => void order("stop")}>
          Stop
        </button>
        {server.read_only === "" && (
          <>
            <a class="button" href={href(["servers", server.name, "edit"])}>
              Change
            </a>
            <button type="button" class="danger" onClick={() => setRemoving(true)}>
              Remove
            </button>
          </>
        )}
      </div>
      {wrong && <Banner kind="bad">{wrong}</Banner>}
      {server.awaits_consent && (
        <Banner kind="warn">
          <span class="row wrap">
            Nothing is started before somebody has looked at what it runs, and agreed.
            <button type="button" class="primary" disabled={server.read_only !== ""} onClick={look}>
              Look at it …
            </button>
          </span>
        </Banner>
      )}
      {server.reason && !server.awaits_consent && <Banner kind={server.state === "running" ? "info" : "warn"}>{server.reason}</Banner>}
      {removing && <Remove name={server.name} onClose={() => setRemoving(false)} />}
      {awaited && (
        <ConsentDialog
          title={`Start ${server.name}?`}
          launch={awaited.launch}
          file={awaited.file}
          yes="Agree"
          onAgree={async () => {
            await agree(server.name, awaited.digest ?? "");
            await measured.refresh();
            setAwaited(undefined);
          }}
          onClose={() => setAwaited(undefined)}
        />
      )}
    </>
  );
}

function Remove({ name, onClose }: { name: string; onClose: () => void }) {
  const now = async (): Promise<void> => {
    await remove(name);
    announce(`${name} was removed`);
    await measured.refresh();
    go(["servers"]);
  };
  return (
    <Confirm title={`Remove ${name}?`} yes="Remove it" act={now} onClose={onClose}>
      Its entry is taken out of <code>{measured.value.value?.editing.file}</code>. Sessions that are open keep it until they end.
    </Confirm>
  );
}

function Facts({ server }: { server: Server }) {
  const facts: [string, string][] = [
    [server.command.length > 0 ? "Command" : "Address", server.command.join(" ") || server.address],
    ["Transport", server.transport],
    ["Era", server.era],
    ["Sharing", server.sharing],
    ["Sessions", String(server.sessions)],
    ["Crashes", String(server.restarts)],
    ["Last end", server.last_exit ? `${clock(server.last_exit.at)}: ${server.last_exit.reason}` : ""],
    ["Defined in", server.source],
    ["Changes", server.read_only],
  ];
  return (
    <table class="data about">
      <tbody>
        {facts.map(([name, value]) => value && (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class={name === "Command" ? "mono" : ""}>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Processes({ server }: { server: Server }) {
  if (server.processes.length === 0) return null;
  const now = Date.now() / 1000;
  return (
    <>
      <h3>{server.processes[0]?.pid === null ? "Attachments" : "Processes"}</h3>
      <table class="data">
        <Columns names={["Process", "Era", "Used by", "#Memory", "#Processor", "#Up"]} />
        <tbody>
          {server.processes.map((process) => (
            <tr key={process.pid ?? process.started}>
              <td class="mono">{process.pid ?? "remote"}</td>
              <td>{process.era}</td>
              <td>{process.shared ? (process.sessions === 1 ? "1 session" : `${process.sessions} sessions`) : "one session alone"}</td>
              <td class="number">{process.memory === null ? "" : bytes(process.memory)}</td>
              <td class="number">{process.cpu === null ? "" : `${process.cpu.toFixed(1)} s`}</td>
              <td class="number">{duration(now - process.started)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

interface Said {
  readonly lines: readonly { readonly seq: number; readonly time: number; readonly pid: number | null; readonly text: string }[];
  readonly next: number;
  readonly missed: number;
}

/** Milliseconds between two looks at stderr. */
const LOOK = 1_000;
const MOST_LINES = 1_000;

function Stderr({ name }: { name: string }) {
  const [lines, setLines] = useState<Said["lines"]>([]);
  const [missed, setMissed] = useState(0);
  const box = useRef<HTMLPreElement>(null);
  useEffect(() => {
    let after = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = new AbortController();
    const look = async (): Promise<void> => {
      try {
        const said = await rest<Said>(`servers/${encodeURIComponent(name)}/stderr?after=${after}`, { signal: stop.signal });
        const again = said.next < after;
        after = said.next;
        if (said.lines.length > 0) setLines((old) => [...(again ? [] : old), ...said.lines].slice(-MOST_LINES));
        if (said.missed > 0) setMissed((old) => old + said.missed);
      } catch {
        // the view says what is wrong with the gateway
      }
      if (!stop.signal.aborted) timer = setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", () => void look(), { once: true, signal: stop.signal }) : void look()), LOOK);
    };
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [name]);
  useEffect(() => {
    const element = box.current;
    if (element !== null && element.scrollHeight - element.scrollTop - element.clientHeight < 80) element.scrollTop = element.scrollHeight;
  }, [lines]);
  return (
    <>
      <h3>stderr</h3>
      {missed > 0 && <p class="muted">{missed} earlier lines are not kept.</p>}
      {lines.length === 0 ? (
        <p class="muted">Nothing was written.</p>
      ) : (
        <pre class="stderr" ref={box} tabIndex={0} aria-label={`stderr of ${name}`}>
          {lines.map((line) => (
            <span key={line.seq} class="line">
              <span class="muted">
                {clock(line.time)} {line.pid ?? ""}
              </span>{" "}
              {line.text}
              {"\n"}
            </span>
          ))}
        </pre>
      )}
    </>
  );
}
