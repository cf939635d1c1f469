# Bodies that are larger than they may be are refused while they come: what is
# on the disk never is more than a tenant's quota, whoever sends how many at
# once.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

sub begin {
    my ($bytes) = @_;

    return api('POST', '/v1/uploads', { purpose => 'batch', bytes => $bytes,
                                        filename => 'a.jsonl',
                                        mime_type => 'text/jsonl' });
}

# the bytes of files, parts and what is on its way

sub on_disk {
    my $n = 0;

    $n += -s // 0 for grep { !/\.json$/ }
        map { glob(store_dir() . "/$_") } 'tmp/*', 'files/*/*', 'uploads/*/*/*';

    return $n;
}

sub head {
    my ($path, $type, @more) = @_;

    return join("\r\n", "POST $path HTTP/1.1", 'Host: a',
                "Content-Type: $type", @more) . "\r\n\r\n";
}

sub chunk { return sprintf("%x\r\n%s\r\n", length $_[0], $_[0]) }

# Sends the bodies in turns, as far as the server takes them; the most that was
# on the disk meanwhile.

sub in_turns {
    my ($chunked, @todo) = @_;      # [connection, bytes]
    my $most = 0;

    while (@todo) {
        for (@todo) {
            my $piece = substr $_->[1], 0, 65536, '';

            $_->[0]->send($chunked ? main::chunk($piece) : $piece)
                or $_->[1] = '';
        }

        my $n = main::on_disk();
        $most = $n if $n > $most;
        @todo = grep { length $_->[1] } @todo;
    }

    return $most;
}

sub nothing_held {
    my ($name) = @_;

    Test::More::ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 20),
                   "$name: no tmp file is left");
    Test::More::ok(wait_until(sub {
        my %all = @{ redis('HGETALL', '{batch}:uf:0') // [] };
        return ($all{sum} // 0) == 0 && keys %all <= 1;
    }, 20), "$name: nothing is held");
}

run_tests();

__DATA__

=== TEST 1: eight files without a length, 2 MB each, a quota of 1 MB
--- api_config
    batch_quota bytes=1m;
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl',
                                        data => jsonl(1) . ' ' x 2e6 });
my @c = map { BatchRaw->new } 1 .. 8;

$_->send(main::head('/v1/files', $type, 'Transfer-Encoding: chunked')) for @c;

my $most = main::in_turns(1, map { [$_, $body] } @c);

cmp_ok($most, '<=', 1048576, 'never more on the disk');

for (@c) {
    my $r = $_->answer;

    is($r->{status}, 403, 'refused, though it never ended');
    is($r->{json}{error}{code}, 'quota_exceeded', 'code');
    like($r->{json}{error}{message}, qr/and this file has at least \d+ bytes/,
         'message');
}

main::nothing_held('refused');

# one that fits

is(upload(jsonl(1) . ' ' x 900000, chunked => 50000)->{status}, 200,
   'a file that fits, without a length');
is(upload(jsonl(1) . ' ' x 900000, chunked => 50000)->{status}, 403,
   'not a second one');



=== TEST 2: a length that is known takes its place before the bytes come
--- api_config
    batch_quota bytes=10m;
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl',
                                        data => jsonl(1) . ' ' x 4e6 });
my @c = map { BatchRaw->new } 1 .. 8;

$_->send(main::head('/v1/files', $type, 'Content-Length: ' . length $body))
    for @c;

my $most = main::in_turns(0, map { [$_, $body] } @c);
my %n;

$n{$_->answer->{status}}++ for @c;

cmp_ok($most, '<=', 10485760, 'never more on the disk');
is_deeply(\%n, { 200 => 2, 403 => 6 }, 'two fit, and are not in the way of'
          . ' each other');
api('DELETE', "/v1/files/$_->{id}")
    for @{ api('GET', '/v1/files')->{json}{data} };
main::nothing_held('refused');

# clients that go

@c = map { BatchRaw->new } 1 .. 2;

for (@c) {
    $_->send(main::head('/v1/files', $type, 'Content-Length: '
                        . length $body) . substr $body, 0, 3000000);
}

ok(wait_until(sub { (redis('HGET', '{batch}:uf:0', 'sum') // 0) > 8e6 }, 20),
   'both hold what they announce');
$_->abort for @c;
main::nothing_held('gone');



=== TEST 3: an Idempotency-Key does not let more through
--- api_config
    batch_quota bytes=2m;
--- flow
my @k = (headers => ['Idempotency-Key' => 'k']);
my $data = jsonl(1) . ' ' x 1500000;
my $f = upload($data, @k);

is($f->{status}, 200, 'a file');

for (undef, 50000) {
    my $r = upload($data, @k, chunked => $_);
    is($r->{status}, 200, 'again');
    is($r->{json}{id}, $f->{json}{id}, 'the same file');
}

is(upload("$data ", @k, chunked => 50000)->{status}, 409, 'another one');

my ($body, $type) = multipart(purpose => 'batch',
                              file => { filename => 'a.jsonl',
                                        data => $data x 3 });
my $c = BatchRaw->new;

$c->send(main::head('/v1/files', $type, 'Transfer-Encoding: chunked',
                    'Idempotency-Key: l'));
cmp_ok(main::in_turns(1, [$c, $body]), '<=', 2097152, 'on the disk');
is($c->answer->{status}, 403, 'a new key is refused before the end');

api('DELETE', "/v1/files/$f->{json}{id}");
main::nothing_held('deleted');



=== TEST 4: parts of an upload of 1 byte
--- api_config
    batch_quota bytes=1m;
--- flow
my $u = main::begin(1)->{json}{id};
my ($body, $type) = multipart(data => 'x' x 2e6);
my @c = map { BatchRaw->new } 1 .. 8;

$_->send(main::head("/v1/uploads/$u/parts", $type,
                    'Transfer-Encoding: chunked')) for @c;

my $most = main::in_turns(1, map { [$_, $body] } @c);

cmp_ok($most, '<=', 1, 'nothing of them on the disk');
is($_->answer->{status}, 413, 'refused, though it never ended') for @c;

is(api('POST', "/v1/uploads/$u/cancel")->{status}, 200, 'cancel');
main::nothing_held('cancelled');



=== TEST 5: parts at once: all bytes of the upload, a second time at most, and
never more than the quota
--- api_config
    batch_quota bytes=3m;
--- flow
my $u = main::begin(2000000)->{json}{id};
my ($body, $type) = multipart(data => '{"a":1}' . ' ' x 799993);

for my $chunked (1, 0) {
    my @c = map { BatchRaw->new } 1 .. 8;

    $_->send(main::head("/v1/uploads/$u/parts", $type,
                        $chunked ? 'Transfer-Encoding: chunked'
                                 : 'Content-Length: ' . length $body))
        for @c;

    my $most = main::in_turns($chunked, map { [$_, $body] } @c);

    cmp_ok($most, '<=', 3145728, 'never more on the disk');
    $_->abort for @c;

    ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 20), 'gone');
}

my @part;

for (1 .. 9) {
    my $r = api('POST', "/v1/uploads/$u/parts", undef, body => $body,
                headers => ['Content-Type' => $type]);

    push @part, $r->{json}{id} if $r->{status} == 200;
    last if $r->{status} != 200 && $r->{json}{error}{code}
                                   eq 'quota_exceeded';
}

cmp_ok(main::on_disk(), '<=', 3145728, 'nor now');
is(api('POST', "/v1/uploads/$u/complete", { part_ids => \@part })->{status},
   400, 'the parts do not add up');
cmp_ok(redis('HGET', '{batch}:uf:0', 'sum'), '>=', main::on_disk(),
   'that call does not make them smaller');
is(api('POST', "/v1/uploads/$u/cancel")->{status}, 200, 'cancel');
ok(wait_until(sub { main::on_disk() == 0 }, 20), 'no byte is left');
main::nothing_held('cancelled');

# each part may be sent twice

$u = main::begin(1600000)->{json}{id};
my $n = 0;

$n += api('POST', "/v1/uploads/$u/parts", undef, body => $body,
          headers => ['Content-Type' => $type])->{status} == 200
    for 1 .. 3;
is($n, 3, 'three of two parts');

my @id = map { s{.*/}{}r } glob(store_dir() . '/uploads/*/*/part_*');
is(api('POST', "/v1/uploads/$u/complete",
       { part_ids => [@id[0, 1]] })->{status}, 200, 'complete');
is(redis('HGET', '{batch}:uf:0', 'sum'), 1600000, 'the file counts');
is(redis('ZCARD', '{batch}:ufh:0'), 0, 'nothing is held');



=== TEST 6: without a quota: parts at once, on any worker
--- flow
my $u = main::begin(1000000)->{json}{id};
my ($body, $type) = multipart(data => 'x' x 600000);
my @c = map { BatchRaw->new } 1 .. 8;

$_->send(main::head("/v1/uploads/$u/parts", $type,
                    'Content-Length: ' . length $body)
         . substr $body, 0, -1) for @c;
$_->send(substr $body, -1) for @c;

my %n;
$n{$_->answer->{status}}++ for @c;

cmp_ok($n{200} // 0, '<=', 3, 'not more than three are taken');
is(($n{200} // 0) + ($n{400} // 0), 8, 'the others are refused');
cmp_ok(main::on_disk(), '<=', 2000000, 'twice the upload');
ok(!glob(store_dir() . '/tmp/*'), 'no tmp file');



=== TEST 7: what is beside the file, without an end
--- api_config
    batch_max_file_size 1m;
--- flow
my ($body, $type) = multipart(purpose => 'batch', x => ' ' x 3e6);
my $c = BatchRaw->new;

$c->send(main::head('/v1/files', $type, 'Transfer-Encoding: chunked'));
main::in_turns(1, [$c, $body]);
is($c->answer->{status}, 413, 'refused, though it never ended');
