use lib 't/lib';
use BatchTest;
use BatchRaw;
use Digest::SHA qw(sha1_hex);
use Test::Nginx::Socket 'no_plan';

# batch_quota: what a tenant may have at once, and what gives it back.

sub refused {
    my ($r, $message, $name) = @_;      # in the message # is any number

    $message = join '\d+', map { quotemeta } split /#/, $message, -1;

    is($r->{status}, 403, "$name: refused");
    is($r->{headers}{'content-type'}, 'application/json', "$name: JSON");
    is_deeply({ %{ $r->{json}{error} // {} }, message => '' },
              { message => '', type => 'invalid_request_error', param => undef,
                code => 'quota_exceeded' }, "$name: error");
    like($r->{json}{error}{message}, qr/$message/, "$name: message");
}

# what Redis counts for the tenant; it must be what is there

sub used {
    my ($what, $tenant) = @_;
    my $key = '{batch}:' . $what . ':'
              . (length($tenant // '') ? sha1_hex($tenant) : '0');

    ok(wait_until(sub { redis('ZCARD', $key =~ s/:$what:/:${what}h:/r) == 0 },
                  15), "$what: nothing is held");

    my %all = @{ redis('HGETALL', $key) // [] };
    my $sum = delete $all{sum} // 0;
    my $real = 0;

    $real += $_ for values %all;
    is($sum, $real, "the sum of $what is that of its parts");

    return keys(%all) . " $sum";
}

# files on disk by the ending of their names

sub on_disk {
    my ($end) = @_;

    return scalar grep { -f } glob(store_dir() . "/files/*/*$end");
}

sub nothing_left {
    my ($name) = @_;

    ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 15),
       "$name: no tmp file is left");
}

sub lines {
    my ($bytes) = @_;

    return substr(jsonl(1 + $bytes / 100), 0, $bytes - 1) . "\n";
}

# Cancels batches whose lines hang, and what they hang at.

sub end_batches {
    for my $id (@_) {
        is(cancel_batch($id)->{status}, 200, 'cancel');
    }

    mock_stop();
    mock_start();

    for my $id (@_) {
        is(wait_batch($id)->{status}, 'cancelled', 'cancelled');
    }
}

run_tests();

__DATA__

=== TEST 1: files and bytes
--- http_extra
    map $http_x_tenant $tenant { default $http_x_tenant; "" a; }
--- api_config
    batch_quota files=3 bytes=10000;
    batch_tenant $tenant;
--- flow
my @f;

for (1 .. 3) {
    my $r = upload(jsonl(2));
    is($r->{status}, 200, "file $_");
    push @f, $r->{json};
}

refused(upload(jsonl(2)),
        'You have reached your quota of files: 3 of 3 files are stored. ',
        'a fourth file');
refused(api('POST', '/v1/uploads', { purpose => 'batch', bytes => 5,
                                     filename => 'a.jsonl',
                                     mime_type => 'application/jsonl' }),
        'quota of files: 3 of 3', 'nor in parts');

is(upload(jsonl(2), headers => ['X-Tenant' => 'b'])->{status}, 200,
   'another tenant');

is(api('DELETE', "/v1/files/$f[0]{id}")->{status}, 200, 'DELETE');
is(used('uf', 'a'), '2 ' . 2 * $f[0]{bytes}, 'it is free again');

# all bytes that are left, but not one more

my $left = 10000 - 2 * $f[0]{bytes};

for (undef, 500) {
    refused(upload(lines($left + 1), chunked => $_),
            'You have reached your quota of storage: # of 10000 bytes are'
        . ' used, and this file has at least # bytes. Delete files',
            'a byte too many' . ($_ ? ', chunked' : ''));
    nothing_left('a byte too many');
}

is(on_disk('.json'), 3, 'manifests');

my $r = upload(lines($left));
is($r->{status}, 200, 'all that is left');
is(used('uf', 'a'), '3 10000', 'used');

is(api('DELETE', "/v1/files/$f[1]{id}")->{status}, 200, 'DELETE');
is(api('DELETE', "/v1/files/$r->{json}{id}")->{status}, 200, 'DELETE');
is(used('uf', 'a'), "1 $f[2]{bytes}", 'used');
is(used('uf', 'b'), "1 $f[0]{bytes}", 'of the other tenant');

# a file that would not fit is refused by its Content-Length

my $c = BatchRaw->new;

$c->send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n"
         . "Content-Type: multipart/form-data; boundary=x\r\n\r\n");
refused($c->answer, 'You have reached your quota of storage: ',
        'before its body');



=== TEST 2: Redis loses it
--- api_config
    batch_quota files=3 bytes=10000;
    batch_tenant $http_x_tenant;
--- flow
my @t = (headers => ['X-Tenant' => 'b']);
my $bytes = 0;

for (1 .. 3) {
    my $r = upload(jsonl(2), @t);
    is($r->{status}, 200, "file $_");
    $bytes += $r->{json}{bytes};
}

redis('FLUSHALL');
wait_ready();
is(used('uf', 'b'), "3 $bytes", 'counted again');
refused(upload(jsonl(2), @t), 'quota of files: 3 of 3', 'as before');

# who rebuilds twice, or on top of what is there, counts nothing twice

redis('DEL', '{batch}:gen');
ok(wait_until(sub { redis('EXISTS', '{batch}:gen') }, 15), 'rebuilt');
wait_ready();
is(used('uf', 'b'), "3 $bytes", 'counted once');



=== TEST 3: uploads in parallel: the last place goes to one of them
--- api_config
    batch_quota bytes=20000;
--- flow
my $data = lines(6000);
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a', data => $data });
my @c = map { BatchRaw->new } 1 .. 8;

# all but the last byte of each, so that they end together

$_->send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: $type\r\n"
         . 'Content-Length: ' . length($body) . "\r\n\r\n"
         . substr $body, 0, -1)
    for @c;
$_->send(substr $body, -1) for @c;

my @r = map { $_->answer } @c;

is(scalar(grep { $_->{status} == 200 } @r), 3, 'three of 6000 bytes');
is(scalar(grep { $_->{status} == 403 } @r), 5, 'five refused');
is(used('uf'), '3 18000', 'used');
is(on_disk('.json'), 3, 'manifests');
is(scalar(grep { !/\./ } map { s{.*/}{}r } glob(store_dir() . '/files/*/*')),
   3, 'blobs');
nothing_left('refused');

# clients that leave when all is sent: a file is there and counted, or neither

api('DELETE', "/v1/files/$_->{json}{id}") for grep { $_->{status} == 200 } @r;

for (1 .. 20) {
    my $c = BatchRaw->new;

    $c->send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: $type\r\n"
             . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    $c->abort;
}

nothing_left('gone');
is(upload(lines(500))->{status}, 200, 'a small one still fits');

ok(wait_until(sub { redis('HLEN', '{batch}:uf:0') == 1 + on_disk('.json') },
              15), 'as many as there are');

my ($n) = used('uf') =~ /^(\d+)/;

is(on_disk('.json'), $n, 'and still');
cmp_ok($n, '<=', 4, 'and no more than allowed');



=== TEST 4: a file in parts
--- api_config
    batch_quota files=2 bytes=10000;
--- flow
sub begin {
    my ($bytes) = @_;

    return api('POST', '/v1/uploads', { purpose => 'batch', bytes => $bytes,
                                        filename => 'a.jsonl',
                                        mime_type => 'application/jsonl' });
}

sub part {
    my ($u, $data) = @_;
    my ($body, $type) = multipart(data => { filename => 'blob',
                                            data => $data });

    return api('POST', "/v1/uploads/$u/parts", undef, body => $body,
               headers => ['Content-Type' => $type])->{json}{id};
}

sub complete {
    my ($u, @ids) = @_;

    return api('POST', "/v1/uploads/$u/complete", { part_ids => \@ids });
}

my $u = begin(8000)->{json}{id};

refused(begin(2001), 'storage: 8000 of 10000 bytes are used, and this file'
        . ' has 2001 bytes', 'an upload takes what it declares');
refused(upload(lines(2001)), 'storage: 8000 of 10000', 'from files, too');

is(api('POST', "/v1/uploads/$u/cancel")->{status}, 200, 'cancel');
is(used('uf'), '0 0', 'and gives it back');

$u = begin(8000)->{json}{id};

my $p = part($u, lines(8000));
my $q = part($u, lines(100));
is(complete($u, $p, $q)->{status}, 400, 'more than it declared');
refused(upload(lines(2000)), 'storage: 8100 of 10000',
        'what its parts have more than that counts');
is(complete($u, $p)->{status}, 200, 'complete');
is(upload(lines(2000))->{status}, 200, 'and goes with them');
is(complete($u, $p)->{status}, 200, 'again');
is(used('uf'), '2 10000', 'used');

# an upload whose place Redis has lost

api('DELETE', "/v1/files/$_->{id}")
    for @{ api('GET', '/v1/files')->{json}{data} };

$u = begin(8000)->{json}{id};
$p = part($u, lines(8000));
redis('FLUSHALL');
wait_ready();

my $f = upload(lines(5000))->{json}{id};

refused(complete($u, $p), 'storage: 5000 of 10000 bytes are used, and this'
        . ' file has 8000', 'complete');
is(api('GET', "/v1/uploads/$u")->{json}{status}, 'pending', 'pending');
is(api('DELETE', "/v1/files/$f")->{status}, 200, 'there is room again');
is(complete($u, $p)->{status}, 200, 'complete');
is(used('uf'), '1 8000', 'used');



=== TEST 5: batches
--- api_config
    batch_quota batches=2;
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(1, mock => 'hang'))->{json}{id};
my $json = json_encode({ input_file_id => $f, completion_window => '24h',
                         endpoint => '/v1/chat/completions' });
my @c = map { BatchRaw->new } 1 .. 6;

# six at once

$_->send("POST /v1/batches HTTP/1.1\r\nHost: a\r\nContent-Length: "
         . length($json) . "\r\n\r\n" . substr $json, 0, -1)
    for @c;
$_->send(substr $json, -1) for @c;

my @b = map { $_->{json}{id} // () } map { $_->answer } @c;

is(scalar @b, 2, 'two of six');

refused(create_batch($f),
        'You have reached your quota of batches: 2 of 2 batches are not'
        . ' finished. Wait until batches have finished, or cancel them.',
        'a third one');

wait_batch($_, until => qr/in_progress/) for @b;
redis('FLUSHALL');
wait_ready();
refused(create_batch($f), 'batches: 2 of 2', 'after a rebuild');
is(used('ub'), '2 2', 'two lines');

end_batches($b[0]);

my $r = create_batch($f);
is($r->{status}, 200, 'then there is room');
end_batches($b[1], $r->{json}{id});
is(used('ub'), '0 0', 'none');



=== TEST 6: lines
--- api_config
    batch_quota lines=10;
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $hold = upload(jsonl(6, mock => 'hang'))->{json}{id};
my $four = upload(jsonl(4))->{json}{id};
my $five = upload(jsonl(5))->{json}{id};
my $b = create_batch($hold)->{json}{id};

wait_batch($b, until => qr/in_progress/);

my $c = create_batch($five);
is($c->{status}, 200, 'it may have one line');

$c = wait_batch($c->{json}{id});
is($c->{status}, 'failed', 'but it has five');
is(scalar @{ $c->{errors}{data} }, 1, 'one error');
is($c->{errors}{data}[0]{code}, 'quota_exceeded', 'code');
is($c->{errors}{data}[0]{line}, undef, 'of no line');
is($c->{errors}{data}[0]{message},
   'The batch has 5 lines, and 6 of your quota of 10 lines are in other '
   . 'batches that are not finished. Wait until batches have finished, or '
   . 'cancel them, and create the batch again.', 'message');
is($c->{output_file_id}, undef, 'no output');
is(used('ub'), '1 6', 'its lines are free');

$c = wait_batch(create_batch($four)->{json}{id});
is($c->{status}, 'completed', 'four fit');
is(used('ub'), '1 6', 'and are free afterwards');

my $d = create_batch($hold);
is(wait_batch($d->{json}{id})->{status}, 'failed', 'six more do not');

end_batches($b);
is(used('ub'), '0 0', 'none');



=== TEST 7: no line is left
--- api_config
    batch_quota lines=2;
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(2, mock => 'hang'))->{json}{id};
my $b = create_batch($f)->{json}{id};

wait_batch($b, until => qr/in_progress/);
refused(create_batch($f),
        'You have reached your quota of lines: 2 of 2 lines are in batches'
        . ' that are not finished. ', 'a batch');
end_batches($b);



=== TEST 8: the output counts, but no batch fails for it
--- api_config
    batch_quota bytes=1000 files=1;
--- flow
my $f = upload(jsonl(4));
my $b = create_batch($f->{json}{id})->{json};

$b = wait_batch($b->{id});
is($b->{status}, 'completed', 'completed');

my $out = api('GET', "/v1/files/$b->{output_file_id}")->{json}{bytes};
ok($out > 1000, 'more than the quota');
is(used('uf'), '2 ' . ($out + $f->{json}{bytes}), 'and counted');
refused(upload(jsonl(1)), 'quota of files: 2 of 1', 'an upload');

redis('FLUSHALL');
wait_ready();
is(used('uf'), '2 ' . ($out + $f->{json}{bytes}), 'after a rebuild, too');
api('DELETE', "/v1/files/$_") for $b->{output_file_id}, $f->{json}{id};
is(used('uf'), '0 0', 'deleted');



=== TEST 9: whoever repeats a request gets its answer
--- api_config
    batch_quota files=1 batches=1;
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my @k = (headers => ['Idempotency-Key' => 'k']);
my $data = jsonl(1, mock => 'hang');
my $f = upload($data, @k);

is($f->{status}, 200, 'the last file');
is(upload($data, @k)->{json}{id}, $f->{json}{id}, 'again');
is(used('uf'), "1 $f->{json}{bytes}", 'one file');
refused(upload($data, headers => ['Idempotency-Key' => 'l']),
        'quota of files', 'another one');
nothing_left('another one');
is(on_disk('.json'), 1, 'manifests');

my @b = (http => [headers => ['Idempotency-Key' => 'b']]);
my $b = create_batch($f->{json}{id}, @b);

is($b->{status}, 200, 'the last batch');
is(create_batch($f->{json}{id}, @b)->{json}{id}, $b->{json}{id},
   'again');
refused(create_batch($f->{json}{id},
                     http => [headers => ['Idempotency-Key' => 'l']]),
        'quota of batches', 'another one');
end_batches($b->{json}{id});

# a refused key was not used

is(create_batch($f->{json}{id},
                http => [headers => ['Idempotency-Key' => 'l']])->{status},
   200, 'there is room');
end_batches(api('GET', '/v1/batches')->{json}{data}[0]{id});
is(used('ub'), '0 0', 'none');



=== TEST 10: per location; off
--- http_extra
batch_quota files=1;
--- server_extra
location /a/ { batch_quota off; batch_api; batch_pass /batch-lines; }
location /b/ { batch_quota files=2 bytes=0; batch_api;
               batch_pass /batch-lines; }
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a', data => jsonl(1) });
my @o = (undef, body => $body, headers => ['Content-Type' => $type]);

is(api('POST', '/v1/files', @o)->{status}, 200, 'one');
refused(api('POST', '/v1/files', @o), '1 of 1 files', 'two');
is(api('POST', '/b/files', @o)->{status}, 200, 'two');
refused(api('POST', '/b/files', @o), '2 of 2 files', 'three');
is(api('POST', '/a/files', @o)->{status}, 200, 'off');
is((used('uf') =~ /^(\d+)/)[0], 3, 'but counted');



=== TEST 11: an expired file gives its place back
--- api_config
    batch_quota files=1;
    batch_file_ttl 1s;
--- flow
is(upload(jsonl(1))->{status}, 200, 'a file');
ok(wait_until(sub { upload(jsonl(1))->{status} == 200 }, 60), 'the next one');



=== TEST 12: what is no quota
--- api_config
    batch_quota bytes=much;
--- must_die
--- error_log
invalid value "bytes=much" in "batch_quota"



=== TEST 13: twice the same
--- api_config
    batch_quota files=1 files=2;
--- must_die
--- error_log
invalid value "files=2" in "batch_quota"



=== TEST 14: twice
--- api_config
    batch_quota files=1;
    batch_quota bytes=2;
--- must_die
--- error_log
"batch_quota" directive is duplicate
