/* A fast MCP server over stdio for benchmarks: answers server/discover, initialize, tools/list and tools/call (the text
   of the request comes back). Reads what it needs with string search; made for our load clients only. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *in, *out;
static size_t in_size, in_cap, out_size, out_cap;

static void put(const char *data, size_t size) {
  while (out_size + size > out_cap) out = realloc(out, out_cap = out_cap ? out_cap * 2 : 1 << 20);
  memcpy(out + out_size, data, size);
  out_size += size;
}

static void puts_(const char *text) { put(text, strlen(text)); }

static void answer(char *line, size_t size) {
  line[size] = 0;
  char *id = memmem(line, size, "\"id\":", 5);
  if (!id) return;
  id += 5;
  size_t id_size = strcspn(id, ",}");
  puts_("{\"jsonrpc\":\"2.0\",\"id\":");
  put(id, id_size);
  if (memmem(line, size, "\"server/discover\"", 17))
    puts_(",\"result\":{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":{}},\"ttlMs\":0,\"cacheScope\":\"private\"}}\n");
  else if (memmem(line, size, "\"initialize\"", 12))
    puts_(",\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"echo\",\"version\":\"1\"}}}\n");
  else if (memmem(line, size, "\"tools/list\"", 12))
    puts_(",\"result\":{\"resultType\":\"complete\",\"tools\":[{\"name\":\"echo\",\"inputSchema\":{\"type\":\"object\"}}],\"ttlMs\":0,\"cacheScope\":\"private\"}}\n");
  else {
    char *text = memmem(line, size, "\"text\":\"", 8);
    puts_(",\"result\":{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":\"");
    if (text) { text += 8; put(text, strcspn(text, "\"")); }
    puts_("\"}]}}\n");
  }
}

int main(void) {
  for (;;) {
    if (in_cap - in_size < (1 << 18)) in = realloc(in, in_cap = in_cap ? in_cap * 2 : 1 << 20);
    ssize_t got = read(0, in + in_size, in_cap - in_size - 1);
    if (got <= 0) return 0;
    char *start = in, *end, *from = in + in_size; /* what came before has no line end */
    in_size += got;
    while ((end = memchr(from, '\n', in + in_size - from))) { answer(start, end - start); from = start = end + 1; }
    in_size -= start - in;
    if (start != in) memmove(in, start, in_size);
    for (size_t sent = 0; sent < out_size;) {
      ssize_t wrote = write(1, out + sent, out_size - sent);
      if (wrote <= 0) return 1;
      sent += wrote;
    }
    out_size = 0;
  }
}
