// A small MCP client of the handshake era, and a view of its frames. Text of servers is only ever set as
// text; the one exception, images, are data URLs of four known types.

const base = document.documentElement.dataset.baseUrl;
const $ = (id) => document.getElementById(id);
const MAX_FRAMES = 1000;
const IMAGE_TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

const CLOSE_WORDS = { 1000: "closed", 1001: "going away", 1006: "connection lost", 4401: "credential expired",
  4403: "credential revoked", 4502: "server ended" };

class Link {
  constructor(name) {
    this.name = name;
    this.next = 1;
    this.pending = new Map();
    this.socket = new WebSocket(new URL(`${base}mcp-ws/servers/${encodeURIComponent(name)}`, socketOrigin()), ["mcp"]);
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = (event) => this.closed(event);
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("the gateway refused the connection; see its log or Servers"));
    });
  }

  send(message) {
    const text = JSON.stringify({ jsonrpc: "2.0", ...message });
    showFrame("→", text, message);
    this.socket.send(text);
  }

  request(method, params) {
    const id = this.next++;
    const answer = new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
    this.send({ id, method, params });
    return { id, answer };
  }

  receive(text) {
    let message;
    try { message = JSON.parse(text); } catch { showFrame("←", text, { method: "(not JSON)" }); return; }
    showFrame("←", text, message);
    if (message.method !== undefined) this.asked(message);
    else this.answered(message);
  }

  answered(message) {
    const waiting = this.pending.get(message.id);
    if (waiting === undefined) return;
    this.pending.delete(message.id);
    if (message.error) waiting.reject(new Error(`${message.error.message} (${message.error.code})`));
    else waiting.resolve(message.result);
  }

  asked(message) {
    if (message.id === undefined) { onNotification(message); return; }
    if (message.method === "ping") this.send({ id: message.id, result: {} });
    else if (message.method === "roots/list") this.send({ id: message.id, result: { roots: [] } });
    else this.send({ id: message.id, error: { code: -32601, message: `${message.method} is not offered by this page` } });
  }

  closed(event) {
    const words = CLOSE_WORDS[event.code] ?? "closed";
    for (const { reject } of this.pending.values()) reject(new Error(`${words} (${event.code}) ${event.reason}`));
    this.pending.clear();
    if (link === this) disconnected(`${words} (${event.code}) ${event.reason}`, event.code !== 1000);
  }

  close() { this.socket.close(1000); }
}

let link = null;
let tools = [];
let running = null;
let dropped = 0;

function socketOrigin() { return location.origin.replace(/^http/, "ws"); }

function setState(text, bad = false) {
  $("state").textContent = text;
  $("state").classList.toggle("bad", bad);
}

async function rest(path, options = {}) {
  const xsrf = /(?:^|; )_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  const headers = { "X-XSRFToken": xsrf ?? "", ...options.headers };
  const response = await fetch(`${base}mcp-ws/api/${path}`, { credentials: "same-origin", ...options, headers });
  const body = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Error(body.message ?? response.statusText);
  return body;
}

function element(tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  return made;
}

async function refresh() {
  let answer;
  try { answer = await rest("servers"); } catch (error) { $("problems").replaceChildren(element("li", error.message)); return; }
  const focused = document.activeElement?.dataset?.server;
  $("servers").replaceChildren(...answer.servers.map(serverItem));
  $("problems").replaceChildren(...answer.problems.map((p) => element("li", `${p.source}: ${p.key}: ${p.reason}`)));
  if (focused) document.querySelector(`[data-server="${CSS.escape(focused)}"]`)?.focus();
}

function serverItem(server) {
  const item = element("li");
  const button = element("button", server.name, { type: "button", disabled: server.state === "disabled" });
  button.dataset.server = server.name;
  button.setAttribute("aria-current", String(link?.name === server.name));
  button.onclick = () => connect(server.name);
  const detail = `${server.state} · ${server.era} · ${server.sessions} sessions${server.reason ? ` · ${server.reason}` : ""}`;
  button.append(document.createElement("br"), element("small", detail));
  item.append(button);
  return item;
}

async function connect(name) {
  const old = link;
  link = null;
  old?.close();
  setState(`connecting to ${name} …`);
  const mine = link = new Link(name);
  try {
    await mine.opened;
    const params = { protocolVersion: "2025-11-25", capabilities: { roots: {} }, clientInfo: { name: "mcp-ws-ide page", version: "1" } };
    const server = await mine.request("initialize", params).answer;
    mine.send({ method: "notifications/initialized" });
    setState(`connected to ${name} (${server.serverInfo?.name ?? "unnamed"}, ${server.protocolVersion})`);
    $("disconnect").disabled = false;
    if (server.capabilities?.tools) await listTools(mine);
  } catch (error) {
    if (link === mine) { mine.close(); disconnected(error.message, true); }
  }
  refresh();
}

async function listTools(mine) {
  tools = [];
  let cursor;
  do {
    const page = await mine.request("tools/list", cursor ? { cursor } : {}).answer;
    tools.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor && tools.length < 5000);
  if (link !== mine) return;
  const chosen = $("tool").value;
  $("tool").replaceChildren(...tools.map((tool) => element("option", tool.title ?? tool.name, { value: tool.name })));
  if (tools.some((tool) => tool.name === chosen)) $("tool").value = chosen;
  else selectTool();
  for (const id of ["tool", "arguments", "call"]) $(id).disabled = tools.length === 0;
}

function selectTool() {
  const tool = tools.find((candidate) => candidate.name === $("tool").value);
  $("description").textContent = tool?.description ?? "";
  $("arguments").value = tool ? JSON.stringify(example(tool.inputSchema ?? {}), null, 2) : "";
}

function example(schema, depth = 0) {
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.type === "object" && depth < 4) {
    const names = Object.keys(schema.properties ?? {});
    return Object.fromEntries(names.map((name) => [name, example(schema.properties[name], depth + 1)]));
  }
  return { string: "", number: 0, integer: 0, boolean: false, array: [] }[schema.type] ?? null;
}

async function call() {
  let args;
  try { args = JSON.parse($("arguments").value || "{}"); } catch (error) { showResult([`The arguments are not JSON: ${error.message}`], true); return; }
  const name = $("tool").value;
  const { id, answer } = link.request("tools/call", { name, arguments: args, _meta: { progressToken: `call-${link.next}` } });
  running = id;
  busy(true);
  try {
    const result = await answer;
    showResult(result.content ?? [result], result.isError === true);
  } catch (error) {
    showResult([error.message], true);
  }
  if (running === id) { running = null; busy(false); }
}

function cancel() {
  if (running === null || link === null) return;
  link.send({ method: "notifications/cancelled", params: { requestId: running, reason: "cancelled by the user" } });
  link.pending.get(running)?.reject(new Error("cancelled"));
  link.pending.delete(running);
}

function busy(on) {
  $("call").disabled = on || link === null;
  $("cancel").disabled = !on;
  $("progress").hidden = !on;
  $("progress").removeAttribute("value");
}

function showResult(parts, bad) {
  $("result").classList.toggle("bad", bad);
  $("result").replaceChildren(...parts.map(resultPart));
}

function resultPart(part) {
  if (typeof part === "string") return element("pre", part);
  if (part.type === "text") return element("pre", part.text);
  if (part.type === "image" && IMAGE_TYPES.has(part.mimeType)) {
    return element("img", undefined, { src: `data:${part.mimeType};base64,${part.data}`, alt: "image sent by the server" });
  }
  return element("pre", JSON.stringify(part, null, 2));
}

function onNotification(message) {
  if (message.method === "notifications/tools/list_changed" && link) listTools(link).catch(() => {});
  if (message.method === "notifications/progress" && running !== null) {
    const { progress, total } = message.params;
    if (total) { $("progress").max = total; $("progress").value = progress; }
  }
}

function disconnected(text, bad) {
  link = null;
  setState(text || "not connected", bad);
  for (const id of ["disconnect", "tool", "arguments", "call"]) $(id).disabled = true;
  running = null;
  busy(false);
  refresh();
}

function showFrame(arrow, text, message) {
  const list = $("frames");
  const time = new Date().toISOString().slice(11, 23);
  const what = message.method ?? (message.error ? "error" : "response");
  const id = message.id === undefined ? "" : ` id=${JSON.stringify(message.id)}`;
  const item = element("li");
  const button = element("button", `${time} ${arrow} ${what}${id} ${text.length} B`, { type: "button" });
  button.onclick = () => { $("frame").textContent = pretty(text); };
  item.append(button);
  const following = list.scrollTop + list.clientHeight >= list.scrollHeight - 5;
  list.append(item);
  while (list.childElementCount > MAX_FRAMES) { list.firstElementChild.remove(); dropped += 1; }
  $("dropped").textContent = dropped ? `(${dropped} older ones dropped)` : "";
  if (following) list.scrollTop = list.scrollHeight;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

$("tool").onchange = selectTool;
$("call").onclick = call;
$("cancel").onclick = cancel;
$("disconnect").onclick = () => link?.close();
$("clear").onclick = () => { $("frames").replaceChildren(); $("frame").textContent = ""; dropped = 0; $("dropped").textContent = ""; };
if (location.search.includes("token=")) history.replaceState(null, "", location.pathname); // Jupyter has set its cookie
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 5000);
