# Redis answers with errors, with something else, in pieces, late or never: row
# 67 of the table of hostile inputs.  A proxy between nginx and Redis does it.

use lib 't/lib';
use BatchTest;
use BatchRedisProxy;
use Test::Nginx::Socket 'no_plan';

our $proxy = BatchRedisProxy->start(test_dir() . '/proxy.sock',
                                    test_dir() . '/redis.sock');

# what an API call needs of the index

our $api = 'check|file_(put|get|list|del)|batch_(put|get|list|cancel)';

# one of each kind that is there before the trouble begins

sub world {
    my $done = run_batch(jsonl(2, mock => 'size=100'));
    my $file = upload(jsonl(1))->{json}{id};

    return { batch => $done->{id}, file => $file,
             output => $done->{output_file_id} };
}

# every call of the API: name, and code that makes it

sub calls {
    my ($w) = @_;

    return (
        [upload => sub { upload(jsonl(1)) }],
        [list_files => sub { api('GET', '/v1/files') }],
        [get_file => sub { api('GET', "/v1/files/$w->{file}") }],
        [content => sub { api('GET', "/v1/files/$w->{output}/content") }],
        [delete => sub { api('DELETE', "/v1/files/$w->{file}") }],
        [create => sub { create_batch($w->{file}) }],
        [list_batches => sub { api('GET', '/v1/batches') }],
        [get_batch => sub { api('GET', "/v1/batches/$w->{batch}") }],
        [cancel => sub { cancel_raw($w->{batch}) }],
    );
}

sub cancel_raw {
    return api('POST', "/v1/batches/$_[0]/cancel", undef, body => '');
}

# 503, Retry-After, and the shape of an error

sub refused {
    my ($r, $name) = @_;
    my $e = ref $r->{json} eq 'HASH' ? $r->{json}{error} : undef;

    my $good = $r->{status} == 503
               && ($r->{headers}{'retry-after'} // '') =~ /^[1-9]\d*$/
               && ($r->{headers}{'content-type'} // '')
                  =~ m{^application/json}
               && length($r->{headers}{'x-request-id'} // '')
               && ref $e && ($e->{type} // '') eq 'server_error'
               && join(' ', sort keys %$e) eq 'code message param type';

    Test::More::ok($good, $name)
        or Test::More::diag(($r->{raw_head} // $r->{error} // '') . "\n"
                            . substr $r->{body}, 0, 300);
}

# every call under a fault, and a good one afterwards; "large" replies: only
# some of them

sub row67 {
    my ($what, %fault) = @_;
    my $large = delete $fault{large};
    my $w = world();

    for my $call (calls($w)) {
        my ($name, $code) = @$call;
        next if $large && $name !~ /^(upload|list_files|get_batch)$/;
        $proxy->fault(on => $api, %fault);
        refused($code->(), "row 67: $what: $name");
    }

    good($what, $w);
}

sub good {
    my ($what, $w) = @_;

    $proxy->clear;
    Test::More::ok(wait_ready(), "row 67: $what: it ends");

    my $b = run_batch(jsonl(2, prefix => 'after-'));
    Test::More::is($b->{status}, 'completed', "row 67: $what: a good batch");

    my $r = wait_answer("/v1/batches/$w->{batch}");
    Test::More::is($r->{status}, 200, "row 67: $what: the old one");
    Test::More::is((json_decode($r->{body}) // {})->{status}, 'completed',
                   "row 67: $what: and the old one");
}

# bytes that no reply begins with: the link is closed at once

sub no_protocol {
    my (@bytes) = @_;

    for my $bytes (@bytes) {
        my $before = $proxy->seen->{connections};
        my $name = substr $bytes, 0, 12;
        $name =~ s/[^ -~]+/ /g;

        $proxy->fault(on => 'file_list', reply => $bytes);
        refused(api('GET', '/v1/files'), "row 67: no protocol: $name");
        $proxy->clear;
        Test::More::ok(wait_until(sub {
            $proxy->seen->{connections} > $before }, 20),
            "row 67: no protocol: $name: the link is another one");
        Test::More::ok(wait_ready(), "row 67: no protocol: $name: it ends");
    }

    good('no protocol', world());
}

# whoever a surplus reply hits: the index itself is never wrong by it

sub out_of_step {
    my (@extra) = @_;

    for my $extra (@extra) {
        my $name = 'out of step ' . substr($extra, 0, 4) . 'x '
                   . length $extra;
        $name =~ s/\s+/ /g;

        my $w = world();
        my $before = $proxy->seen->{connections};

        $proxy->fault(on => '[a-z_]+', after => $extra, times => 2);
        Test::More::ok(wait_until(sub { !$proxy->seen->{fault} }, 20),
                       "row 67: $name");
        Test::More::ok(wait_until(sub {
            $proxy->seen->{connections} > $before }, 20),
            "row 67: $name: the link is dropped");

        good($name, $w);
    }
}

# a batch is running; in the end each of its lines is there once

sub running {
    my (@faults) = @_;
    my $n = 40;

    for my $f (@faults) {
        my $name = join ' ', @$f;
        $name =~ s/\s+/ /g;

        # the other worker's link may still be one that the fault before this
        # one has spoilt: a client asks again

        my $file = wait_answer(sub { upload(jsonl($n, mock => 'slow=20')) });
        my $b = wait_answer(sub { create_batch($file->{json}{id}) })->{json};

        wait_batch($b->{id}, until => qr/in_progress|completed/);

        $proxy->fault(@$f, times => 6);
        Test::More::ok(wait_until(sub { !$proxy->seen->{fault} }, 60),
                       "row 67: $name while it runs");
        $b = wait_batch($b->{id}, timeout => 60);

        Test::More::is($b->{status}, 'completed', "row 67: $name: completed");
        Test::More::is_deeply($b->{request_counts},
            { total => $n, completed => $n, failed => 0 },
            "row 67: $name: counts");

        my $r = wait_answer("/v1/files/$b->{output_file_id}/content");
        Test::More::is($r->{status}, 200, "row 67: $name: content");
        Test::More::is_deeply([map { json_decode($_)->{custom_id} }
                               split /\n/, $r->{body}],
                              [map { "req-$_" } 1 .. $n],
                              "row 67: $name: each line once");
    }
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: errors of a server that will recover
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
for my $e ('ERR something went wrong',
           "OOM command not allowed when used memory > 'maxmemory'.",
           'BUSY Redis is busy running a script. You can only call SCRIPT KILL',
           'MISCONF Redis is configured to save RDB snapshots',
           "NOPERM this user has no permissions to run the 'evalsha' command",
           'MOVED 1234 192.0.2.1:6379', 'ASK 1234 192.0.2.1:6379',
           'CLUSTERDOWN The cluster is down', 'CROSSSLOT Keys in request',
           'WRONGTYPE Operation against a key', 'NOREPLICAS Not enough',
           'EXECABORT Transaction discarded', 'NOSCRIPT No matching script',
           'X' x 100_000, '', "\0\x01\x7f\xff%s%n%p")
{
    main::row67('-' . substr($e, 0, 12), reply => "-$e\r\n");
}


=== TEST 2: replies that are no answer to what was asked
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
my @replies = (
    'nil' => "\$-1\r\n", 'nil array' => "*-1\r\n", 'empty array' => "*0\r\n",
    'empty text' => "\$0\r\n\r\n", 'status' => "+OK\r\n",
    'number' => ":0\r\n", 'unknown code' => "*1\r\n:7\r\n",
    'negative code' => "*3\r\n:-1\r\n:0\r\n*0\r\n",
    'code that is no number' => "*3\r\n\$3\r\n0x0\r\n:0\r\n*0\r\n",
    'code nil' => "*3\r\n\$-1\r\n:0\r\n*0\r\n",
    'code list' => "*3\r\n*0\r\n:0\r\n*0\r\n",
    'code too large' => "*1\r\n\$20\r\n18446744073709551616\r\n",
    '10 MB' => "\$10485760\r\n" . 'x' x 10485760 . "\r\n",
    'many nils' => "*300000\r\n" . "\$-1\r\n" x 300000,
    'error inside' => "*2\r\n-ERR inside\r\n:0\r\n",
    'deep' => "*1\r\n" x 6 . ":0\r\n",
);

while (my ($name, $bytes) = splice @replies, 0, 2) {
    main::row67($name, reply => $bytes, large => length $bytes > 1e6);
}


=== TEST 3: an answer of the right outside with nothing inside
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
# what comes of a code 0 without the rest; calls that need no more than the
# code succeed with it

my @replies = (
    'code only' => "*1\r\n:0\r\n",
    'rest nil' => "*3\r\n:0\r\n:0\r\n\$-1\r\n",
    'rest a text' => "*3\r\n:0\r\n:0\r\n\$3\r\nabc\r\n",
    'rest a number' => "*3\r\n:0\r\n:0\r\n:5\r\n",
    'inner nil' => "*3\r\n:0\r\n:0\r\n*1\r\n\$-1\r\n",
    'inner empty text' => "*3\r\n:0\r\n:0\r\n*1\r\n\$0\r\n\r\n",
    'inner list' => "*3\r\n:0\r\n:0\r\n*1\r\n*2\r\n:0\r\n:0\r\n",
    'map without a status' =>
        "*3\r\n:0\r\n:0\r\n*1\r\n*10\r\n" . "\$-1\r\n" x 10,
    'map with another status' =>
        "*3\r\n:0\r\n:0\r\n*1\r\n*10\r\n"
        . "\$2\r\n{}\r\n\$-1\r\n\$4\r\ngone\r\n" . ":0\r\n" x 7,
);
my $w = main::world();

while (my ($name, $bytes) = splice @replies, 0, 2) {
    for my $call (main::calls($w)) {
        next if $call->[0] !~ /^(list|get|content)/;
        $main::proxy->fault(on => $main::api, reply => $bytes);
        main::refused($call->[1]->(), "row 67: $name: $call->[0]");
    }

    main::good($name, $w);
}


=== TEST 4: a server that is another's by now
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
for my $e ("READONLY You can't write against a read only replica.",
           'LOADING Redis is loading the dataset in memory')
{
    my $before = $main::proxy->seen->{connections};
    main::row67("-$e", reply => "-$e\r\n");
    cmp_ok($main::proxy->seen->{connections}, '>', $before,
           'row 67: the link was opened again');
}


=== TEST 5: not let in
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
my $w = main::world();

for my $e ('NOAUTH Authentication required.',
           'LOADING Redis is loading the dataset in memory',
           'ERR max number of clients reached')
{
    # what is open is closed, and whoever comes again hears this

    $main::proxy->fault(on => '[a-z_]+', drop => 1, times => 2);
    ok(wait_until(sub { !$main::proxy->seen->{fault} }), 'row 67: dropped');
    $main::proxy->fault(on => '.*', reply => "-$e\r\n");

    for my $call (main::calls($w)) {
        main::refused($call->[1]->(), "row 67: -$e: $call->[0]");
    }

    is(http('GET', '/up')->{status}, 200, 'row 67: nginx serves the rest');
    main::good("-$e", $w);
}


=== TEST 6: half a reply, its end, none, a late one
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- flow
for my $f ([half => 1], [cut => 1], [drop => 1], [drop => 1, forward => 1],
           [late => 1500], [reply => "*3\r\n:0\r\n"])
{
    my $w = main::world();
    my $before = $main::proxy->seen->{connections};

    for my $call (main::calls($w)) {
        # the first call loses the link, the others do not find one, or lose
        # the other worker's

        $main::proxy->fault(on => $main::api, @$f);
        main::refused($call->[1]->(), "row 67: $f->[0]: $call->[0]");
    }

    main::good($f->[0], $w);
    cmp_ok($main::proxy->seen->{connections}, '>', $before,
           "row 67: $f->[0]: the link was another one");
}


=== TEST 7: the same, a byte at a time
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- flow
my $w = main::world();
my $before = $main::proxy->seen->{connections};
my $list = api('GET', "/v1/batches/$w->{batch}")->{body};
$main::proxy->fault(on => $main::api, drip => 1);
my $r = api('GET', "/v1/batches/$w->{batch}");
is($r->{status}, 200, 'row 67: a slow reply is one');
is($r->{body}, $list, 'row 67: all of it');
is($main::proxy->seen->{connections}, $before, 'row 67: the link stays');
main::good('drip', $w);


=== TEST 8: bytes that are no protocol
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- flow
main::no_protocol("HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0\0\r\n",
                  "*4294967296\r\n", "*-7\r\n", "\$-9\r\n");


=== TEST 9: more such bytes
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- flow
main::no_protocol("\$99999999999999999999\r\n",
                  ":12x\r\n", "%1\r\n+a\r\n:0\r\n", "_\r\n");


=== TEST 10: and more
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- flow
main::no_protocol("*1\r\n" x 5000 . ":0\r\n", "\$3\r\nabcdef\r\n",
                  "\$1\r\n:0\r\n", "*1\r\n:0\n");


=== TEST 11: more replies than commands
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
main::out_of_step("+OK\r\n", "*1\r\n:0\r\n", ":1\r\n", "-ERR who\r\n");


=== TEST 12: many more
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=2s;
--- flow
main::out_of_step("\$-1\r\n", "*3\r\n:0\r\n:0\r\n*0\r\n",
                  "+OK\r\n" x 100, '+OK');


=== TEST 13: lines stay pending, and the batch completes
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- concurrency
4
--- flow
main::running([reply => "-OOM command not allowed\r\n"],
              [reply => "\$-1\r\n"], [reply => "*0\r\n"],
              [reply => "-BUSY Redis is busy\r\n"], [late => 800]);


=== TEST 14: the same, and the link is lost
--- redis_conf
    batch_redis unix:$TEST_NGINX_BATCH_DIR/proxy.sock timeout=500ms;
--- concurrency
4
--- flow
main::running([half => 1], [reply => "-READONLY You can't write\r\n"],
              [after => "*1\r\n:0\r\n"]);


=== TEST 15: keys of the wrong type
--- flow
my $w = main::world();
my %calls = map { @$_ } main::calls($w);
my @rows = (
    ["f:$w->{file}", [qw(get_file delete)]],
    ['fl:0', [qw(upload list_files)]],
    ["b:$w->{batch}", [qw(get_batch cancel)]],
    ['bl:0', [qw(create list_batches)]],
    ['active', [qw(create)]],
);

for my $row (@rows) {
    my ($key, $names) = @$row;
    $key = "{batch}:$key";

    for my $type (['SET', $key, 'x'], ['RPUSH', $key, 'x'],
                  ['HSET', $key, 'x', 'x'])
    {
        # what the key is, or what is not this one but looks like it

        next if $key =~ /:f:/ && $type->[0] eq 'SET'
                || $key =~ /:b:/ && $type->[0] eq 'HSET';

        redis('RENAME', $key, '{batch}:kept');
        redis(@$type);

        for my $name (@$names) {
            main::refused($calls{$name}->(),
                          "row 67: $key by $type->[0]: $name");
        }

        redis('DEL', $key);
        redis('RENAME', '{batch}:kept', $key);
    }

    is(get_batch($w->{batch})->{status}, 'completed',
       "row 67: $key: right again");
    is(run_batch(jsonl(2))->{status}, 'completed', "row 67: $key: good batch");
}
