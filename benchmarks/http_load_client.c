/* Streamable HTTP load: N clients, each with a kept-alive connection and one call in flight, on one epoll loop.
   http_load_client PORT PATH TOKEN CLIENTS CALLS SIZE ERA
   ERA is legacy (initialize, notifications/initialized, then tools/call with Mcp-Session-Id), modern (tools/call alone), or
   fresh (as legacy, with a header that differs from call to call).
   Prints "ready" when every session is open and has made one call, waits for a line on stdin, makes the calls, prints one
   JSON line, waits for another line, ends the sessions. So what is measured between the two lines is calls alone.
   Every client uses the ids 1, 2, 3 ...; the text begins with the client's number and the call's number, so that an
   answer that belongs to somebody else, or to another call, is counted as misrouted. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct peer { int fd, call; char session[128]; char *in; size_t size, cap; double sent; };
static int port, clients, size_, modern, fresh; static const char *path, *token;
static char *body, *request; static long misrouted, done_, total; static double *times;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *what) { perror(what); exit(1); }

static void send_request(struct peer *p, const char *method, const char *content, int n, const char *name) {
  int h = sprintf(request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\nUser-Agent: load\r\n"
    "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", method, path, port, token, n);
  if (modern) h += sprintf(request + h, "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: %s\r\nMcp-Name: echo\r\n", name);
  if (*p->session) h += sprintf(request + h, "MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: %s\r\n", p->session);
  if (fresh) h += sprintf(request + h, "X-Call: %d-%d-%d\r\n", getpid(), p->fd, p->call);
  h += sprintf(request + h, "\r\n");
  memcpy(request + h, content, n);
  for (int sent = 0; sent < n + h;) {
    ssize_t w = write(p->fd, request + sent, n + h - sent);
    if (w <= 0) die("write");
    sent += w;
  }
}

static void send_call(struct peer *p, int number) {
  static const char *meta = ",\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientInfo\":{\"name\":\"load\",\"version\":\"1\"},\"io.modelcontextprotocol/clientCapabilities\":{}}";
  char tail[512];
  sprintf(tail, "\"}%s}}", modern ? meta : "");
  p->call++;
  int n = sprintf(body, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"text\":\"<%d:%d>", p->call, number, p->call);
  int pad = size_ - n - (int)strlen(tail);
  if (pad < 0) pad = 0;
  memset(body + n, 'x', pad); n += pad;
  n += sprintf(body + n, "%s", tail);
  p->sent = now();
  send_request(p, "POST", body, n, "tools/call");
}

/* The whole response at the start of the buffer: its length, with the body put together at *content; 0 if it is not whole. */
static size_t whole(struct peer *p, char **content, size_t *content_size) {
  p->in[p->size] = 0;
  char *end = strstr(p->in, "\r\n\r\n"), *found;
  if (!end) return 0;
  *end = 0;
  found = strcasestr(p->in, "\r\ntransfer-encoding: chunked");
  size_t length = 0; int chunked = found != NULL;
  if (!chunked && (found = strcasestr(p->in, "\r\ncontent-length:"))) length = strtoul(found + 17, NULL, 10);
  *end = '\r';
  char *at = end + 4, *last = p->in + p->size;
  *content = at;
  if (!chunked) { *content_size = length; return (size_t)(last - at) >= length ? at - p->in + length : 0; }
  for (char *scan = at;;) { /* is it whole? */
    char *line = strstr(scan, "\r\n");
    if (!line) return 0;
    size_t n = strtoul(scan, NULL, 16);
    if ((size_t)(last - line) < n + 4) return 0;
    scan = line + 2 + n + 2;
    if (n == 0) break;
  }
  char *to = at;
  for (;;) {
    size_t n = strtoul(at, NULL, 16);
    at = strstr(at, "\r\n") + 2;
    memmove(to, at, n);
    to += n; at += n + 2;
    if (n == 0) break;
  }
  *content_size = to - *content;
  return at - p->in;
}

static void fill(struct peer *p) {
  if (p->cap - p->size < (1 << 16)) p->in = realloc(p->in, p->cap = p->cap ? p->cap * 2 : 1 << 17);
  ssize_t got = read(p->fd, p->in + p->size, p->cap - p->size - 1);
  if (got <= 0) { fprintf(stderr, "a connection ended: %.*s\n", (int)p->size, p->in); exit(1); }
  p->size += got;
}

static void take(struct peer *p, size_t used) { p->size -= used; memmove(p->in, p->in + used, p->size); }

static void check(struct peer *p, int number, const char *content, size_t n) {
  char tag[64], id[32];
  int t = sprintf(tag, "\"text\":\"<%d:%d>", number, p->call), i = sprintf(id, "\"id\":%d", p->call);
  char *found = memmem(content, n, id, i);
  if (!memmem(content, n, tag, t) || !found || (found[i] != ',' && found[i] != '}')) {
    if (!misrouted++) fprintf(stderr, "client %d, call %d was answered: %.300s\n", number, p->call, p->in);
  }
}

static size_t await(struct peer *p, char **content, size_t *n) {
  size_t used;
  do fill(p); while (!(used = whole(p, content, n)));
  return used;
}

static void open_session(struct peer *p, int number) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1; char *content, *found; size_t n, used;
  p->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(p->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
  setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!modern) {
    const char *hello = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},\"clientInfo\":{\"name\":\"load\",\"version\":\"1\"}}}";
    send_request(p, "POST", hello, strlen(hello), "");
    used = await(p, &content, &n);
    found = strcasestr(p->in, "\r\nmcp-session-id:");
    if (!found || !memmem(content, n, "2025-11-25", 10)) { fprintf(stderr, "initialize was answered: %.*s\n", (int)p->size, p->in); exit(1); }
    if (sscanf(found + 17, " %127[^\r]", p->session) != 1) die("session");
    take(p, used);
    const char *ready = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
    send_request(p, "POST", ready, strlen(ready), "");
    used = await(p, &content, &n);
    if (strncmp(p->in + 9, "202", 3)) { fprintf(stderr, "initialized was answered: %.*s\n", (int)p->size, p->in); exit(1); }
    take(p, used);
  }
  send_call(p, number);
  used = await(p, &content, &n);
  check(p, number, content, n);
  take(p, used);
}

static void receive(struct peer *p, int number) {
  char *content; size_t n, used;
  fill(p);
  if (!(used = whole(p, &content, &n))) return;
  check(p, number, content, n);
  times[done_++] = now() - p->sent;
  take(p, used);
  if (done_ + clients <= total) send_call(p, number);
}

static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return (x > y) - (x < y); }
static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

int main(int argc, char **argv) {
  if (argc != 8) { fprintf(stderr, "usage: http_load_client PORT PATH TOKEN CLIENTS CALLS SIZE legacy|modern|fresh\n"); return 2; }
  port = atoi(argv[1]); path = argv[2]; token = argv[3];
  clients = atoi(argv[4]); total = atol(argv[5]); size_ = atoi(argv[6]); modern = !strcmp(argv[7], "modern"); fresh = !strcmp(argv[7], "fresh");
  body = malloc(size_ + 4096); request = malloc(size_ + 8192); times = calloc(total, sizeof *times);
  struct peer *peers = calloc(clients, sizeof *peers);
  int ep = epoll_create1(0);
  for (int i = 0; i < clients; i++) {
    open_session(&peers[i], i);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].fd, &e);
  }
  char line[8];
  puts("ready"); fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) return 1;
  struct rusage before, after; getrusage(RUSAGE_SELF, &before);
  double start = now();
  for (int i = 0; i < clients; i++) send_call(&peers[i], i);
  while (done_ < total) {
    struct epoll_event events[256];
    int n = epoll_wait(ep, events, 256, 20000);
    if (n <= 0) { fprintf(stderr, "nothing came for 20 s; %ld of %ld\n", done_, total); return 1; }
    for (int i = 0; i < n; i++) receive(&peers[events[i].data.u32], events[i].data.u32);
  }
  double took = now() - start; getrusage(RUSAGE_SELF, &after);
  double cpu = seconds(after.ru_utime) - seconds(before.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_stime);
  qsort(times, total, sizeof *times, order);
  printf("{\"calls\":%ld,\"seconds\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"misrouted\":%ld,\"client_cpu_us\":%.2f}\n",
    total, took, times[total / 2] * 1e6, times[total * 99 / 100] * 1e6, misrouted, cpu / total * 1e6);
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) return 1;
  for (int i = 0; !modern && i < clients; i++) {
    char *content; size_t n;
    send_request(&peers[i], "DELETE", "", 0, "");
    await(&peers[i], &content, &n);
  }
  return misrouted != 0;
}
