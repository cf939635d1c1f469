
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The upstream of the bench: an inference server that does nothing but take
 * its time.  It answers each POST with the same chat completion of about a
 * kilobyte, at once or after a drawn time, with a bounded number of answers
 * in work ("slots"; the rest waits in line, as in an engine).
 *
 *     upstream -p port [-b bytes] [-m ms [-s sigma]] [-n slots]
 *
 *     -b   length of the answer's text (640)
 *     -m   time of an answer in ms: median of a log-normal distribution, or
 *          the time itself without -s
 *     -s   sigma of that distribution
 *     -n   slots (0: no bound)
 *
 * GET /stats     {"requests","first","last","work","max"}: answers given, the
 *                time (s, CLOCK_REALTIME) at which the first request was read
 *                and the last answer written, the sum of times drawn (s), and
 *                the most requests that were in work at once
 * POST /reset    all of that zero
 *
 * One process, one thread, epoll; a request is read whole into its
 * connection's buffer, pipelining is not served.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define MAX_FD      65536
#define MAX_EVENTS  256


/* one per descriptor, never freed: its buffer serves the next connection */
typedef struct conn_s  conn_t;

struct conn_s {
    char     *buf;
    size_t    len;
    size_t    cap;
    size_t    need;               /* head and body, 0: head not whole yet */
    double    due;                /* when it is answered, in work only */
    double    took;
    conn_t   *next;               /* waiting for a slot */
    int       fd;
    unsigned  open:1;
    unsigned  busy:1;             /* waiting or in work: on the heap */
};


static conn_t     conns[MAX_FD];
static conn_t   **heap;
static unsigned   nheap;
static conn_t    *wait_head, *wait_tail;

static char      *answer;
static size_t     answer_len;

static double     median, sigma;
static unsigned   slots;
static int        ep;

static struct {
    unsigned long  requests;
    double         first;
    double         last;
    double         work;
    unsigned       max;
} stats;


static double
now(clockid_t id)
{
    struct timespec  ts;

    clock_gettime(id, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* xorshift64*: the same times in each run */

static double
uniform(void)
{
    static uint64_t  x = 88172645463325252ull;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;

    return ((x * 2685821657736338717ull) >> 11) / 9007199254740992.0;
}


static double
draw(void)
{
    double  z;

    if (sigma == 0) {
        return median;
    }

    z = sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());

    return median * exp(sigma * z);
}


static void
heap_push(conn_t *c)
{
    unsigned  i, up;

    for (i = nheap++; i > 0; i = up) {
        up = (i - 1) / 2;

        if (heap[up]->due <= c->due) {
            break;
        }

        heap[i] = heap[up];
    }

    heap[i] = c;
}


static conn_t *
heap_pop(void)
{
    conn_t    *top, *c;
    unsigned   i, kid;

    top = heap[0];
    c = heap[--nheap];

    for (i = 0; (kid = 2 * i + 1) < nheap; i = kid) {
        if (kid + 1 < nheap && heap[kid + 1]->due < heap[kid]->due) {
            kid++;
        }

        if (heap[kid]->due >= c->due) {
            break;
        }

        heap[i] = heap[kid];
    }

    heap[i] = c;

    return top;
}


static void
shut(conn_t *c)
{
    close(c->fd);
    c->open = 0;
    c->len = 0;
    c->need = 0;
}


/* an answer fits the socket's buffer: a client that reads none is cut off */

static void
put(conn_t *c, const char *p, size_t len)
{
    c->len = 0;
    c->need = 0;

    if (send(c->fd, p, len, MSG_NOSIGNAL) != (ssize_t) len) {
        shut(c);
    }
}


static void
reply(conn_t *c)
{
    stats.requests++;
    stats.last = now(CLOCK_REALTIME);
    put(c, answer, answer_len);
}


static void
begin(conn_t *c)
{
    c->took = draw();
    c->due = now(CLOCK_MONOTONIC) + c->took;
    stats.work += c->took;
    heap_push(c);

    if (nheap > stats.max) {
        stats.max = nheap;
    }
}


static void
admin(conn_t *c)
{
    char  body[256], head[512];
    int   n;

    if (strncmp(c->buf, "POST /reset", 11) == 0) {
        memset(&stats, 0, sizeof(stats));
    }

    n = snprintf(body, sizeof(body), "{\"requests\":%lu,\"first\":%.6f,"
                 "\"last\":%.6f,\"work\":%.6f,\"max\":%u}", stats.requests,
                 stats.first, stats.last, stats.work, stats.max);
    n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: "
                 "application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
    put(c, head, n);
}


static void
request(conn_t *c)
{
    if (strncmp(c->buf, "GET /stats", 10) == 0
        || strncmp(c->buf, "POST /reset", 11) == 0)
    {
        admin(c);
        return;
    }

    if (stats.first == 0) {
        stats.first = now(CLOCK_REALTIME);
    }

    if (median == 0) {
        reply(c);
        return;
    }

    c->busy = 1;

    if (slots && nheap >= slots) {
        c->next = NULL;

        if (wait_tail) {
            wait_tail->next = c;

        } else {
            wait_head = c;
        }

        wait_tail = c;
        return;
    }

    begin(c);
}


static void
head(conn_t *c)
{
    char  *end, *p;

    end = memmem(c->buf, c->len, "\r\n\r\n", 4);

    if (end == NULL) {
        return;
    }

    *end = '\0';
    p = strcasestr(c->buf, "\r\ncontent-length:");
    *end = '\r';

    c->need = end + 4 - c->buf + (p ? strtoul(p + 17, NULL, 10) : 0);
}


static void
readable(conn_t *c)
{
    ssize_t  n;

    if (c->cap - c->len < 4096) {
        c->cap = c->cap ? c->cap * 2 : 16384;
        c->buf = realloc(c->buf, c->cap);

        if (c->buf == NULL) {
            abort();
        }
    }

    n = recv(c->fd, c->buf + c->len, c->cap - c->len - 1, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {

        if (c->busy) {
            /* its turn comes, and finds it closed */
            epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
            c->open = 0;
            return;
        }

        shut(c);
        return;
    }

    c->len += n;
    c->buf[c->len] = '\0';

    if (c->need == 0) {
        head(c);
    }

    if (c->need && c->len >= c->need && !c->busy) {
        request(c);
    }
}


static void
incoming(int ls)
{
    struct epoll_event   ee;
    conn_t              *c;
    int                  fd, one = 1;

    for ( ;; ) {
        fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd == -1) {
            return;
        }

        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int));

        c = &conns[fd];
        c->fd = fd;
        c->open = 1;
        c->busy = 0;
        c->len = 0;
        c->need = 0;

        ee.events = EPOLLIN;
        ee.data.ptr = c;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ee);
    }
}


static void
expire(void)
{
    conn_t  *c;
    double   t;

    t = now(CLOCK_MONOTONIC);

    while (nheap && heap[0]->due <= t) {
        c = heap_pop();
        c->busy = 0;

        if (c->open) {
            reply(c);

        } else {
            shut(c);
        }

        if (wait_head) {
            c = wait_head;
            wait_head = c->next;

            if (wait_head == NULL) {
                wait_tail = NULL;
            }

            begin(c);
        }
    }
}


static void
loop(int ls)
{
    struct epoll_event  ee[MAX_EVENTS];
    struct timespec     ts;
    double              wait;
    int                 i, n;

    for ( ;; ) {
        ts.tv_sec = 3600;
        ts.tv_nsec = 0;

        if (nheap) {
            wait = heap[0]->due - now(CLOCK_MONOTONIC);
            wait = wait > 0 ? wait : 0;
            ts.tv_sec = (time_t) wait;
            ts.tv_nsec = (wait - ts.tv_sec) * 1e9;
        }

        n = epoll_pwait2(ep, ee, MAX_EVENTS, &ts, NULL);

        for (i = 0; i < n; i++) {
            if (ee[i].data.ptr == NULL) {
                incoming(ls);

            } else {
                readable(ee[i].data.ptr);
            }
        }

        expire();
    }
}


static void
compose(size_t len)
{
    char    *text, *body;
    size_t   i;

    text = malloc(len + 1);
    body = malloc(len + 512);
    answer = malloc(len + 1024);

    if (text == NULL || body == NULL || answer == NULL) {
        abort();
    }

    for (i = 0; i < len; i++) {
        text[i] = "lorem ipsum dolor sit amet, "[i % 28];
    }

    text[len] = '\0';

    sprintf(body, "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":"
            "\"chat.completion\",\"created\":1700000000,\"model\":\"m\","
            "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
            "\"content\":\"%s\"},\"logprobs\":null,\"finish_reason\":\"stop\"}"
            "],\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":150,"
            "\"total_tokens\":270}}", text);

    answer_len = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: "
                         "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
    free(text);
    free(body);
}


static int
tcp(int port)
{
    struct sockaddr_in  sin;
    int                 fd, one = 1;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(int));

    if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(fd, 4096) == -1)
    {
        perror("upstream");
        exit(1);
    }

    return fd;
}


int
main(int argc, char **argv)
{
    struct epoll_event  ee;
    size_t              len = 640;
    int                 ch, ls, port = 0;

    while ((ch = getopt(argc, argv, "p:b:m:s:n:")) != -1) {
        switch (ch) {
        case 'p': port = atoi(optarg); break;
        case 'b': len = strtoul(optarg, NULL, 10); break;
        case 'm': median = atof(optarg) / 1000; break;
        case 's': sigma = atof(optarg); break;
        case 'n': slots = atoi(optarg); break;
        default: port = 0; optind = argc; break;
        }
    }

    if (port == 0) {
        fprintf(stderr, "usage: upstream -p port [-b bytes]"
                        " [-m ms [-s sigma]] [-n slots]\n");
        return 1;
    }

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);

    /* sleeps end when they are due, not 50 us later */
    prctl(PR_SET_TIMERSLACK, 1000);

    compose(len);
    heap = malloc(MAX_FD * sizeof(conn_t *));
    ls = tcp(port);
    ep = epoll_create1(EPOLL_CLOEXEC);

    if (heap == NULL || ep == -1) {
        return 1;
    }

    ee.events = EPOLLIN;
    ee.data.ptr = NULL;
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &ee);

    loop(ls);

    return 0;
}
