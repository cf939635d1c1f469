# Workers come, go and die while a batch runs.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

use Digest::MD5 'md5_hex';
use IO::Select;
use IO::Socket::INET;

sub begin {
    my ($n, $script) = @_;
    my $f = upload(jsonl($n, mock => $script));
    return create_batch($f->{json}{id})->{json};
}

sub done {
    my ($id) = @_;
    my $c = (api('GET', "/v1/batches/$id")->{json} // {})->{request_counts};
    return ($c->{completed} // 0) + ($c->{failed} // 0);
}

sub check {
    my ($b, $n) = @_;

    Test::More::is($b->{status}, 'completed', 'completed');
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, 'counts');

    my @ids = map { $_->{custom_id} } output_lines($b);
    Test::More::is_deeply(\@ids, [map { "req-$_" } 1 .. $n],
                          'each line once, in order');
}

# all workers are new, and each has begun to connect to Redis

sub reloaded {
    my %old = map { $_ => 1 } nginx_workers();
    kill 'HUP', nginx_pid();

    Test::More::ok(wait_until(sub {
        for (1 .. 20) {
            my $s = api('GET', '/batch-status', undef, timeout => 5)->{json};
            return 0 if ref $s ne 'HASH' || $old{$s->{pid}};
        }

        return 1;
    }, 20), 'new workers answer');
}

# a request whose answer is not waited for: the socket

sub ask {
    my ($method, $path, $body, $type) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => server_port(), Timeout => 10)
        or die "connect: $!";

    $body //= '';
    $type //= 'application/json';
    print $s "$method $path HTTP/1.0\r\nHost: x\r\nContent-Type: $type\r\n",
             'Content-Length: ' . length($body), "\r\n\r\n$body";
    $s->flush;

    return $s;
}

sub status {
    my ($s) = @_;

    return 'none' if !IO::Select->new($s)->can_read(90);
    return (readline($s) // '') =~ m{^HTTP/1\.1 (\d+)} ? $1 : 'cut';
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: reloads without end
--- concurrency
32
--- flow
my $n = 4000;
my %old = map { $_ => 1 } nginx_workers();
my $b = main::begin($n, sub { 'slow=' . (5 + int rand 16) });
my $reloads = 0;

for (1 .. 25) {
    kill 'HUP', nginx_pid();
    $reloads++;
    sleep 0.25;
    last if main::done($b->{id}) >= $n;
}

cmp_ok($reloads, '>', 3, 'reloads while it runs');
main::check(wait_batch($b->{id}, timeout => 40), $n);
ok(wait_until(sub { 2 == (() = nginx_workers()) }, 15), 'old workers are gone');
is(scalar(grep { $old{$_} } nginx_workers()), 0, 'new ones are there');
unlike(error_log_text(), qr/open socket/, 'no connection left open');
is(mock_stats()->{requests}, $n, 'no line was sent twice');


=== TEST 2: hanging lines do not keep an old worker for ever
--- flow
my %old = map { $_ => 1 } nginx_workers();
my $b = main::begin(6, sub { $_[0] == 3 ? 'slow=20000' : '' });
ok(wait_until(sub { mock_stats()->{inflight} == 1 }, 10), 'one is slow');
kill 'HUP', nginx_pid();
ok(wait_until(sub { !grep { $old{$_} } nginx_workers() }, 20),
   'old workers are gone');
ok(wait_until(sub { mock_stats()->{requests} >= 7 }, 20), 'it is sent again');
cancel_batch($b->{id});
is(wait_batch($b->{id})->{status}, 'cancelled', 'the rest is not waited for');


=== TEST 3: a worker is killed
--- concurrency
16
--- no_error_log
[crit]
[emerg]
runtime error:
--- flow
my $n = 1000;
my $b = main::begin($n, 'slow=30');
ok(wait_until(sub { main::done($b->{id}) > 100 }, 15), 'it runs');
my ($victim) = nginx_workers();
kill 'KILL', $victim;
main::check(wait_batch($b->{id}, timeout => 60), $n);
is(scalar(grep { $_ == $victim } nginx_workers()), 0, 'it is dead');
my @alerts = grep { !/worker process $victim exited on signal 9/ }
             error_log_text() =~ /^.*\[alert\].*$/mg;
is("@alerts", '', 'no other alert');


=== TEST 4: all of nginx is killed, and started again
--- no_error_log
[alert]
[crit]
[emerg]
runtime error:
--- flow
my $n = 600;
my $b = main::begin($n, 'slow=30');
ok(wait_until(sub { main::done($b->{id}) > 50 }, 15), 'it runs');
ok(nginx_stop('KILL'), 'killed');
ok(nginx_start(), 'started');
main::check(wait_batch($b->{id}, timeout => 60), $n);


=== TEST 5: a graceful quit, and a start
--- flow
my $n = 600;
my $b = main::begin($n, 'slow=30');
ok(wait_until(sub { main::done($b->{id}) > 50 }, 15), 'it runs');
ok(nginx_stop('QUIT'), 'quits');
is(mock_stats()->{aborted}, 0, 'after the answers have come');
my $sent = mock_stats()->{requests};
ok(nginx_start(), 'started');
my $began = time();
main::check(wait_batch($b->{id}, timeout => 60), $n);
is(mock_stats()->{requests}, $n, 'no line was sent twice');
unlike(error_log_text(), qr/\[alert\]/, 'no alert');


=== TEST 6: a stop that waits for nothing, and a start
--- flow
my $n = 300;
my $b = main::begin($n, 'slow=30');
ok(wait_until(sub { main::done($b->{id}) > 30 }, 15), 'it runs');
ok(nginx_stop('TERM'), 'stops');
ok(nginx_start(), 'started');
main::check(wait_batch($b->{id}, timeout => 60), $n);


=== TEST 7: a refused reload, then a worker's death
--- no_error_log
[crit]
runtime error:
--- flow
my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $text = slurp($conf);
my $write = sub { open my $o, '>', $conf or die; print $o $_[0]; close $o };
my @before = nginx_workers();

# read to the end, and then there is no such directory

(my $bad = $text) =~ s{batch_store\s+[^;]+}{batch_store /nonexistent/x};
$write->($bad);
kill 'HUP', nginx_pid();
ok(wait_until(sub { error_log_text() =~ /cannot make directory/ }), 'refused');
$write->($text);

is_deeply([nginx_workers()], \@before, 'the workers stay');
kill 'KILL', $before[0];
ok(wait_until(sub { my @now = nginx_workers();
                    @now == 2 && !grep { $_ == $before[0] } @now }),
   'a new worker');
main::check(run_batch(jsonl(50)), 50);
my @alerts = grep { !/worker process $before[0] exited on signal 9/ }
             error_log_text() =~ /^.*\[alert\].*$/mg;
is("@alerts", '', 'no other alert');


=== TEST 8: new settings apply to a batch that runs
--- concurrency
2
--- flow
my $b = main::begin(120, 'slow=100');
ok(wait_until(sub { main::done($b->{id}) >= 4 }, 15), 'it runs');
is(mock_stats()->{max_inflight}, 2, 'two at a time');
my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $text = slurp($conf);
$text =~ s/batch_concurrency 2;/batch_concurrency 24;/ or die;
open my $o, '>', $conf; print $o $text; close $o;
kill 'HUP', nginx_pid();
main::check(wait_batch($b->{id}, timeout => 40), 120);
cmp_ok(mock_stats()->{max_inflight}, '>', 8, 'then more');


=== TEST 9: requests that come before the new workers have reached Redis
--- redis_conf eval: "batch_redis unix:$BatchTest::Dir/redis.sock timeout=60s;"
--- flow
my $input = upload(jsonl(2))->{json}{id};
my $other = upload(jsonl(3))->{json}{id};
my $b = wait_batch(create_batch($input)->{json}{id});
my @ask = (['GET', '/v1/files?limit=1'], ['GET', '/v1/batches?limit=1'],
           ['GET', "/v1/files/$input"], ['GET', "/v1/batches/$b->{id}"],
           ['GET', "/v1/files/$b->{output_file_id}/content"],
           ['POST', '/v1/files', BatchTest::multipart(
               purpose => 'batch', file => { data => jsonl(1),
                                             filename => 'in.jsonl' })],
           ['POST', '/v1/batches', qq({"input_file_id":"$input",)
               . '"endpoint":"/v1/chat/completions","completion_window":"24h"}'],
           ['DELETE', "/v1/files/$other"]);
my $fills = () = error_log_text() =~ /rebuilding it from disk/g;

# the second time the workers are asked to quit while the requests wait

for my $quit (0, 1) {
    kill 'STOP', $BatchTest::RedisPid;
    main::reloaded();
    my @waiting = map { main::ask(@$_) } @ask, @ask[0 .. $#ask - 1];
    main::ask('GET', '/v1/files');      # who does not wait for the answer
    main::reloaded() if $quit;
    kill 'CONT', $BatchTest::RedisPid;

    is(main::status($waiting[$_]), $_ == $#ask && $quit ? 404 : 200,
       "$quit: @{$ask[$_ % @ask]}[0, 1]") for 0 .. $#waiting;
}

is(scalar(() = error_log_text() =~ /rebuilding it from disk/g), $fills,
   'the index was good all the time');

ok(wait_ready(), 'ready');
is(run_batch(jsonl(3))->{status}, 'completed', 'a batch runs');


=== TEST 10: requests that come before, and Redis does not answer
--- redis_conf eval: "batch_redis unix:$BatchTest::Dir/redis.sock timeout=3s;"
--- flow
kill 'STOP', $BatchTest::RedisPid;
main::reloaded();
my @waiting = map { main::ask('GET', '/v1/files') } 1 .. 8;
is(main::status($_), 503, '503 in the end') for @waiting;
is(api('GET', '/v1/batches')->{status}, 503, 'and from then on');
kill 'CONT', $BatchTest::RedisPid;
ok(wait_ready(), 'Redis is found');
is(api('GET', '/v1/files')->{status}, 200, 'it answers');


=== TEST 11: the connection is not even made, and the workers quit
--- flow
my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                 LocalPort => BatchTest::free_port(),
                                 ReuseAddr => 1);
my $redis = '127.0.0.1:' . $full->sockport . ' timeout=60s';
listen $full, 0;
my @fill = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $full->sockport,
                                       Blocking => 0) } 1 .. 4;

my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $old = slurp($conf);
my $text = $old;
$text =~ s/(batch_redis\s+)[^;]+/$1$redis/ or die;
my $write = sub { open my $o, '>', $conf; print $o $_[0]; close $o };

$write->($text);
main::reloaded();
my @waiting = map { main::ask('GET', '/v1/files') } 1 .. 8;
$write->($old);
main::reloaded();
is(scalar(IO::Select->new(@waiting)->can_read(0.5)), undef, 'they wait on');

# refused when it is tried the next time

close $_ for @fill, $full;
is(main::status($_), 503, '503 in the end') for @waiting;
ok(wait_ready(), 'the right Redis is found');
is(api('GET', '/v1/files')->{status}, 200, 'it answers');


=== TEST 12: requests that come before, and Redis has forgotten everything
--- redis_conf eval: "batch_redis unix:$BatchTest::Dir/redis.sock timeout=60s;"
--- flow
my $id = upload(jsonl(2))->{json}{id};
ok(nginx_stop('QUIT'), 'nginx quits');
redis('FLUSHALL');
kill 'STOP', $BatchTest::RedisPid;
ok(nginx_start(), 'nginx starts');
my @waiting = map { main::ask('GET', "/v1/files/$id") } 1 .. 8;
kill 'CONT', $BatchTest::RedisPid;
my @got = map { main::status($_) } @waiting;
is(scalar(grep { $_ != 503 && $_ != 200 } @got), 0, "never a 404: @got");
ok(wait_until(sub { api('GET', "/v1/files/$id")->{status} == 200 }, 15),
   'it is known again');


=== TEST 13: a reload while parts are joined and summed
--- flow
my $part = 'x' x 33554432;
my $md5 = md5_hex($part);
my @ask;

for (1 .. 4) {
    my $u = api('POST', '/v1/uploads', { purpose => 'user_data',
        filename => 'a.txt', bytes => length $part,
        mime_type => 'text/plain' })->{json};
    my ($body, $type) = BatchTest::multipart(
        data => { data => $part, filename => 'a.txt' });
    my $p = api('POST', "/v1/uploads/$u->{id}/parts", undef, body => $body,
                headers => ['Content-Type' => $type])->{json};
    push @ask, ['POST', "/v1/uploads/$u->{id}/complete",
                qq({"part_ids":["$p->{id}"],"md5":"$md5"})];
}

my @waiting = map { main::ask(@$_) } @ask;
main::reloaded();
is(main::status($_), 200, 'completed') for @waiting;
