/* The floor: what a gateway must do at least, and nothing else. floor_relay PORT COMMAND [ARGUMENT...]
   Accepts WebSockets, writes each text message as a line to the stdin of one COMMAND, with an id that names the connection,
   and each line of its stdout as a message to the connection that the id names. One epoll loop. It checks nothing,
   authenticates nobody and limits nothing; made for our load client only, whose mask is zero and whose ids are short. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SHIFT = 1000000, READ = 1 << 18 };
struct buffer { char *data; size_t size, cap, seen; }; /* seen: bytes that hold no line end */
struct end { int fd, open, blocked; struct buffer in, out; size_t sent; };
static struct end *ends; static int ep, to_server, from_server;

static void die(const char *what) { perror(what); exit(1); }

static char *room(struct buffer *b, size_t n) {
  if (b->cap - b->size < n) b->data = realloc(b->data, b->cap = (b->size + n) * 2);
  return b->data + b->size;
}

static void drop(struct buffer *b, size_t n) {
  b->size -= n; b->seen = 0;
  if (!n) return;
  if (b->size) memmove(b->data, b->data + n, b->size);
  else if (b->cap > 1 << 20) { free(b->data); *b = (struct buffer){0}; }
}

static void watch(struct end *e, int operation) {
  struct epoll_event event = {.events = (e->fd == to_server ? 0 : EPOLLIN) | (e->out.size ? EPOLLOUT : 0), .data.fd = e->fd};
  if (epoll_ctl(ep, operation, e->fd, &event)) die("epoll_ctl");
}

static void flush(struct end *e) {
  while (e->sent < e->out.size) {
    ssize_t wrote = write(e->fd, e->out.data + e->sent, e->out.size - e->sent);
    if (wrote <= 0) break;
    e->sent += wrote;
  }
  int whole = e->sent == e->out.size;
  if (whole) { drop(&e->out, e->out.size); e->sent = 0; }
  if (whole == e->blocked) { e->blocked = !whole; watch(e, EPOLL_CTL_MOD); }
}

static void put(struct end *e, const char *data, size_t n) { memcpy(room(&e->out, n), data, n); e->out.size += n; }

static void new_end(int fd, int reads) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  ends[fd] = (struct end){.fd = fd};
  if (reads || fd == to_server) watch(&ends[fd], EPOLL_CTL_ADD);
}

/* Puts a message with another id: ``"id":7`` becomes what ``number`` says. */
static void put_with_id(struct end *to, const char *message, size_t n, long own, const char *end_of_id) {
  char id[32];
  size_t head = (char *)memmem(message, n, "\"id\":", 5) + 5 - message;
  put(to, message, head);
  put(to, id, sprintf(id, "%ld", own));
  put(to, end_of_id, n - (end_of_id - message));
}

static void from_client(struct end *e) {
  for (;;) {
    unsigned char *b = (unsigned char *)e->in.data;
    if (!e->open) {
      char *last = e->in.size ? memmem(e->in.data, e->in.size, "\r\n\r\n", 4) : NULL;
      static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
      if (!last) return;
      drop(&e->in, last + 4 - e->in.data);
      put(e, accepted, sizeof accepted - 1); flush(e);
      e->open = 1;
      continue;
    }
    if (e->in.size < 2) return;
    size_t n = b[1] & 127, head = 6;
    if (n == 126) { if (e->in.size < 4) return; n = b[2] << 8 | b[3]; head = 8; }
    else if (n == 127) { if (e->in.size < 10) return; n = 0; for (int i = 0; i < 8; i++) n = n << 8 | b[2 + i]; head = 14; }
    if (e->in.size < head + n) return;
    if ((b[0] & 15) == 1) {
      char *message = e->in.data + head, *id = (char *)memmem(message, n, "\"id\":", 5) + 5, *end;
      long own = strtol(id, &end, 10);
      put_with_id(&ends[to_server], message, n, (long)e->fd * SHIFT + own, end);
      put(&ends[to_server], "\n", 1);
    }
    drop(&e->in, head + n);
  }
}

static void from_the_server(struct end *server) {
  char *at = server->in.data, *last = at + server->in.size, *line_end;
  for (char *from = at + server->in.seen; (line_end = memchr(from, '\n', last - from)); from = at) {
    char *id = (char *)memmem(at, line_end - at, "\"id\":", 5) + 5, *end, digits[32];
    long named = strtol(id, &end, 10);
    struct end *to = &ends[named / SHIFT];
    size_t own = sprintf(digits, "%ld", named % SHIFT), n = (line_end - at) - (end - id) + own, h = 2;
    unsigned char head[10] = {0x81};
    if (n < 126) head[1] = n;
    else if (n < 65536) { head[1] = 126; head[2] = n >> 8; head[3] = n; h = 4; }
    else { head[1] = 127; for (int i = 0; i < 8; i++) head[2 + i] = (unsigned long)n >> (56 - 8 * i); h = 10; }
    put(to, (char *)head, h);
    put_with_id(to, at, line_end - at, named % SHIFT, end);
    flush(to);
    at = line_end + 1;
  }
  drop(&server->in, at - server->in.data);
  server->in.seen = server->in.size;
}

static void take(struct end *e) {
  ssize_t got = read(e->fd, room(&e->in, READ), READ);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    if (e->fd == from_server) exit(0);
    close(e->fd); free(e->in.data); free(e->out.data); *e = (struct end){.fd = -1};
    return;
  }
  e->in.size += got;
  if (e->fd == from_server) from_the_server(e); else from_client(e);
}

static void start(char **command) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) die("pipe");
  if (!fork()) { dup2(in[0], 0); dup2(out[1], 1); execvp(command[0], command); die("execvp"); }
  close(in[0]); close(out[1]);
  to_server = in[1]; from_server = out[0];
}

int main(int argc, char **argv) {
  if (argc < 3) { fprintf(stderr, "usage: floor_relay PORT COMMAND [ARGUMENT...]\n"); return 2; }
  struct rlimit files; getrlimit(RLIMIT_NOFILE, &files); files.rlim_cur = files.rlim_max; setrlimit(RLIMIT_NOFILE, &files);
  ends = calloc(files.rlim_max < 1 << 20 ? files.rlim_max : 1 << 20, sizeof *ends);
  int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 1024)) die("listen");
  ep = epoll_create1(EPOLL_CLOEXEC);
  start(argv + 2);
  new_end(to_server, 0); new_end(from_server, 1);
  struct epoll_event accepting = {.events = EPOLLIN, .data.fd = listening};
  epoll_ctl(ep, EPOLL_CTL_ADD, listening, &accepting);
  for (;;) {
    struct epoll_event events[256];
    int n = epoll_wait(ep, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listening) {
        int client = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) continue;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        new_end(client, 1);
        continue;
      }
      if (events[i].events & EPOLLOUT) flush(&ends[fd]);
      if (events[i].events & ~EPOLLOUT && fd != to_server) take(&ends[fd]);
    }
    if (ends[to_server].out.size) flush(&ends[to_server]); /* the messages of one turn in one write, as the gateway does */
  }
}
