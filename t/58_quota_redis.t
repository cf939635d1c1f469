# Redis goes away while a place of a quota (batch_quota) is being taken.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchRedisProxy;
use Test::Nginx::Socket 'no_plan';

our $proxy = BatchRedisProxy->start(test_dir() . '/proxy.sock',
                                    test_dir() . '/redis.sock');

# what may happen to the question, and whether it was Redis that heard of it

our @lost = (
    ['an error', 0, reply => "-ERR something went wrong\r\n"],
    ['no memory', 0, reply => "-OOM command not allowed\r\n"],
    ['unheard', 0, drop => 1],
    ['half an answer', 1, cut => 1],
    ['heard, unanswered', 1, drop => 1, forward => 1],
);

sub unavailable {
    my ($r, $name) = @_;

    is($r->{status}, 503, "$name: refused");
    is($r->{json}{error}{type}, 'server_error', "$name: type");
    like($r->{headers}{'retry-after'}, qr/^[1-9]\d*$/, "$name: Retry-After");
}

# what there is of files and batches, half-written or whole

sub there {
    my $dir = store_dir();

    return grep({ -f } glob("$dir/tmp/* $dir/files/*/* $dir/batches/*/*/*"
                            . " $dir/keys/*")),
           grep { /^\{batch\}:(f|b|c|l|active)\b/ } @{ redis('KEYS', '*') };
}

sub nothing {
    my ($name, %before) = @_;
    my @more;

    ok(wait_until(sub { !(@more = grep { !$before{$_} } there()) }, 15),
       "$name: nothing is written") or diag("@more");
}

sub places {
    my ($use) = @_;
    my %all = @{ redis('HGETALL', "{batch}:$use:0") // [] };
    my $sum = delete $all{sum} // 0;
    my $real = 0;

    $real += $_ for values %all;
    is($sum, $real, "the sum of $use is that of its parts");
    return scalar keys %all;
}

# A place that nobody could be told of is given back when its time is over.

sub lapse {
    my ($use, $most, $name) = @_;
    my %held = @{ redis('ZRANGE', "{batch}:${use}h:0", 0, -1, 'WITHSCORES') };
    my ($s) = @{ redis('TIME') };

    is(scalar keys %held, places($use), "$name: every place is only held");
    ok(!grep({ $_ / 1000 > $s + $most + 1 } values %held), "$name: not for long");
    redis('ZADD', "{batch}:${use}h:0", 1, $_) for keys %held;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: while a batch is created
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- api_config
    batch_quota batches=1 lines=10;
--- flow
my $f = upload(jsonl(3))->{json}{id};

# Redis knows the script by now, so what it hears of it is done

is(wait_batch(create_batch($f)->{json}{id})->{status}, 'completed', 'before');
my %before = map { $_ => 1 } there();

for my $l (@main::lost) {
    my ($name, $heard, @fault) = @$l;

    for my $key (0, 1) {
        my $n = $name . ($key ? ', with a key' : '');
        my @more = $key ? (http => [headers => ["Idempotency-Key" => "a $name"]])
                        : ();

        # the answer to the first question of the two workers
        $main::proxy->fault(on => 'hold', times => 1, @fault);
        unavailable(create_batch($f, @more), $n);
        $main::proxy->clear;
        wait_ready();

        nothing($n, %before);
        is(places('ub'), $heard, "$n: places in the index");
        lapse('ub', 600, $n) if $heard;
    }
}

# all of the quota is there, and the same key is as good as new

for my $name (map { $_->[0] } @main::lost) {
    my $r = create_batch($f, http => [headers => ["Idempotency-Key" =>
                                                  "a $name"]]);
    is($r->{status}, 200, "again after: $name");
    is(wait_batch($r->{json}{id})->{status}, 'completed', 'and it is done');
}

ok(wait_until(sub { !redis('ZCARD', '{batch}:ubh:0') }, 15), 'none is held');
is(places('ub'), 0, 'and none is taken');


=== TEST 2: while the lines of a batch are counted
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- api_config
    batch_quota batches=1 lines=10;
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(3))->{json}{id};

for my $l (@main::lost) {
    my ($name, undef, @fault) = @$l;

    # nobody may begin with it until the trouble is prepared

    $main::proxy->fault(on => 'claim', reply => "-ERR not now\r\n");
    my $b = create_batch($f)->{json}{id};
    my $before = $main::proxy->seen->{faults};
    $main::proxy->fault(on => 'hold', times => 2, @fault);

    ok(wait_until(sub { !$main::proxy->seen->{fault} }, 60),
       "$name: met twice") or diag(json_encode($main::proxy->seen));
    $b = wait_batch($b, timeout => 60);
    is($b->{status}, 'completed', "$name: it is validated again");
    is($b->{request_counts}{total}, 3, "$name: its lines");
    ok(wait_until(sub { redis('HGET', '{batch}:ub:0', 'sum') eq '0' }, 15),
       "$name: its place is free");
    is(places('ub'), 0, "$name: and no other is taken");
}


=== TEST 3: while a file is uploaded
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- api_config
    batch_quota files=1 bytes=10000;
--- flow
my %before = map { $_ => 1 } there();

for my $l (@main::lost) {
    my ($name, $heard, @fault) = @$l;

    # the first question takes nothing: is there room at all

    for my $times (1, 2) {
        my $n = "$name, question $times";

        if ($times == 2) {
            # half of the body is there when the trouble begins
            my ($body, $type) = multipart(purpose => 'batch',
                file => { filename => 'a.jsonl', data => jsonl(5) });
            my $c = BatchRaw->new;
            my $half = int(length($body) / 2);
            my $seen = $main::proxy->seen->{commands}{hold} // 0;

            $c->send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: "
                     . "$type\r\nContent-Length: " . length($body)
                     . "\r\n\r\n" . substr $body, 0, $half);
            ok(wait_until(sub {
                ($main::proxy->seen->{commands}{hold} // 0) > $seen }, 15),
               "$n: there is room");
            $main::proxy->fault(on => 'hold', times => 1, @fault);
            $c->send(substr $body, $half);
            unavailable($c->answer, $n);
            close $c->{s};

        } else {
            $main::proxy->fault(on => 'hold', times => 1, @fault);
            unavailable(upload(jsonl(5)), $n);
        }

        $main::proxy->clear;
        wait_ready();
        nothing($n, %before);
        is(places('uf'), $heard && $times == 2 ? 1 : 0, "$n: places");
        lapse('uf', 600, $n) if $heard;
    }
}

is(upload(jsonl(5))->{status}, 200, 'all of the quota is there');
is(places('uf'), 1, 'one place');
