# A real Redis in trouble, and the failover to another one: with Sentinel, which
# moves what the address leads to.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;

our ($Clock, %Server);

sub set_clock {
    # in place: it is mapped

    open my $out, -e $Clock ? '+<' : '>', $Clock or die "$Clock: $!";
    print $out pack 'q', $_[0];
    close $out;
}

sub point {
    my $dir = test_dir();

    unlink "$dir/new.sock";
    symlink("$dir/$_[0].sock", "$dir/new.sock")
        && rename("$dir/new.sock", "$dir/addr.sock") or die "addr.sock: $!";
}

BEGIN {
    my $so = test_dir() . '/clock.so';

    system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', $so,
           't/lib/clock.c') == 0
        or die "t/lib/clock.c does not compile\n";

    $Clock = test_dir() . '/clock';
    set_clock(0);

    # where "batch_redis" points to; BatchTest's own one to begin with

    point('redis');
}

use Test::Nginx::Socket 'no_plan';


# another Redis, on unix and TCP sockets, whose wall clock can be set

sub server {
    my ($name, @more) = @_;
    my $dir = test_dir();

    mkdir "$dir/$name.d";
    my $port = $Server{$name}{port} //= BatchTest::free_port();
    $Server{$name}{pid} = BatchTest::spawn("redis-$name", '/usr/bin/env',
        "LD_PRELOAD=$dir/clock.so", "BATCH_CLOCK=$Clock",
        (grep { -x } '/usr/bin/redis-server', '/usr/local/bin/redis-server',
                     '/usr/bin/valkey-server')[0],
        '--bind', '127.0.0.1', '--port', $port,
        '--unixsocket', "$dir/$name.sock", '--unixsocketperm', 777,
        '--appendonly', 'yes', '--save', '', '--dir', "$dir/$name.d",
        '--repl-diskless-sync-delay', 0, @more);

    BatchTest::wait_unix("$dir/$name.sock", $Server{$name}{pid});
    wait_until(sub { at($name, 'PING') eq 'PONG' }, 10);

    return $port;
}

sub stop {
    my ($name, $sig) = @_;

    BatchTest::reap(delete $Server{$name}{pid}, $sig // 'TERM');
}

END { $Server{$_}{pid} && stop($_, 'KILL') for keys %Server }


# a command to one of them

sub at {
    my ($name, @args) = @_;
    my $s = IO::Socket::UNIX->new(Peer => test_dir() . "/$name.sock")
        or return '';

    print $s '*' . @args . "\r\n"
             . join('', map { '$' . length($_) . "\r\n$_\r\n" } @args);
    $s->flush;

    return BatchTest::redis_reply($s) // '';
}



sub clocked {
    server('clock');
    point('clock');
    redis('CLIENT', 'KILL', 'TYPE', 'normal');

    Test::More::ok(wait_until(sub { at('clock', 'DBSIZE') && wait_ready() },
                              20), 'a Redis whose clock can be set');
}

sub start {
    my ($n, $ms) = @_;
    my $f = upload(jsonl($n, mock => "slow=$ms"));
    my $b = create_batch($f->{json}{id})->{json};

    Test::More::ok(wait_until(sub {
        (get_batch($b->{id})->{request_counts}{completed} // 0) > $n / 20
    }, 20), 'it runs');

    return $b;
}

# an object, as soon as the index is there

sub known {
    return json_decode(wait_answer($_[0])->{body});
}

sub check {
    my ($b, $n) = @_;

    Test::More::ok(wait_until(sub { wait_ready() }, 30), 'ready');
    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, 'counts');

    my $r = wait_answer("/v1/files/$b->{output_file_id}/content");
    Test::More::is($r->{status}, 200, 'content');
    Test::More::is_deeply([map { json_decode($_)->{custom_id} }
                           split /\n/, $r->{body}],
                          [map { "req-$_" } 1 .. $n],
                          'each line once, in order');
}

add_block_preprocessor(sub {
    my ($block) = @_;
    my $dir = test_dir();

    $block->set_value(redis_conf => "batch_redis unix:$dir/addr.sock;");
    $block->set_value(no_error_log => "[alert]\n[emerg]\n"
                                      . "exited on signal\nruntime error:\n")
        unless defined $block->no_error_log;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: scripts are forgotten, links are cut, all stands still
--- flow
my $b = main::start(500, 20);

for (1 .. 5) {
    redis('SCRIPT', 'FLUSH');
    is(get_batch($b->{id})->{id}, $b->{id}, 'scripts are sent again');
    redis('CLIENT', 'KILL', 'TYPE', 'normal');
    ok(wait_ready(), 'links come back');
}

redis('CLIENT', 'PAUSE', 2500, 'ALL');
main::check(wait_batch($b->{id}, timeout => 60), 500);
is(mock_stats()->{requests}, 500, 'nothing was sent twice');


=== TEST 2: its memory is full
--- flow
my $b = main::start(300, 20);
redis('CONFIG', 'SET', 'maxmemory', 1);

# what makes new keys is refused

my $f = wait_until(sub { my $r = upload(jsonl(1));
                         $r->{status} != 200 && $r }, 10);
is($f->{status}, 503, 'no upload');
is($f->{json}{error}{type}, 'server_error', 'type');
is(get_batch($b->{id})->{id}, $b->{id}, 'reads go on');
redis('CONFIG', 'SET', 'maxmemory', 0);
main::check(wait_batch($b->{id}, timeout => 60), 300);
is(upload(jsonl(1))->{status}, 200, 'an upload');


=== TEST 3: it becomes a replica, and the master again
--- flow
my $b = main::start(400, 20);
my $port = main::server('other');
redis('REPLICAOF', '127.0.0.1', $port);
ok(wait_until(sub { redis('INFO', 'replication')
                    =~ /master_link_status:up/ }, 20), 'a replica');
ok(wait_until(sub { api('GET', "/v1/batches/$b->{id}")->{status} == 503 }, 20),
   'which is not worked with');
ok(wait_until(sub { error_log_text() =~ /the server is a replica/ }, 20),
   'and the log says so');

# with nothing any more: the other one was empty

redis('REPLICAOF', 'NO', 'ONE');
is(redis('EXISTS', "{batch}:b:$b->{id}"), 0, 'it has forgotten all');
ok(wait_until(sub { api('GET', "/v1/batches/$b->{id}")->{status} == 200 }, 20),
   'known again');
main::check(wait_batch($b->{id}, timeout => 60), 400);
main::stop('other');


=== TEST 4: another server with an index of its own, and back
--- flow
my $one = run_batch(jsonl(2));
main::server('other');
main::point('other');
redis('CLIENT', 'KILL', 'TYPE', 'normal');
ok(wait_until(sub { api('GET', "/v1/batches/$one->{id}")->{status} == 200 },
              20), 'the other one was filled');
ok(wait_until(sub { my @n = main::at('other', 'CLIENT', 'LIST') =~ /^id=/mg;
                    @n >= 3 && wait_ready() }, 30), 'both workers are there');
my $two = run_batch(jsonl(3));
is($two->{status}, 'completed', 'a batch');

# the first one has an index, which was good when it was left

main::point('redis');
main::at('other', 'CLIENT', 'KILL', 'TYPE', 'normal');
my %seen;
ok(wait_until(sub {
    my $r = api('GET', "/v1/batches/$two->{id}");
    $seen{$r->{status}}++;
    return $r->{status} == 200 && redis('EXISTS', "{batch}:b:$two->{id}");
}, 20), 'known there, too');
ok(!$seen{404}, 'never a wrong 404');
is_deeply(main::known("/v1/batches/$_->{id}"), $_, 'as it was') for $one, $two;
is(mock_stats()->{requests}, 5, 'nothing ran again');
main::stop('other', 'KILL');


=== TEST 5: Sentinel promotes a replica that has not heard of the last things
--- flow
my $dir = test_dir();
my $port = main::server('master');
my $replica = main::server('replica', '--replicaof', "127.0.0.1 $port");
ok(wait_until(sub { main::at('replica', 'INFO', 'replication')
                    =~ /master_link_status:up/ }, 20), 'a replica');

# the address moves to whom Sentinel says

open my $out, '>', "$dir/reconfig" or die;
print $out "#!/bin/sh\n[ \"\$7\" = $replica ] || exit 0\n",
           "ln -sfn $dir/replica.sock $dir/addr.sock\n";
close $out;
chmod 0755, "$dir/reconfig";

mkdir "$dir/sentinel.d";
open $out, '>', "$dir/sentinel.d/conf" or die;
print $out "port ${\ BatchTest::free_port() }\nbind 127.0.0.1\n",
           "unixsocket $dir/sentinel.sock\ndir $dir/sentinel.d\n",
           "sentinel monitor m 127.0.0.1 $port 1\n",
           "sentinel down-after-milliseconds m 1000\n",
           "sentinel failover-timeout m 10000\n",
           "sentinel client-reconfig-script m $dir/reconfig\n";
close $out;

main::point('master');
redis('CLIENT', 'KILL', 'TYPE', 'normal');
ok(wait_until(sub { main::at('master', 'DBSIZE') && wait_ready() }, 20),
   'nginx works with the master');

$main::Server{sentinel}{pid} = BatchTest::spawn('sentinel',
    (grep { -x } '/usr/bin/redis-server', '/usr/bin/valkey-server')[0],
    "$dir/sentinel.d/conf", '--sentinel');
ok(wait_until(sub { (main::at('sentinel', 'SENTINEL', 'REPLICAS', 'm')
                     || [])->[0] }, 30), 'Sentinel knows both');

my $b = main::start(800, 50);
my $gone = upload(jsonl(1))->{json}{id};
ok(wait_until(sub { main::at('replica', 'EXISTS', "{batch}:f:$gone") == 1 },
              10), 'the replica follows');

# and is cut off, but not down for Sentinel

main::at('master', 'ACL', 'SETUSER', 'default', '-psync', '-sync');
main::at('master', 'CLIENT', 'KILL', 'TYPE', 'replica');

my $new = upload(jsonl(1))->{json};
my $small = run_batch(jsonl(1, mock => 'slow=1'));
is(http('DELETE', "/v1/files/$gone")->{status}, 200, 'deleted');
is(main::at('replica', 'EXISTS', "{batch}:f:$new->{id}"), 0,
   'it knows nothing of it');

main::stop('master', 'KILL');
my %seen;
ok(wait_until(sub {
    my $r = api('GET', "/v1/files/$new->{id}");
    $seen{$r->{status}}++;
    return $r->{status} == 200;
}, 40), 'failed over');
ok(!$seen{404}, 'never a wrong 404');
ok(wait_until(sub { wait_ready() }, 20), 'ready');
like(main::at('replica', 'INFO', 'replication'), qr/role:master/, 'promoted');

is_deeply(main::known("/v1/files/$new->{id}"), $new, 'a file');
is_deeply(main::known("/v1/batches/$small->{id}"), $small, 'a batch');
my $r = wait_until(sub { my $x = http('GET', "/v1/files/$gone");
                         $x->{status} != 503 && $x }, 20);
is($r->{status}, 404, 'deleted stays deleted');
main::check(wait_batch($b->{id}, timeout => 90), 800);
main::stop('sentinel');
main::stop('replica', 'KILL');


=== TEST 6: its clock is set back and forth by an hour
--- concurrency
4
--- flow
main::clocked();

my $b = main::start(400, 50);
main::set_clock(3600);
my $now = get_batch($b->{id})->{request_counts}{completed};
ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed}
                    > $now + 40 }, 20), 'an hour later it runs');

# leases of now, in the future of then, whose owner is no more

main::set_clock(0);
nginx_stop('KILL');
ok(nginx_start(), 'nginx starts anew, an hour earlier');
main::check(wait_batch($b->{id}, timeout => 60), 400);
main::stop('clock', 'KILL');
main::point('redis');


=== TEST 7: its clock is set while others take over
--- flow
# workers that begin know nothing of the hour: those that leave have leases of
# then, and lines under way

main::clocked();

mock_reset();
my $f = upload(jsonl(6, mock => 'slow=4000'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{inflight} == 6 }, 20), 'six slow lines');
main::set_clock(3600);
kill 'HUP', nginx_pid();
main::check(wait_batch($b->{id}, timeout => 60), 6);
is(mock_stats()->{requests}, 6, 'each was sent once');

main::set_clock(0);
main::stop('clock', 'KILL');
main::point('redis');


=== TEST 8: a worker died with another server, and one never noticed
--- no_error_log
[emerg]
runtime error:
--- flow
my $dir = test_dir();
my $one = run_batch(jsonl(2));
main::server('other');
ok(wait_until(sub { wait_ready() }, 20), 'ready');

# one of the workers sleeps, and its link stays

my ($asleep, $moves) = nginx_workers();
kill 'STOP', $asleep;
main::point('other');
redis('CLIENT', 'KILL', 'TYPE', 'normal');
my $f;
ok(wait_until(sub {
    $f = upload(jsonl(1), timeout => 5)->{json};
    return $f->{id} && main::at('other', 'EXISTS', "{batch}:f:$f->{id}") == 1;
}, 30), 'a file that the other one was told of');
is(redis('EXISTS', "{batch}:f:$f->{id}"), 0, 'the first one was not');

# who knows of it dies there

main::point('redis');
kill 'KILL', $moves;
kill 'CONT', $asleep;
my %seen;
ok(wait_until(sub {
    my $r = http('GET', "/v1/files/$f->{id}", timeout => 5);
    $seen{$r->{status}}++;
    return $r->{status} == 200 && wait_ready();
}, 30), 'known there, too');
ok(!$seen{404}, 'never a wrong 404');
is_deeply(main::known("/v1/batches/$one->{id}"), $one, 'a batch');
is_deeply(main::known("/v1/files/$f->{id}"), $f, 'the file');
main::stop('other', 'KILL');


=== TEST 9: one of two workers stays with the old server
--- flow
my $one = run_batch(jsonl(2));
main::server('other');
main::at('other', 'FLUSHALL');
ok(wait_until(sub { wait_ready() }, 20), 'ready');
main::point('other');
my $links = sub { redis('CLIENT', 'LIST', 'TYPE', 'normal')
                  =~ /^id=(\d+) .*? cmd=(?!client)/mg };
my ($id) = $links->();
redis('CLIENT', 'KILL', 'ID', $id);
ok(wait_until(sub { grep { /:gen:/ } @{ main::at('other', 'KEYS', '*gen*')
                                        || [] } }, 20), 'the other one is filled');

# who acknowledges something is with the new one

my $f;
ok(wait_until(sub { $f = upload(jsonl(1)); $f->{status} == 200 }, 20),
   'a file');
my $id1 = $f->{json}{id};
is(main::at('other', 'EXISTS', "{batch}:f:$id1"), 1, 'the new one knows it');
my %seen;
ok(wait_until(sub {
    $seen{http('GET', "/v1/files/$id1", timeout => 5)->{status}}++;
    return !$links->() && wait_ready();
}, 30), 'both workers move');
ok(!$seen{404}, 'never a wrong 404');
is_deeply(main::known("/v1/files/$id1"), $f->{json}, 'the file');
is_deeply(main::known("/v1/batches/$one->{id}"), $one, 'a batch');
main::point('redis');
main::stop('other', 'KILL');
