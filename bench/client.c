
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The client of the bench: keep-alive connections of its own, nothing in
 * between.  It is the floor of what sending requests costs, and the probe
 * that watches a server while something else goes on.
 *
 *     client -p port -u uri [-f file] [-c n] (-n count | -t seconds) [-r rate]
 *
 *     -f   bodies to POST, one a line, in turn; without it GET
 *     -c   connections (64)
 *     -n   requests to make, or -t seconds to go on
 *     -r   requests a second at even distances, whatever the answers take:
 *          a request that finds no free connection waits, and that time is
 *          part of its latency; without -r each connection sends as soon as
 *          it is answered
 *
 * Prints {"requests","errors","seconds","rate","p50","p99","p999","max"},
 * latencies in ms.  An error is a status other than 200 or a connection that
 * ends; errors have no latency.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>


#define BUFFER      16384
#define MAX_EVENTS  256


typedef struct {
    double    due;                /* when it should have been sent */
    char     *out;
    size_t    out_len;
    size_t    got;                /* bytes of the answer's head */
    size_t    rest;               /* of its body */
    int       fd;
    unsigned  busy:1;
    unsigned  body:1;             /* the head has been read */
    char      in[BUFFER];
} conn_t;


typedef struct {
    char     *p;
    size_t    len;
} span_t;


static conn_t         *conns;
static unsigned        nconns = 64;
static span_t         *requests;
static size_t          nrequests;
static int             ep, port;

static double          rate, seconds, begun;
static unsigned long   count, sent, done, errors;

static uint32_t       *lat;       /* us */
static size_t          nlat, clat;


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
fail(const char *what)
{
    perror(what);
    exit(1);
}


static void
dial(conn_t *c)
{
    struct sockaddr_in  sin;
    struct epoll_event  ee;
    int                 one = 1;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (c->fd == -1
        || connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        fail("connect");
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);

    c->busy = 0;
    c->got = 0;
    c->body = 0;
    c->out_len = 0;

    ee.events = EPOLLIN;
    ee.data.ptr = c;
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ee);
}


static void
push(conn_t *c)
{
    struct epoll_event  ee;
    ssize_t             n;

    n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

    if (n == -1 && errno != EAGAIN) {
        n = 0;                    /* its end is seen when it is read */
        c->out_len = 0;
    }

    if (n > 0) {
        c->out += n;
        c->out_len -= n;
    }

    ee.events = c->out_len ? EPOLLIN|EPOLLOUT : EPOLLIN;
    ee.data.ptr = c;

    if (c->out_len || n == 0) {
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ee);
    }
}


static void
start(conn_t *c, double due)
{
    span_t  *r;

    r = &requests[sent++ % nrequests];

    c->due = due;
    c->busy = 1;
    c->out = r->p;
    c->out_len = r->len;
    push(c);
}


static void
ended(conn_t *c, int ok)
{
    done++;
    c->busy = 0;
    c->got = 0;
    c->body = 0;

    if (!ok) {
        errors++;
        return;
    }

    if (nlat == clat) {
        clat = clat ? clat * 2 : 65536;
        lat = realloc(lat, clat * sizeof(uint32_t));

        if (lat == NULL) {
            abort();
        }
    }

    lat[nlat++] = (uint32_t) ((now() - c->due) * 1e6);
}


/* the head of an answer is in c->in: its length, or 0 if it is not whole */

static size_t
head(conn_t *c)
{
    char  *end, *p;

    c->in[c->got] = '\0';
    end = strstr(c->in, "\r\n\r\n");

    if (end == NULL) {
        return 0;
    }

    *end = '\0';
    p = strcasestr(c->in, "\r\ncontent-length:");
    c->rest = p ? strtoul(p + 17, NULL, 10) : 0;
    c->body = 1;

    return end + 4 - c->in;
}


static void
readable(conn_t *c)
{
    ssize_t  n;
    size_t   len;
    int      ok;

    for ( ;; ) {
        n = recv(c->fd, c->in + c->got, BUFFER - 1 - c->got, 0);

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n <= 0) {
            close(c->fd);

            if (c->busy) {
                ended(c, 0);
            }

            dial(c);
            return;
        }

        if (c->body == 0) {
            c->got += n;
            len = head(c);

            if (len == 0) {
                continue;
            }

            n = c->got - len;
        }

        c->got = 0;

        if ((size_t) n < c->rest) {
            c->rest -= n;
            /* keep the status line, which is judged at the end */
            c->got = 16;
            continue;
        }

        ok = memcmp(c->in, "HTTP/1.1 200", 12) == 0;
        ended(c, ok);

        return;
    }
}


static int
more(void)
{
    return (count == 0 || sent < count)
           && (seconds == 0 || now() - begun < seconds);
}


/* with a rate: sends what is due; the time in ms until the next is due */

static double
pace(void)
{
    double    due, t;
    unsigned  i;

    for (i = 0; i < nconns; i++) {
        due = begun + sent / rate;
        t = now();

        if (t < due) {
            return (due - t) * 1e3;
        }

        if (!more()) {
            break;
        }

        if (!conns[i].busy) {
            start(&conns[i], due);
        }
    }

    return 1;
}


static void
loop(void)
{
    struct epoll_event  ee[MAX_EVENTS];
    struct timespec     ts;
    double              wait = 100, stop = 0;
    int                 i, n;
    conn_t             *c;

    for ( ;; ) {
        if (rate) {
            wait = pace();
        }

        if (!more()) {
            stop = stop ? stop : now() + 10;

            if (done == sent || now() > stop) {
                return;
            }

            wait = 10;
        }

        ts.tv_sec = 0;
        ts.tv_nsec = (wait < 100 ? wait : 100) * 1e6;

        n = epoll_pwait2(ep, ee, MAX_EVENTS, &ts, NULL);

        for (i = 0; i < n; i++) {
            c = ee[i].data.ptr;

            if (ee[i].events & EPOLLOUT) {
                push(c);
            }

            if (ee[i].events & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
                readable(c);
            }

            if (rate == 0 && !c->busy && more()) {
                start(c, now());
            }
        }
    }
}


/* each body as a whole request */

static void
compose(const char *uri, const char *file)
{
    struct stat   st;
    char         *text, *p, *nl, *q;
    size_t        max = 1, len;
    FILE         *f;

    if (file == NULL) {
        requests = calloc(1, sizeof(span_t));
        requests->len = asprintf(&requests->p, "GET %s HTTP/1.1\r\n"
                                 "Host: 127.0.0.1\r\n\r\n", uri);
        nrequests = 1;
        return;
    }

    f = fopen(file, "r");

    if (f == NULL || fstat(fileno(f), &st) == -1) {
        fail(file);
    }

    text = malloc(st.st_size + 1);

    if (text == NULL
        || fread(text, 1, st.st_size, f) != (size_t) st.st_size)
    {
        fail(file);
    }

    text[st.st_size] = '\0';
    fclose(f);

    for (p = text; (p = strchr(p, '\n')) != NULL; p++) {
        max++;
    }

    requests = calloc(max, sizeof(span_t));

    for (p = text; *p; p = nl + 1) {
        nl = strchr(p, '\n');

        if (nl == NULL) {
            nl = p + strlen(p) - 1;
        }

        len = nl - p;
        q = malloc(len + strlen(uri) + 256);
        requests[nrequests].p = q;
        requests[nrequests].len = sprintf(q, "POST %s HTTP/1.1\r\n"
                "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n%.*s", uri, len, (int) len, p);
        nrequests++;
    }

    free(text);
}


static int
ascending(const void *a, const void *b)
{
    uint32_t  x = *(const uint32_t *) a, y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


static double
quantile(double q)
{
    return nlat ? lat[(size_t) (q * (nlat - 1))] / 1e3 : 0;
}


int
main(int argc, char **argv)
{
    char      *uri = "/", *file = NULL;
    double     took;
    unsigned   i;
    int        ch;

    while ((ch = getopt(argc, argv, "p:u:f:c:n:t:r:")) != -1) {
        switch (ch) {
        case 'p': port = atoi(optarg); break;
        case 'u': uri = optarg; break;
        case 'f': file = optarg; break;
        case 'c': nconns = atoi(optarg); break;
        case 'n': count = strtoul(optarg, NULL, 10); break;
        case 't': seconds = atof(optarg); break;
        case 'r': rate = atof(optarg); break;
        default: port = 0; optind = argc; break;
        }
    }

    if (port == 0 || nconns == 0 || (count == 0 && seconds == 0)) {
        fprintf(stderr, "usage: client -p port -u uri [-f file] [-c n]"
                        " (-n count | -t seconds) [-r rate]\n");
        return 1;
    }

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1000);

    compose(uri, file);
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(nconns, sizeof(conn_t));

    if (conns == NULL || ep == -1) {
        return 1;
    }

    for (i = 0; i < nconns; i++) {
        dial(&conns[i]);
    }

    begun = now();

    for (i = 0; rate == 0 && i < nconns && more(); i++) {
        start(&conns[i], now());
    }

    loop();

    took = now() - begun;
    qsort(lat, nlat, sizeof(uint32_t), ascending);

    printf("{\"requests\":%lu,\"errors\":%lu,\"seconds\":%.6f,\"rate\":%.1f,"
           "\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}\n",
           done, errors + (sent - done), took, done / took, quantile(0.5),
           quantile(0.99), quantile(0.999), quantile(1));

    return 0;
}
