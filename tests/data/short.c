/* For LD_PRELOAD: whoever writes more than eight bytes to a file or pipe writes half of them. Sockets are left alone: their short
   writes tell that they are full, and whoever trusts that waits until they are not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static size_t cut(int fd, size_t length) {
  int type = 0;
  socklen_t size = sizeof type;
  int is_socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
  return length > 8 && !is_socket ? length / 2 : length;
}

ssize_t write(int fd, const void *bytes, size_t length) { return REAL(write)(fd, bytes, cut(fd, length)); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct iovec first = parts[0];
  for (int index = 0; index < count && first.iov_len == 0; index++) first = parts[index];
  size_t half = cut(fd, first.iov_len);
  if (half == first.iov_len) return REAL(writev)(fd, parts, count);
  first.iov_len = half;
  return REAL(writev)(fd, &first, 1);
}
