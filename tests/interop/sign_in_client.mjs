// The unmodified OAuth client of the TypeScript SDK: URL PACKAGE (sdk for 1.x, client for 2.x); it knows nothing else.
// Prints OPEN with the page that the user must open, waits for the browser's return, and prints what a tool answers,
// twice: the second time with a token that it had to refresh.
import http from "node:http";

const [url, major] = process.argv.slice(2);
const { Client } = await import(major === "1" ? "@modelcontextprotocol/sdk/client/index.js" : "@modelcontextprotocol/client");
const { StreamableHTTPClientTransport } = await import(
  major === "1" ? "@modelcontextprotocol/sdk/client/streamableHttp.js" : "@modelcontextprotocol/client"
);

let returned;
const answer = new Promise((resolve) => { returned = resolve; });
const callback = http.createServer((request, response) => {
  response.end("signed in\n");
  const { searchParams } = new URL(request.url, "http://127.0.0.1");
  if (searchParams.size > 0) returned(searchParams);
});
await new Promise((resolve) => callback.listen(0, "127.0.0.1", resolve));

const kept = {};
const provider = {
  redirectUrl: `http://127.0.0.1:${callback.address().port}/callback`,
  get clientMetadata() {
    return {
      client_name: "TypeScript SDK",
      redirect_uris: [this.redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
  },
  state: () => (kept.state = crypto.randomUUID()),
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  redirectToAuthorization: (page) => console.log("OPEN", page.href),
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
  saveDiscoveryState: (state) => { kept.discovery = state; },
  discoveryState: () => kept.discovery,
};

const connect = async () => {
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
  const client = new Client({ name: "test", version: "1" });
  return { transport, client, connected: client.connect(transport) };
};
const call = async (client, text) => {
  const result = await client.callTool({ name: "echo", arguments: { text } });
  console.log("RESULT", result.content[0].text);
};

const first = await connect();
await first.connected.then(() => { throw new Error("no sign-in was asked for"); }, (error) => {
  if (!/Unauthorized/i.test(`${error.name} ${error.constructor.name} ${error.message}`)) throw error;
});
const parameters = await answer;
if (parameters.get("state") !== kept.state) throw new Error("the state differs");
if (major === "1") await first.transport.finishAuth(parameters.get("code"));
else await first.transport.finishAuth(parameters);
const second = await connect();
await second.connected;
await call(second.client, "signed in");
kept.tokens = { ...kept.tokens, access_token: "mcpws_expired" };
await call(second.client, "refreshed");
await second.client.close();
callback.close();
