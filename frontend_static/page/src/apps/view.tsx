/**
 * An app of a server, in a frame with an origin of its own: it has no access to the page, to cookies or to storage, and its
 * policy (handlers/app_frame.py) lets it reach only the hosts that its resource names. What it asks for, `host.ts` decides.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { baseUrl } from "../api.js";
import type { Call } from "../mcp/call.js";
import type { Connection } from "../mcp/connection.js";
import { messageOf, REQUEST_TIMEOUT } from "../mcp/peer.js";
import { theme } from "../theme.js";
import { JsonTree } from "../ui/json.js";
import { Banner, Empty } from "../ui/parts.js";
import { actionsFor, type Ask as AskUser, type Wish } from "./actions.js";
import { AppHost, type Shown } from "./host.js";
import { documentIn, frameQuery, type AppDocument } from "./resource.js";

/** Pixels of an app's height. */
const LEAST = 60;
const MOST = 900;
const FIRST = 240;

interface AppProps {
  call: Call;
  connection: Connection;
  /** Address of the app's resource. */
  uri: string;
}

export default function App({ call, connection, uri }: AppProps) {
  const [app, setApp] = useState<AppDocument | undefined>();
  const [error, setError] = useState("");
  useEffect(() => {
    const { client } = connection;
    if (client === undefined) return setError("not connected");
    client.readResource({ uri }, { timeout: REQUEST_TIMEOUT }).then(
      (answer) => setApp(documentIn(answer)),
      (failure: unknown) => setError(messageOf(failure)),
    ).catch((failure: unknown) => setError(messageOf(failure)));
  }, [uri]);
  if (error) return <Banner kind="warn">The app {uri} cannot be shown: {error}</Banner>;
  return app === undefined ? <Empty>Loading the app …</Empty> : <Frame app={app} call={call} connection={connection} />;
}

function Frame({ app, call, connection }: { app: AppDocument; call: Call; connection: Connection }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const { wishes, ask, trust } = useWishes();
  useEffect(() => {
    const element = frame.current;
    const inner = element?.contentWindow;
    if (!element || !inner) return undefined;
    const resize = (height: number): void => void (element.style.height = `${Math.min(MOST, Math.max(LEAST, Math.ceil(height)))}px`);
    // The frame's origin is opaque, so that it has no name to send to; messages are known by the window that they come from.
    const host = new AppHost((message) => inner.postMessage(message, "*"), actionsFor(connection, call, ask, resize), shownTo(call, connection));
    const received = ({ source, data }: MessageEvent): void => {
      if (source !== inner) return;
      if (data?.type === "mcp-ws-app-frame") inner.postMessage({ document: app.html }, "*");
      else host.receive(data);
    };
    addEventListener("message", received);
    resize(FIRST);
    element.src = `${baseUrl}mcp-ws/app-frame?${frameQuery(app)}`;
    return () => {
      removeEventListener("message", received);
      host.close();
    };
  }, [app]);
  const hosts = [...new Set([...app.connect, ...app.resource, ...app.frame])];
  return (
    <section class="app" aria-label={`App of ${call.name}`}>
      {wishes.map((wish, index) => (
        <Ask key={index} wish={wish} onTrust={trust} />
      ))}
      <iframe ref={frame} title={`App of ${call.name}`} sandbox="allow-scripts" referrerpolicy="no-referrer" />
      <p class="muted app-foot">
        App of the server {connection.name}
        {hosts.length > 0 && `, which may reach ${hosts.join(", ")}`}
      </p>
    </section>
  );
}

/** What an app wants and the user has not decided yet. */
function useWishes() {
  const [wishes, setWishes] = useState<readonly Wish[]>([]);
  const trusted = useRef(false);
  const ask: AskUser = (kind, name, args) => {
    if (kind === "tool" && trusted.current) return Promise.resolve(true);
    return new Promise((decided) => {
      const decide = (allowed: boolean): void => {
        setWishes((open) => open.filter((other) => other !== wish));
        decided(allowed);
      };
      const wish: Wish = { kind, name, args, decide };
      setWishes((open) => [...open, wish]);
    });
  };
  return { wishes, ask, trust: () => (trusted.current = true) };
}

/** The call that an app shows, and the page around it. */
function shownTo(call: Call, connection: Connection): Shown {
  const state = call.state.peek();
  const dark = theme.peek() === "dark" || (theme.peek() === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  const tool = connection.lists.tools.peek().items?.find(({ name }) => name === call.name);
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const context = { theme: dark ? "dark" : "light", locale: navigator.language, timeZone, ...(tool && { toolInfo: { tool } }) };
  return { args: call.args, result: state.kind === "done" ? state.result : undefined, context };
}

/** Ask the user to allow what an app wants. */
function Ask({ wish, onTrust }: { wish: Wish; onTrust: () => void }) {
  const always = (): void => {
    onTrust();
    wish.decide(true);
  };
  return (
    <div class="card question" role="alertdialog" aria-label="The app asks">
      <p>
        The app wants to {wish.kind === "tool" ? "call the tool" : "open the address"} <code class="uri">{wish.name}</code>
      </p>
      {wish.kind === "tool" && <JsonTree value={wish.args} open={2} />}
      <div class="row wrap">
        <button type="button" class="primary" onClick={() => wish.decide(true)}>
          Allow
        </button>
        {wish.kind === "tool" && (
          <button type="button" onClick={always}>
            Allow all calls of this app
          </button>
        )}
        <button type="button" onClick={() => wish.decide(false)}>
          Refuse
        </button>
      </div>
    </div>
  );
}
