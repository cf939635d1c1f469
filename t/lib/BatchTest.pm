package BatchTest;

# Copyright (C) the ngx_http_batch_module authors
#
# What every t/*.t needs around Test::Nginx: free ports, a private Redis, the
# mock inference server, a fresh store for each block, and the small client of
# the API in BatchClient.  To be used before Test::Nginx::Socket:
#
#     use lib 't/lib';
#     use BatchTest;
#     use Test::Nginx::Socket 'no_plan';
#
#     run_tests();
#
#     __DATA__
#
#     === TEST 1: a batch of three lines
#     --- flow
#     my $batch = run_batch(jsonl(3));
#     is($batch->{status}, 'completed', 'status');
#
# Sections of a block, all optional, besides those of Test::Nginx:
#
#     flow          Perl that runs while nginx is up, with all of this
#                   module's functions and Test::More's
#     http_extra    lines for http {}, after batch_redis and batch_store
#     api_config    lines for the location of the API (batch_retries ...)
#     line_config   lines for the location of the lines
#     server_extra  further locations
#     redis_conf    instead of the line batch_redis
#     store_conf    instead of the line batch_store
#     concurrency   of the API's location; 16
#     keep_state    Redis and the store keep what the last block left
#
# http_config and config, when given, replace the generated ones; there,
# $TEST_NGINX_BATCH_DIR, $TEST_NGINX_REDIS and $TEST_NGINX_MOCK are the test's
# directory, Redis' address and the mock's ("unix:..." both).
#
# Unless a block says otherwise, an alert, a crit, an emerg or a worker that
# died in the error log fails it, and so does a connection left open at the
# shutdown, and an answer of the API that its schema does not allow
# (BatchSchema).

use strict;
use warnings;

use BatchClient;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(basename dirname);
use File::Path qw(make_path remove_tree);
use IO::Socket::UNIX;
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
    http api upload create_batch get_batch wait_batch run_batch cancel_batch
    content output_lines error_lines by_id jsonl json_decode json_encode
    multipart redis redis_stop redis_start mock_start mock_stop mock_get
    mock_stats mock_reset mock_paths nginx_pid nginx_stop nginx_start
    nginx_workers server_port test_dir store_dir slurp wait_until
    error_log_text wait_ready error_body wait_answer
);

our ($Root, $Dir, $Port, $Binary, $Module);
our ($RedisPid, $MockPid);
our $Owner = $$;
our @Nobody = ('X-Tenant' => 'x', 'X-Team' => 'x');   # where one is needed
our %Preload;                    # name of a child: a library


# --- the surroundings ------------------------------------------------------

# A port of loopback, below the ephemeral ones, that stays ours until this
# process ends: bound here without SO_REUSEADDR no other process has it, and with
# the option set afterwards nginx may bind it, too, and listen.

my @held;

sub free_port {
    for (1 .. 1000) {
        my $port = 10000 + int(rand(22000));
        socket(my $s, Socket::PF_INET(), Socket::SOCK_STREAM(), 0)
            or die "socket: $!\n";
        bind($s, Socket::pack_sockaddr_in($port, Socket::INADDR_LOOPBACK()))
            or next;
        setsockopt($s, Socket::SOL_SOCKET(), Socket::SO_REUSEADDR(), 1)
            or die "setsockopt: $!\n";
        push @held, $s;
        return $port;
    }

    die "no free port\n";
}


# A child that does not outlive this process, its output in a file.

sub spawn {
    my ($name, @cmd) = @_;

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$Dir/$name.log";
        open STDERR, '>&', \*STDOUT;

        if (-x '/usr/bin/setpriv') {
            unshift @cmd, qw(/usr/bin/setpriv --pdeathsig TERM);
        }

        delete @ENV{qw(LD_PRELOAD ASAN_OPTIONS)};
        $ENV{LD_PRELOAD} = $Preload{$name} if $Preload{$name};
        exec @cmd or POSIX::_exit(127);
    }

    return $pid;
}


sub reap {
    my ($pid, $sig) = @_;

    return unless $pid;
    kill $sig, $pid;

    for (1 .. 200) {
        return if waitpid($pid, POSIX::WNOHANG()) != 0;
        sleep 0.025;
    }

    kill 'KILL', $pid;
    waitpid $pid, 0;
}


sub wait_unix {
    my ($path, $pid) = @_;

    for (1 .. 400) {
        return if IO::Socket::UNIX->new(Peer => $path);
        die "$path: its server has died, see $Dir\n"
            if waitpid($pid, POSIX::WNOHANG()) != 0;
        sleep 0.025;
    }

    die "$path: its server does not answer, see $Dir\n";
}


sub redis_start {
    return if $RedisPid;

    my ($binary) = grep { -x } map { ("/usr/bin/$_", "/usr/local/bin/$_") }
                   qw(redis-server valkey-server);
    die "no redis-server here\n" unless $binary;

    $RedisPid = spawn('redis', $binary, '--port', 0, '--unixsocket',
                      "$Dir/redis.sock", '--unixsocketperm', 777,
                      '--appendonly', 'yes', '--save', '', '--dir', $Dir,
                      '--daemonize', 'no');
    wait_unix("$Dir/redis.sock", $RedisPid);

    # it answers -LOADING while it reads its file

    wait_until(sub { (redis('PING') // '') eq 'PONG' }, 10);
}


# The signal is KILL for a crash.

sub redis_stop {
    reap($RedisPid, shift // 'TERM');
    unlink "$Dir/redis.sock";
    undef $RedisPid;
}


# Further arguments of the mock: -d MS, -j MS.

sub mock_start {
    return if $MockPid;

    $MockPid = spawn('mock', "$Root/build/mock", '-u', "$Dir/mock.sock",
                     '-l', "$Dir/mock-requests.log", @_);
    wait_unix("$Dir/mock.sock", $MockPid);
}


sub mock_stop {
    reap($MockPid, 'TERM');
    unlink "$Dir/mock.sock";
    undef $MockPid;
}


sub setup {
    $Root = abs_path(dirname(__FILE__) . '/../..');

    my $name = basename($0, '.t');
    my $build = $ENV{BATCH_TEST_DIR} || "$Root/build/t";

    # the paths of unix sockets are short: 107 bytes with all

    $Dir = "$build/$name-$$";
    make_path($Dir);
    chmod 0755, $Dir;

    $Port = $BatchClient::Port = free_port();

    $Module = $ENV{TEST_NGINX_LOAD_MODULES}
        ||= "$Root/build/ngx_http_batch_module.so";
    $Binary = $ENV{TEST_NGINX_BINARY} ||= '/usr/sbin/nginx';

    # each file has a port and a directory of its own already

    delete $ENV{TEST_NGINX_RANDOMIZE};

    $ENV{TEST_NGINX_SERVER_PORT} = $Port;
    $ENV{TEST_NGINX_SERVROOT} = "$Dir/servroot";
    $ENV{TEST_NGINX_LOG_LEVEL} ||= 'info';
    $ENV{TEST_NGINX_TIMEOUT} ||= 15;
    $ENV{TEST_NGINX_BATCH_DIR} = $Dir;
    $ENV{TEST_NGINX_REDIS} = "unix:$Dir/redis.sock";
    $ENV{TEST_NGINX_MOCK} = "unix:$Dir/mock.sock";
    $ENV{TEST_NGINX_NO_SHUFFLE} = 1;

    die "$Module: run make first\n" unless -e $Module;
    die "$Root/build/mock: run make mock first\n" unless -x "$Root/build/mock";

    redis_start();
    mock_start();

    require Test::Nginx::Socket;
    require Test::Nginx::Util;

    Test::Nginx::Util::master_on();
    Test::Nginx::Util::workers($ENV{BATCH_TEST_WORKERS} || 2);
    Test::Nginx::Util::add_block_preprocessor(\&prepare);
    Test::Nginx::Socket::add_response_body_check(\&flow);

    # The configuration is written after the last nginx has ended and before
    # the next one starts: the time to make the world new.  Test::Nginx
    # would listen on all addresses.

    my $write = \&Test::Nginx::Util::write_config_file;

    no warnings qw(redefine prototype);

    *Test::Nginx::Util::write_config_file = sub ($$$) {
        my ($block) = @_;

        fresh_state() unless defined $block->keep_state;

        &$write(@_);

        my $conf = "$Dir/servroot/conf/nginx.conf";
        my $text = slurp($conf);
        $text =~ s/^(\s*listen\s+)(\d+;)/${1}127.0.0.1:$2/mg;

        # a path given to the workers' user needs to know that user; Test::Nginx
        # names it last

        $text = "$1$text" if $text =~ s/^(user [^;]*;\n)//m;

        open my $out, '>', $conf or die "$conf: $!\n";
        print $out $text;
        close $out;
    };
}


sub fresh_state {
    redis_start();
    mock_start();
    redis('FLUSHALL');
    mock_reset();
    remove_tree("$Dir/store");
}


END {
    if ($$ == $Owner) {
        my $status = $?;

        nginx_stop('QUIT');
        redis_stop();
        mock_stop();

        if ($status == 0 && !$ENV{BATCH_TEST_KEEP}
            && Test::More->builder->is_passing)
        {
            remove_tree($Dir);
        }

        $? = $status;
    }
}


# --- blocks ----------------------------------------------------------------

sub default_http_config {
    my ($block) = @_;
    my $extra = $block->http_extra // '';
    my $redis = $block->redis_conf // "batch_redis  unix:$Dir/redis.sock;";
    my $store = $block->store_conf // "batch_store  $Dir/store;";

    return <<"CONF";
    $redis
    $store

    upstream inference {
        server unix:$Dir/mock.sock;
        keepalive 64;
        keepalive_timeout 4s;
    }

$extra
CONF
}


sub default_config {
    my ($block) = @_;
    my $api = $block->api_config // '';
    my $line = $block->line_config // '';
    my $server = $block->server_extra // '';
    my $n = $block->concurrency // 16;

    chomp $n;

    # a block's own directive takes the place of the default one

    my $concurrency = $api =~ /batch_concurrency/
                      ? '' : "batch_concurrency $n;";
    my $pass = $api =~ /batch_pass/ ? '' : 'batch_pass /batch-lines;';
    my $timeout = $line =~ /proxy_read_timeout/
                  ? '' : 'proxy_read_timeout 60s;';

    return <<"CONF";
        location = /up { return 200 "up\\n"; }

        location /v1/ {
            proxy_pass http://inference;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location ~ ^/v1/(files|uploads|batches) {
            client_max_body_size 0;
            batch_api;
            $pass
            $concurrency
$api
        }

        location /batch-lines/ {
            internal;
            proxy_pass http://inference/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Batch-Line \$batch_line;
            proxy_ignore_headers X-Accel-Redirect X-Accel-Expires
                                 X-Accel-Limit-Rate X-Accel-Buffering
                                 X-Accel-Charset;
            proxy_max_temp_file_size 0;
            client_max_body_size 0;
            $timeout
$line
        }

        location = /batch-status { batch_status; }
$server
CONF
}


sub prepare {
    my ($block) = @_;

    $block->set_value(http_config => default_http_config($block))
        unless defined $block->http_config;

    $block->set_value(config => default_config($block))
        unless defined $block->config;

    $block->set_value(main_config => "worker_shutdown_timeout 5s;\n")
        unless defined $block->main_config;

    if (defined $block->flow && !defined $block->request) {
        $block->set_value(request => "GET /up\n");
        $block->set_value(response_body => "up\n")
            unless defined $block->response_body;
    }

    return if defined $block->must_die;

    $block->set_value(no_error_log => "[alert]\n[crit]\n[emerg]\n"
                                      . "exited on signal\nruntime error:\n")
        unless defined $block->no_error_log;

    $block->set_value(no_shutdown_error_log => "open socket\n[alert]\n"
                                               . "exited on signal\n"
                                               . "runtime error:\n")
        unless defined $block->no_shutdown_error_log
               || defined $block->shutdown_error_log;
}


# Test::Nginx's check of a response's body, with nginx still up.

sub flow {
    my ($block) = @_;
    my $code = $block->flow;

    return unless defined $code;

    my $name = $block->name;

    wait_ready();

    eval "package main; use strict; use warnings; use utf8;\n"
         . "#line 1 \"flow of $name\"\n" . $code;

    Test::More::fail("$name - flow died: $@") if $@;
}


# Until the index is filled, which a new Redis takes a moment for, and each
# worker has found Redis; a block's own config may have no /batch-status.

sub wait_ready {
    return wait_until(sub {
        my $status = api('GET', '/batch-status', undef, timeout => 5)->{json};

        # a worker that has not begun is not counted: it says ready without it

        return 0 if ref $status eq 'HASH'
                    && ($status->{redis} ne 'ready'
                        || $status->{workers} < (my @pids = nginx_workers()));
        return http('GET', '/v1/files?limit=1', timeout => 5,
                    headers => \@Nobody)->{status} != 503;
    }, 10);
}


# The answer of a path, or of code that asks, once it is not a 503 any more.  Each
# worker has its own link to Redis, and so its own opinion whether the index is
# there; one that waits for a reply does not know yet that its link is dead.

sub wait_answer {
    my ($what) = @_;
    my $r;

    wait_until(sub { $r = ref $what ? $what->()
                                    : http('GET', $what, timeout => 5);
                     $r->{status} != 503 }, 20);

    return $r;
}


# --- the directories and what is in them ------------------------------------

sub server_port { return $Port }
sub test_dir    { return $Dir }
sub store_dir   { return "$Dir/store" }


sub slurp {
    my ($file) = @_;

    open my $in, '<:raw', $file or return undef;
    local $/;
    return scalar <$in>;
}


sub error_log_text {
    return slurp("$Dir/servroot/logs/error.log") // '';
}


# --- the servers around ----------------------------------------------------

# One command of Redis; arrays come back as references, errors die.

sub redis {
    my @args = @_;
    my $s = IO::Socket::UNIX->new(Peer => "$Dir/redis.sock") or return undef;

    print $s '*' . @args . "\r\n"
             . join('', map { '$' . length($_) . "\r\n$_\r\n" } @args);
    $s->flush;

    my $reply = redis_reply($s);
    close $s;

    return $reply;
}


sub redis_reply {
    my ($s) = @_;
    my $line = <$s>;

    return undef unless defined $line;
    $line =~ s/\r\n$//;

    my $type = substr $line, 0, 1, '';

    return $line if $type eq '+' || $type eq ':';
    return "-$line" if $type eq '-';

    if ($type eq '$') {
        return undef if $line < 0;
        my $data = '';
        read $s, $data, $line + 2;
        return substr $data, 0, $line;
    }

    return $line < 0 ? undef : [map { redis_reply($s) } 1 .. $line];
}


sub mock_get {
    my ($path) = @_;

    return json_decode(http('GET', $path, unix => "$Dir/mock.sock")->{body});
}


sub mock_stats { return mock_get('/mock/stats') }
sub mock_reset { return mock_get('/mock/reset') }

sub mock_paths {
    return map { $_->{path} }
           @{ mock_get('/mock/log?n=' . ($_[0] // 100))->{data} };
}


sub nginx_pid {
    my $pid = slurp("$Dir/servroot/logs/nginx.pid") // return undef;

    chomp $pid;
    return $pid =~ /^\d+$/ ? $pid : undef;
}


sub nginx_workers {
    my $master = nginx_pid() // return;
    my @pids;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $text = slurp($stat) // next;
        push @pids, $1 if $text =~ /^(\d+) \(.*\) \S (\d+)/ && $2 == $master;
    }

    @pids = sort { $a <=> $b } @pids;
    return @pids;
}


# A zombie whose threads are still in a system call has its sockets, too.

sub runs {
    my ($pid) = @_;
    my @threads = glob "/proc/$pid/task/*";

    return kill(0, $pid) && (@threads > 1
        || (slurp("/proc/$pid/stat") // '') !~ /^\d+ \(.*\) Z/);
}


# Ends nginx by a signal; with KILL also its workers, as a power cut would.

sub nginx_stop {
    my ($sig) = @_;
    my $master = nginx_pid() // return;
    my @pids = ($master, nginx_workers());

    $sig //= 'QUIT';
    kill $sig, $sig eq 'KILL' ? @pids : $master;

    for (1 .. 400) {
        @pids = grep { runs($_) } @pids;
        last unless @pids;
        sleep 0.025;
    }

    kill 'KILL', @pids if @pids;
    unlink "$Dir/servroot/logs/nginx.pid";

    return !@pids;
}


# Starts nginx again with the block's configuration.

sub nginx_start {
    my $root = "$Dir/servroot";

    system($Binary, '-p', "$root/", '-c', "$root/conf/nginx.conf",
           '-e', "$root/logs/error.log") == 0 or return 0;

    return wait_until(sub { http('GET', '/up', timeout => 2)->{status} }, 10);
}


setup();

1;
