/** The page: header, views and help. Knows nothing of what a view shows. */

import "./page.css";
import "./manage.css";
import { render, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { announced } from "./announce.js";
import { tellParent } from "./embedded.js";
import { useKeys } from "./keys.js";
import { connections, SAVED, VIEW } from "./mcp/registry.js";
import { go, href, parseHash, route } from "./route.js";
import { forbidCompiling } from "./strict.js";
import { embedded, followTheme, nextTheme, theme } from "./theme.js";
import { Guard } from "./ui/guard.js";
import { Help } from "./ui/help.js";
import { Icon } from "./ui/icons.js";
import { lazy } from "./ui/lazy.js";
import { Empty } from "./ui/parts.js";
import { Dot, kindOf } from "./ui/state.js";
import { Servers } from "./views/servers.js";

// The MCP client is the largest part of the page; it is loaded when a view needs it.
const ServerClient = lazy(() => import("./views/client.js"));
const Connect = lazy(() => import("./views/connect.js"));
const Sessions = lazy(() => import("./views/sessions.js"));
const Traffic = lazy(() => import("./views/traffic.js"));

const VIEWS = [
  { name: "servers", title: "Servers", key: "1" },
  { name: "sessions", title: "Sessions", key: "2" },
  { name: "traffic", title: "Traffic", key: "3" },
] as const;

function Page() {
  const [help, setHelp] = useState(false);
  useKeys(() => [
    ...VIEWS.map(({ name, title, key }) => ({ key, label: title, run: () => go([name]) })),
    { key: "t", label: "switch theme: system, light, dark", run: () => !embedded && nextTheme() },
    { key: "Escape", label: "leave the field", typing: true, run: () => (document.querySelector("dialog[open]") ? false : (document.activeElement as HTMLElement | null)?.blur()) },
    { key: "?", label: "show this help", run: () => setHelp(true) },
  ]);
  return (
    <>
      <Header onHelp={() => setHelp(true)} />
      <main id="main" tabIndex={-1}>
        <Guard key={route.value.parts.slice(0, route.value.parts[0] === "server" ? 2 : 1).join("/")} what="this view">
          <View />
        </Guard>
      </main>
      <div class="visually-hidden" role="status" aria-live="polite">
        {announced}
      </div>
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function Header({ onHelp }: { onHelp: () => void }) {
  const [view = "servers"] = route.value.parts;
  return (
    <header class="top">
      <h1>
        <a href={href(["servers"])}>MCP</a>
      </h1>
      <nav aria-label="Views">
        {VIEWS.map(({ name, title }) => (
          <Tab key={name} to={href([name])} current={view === name}>
            {title}
          </Tab>
        ))}
      </nav>
      <Connected view={view} />
      <span class="spring" />
      {!embedded && <ThemeButton />}
      <button type="button" class="quiet" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick={onHelp}>
        <Icon name="help" />
      </button>
    </header>
  );
}

/** The servers that this tab is connected to. */
function Connected({ view }: { view: string }) {
  const name = view === "server" ? route.value.parts[1] : undefined;
  return (
    <nav class="connected" aria-label="Connected servers">
      {connections.value.map((connection) => {
        const questions = connection.questions.open.value.length;
        return (
          <Tab key={connection.name} to={href(["server", connection.name])} current={connection.name === name}>
            <Dot state={connection.state.value} />
            {connection.name}
            <span class="visually-hidden">{kindOf(connection.state.value)}</span>
            {questions > 0 && <span class="count asks">{questions === 1 ? "1 question" : `${questions} questions`}</span>}
          </Tab>
        );
      })}
      <a href={href(["connect"])} aria-label="Connect to a server" title="Connect to a server" aria-current={view === "connect" ? "page" : undefined}>
        <Icon name="plus" />
      </a>
    </nav>
  );
}

function Tab({ to, current, children }: { to: string; current: boolean; children: ComponentChildren }) {
  const element = useRef<HTMLAnchorElement>(null);
  useEffect(() => {
    if (current) element.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  return (
    <a ref={element} href={to} aria-current={current ? "page" : undefined}>
      {children}
    </a>
  );
}

const THEMES = { system: { icon: "system", label: "system" }, light: { icon: "sun", label: "light" }, dark: { icon: "moon", label: "dark" } } as const;

function ThemeButton() {
  const { icon, label } = THEMES[theme.value];
  return (
    <button type="button" class="quiet" aria-label={`Theme: ${label}`} title={`Theme: ${label} (t)`} onClick={nextTheme}>
      <Icon name={icon} />
    </button>
  );
}

function View() {
  const [view = "servers", name] = route.value.parts;
  if (view === "servers") return <Servers />;
  if (view === "sessions") return <Sessions />;
  if (view === "traffic") return <Traffic />;
  if (view === "connect") return <Connect />;
  if (view === "server" && name !== undefined) return <ServerClient key={name} name={name} />;
  return (
    <section class="view">
      <Empty>
        This page does not exist. <a href={href(["servers"])}>Go to Servers</a>
      </Empty>
    </section>
  );
}

/** Remove the token from the address: Jupyter has stored it in a cookie, and others may read the address. */
function forgetToken(): void {
  const url = new URL(location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  history.replaceState(history.state, "", url);
}

/** Return to the view from which the user left to log in. */
function returnToView(): void {
  const { parts, query } = parseHash(sessionStorage.getItem(VIEW) ?? "");
  sessionStorage.removeItem(VIEW);
  if (location.hash === "" && parts.length > 0) go(parts, query, true);
}

/** Resume the sessions that the page had before a reload, before a view opens new ones. */
async function resumeSessions(): Promise<void> {
  if (sessionStorage.getItem(SAVED) !== null) void (await import("./mcp/connections.js")).restore();
}

forgetToken();
returnToView();
forbidCompiling();
followTheme();
tellParent();
void resumeSessions().finally(() => {
  document.body.replaceChildren(); // what the document says as long as this script is not loaded
  render(<Page />, document.body);
});
