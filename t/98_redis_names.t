# A Redis whose name has several addresses, and what a Redis that does not let
# us in says.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;

our $Port;

BEGIN {
    # the sanitizers' runtime wants to be the first library there is

    if (($ENV{TEST_NGINX_BINARY} // '') =~ /asan/) {
        Test::More::plan(skip_all => 'not with sanitizers: names cannot be'
                                     . ' faked; the plain run has the code');
    }

    my $so = test_dir() . '/names.so';

    system($ENV{CC} || 'cc', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC',
           '-o', $so, 't/lib/names.c', '-ldl') == 0
        or die "t/lib/names.c does not compile\n";

    $ENV{NAMES} = 'redis.test=127.0.0.2,127.0.0.1';
    $Test::Nginx::Util::ld_preload = $ENV{LD_PRELOAD} = $so;

    $Port = BatchTest::free_port();
    $ENV{TEST_NGINX_REDIS_NAME} = "redis.test:$Port";
}

use Test::Nginx::Socket 'no_plan';

# Redis on TCP, at the second address only, beside its unix socket

sub listens {
    redis('CONFIG', 'SET', 'bind', '127.0.0.1');
    is(redis('CONFIG', 'SET', 'port', $_[0] ? $Port : 0), 'OK',
       $_[0] ? 'it listens' : 'it does not listen');
}

sub down { return grep { /redis \S+ is down/ } split /\n/, error_log_text() }

no_long_string();
run_tests();

__DATA__

=== TEST 1: the first address refuses, the second one is used
--- log_level: info
--- redis_conf
    batch_redis $TEST_NGINX_REDIS_NAME;
--- flow
main::listens(1);
ok(wait_until(sub { wait_ready() }, 20), 'connected');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch');

my $log = length(error_log_text());
ok(nginx_stop('QUIT') && nginx_start(), 'started anew');
ok(wait_until(sub { wait_ready() }, 20), 'connected again');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch');
my $text = substr(error_log_text(), $log);
like($text, qr/\[info\] .*redis redis\.test:\d+ does not answer at 127\.0\.0\.2:/,
     'which address it was, for those who ask');
unlike($text, qr/is down/, 'no error');
main::listens(0);


=== TEST 2: none answers: an error, until one does
--- redis_conf
    batch_redis $TEST_NGINX_REDIS_NAME;
--- flow
ok(wait_until(sub { main::down() }, 10), 'it is said');
like((main::down())[0], qr/\[error\] .* is down: Connection refused/, 'and why');
is(api('GET', '/v1/files')->{status}, 503, 'nobody is let in');
main::listens(1);
ok(wait_until(sub { wait_ready() }, 20), 'connected');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch');

# the address that was right is the first one after a loss

my $log = length(error_log_text());
redis('CLIENT', 'KILL', 'TYPE', 'normal');
ok(wait_until(sub { substr(error_log_text(), $log) =~ /is down/ }, 10), 'lost');
ok(wait_until(sub { wait_ready()
                    && substr(error_log_text(), $log) =~ /is ready/ }, 20),
   'connected again');
unlike(substr(error_log_text(), $log), qr/127\.0\.0\.2/, 'the other is not tried');
main::listens(0);


=== TEST 3: a Redis with as many clients as it may have
--- flow
ok(nginx_stop('QUIT'), 'stopped');
my @fill = map { IO::Socket::UNIX->new(Peer => test_dir() . '/redis.sock') }
           1 .. 20;
is(redis('CONFIG', 'SET', 'maxclients', 20), 'OK', 'no more than there are');
ok(nginx_start(), 'started');
ok(wait_until(sub { main::down() >= 2 }, 10), 'it is said');
my @other = grep { !/is down: ERR max number of clients reached$/ }
            main::down();
is("@other", '', "in Redis' own words, by each worker");
unlike(error_log_text(), qr/INFO replication/, 'nothing else is made of it');
close $_ for @fill;
ok(wait_until(sub { wait_ready() }, 20), 'let in');
redis('CONFIG', 'SET', 'maxclients', 10000);
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch');
