/* For LD_PRELOAD: whoever writes to a stream or file more than eight bytes writes half of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static size_t cut(int fd, size_t length) {
  int type = 0;
  socklen_t size = sizeof type;
  int is_file = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0;
  return length > 8 && (is_file || type == SOCK_STREAM) ? length / 2 : length;
}

ssize_t write(int fd, const void *bytes, size_t length) { return REAL(write)(fd, bytes, cut(fd, length)); }

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
  return REAL(send)(fd, bytes, cut(fd, length), flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct iovec first = parts[0];
  for (int index = 0; index < count && first.iov_len == 0; index++) first = parts[index];
  first.iov_len = cut(fd, first.iov_len);
  return REAL(writev)(fd, &first, 1);
}
