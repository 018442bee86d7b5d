/* WebSocket load: N connections, one call each in flight, on one epoll loop.
   load_client PORT PATH TOKEN CLIENTS CALLS SIZE PROTOCOL [WORDS]  -> one JSON line. The text begins with WORDS.
   With LOAD_CLIENT_WAITS in the environment it prints "ready" when its links are open, and waits for a line on stdin.
   PROTOCOL is mcp or mcp.resume.v1; the latter opens a session and acknowledges every seventh answer, in one write with the
   next call, as both sides of this project do.
   Every connection uses the ids 1, 2, 3 ...; the text begins with the connection's number and the call's
   number, so that an answer that belongs to somebody else, or to another call, is counted as misrouted.
   The same frame is what an echo server sends back, so both kinds of peer are checked alike. */
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

struct peer { int fd, call, answers; char *in; size_t size, cap; double sent; };
static int size_, clients, resume; static char *frame; static const char *words = ""; static long misrouted, done_, total; static double *times;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *what) { perror(what); exit(1); }

static int ack_frame(struct peer *p, unsigned char *to) {
  int n = sprintf((char *)to + 6, "{\"mcp.ws\":\"ack\",\"recv\":%d}", p->answers);
  to[0] = 0x81; to[1] = 0x80 | n; memset(to + 2, 0, 4);
  return n + 6;
}

static void send_call(struct peer *p, int number) {
  p->call++;
  char *body = frame + 128;
  int n = sprintf(body, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"text\":\"<%d:%d>%s", p->call, number, p->call, words);
  const char *tail = "\"},\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientInfo\":{\"name\":\"load\",\"version\":\"1\"},\"io.modelcontextprotocol/clientCapabilities\":{}}}}";
  int pad = size_ - n - (int)strlen(tail);
  if (pad < 0) pad = 0;
  memset(body + n, 'x', pad); n += pad;
  n += sprintf(body + n, "%s", tail);
  /* the mask is zero: allowed on the wire, and the payload is then sent as it is */
  unsigned char head[14]; int h = 2;
  head[0] = 0x81;
  if (n < 126) head[1] = 0x80 | n;
  else if (n < 65536) { head[1] = 0x80 | 126; head[2] = n >> 8; head[3] = n; h = 4; }
  else { head[1] = 0x80 | 127; for (int i = 0; i < 8; i++) head[2 + i] = (unsigned long)n >> (56 - 8 * i); h = 10; }
  memset(head + h, 0, 4); h += 4;
  memcpy(body - h, head, h);
  if (resume && p->answers && p->answers % 7 == 0) {
    unsigned char ack[64]; int a = ack_frame(p, ack);
    memcpy(body - h - a, ack, a); h += a;
  }
  p->sent = now();
  for (int sent = 0; sent < n + h;) {
    ssize_t w = write(p->fd, body - h + sent, n + h - sent);
    if (w <= 0) die("write");
    sent += w;
  }
}

static void send_small(struct peer *p, int kind, const char *data, size_t n) {
  unsigned char small[132] = {kind, 0x80 | n}; /* four zero bytes of mask follow */
  memcpy(small + 6, data, n);
  if (write(p->fd, small, 6 + n) <= 0) die("write");
}

static int whole(struct peer *p, size_t *head, size_t *body) {
  unsigned char *b = (unsigned char *)p->in;
  if (p->size < 2) return 0;
  size_t n = b[1] & 127; *head = 2;
  if (n == 126) { if (p->size < 4) return 0; n = b[2] << 8 | b[3]; *head = 4; }
  else if (n == 127) { if (p->size < 10) return 0; n = 0; for (int i = 0; i < 8; i++) n = n << 8 | b[2 + i]; *head = 10; }
  *body = n;
  return p->size >= *head + n;
}

static void receive(struct peer *p, int number) {
  if (p->cap - p->size < (1 << 16)) p->in = realloc(p->in, p->cap = p->cap ? p->cap * 2 : 1 << 17);
  ssize_t got = read(p->fd, p->in + p->size, p->cap - p->size);
  if (got <= 0) { fprintf(stderr, "connection %d ended\n", number); exit(1); }
  p->size += got;
  size_t head, body;
  while (whole(p, &head, &body)) {
    if ((p->in[0] & 15) == 1 && memcmp(p->in + head, "{\"mcp.ws\"", 9)) {
      char tag[64], id[32];
      int t = sprintf(tag, "\"text\":\"<%d:%d>", number, p->call), i = sprintf(id, "\"id\":%d,", p->call);
      if (!memmem(p->in + head, body, tag, t) || !memmem(p->in + head, body, id, i)) misrouted++;
      if (done_ < total) times[done_] = now() - p->sent;
      done_++;
      p->size -= head + body; memmove(p->in, p->in + head + body, p->size);
      p->answers++;
      if (done_ + clients <= total) send_call(p, number);
    } else {
      if ((p->in[0] & 15) == 9 && body < 126) send_small(p, 0x8a, p->in + head, body); /* a pong with what the ping brought */
      p->size -= head + body; memmove(p->in, p->in + head + body, p->size); }
  }
}

static int open_link(int port, const char *path, const char *token, const char *protocol) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  dprintf(fd, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\nSec-WebSocket-Protocol: %s\r\nAuthorization: token %s\r\nUser-Agent: load\r\n\r\n", path, port, protocol, token);
  char answer[8192]; int n = 0;
  do { int got = read(fd, answer + n, 1); if (got <= 0 || n > 8000) die("handshake"); n += got; answer[n] = 0; } while (!strstr(answer, "\r\n\r\n"));
  if (!strstr(answer, " 101 ")) { fprintf(stderr, "refused: %.200s\n", answer); exit(1); }
  return fd;
}

static int take_events(int ep, struct peer *peers, int milliseconds) {
  struct epoll_event events[256];
  int n = epoll_wait(ep, events, 256, milliseconds);
  for (int i = 0; i < n; i++) receive(&peers[events[i].data.u32], events[i].data.u32);
  return n;
}

static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return (x > y) - (x < y); }

int main(int argc, char **argv) {
  if (argc != 8 && argc != 9) { fprintf(stderr, "usage: load_client PORT PATH TOKEN CLIENTS CALLS SIZE PROTOCOL [WORDS]\n"); return 2; }
  clients = atoi(argv[4]); total = atol(argv[5]); size_ = atoi(argv[6]);
  resume = !strcmp(argv[7], "mcp.resume.v1");
  if (argc == 9) words = argv[8];
  frame = malloc(size_ + strlen(words) + 4096); times = calloc(total, sizeof *times);
  struct peer *peers = calloc(clients, sizeof *peers);
  int ep = epoll_create1(0);
  for (int i = 0; i < clients; i++) {
    peers[i].fd = open_link(atoi(argv[1]), argv[2], argv[3], argv[7]);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].fd, &e);
    if (i % 64 == 0) take_events(ep, peers, 0); /* pings: opening thousands of links takes longer than a silent client may */
  }
  if (getenv("LOAD_CLIENT_WAITS")) { puts("ready"); fflush(stdout); while (getchar() > '\n'); }
  struct rusage before, after; getrusage(RUSAGE_SELF, &before);
  double start = now();
  for (int i = 0; resume && i < clients; i++) {
    char opened[1024] = "";
    send_small(&peers[i], 0x81, "{\"mcp.ws\":\"open\"}", 17);
    if (read(peers[i].fd, opened, sizeof opened - 1) <= 0 || !memmem(opened, sizeof opened, "opened", 6)) die("open");
  }
  for (int i = 0; i < clients; i++) send_call(&peers[i], i);
  while (done_ < total) {
    if (take_events(ep, peers, 20000) <= 0) { fprintf(stderr, "nothing came for 20 s; %ld of %ld\n", done_, total); return 1; }
  }
  for (int i = 0; i < clients; i++) /* close 1000, so that no session stays behind */
    if (write(peers[i].fd, "\x88\x82\0\0\0\0\x03\xe8", 8) <= 0) die("close");
  double seconds = now() - start; getrusage(RUSAGE_SELF, &after);
  double cpu = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) + (after.ru_stime.tv_sec - before.ru_stime.tv_sec)
    + (after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
  qsort(times, total, sizeof *times, order);
  printf("{\"calls\":%ld,\"seconds\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"misrouted\":%ld,\"client_cpu_us\":%.2f}\n",
    total, seconds, times[total / 2] * 1e6, times[total * 99 / 100] * 1e6, misrouted, cpu / total * 1e6);
  return misrouted != 0;
}
