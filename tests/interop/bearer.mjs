// Forwards HTTP to 127.0.0.1 and adds a credential, for clients that can send none: `PORT TARGET-PORT PATH TOKEN`.
// Host and Origin pass as they came, so that the target checks what the client sent.
import { createServer, request } from "node:http";

const [port, target, path, token] = process.argv.slice(2);

const server = createServer((from, answer) => {
  const headers = { ...from.headers, authorization: `Bearer ${token}` };
  const to = request({ host: "127.0.0.1", port: target, path, method: from.method, headers }, (response) => {
    answer.writeHead(response.statusCode, response.headers);
    response.pipe(answer);
  });
  to.on("error", () => answer.destroy());
  answer.on("close", () => to.destroy());
  from.pipe(to);
});
server.keepAliveTimeout = 0; // never: after the default 5 s a client may send on a connection that is being closed
server.listen(Number(port), "127.0.0.1");
