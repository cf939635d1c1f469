
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A small inference server for tests and demos: one thread, epoll, no
 * dependencies.  It speaks just enough of the OpenAI API and misbehaves on
 * request: a string field "mock" anywhere in a body (or a header "X-Mock")
 * is a script of faults, separated by ";":
 *
 *     status=N retry_after=S times=N   N failing attempts per body, then 200
 *     hang close cut cutchunk garbage  connections that come to grief
 *     chunked nolength drip=MS piece=N slow=MS early
 *     size=N pretty nonjson empty html500 gzip u2028 echo headers
 *     xaccel rid
 *     tokens=N thought=N hit=N         usage: prompt tokens, reasoning, cached
 *     raw keep stay rst                the bytes of the field "raw", see below
 *
 * With times=N the first N attempts of the same body (by its hash) fail and
 * later ones are answered well.  "early" answers what it sees in the first
 * bytes of a body, before the rest has come.
 *
 *     mock -p PORT | -u SOCKET  [-d MS] [-j MS] [-l FILE] [-P]
 *
 * -d and -j delay each answer (fixed, and random on top), -l logs a line per
 * request, -P ends the server together with its parent.
 */

#define _GNU_SOURCE

#include "mock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>


#define MOCK_MAX_BODY  (1024u * 1024 * 1024)
#define MOCK_MAX_HEAD  65536
#define MOCK_EVENTS    256


typedef enum {
    MOCK_READ = 0,
    MOCK_DELAY,              /* the answer is ready, but not due yet */
    MOCK_WRITE,
    MOCK_HANG,
    MOCK_LINGER              /* answered early: discards until EOF */
} mock_state_e;


typedef struct mock_conn_s  mock_conn_t;

struct mock_conn_s {
    int           fd;
    mock_state_e  state;
    uint32_t      events;    /* what epoll watches */
    unsigned      counted:1; /* in mock_stats.inflight */
    unsigned      dead:1;    /* closed; freed at the end of the turn */
    unsigned      continued:1;

    buf_t         in;
    size_t        head;      /* length of the parsed header, 0: not yet */
    size_t        raw;       /* chunked: where the next chunk's line starts */
    request_t     req;

    buf_t         out;
    size_t        sent;
    answer_t      answer;

    uint64_t      due;       /* ms, monotonic */
    size_t        timer;     /* place in the heap, counted from 1; 0: none */
    mock_conn_t  *next_dead;
};


static int            mock_epoll;
static int            mock_delay;
static int            mock_jitter;
static FILE          *mock_log_file;
static mock_conn_t  **mock_heap;
static size_t         mock_heap_n, mock_heap_cap;
static mock_conn_t   *mock_dead;
static volatile sig_atomic_t  mock_quit;

mock_stats_t  mock_stats;


static uint64_t
mock_now(clockid_t clock)
{
    struct timespec  ts;

    clock_gettime(clock, &ts);

    return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
mock_heap_put(mock_conn_t *c, size_t i)
{
    mock_heap[i] = c;
    c->timer = i + 1;
}


/* restores the order of the heap around place i, in both directions */

static void
mock_heap_fix(size_t i)
{
    size_t        child;
    mock_conn_t  *c;

    c = mock_heap[i];

    while (i > 0 && mock_heap[(i - 1) / 2]->due > c->due) {
        mock_heap_put(mock_heap[(i - 1) / 2], i);
        i = (i - 1) / 2;
    }

    for ( ;; ) {
        child = 2 * i + 1;

        if (child >= mock_heap_n) {
            break;
        }

        if (child + 1 < mock_heap_n
            && mock_heap[child + 1]->due < mock_heap[child]->due)
        {
            child++;
        }

        if (mock_heap[child]->due >= c->due) {
            break;
        }

        mock_heap_put(mock_heap[child], i);
        i = child;
    }

    mock_heap_put(c, i);
}


static void
mock_timer_del(mock_conn_t *c)
{
    size_t        i;
    mock_conn_t  *last;

    if (c->timer == 0) {
        return;
    }

    i = c->timer - 1;
    c->timer = 0;
    last = mock_heap[--mock_heap_n];

    if (last != c) {
        mock_heap_put(last, i);
        mock_heap_fix(i);
    }
}


static void
mock_timer_add(mock_conn_t *c, uint64_t ms)
{
    mock_timer_del(c);

    if (mock_heap_n == mock_heap_cap) {
        mock_heap_cap = mock_heap_cap ? 2 * mock_heap_cap : 256;
        mock_heap = mock_realloc(mock_heap,
                                 mock_heap_cap * sizeof(mock_conn_t *));
    }

    c->due = mock_now(CLOCK_MONOTONIC) + ms;
    mock_heap_put(c, mock_heap_n++);
    mock_heap_fix(c->timer - 1);
}


static void
mock_watch(mock_conn_t *c, uint32_t events)
{
    struct epoll_event  ee;

    if (c->events == events) {
        return;
    }

    ee.events = events;
    ee.data.ptr = c;
    epoll_ctl(mock_epoll, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd,
              &ee);
    c->events = events;
}


static void
mock_close(mock_conn_t *c)
{
    if (c->dead) {
        return;
    }

    if (c->counted) {
        mock_stats.inflight--;
        mock_stats.aborted++;
    }

    mock_timer_del(c);
    close(c->fd);

    /* an event of this very turn may still point here */
    c->dead = 1;
    c->next_dead = mock_dead;
    mock_dead = c;
}


static void
mock_bury(void)
{
    mock_conn_t  *c;

    while (mock_dead) {
        c = mock_dead;
        mock_dead = c->next_dead;
        free(c->in.data);
        free(c->out.data);
        free(c);
    }
}


/* 1: request complete, 0: more bytes needed, -1: not to be understood */

static int
mock_parse_chunked(mock_conn_t *c)
{
    char    *end, *line;
    size_t   size;

    for ( ;; ) {
        line = c->in.data + c->raw;
        end = memmem(line, c->in.len - c->raw, "\r\n", 2);

        if (end == NULL) {
            return 0;
        }

        errno = 0;
        size = strtoul(line, NULL, 16);

        if (errno || size > MOCK_MAX_BODY) {
            return -1;
        }

        end += 2;

        if (size == 0) {
            /* a trailer is not expected, only the empty line */
            if ((size_t) (c->in.data + c->in.len - end) < 2) {
                return 0;
            }

            c->raw = end + 2 - c->in.data;
            return 1;
        }

        if ((size_t) (c->in.data + c->in.len - end) < size + 2) {
            return 0;
        }

        memmove(c->in.data + c->head + c->req.body_len, end, size);
        c->req.body_len += size;
        c->raw = end + size + 2 - c->in.data;
    }
}


static int
mock_parse(mock_conn_t *c)
{
    char  *end;

    if (c->head == 0) {
        end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);

        if (end == NULL) {
            return c->in.len > MOCK_MAX_HEAD ? -1 : 0;
        }

        c->head = end + 4 - c->in.data;
        c->raw = c->head;

        if (mock_parse_head(&c->req, c->in.data, c->head) == -1) {
            return -1;
        }
    }

    if (c->req.content_length > MOCK_MAX_BODY) {
        return -1;
    }

    if (c->req.chunked) {
        return mock_parse_chunked(c);
    }

    c->req.body_len = c->in.len - c->head;

    if (c->req.body_len < c->req.content_length) {
        return 0;
    }

    c->req.body_len = c->req.content_length;
    c->raw = c->head + c->req.content_length;

    return 1;
}


static void
mock_finish(mock_conn_t *c)
{
    if (c->counted) {
        c->counted = 0;
        mock_stats.inflight--;
        mock_stats.answered++;
    }
}


static void
mock_write(mock_conn_t *c)
{
    size_t         n;
    ssize_t        sent;
    struct linger  linger;

    while (c->sent < c->out.len) {
        n = c->out.len - c->sent;

        if (c->answer.drip >= 0 && n > c->answer.drip_bytes) {
            n = c->answer.drip_bytes;
        }

        sent = send(c->fd, c->out.data + c->sent, n, MSG_NOSIGNAL);

        if (sent == -1) {
            if (errno == EAGAIN) {
                mock_watch(c, EPOLLIN|EPOLLOUT);
                return;
            }

            mock_close(c);
            return;
        }

        c->sent += sent;

        if (c->answer.drip >= 0 && c->sent < c->out.len) {
            c->state = MOCK_DELAY;
            mock_timer_add(c, c->answer.drip);
            return;
        }
    }

    /* a connection that breaks on purpose counts as answered, too */
    mock_finish(c);

    if (c->answer.early) {
        shutdown(c->fd, SHUT_WR);
        c->state = MOCK_LINGER;
        mock_watch(c, EPOLLIN);
        mock_timer_add(c, 1000);
        return;
    }

    if (c->answer.stay) {
        c->state = MOCK_HANG;
        mock_watch(c, EPOLLIN);
        return;
    }

    if (c->answer.reset) {
        linger.l_onoff = 1;
        linger.l_linger = 0;
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        c->answer.close = 1;
    }

    if (c->answer.close) {
        mock_close(c);
        return;
    }

    /* on to the next request, which may be there already */

    memmove(c->in.data, c->in.data + c->raw, c->in.len - c->raw);
    c->in.len -= c->raw;
    c->head = 0;
    c->out.len = 0;
    c->sent = 0;
    c->continued = 0;
    c->state = MOCK_READ;

    if (c->in.cap > 1024 * 1024 && c->in.len == 0) {
        free(c->in.data);
        memset(&c->in, 0, sizeof(buf_t));
    }

    if (c->out.cap > 1024 * 1024) {
        free(c->out.data);
        memset(&c->out, 0, sizeof(buf_t));
    }

    mock_watch(c, EPOLLIN);
}


static void
mock_dispatch(mock_conn_t *c)
{
    long  delay;

    /* the buffer may have moved since the header was read */

    c->req.head = c->in.data;
    c->req.body = c->in.data + c->head;
    c->req.time = mock_now(CLOCK_REALTIME);

    mock_answer(&c->req, &c->answer, &c->out);

    if (mock_log_file && !c->answer.admin) {
        fprintf(mock_log_file, "%llu %s %s %zu line=%s hash=%016llx %d\n",
                (unsigned long long) c->req.time, c->req.method, c->req.path,
                c->req.body_len, c->req.line,
                (unsigned long long) c->req.hash, c->answer.status);
        fflush(mock_log_file);
    }

    c->sent = 0;

    if (!c->answer.admin) {
        c->counted = 1;
        mock_stats.requests++;

        if (++mock_stats.inflight > mock_stats.max_inflight) {
            mock_stats.max_inflight = mock_stats.inflight;
        }
    }

    if (c->answer.hang) {
        c->state = MOCK_HANG;
        return;
    }

    delay = c->answer.slow;

    if (!c->answer.admin) {
        delay += mock_delay;

        if (mock_jitter) {
            delay += random() % (mock_jitter + 1);
        }
    }

    if (delay > 0) {
        c->state = MOCK_DELAY;
        mock_timer_add(c, delay);
        return;
    }

    c->state = MOCK_WRITE;
    mock_write(c);
}


static void
mock_process(mock_conn_t *c)
{
    int  rc;

    while (!c->dead && c->state == MOCK_READ && c->in.len) {
        rc = mock_parse(c);

        if (rc == -1) {
            mock_close(c);
            return;
        }

        if (rc == 1) {
            mock_dispatch(c);
            continue;
        }

        if (c->head == 0) {
            return;
        }

        c->req.body = c->in.data + c->head;

        if (mock_is_early(&c->req)) {
            mock_dispatch(c);
            return;
        }

        if (c->req.expect && !c->continued) {
            c->continued = 1;
            (void) !write(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        }

        return;
    }
}


static void
mock_read(mock_conn_t *c)
{
    char     scratch[65536];
    size_t   want;
    ssize_t  n;

    for ( ;; ) {

        if (c->state == MOCK_LINGER) {
            n = read(c->fd, scratch, sizeof(scratch));

        } else {
            want = 65536;

            if (c->head && c->req.content_length > c->in.len - c->head) {
                want += c->req.content_length - (c->in.len - c->head);
            }

            buf_reserve(&c->in, want);
            n = read(c->fd, c->in.data + c->in.len, c->in.cap - c->in.len);
        }

        if (n == -1 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            mock_close(c);
            return;
        }

        if (c->state == MOCK_LINGER) {
            continue;
        }

        c->in.len += n;

        mock_process(c);

        if (c->dead) {
            return;
        }
    }
}


static void
mock_accept(int listener)
{
    int           fd, on;
    mock_conn_t  *c;

    for ( ;; ) {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd == -1) {
            return;
        }

        on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int));

        c = mock_realloc(NULL, sizeof(mock_conn_t));
        memset(c, 0, sizeof(mock_conn_t));
        c->fd = fd;

        mock_stats.connections++;
        mock_watch(c, EPOLLIN);
    }
}


static int
mock_expire(void)
{
    uint64_t      now;
    mock_conn_t  *c;

    while (mock_heap_n) {
        now = mock_now(CLOCK_MONOTONIC);
        c = mock_heap[0];

        if (c->due > now) {
            return c->due - now;
        }

        mock_timer_del(c);

        if (c->state == MOCK_LINGER) {
            mock_close(c);
            continue;
        }

        c->state = MOCK_WRITE;
        mock_write(c);
        mock_process(c);
    }

    return -1;
}


static int
mock_listen(const char *port, const char *path)
{
    int                 fd, on, rc;
    struct sockaddr_in  sin;
    struct sockaddr_un  sun;

    memset(&sin, 0, sizeof(sin));
    memset(&sun, 0, sizeof(sun));

    if (path) {
        fd = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
        sun.sun_family = AF_UNIX;
        snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
        unlink(path);
        rc = bind(fd, (struct sockaddr *) &sun, sizeof(sun));
        chmod(path, 0666);

    } else {
        fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
        on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(int));
        sin.sin_family = AF_INET;
        sin.sin_port = htons(atoi(port));
        sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        rc = bind(fd, (struct sockaddr *) &sin, sizeof(sin));
    }

    if (rc == -1 || listen(fd, 4096) == -1) {
        fprintf(stderr, "mock: cannot listen on %s: %s\n",
                path ? path : port, strerror(errno));
        exit(1);
    }

    return fd;
}


static void
mock_signal(int signo)
{
    mock_quit = signo;
}


static void
mock_loop(int listener)
{
    int                 i, n, timeout;
    mock_conn_t        *c;
    struct epoll_event  ee, events[MOCK_EVENTS];

    mock_epoll = epoll_create1(EPOLL_CLOEXEC);

    ee.events = EPOLLIN;
    ee.data.ptr = NULL;
    epoll_ctl(mock_epoll, EPOLL_CTL_ADD, listener, &ee);

    while (!mock_quit) {
        timeout = mock_expire();
        mock_bury();

        n = epoll_wait(mock_epoll, events, MOCK_EVENTS, timeout);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == NULL) {
                mock_accept(listener);
                continue;
            }

            if (!c->dead && (events[i].events & EPOLLOUT)
                && c->state == MOCK_WRITE)
            {
                mock_write(c);
                mock_process(c);
            }

            if (!c->dead && (events[i].events & ~EPOLLOUT)) {
                mock_read(c);
            }
        }
    }
}


int
main(int argc, char **argv)
{
    int            ch;
    pid_t          parent;
    char          *port, *path;
    struct rlimit  rl;

    port = NULL;
    path = NULL;
    parent = getppid();

    while ((ch = getopt(argc, argv, "p:u:d:j:l:P")) != -1) {
        switch (ch) {
        case 'p': port = optarg; break;
        case 'u': path = optarg; break;
        case 'd': mock_delay = atoi(optarg); break;
        case 'j': mock_jitter = atoi(optarg); break;
        case 'l': mock_log_file = fopen(optarg, "a"); break;
        case 'P':
            prctl(PR_SET_PDEATHSIG, SIGTERM);

            if (getppid() != parent) {
                return 1;
            }

            break;
        default: port = path = NULL; optind = argc; break;
        }
    }

    if ((port == NULL) == (path == NULL)) {
        fprintf(stderr, "usage: mock -p port | -u socket"
                        " [-d ms] [-j ms] [-l file] [-P]\n");
        return 1;
    }

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, mock_signal);
    signal(SIGINT, mock_signal);

    mock_loop(mock_listen(port, path));

    if (path) {
        unlink(path);
    }

    return 0;
}
