# stack.sh - sourced after lib.sh: nginx with the module, a private Redis and
# an inference server, all below one directory, for the demo, "make serve" and
# the tests of t/e2e.
#
#     stack_up DIR PORT      starts Redis, nginx and, without UPSTREAM
#                            (host:port), the mock
#     stack_down             stops what stack_up has started
#
# Also read: MOCK_ARGS (for the mock), STACK_WORKERS, STACK_API (lines for the
# API's location), STACK_SERVER (for its server), STACK_NGINX (the binary),
# STACK_SO (the module), STACK_LOG (level of the error log).

stack_pids=()


# Starts a child that does not outlive the script; its pid is in $child.

stack_spawn() {
    local log=$1
    shift

    if command -v setpriv > /dev/null; then
        setpriv --pdeathsig TERM "$@" > "$log" 2>&1 < /dev/null &
    else
        "$@" > "$log" 2>&1 < /dev/null &
    fi

    child=$!
}


stack_redis() {
    local redis
    redis=$(redis_binary) || die "no redis-server found"

    stack_spawn "$1/redis.log" "$redis" --port 0 \
        --unixsocket "$1/redis.sock" --unixsocketperm 777 \
        --appendonly yes --save "" --dir "$1/redis"
    stack_pids+=("$child")

    wait_for 20 test -S "$1/redis.sock" \
        || die "Redis did not start, see $1/redis.log"
}


stack_mock() {
    stack_spawn "$1/mock.log" "$BUILD/mock" -u "$1/mock.sock" \
        ${MOCK_ARGS:-}
    stack_pids+=("$child")

    wait_for 10 test -S "$1/mock.sock" \
        || die "the mock did not start, see $1/mock.log"
}


# The configuration is conf/nginx.conf with other paths, so that what is shipped
# is what is run.

stack_conf() {
    local dir=$1 port=$2 upstream=$3 user=

    # started by root, the workers run as the owner of the checkout

    if [ "$(id -u)" = 0 ]; then
        user="user  $(stat -c %U "$ROOT");"
    fi

    sed -e "s|^load_module .*|load_module ${STACK_SO:-$BUILD/ngx_http_batch_module.so};|" \
        -e "s|^user .*|$user|" \
        -e "s|^worker_processes .*|worker_processes  ${STACK_WORKERS:-auto};\ndaemon  off;\nerror_log  $dir/logs/error.log  ${STACK_LOG:-info};|" \
        -e "s|^pid .*|pid  $dir/nginx.pid;|" \
        -e "s|^worker_rlimit_nofile .*|worker_rlimit_nofile  $(ulimit -Hn | sed 's/unlimited/65536/');|" \
        -e "s|^worker_shutdown_timeout .*|worker_shutdown_timeout  5s;|" \
        -e "s|access_log  /var.*|access_log  $dir/logs/access.log;\n\n    client_body_temp_path  $dir/temp/body;\n    proxy_temp_path        $dir/temp/proxy;\n    fastcgi_temp_path      $dir/temp/fastcgi;\n    uwsgi_temp_path        $dir/temp/uwsgi;\n    scgi_temp_path         $dir/temp/scgi;|" \
        -e "s|batch_redis  .*|batch_redis  unix:$dir/redis.sock;|" \
        -e "s|batch_store  .*|batch_store  $dir/store;|" \
        -e "s|server  127.0.0.1:8000;|server  $upstream;|" \
        -e "s|listen  8080;|listen  127.0.0.1:$port;\n        ${STACK_SERVER:-}|" \
        -e "s|^\( *\)batch_api;|\1batch_api;\n\1${STACK_API:-}|" \
        "$ROOT/conf/nginx.conf" > "$dir/nginx.conf"
}


stack_nginx() {
    local dir=$1 port=$2 nginx n=0
    nginx=${STACK_NGINX:-$(nginx_binary)} || die "no nginx found"

    stack_spawn "$dir/logs/stderr.log" "$nginx" -p "$dir/" \
        -e "$dir/logs/error.log" -c "$dir/nginx.conf"
    stack_nginx_pid=$child

    until curl -sf -m 5 -o /dev/null "http://127.0.0.1:$port/batch-status"; do
        if ! kill -0 "$child" 2> /dev/null || ((n++ > 300)); then
            tail -n 5 "$dir/logs/stderr.log" >&2
            die "nginx did not start, see $dir/logs"
        fi
        sleep 0.05
    done
}


stack_up() {
    local dir=$1 port=$2 upstream=${UPSTREAM:-}

    stack_nginx_pid=
    mkdir -p "$dir/logs" "$dir/temp" "$dir/redis"

    # the path of a socket has at most 107 bytes
    [ ${#dir} -lt 90 ] || die "$dir: the path is too long for unix sockets"

    if [ "$(id -u)" = 0 ] && [ "$(stat -c %U "$ROOT")" != root ]; then
        chown -R "$(stat -c %U "$ROOT")" "$dir"
    fi

    stack_redis "$dir"

    if [ -z "$upstream" ]; then
        stack_mock "$dir"
        upstream="unix:$dir/mock.sock"
    fi

    stack_conf "$dir" "$port" "$upstream"
    stack_nginx "$dir" "$port"
}


stack_down() {
    local i

    stop_pid "${stack_nginx_pid:-}" QUIT 8
    stack_nginx_pid=

    for ((i = ${#stack_pids[@]} - 1; i >= 0; i--)); do
        stop_pid "${stack_pids[i]}" TERM 5
    done

    stack_pids=()
}
