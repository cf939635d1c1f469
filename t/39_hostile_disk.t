# Rows 68 to 70 of the list of hostile inputs: a store that somebody has
# edited by hand, that is full, or of which a tenant has had its share.  What
# is damaged is refused and told of, and nothing else stops.  Seals, and whose
# a segment is: 48_hostile_seals.t.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use BatchDamage;
use POSIX ();
use Test::Nginx::Socket 'no_plan';

no_long_string();
worker_connections(1024);
run_tests();

__DATA__

=== TEST 1: row 68: a segment
--- concurrency
300
--- flow
my @cases = (
    ['a bit of the first header', sub { BatchDamage::flip($_[0], 20) }],
    ['a bit of the first payload', sub { BatchDamage::flip($_[0], 100) }],
    ['a bit in the middle', sub { BatchDamage::flip($_[0], (-s $_[0]) / 2) }],
    ['a bit of the last payload', sub { BatchDamage::flip($_[0], (-s $_[0]) - 2) }],
    ['a huge length', sub {
        my $s = slurp($_[0]);
        substr($s, 4, 4) = "\xff\xff\xff\x7f";
        BatchDamage::bytes($_[0], $s) }],
    ['cut in the last record', sub { truncate $_[0], (-s $_[0]) - 5 }],
    ['records twice', sub {
        my $s = slurp($_[0]);
        BatchDamage::bytes($_[0], $s . $s) }],
    ['0 bytes', sub { BatchDamage::bytes($_[0], '') }],
    ['a symlink', \&BatchDamage::link_out, qr/\[alert\].*\.seg" failed/],
    ['a dangling symlink', sub { unlink $_[0]; symlink '/nowhere/x', $_[0] },
     qr/\[alert\].*\.seg" failed/],
    ['a directory', sub { unlink $_[0]; mkdir $_[0] },
     qr/\[alert\].*\.seg" is not a regular file/],
    ['a FIFO', sub { unlink $_[0]; POSIX::mkfifo($_[0], 0600) },
     qr/\[alert\].*\.seg" is not a regular file/],
    ['gone', sub { unlink $_[0] }]);
my @ids = map { BatchDamage::half() } @cases;

nginx_stop('KILL');

for my $i (0 .. $#cases) {
    my ($name, $damage) = @{ $cases[$i] };
    my ($segment) = grep { -s } BatchDamage::segments($ids[$i]);

    ok($segment, "row 68: segment, $name: there is one");
    BatchDamage::heal($ids[$i]);
    $damage->($segment);
}

ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');

for my $i (0 .. $#cases) {
    my ($name, undef, $log) = @{ $cases[$i] };

    BatchDamage::whole("row 68: segment, $name", $ids[$i], 2 * $BatchDamage::Half, 'half-');
    BatchDamage::alert("row 68: segment, $name", $log) if $log;
}

BatchDamage::outside();
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 2: row 68: manifests
--- flow
my $run = run_batch(jsonl(2));
my @files = ('0 bytes', 'no JSON', 'a symlink', 'a directory', 'too long');
my %do = ('0 bytes' => sub { BatchDamage::bytes($_[0], '') },
          'no JSON' => sub { BatchDamage::flip($_[0], 0) },
          'a symlink' => \&BatchDamage::link_out,
          'a directory' => sub { unlink $_[0]; mkdir $_[0] },
          'too long' => sub { truncate $_[0], 1 << 30 });
my $good = upload(jsonl(1))->{json}{id};
my (%file, %batch, %blob);

for my $how (@files) {
    $file{$how} = upload(jsonl(1))->{json}{id};
    $blob{$how} = upload(jsonl(1))->{json}{id} if $how =~ /link|dir/;
    $batch{$_}{$how} = run_batch(jsonl(1))->{id} for qw(batch final);
}

my $half = { map { $_ => BatchDamage::half() } @files };

nginx_stop('KILL');

for my $how (@files) {
    my ($path) = glob store_dir() . "/files/*/$file{$how}.json";

    $do{$how}->($path);
    $do{$how}->(BatchDamage::dir_of($batch{$_}{$how}) . "/$_.json")
        for qw(batch final);
    $do{$how}->(BatchDamage::dir_of($half->{$how}) . '/plan.json')
        if $how ne 'too long';

    ($path) = glob store_dir() . "/files/*/$blob{$how}" if $blob{$how};
    $do{$how}->($path) if $blob{$how};
}

redis('FLUSHALL');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'the index is filled, whatever is damaged');
is(content($good), jsonl(1), 'row 68: what is not damaged is there');
is(get_batch($run->{id})->{status}, 'completed', 'row 68: also a batch');

for my $how (@files) {
    for (["the manifest of a file, $how", "/v1/files/$file{$how}", 404],
         ["its content, $how", "/v1/files/$file{$how}/content", 404],
         ["batch.json, $how", "/v1/batches/$batch{batch}{$how}", 404],
         ["final.json, $how", "/v1/batches/$batch{final}{$how}", 404],
         $how eq 'too long' ? ()
             : ["plan.json, $how", "/v1/batches/$half->{$how}", 404],
         $blob{$how} ? ["a blob, $how", "/v1/files/$blob{$how}/content", 500]
                     : ())
    {
        my ($name, $path, $status) = @$_;
        my $c = BatchRaw->new;

        $c->send(raw_request('GET', $path));
        my @bad = complaints($c->answer, { status => $status });
        ok(!@bad, "row 68: $name") or diag(map { "    $_\n" } @bad);
    }

    for my $what ($file{$how}, $batch{batch}{$how}, $batch{final}{$how},
                  $how eq 'too long' ? () : $half->{$how})
    {
        BatchDamage::alert("row 68: $how, $what", qr/\[alert\].*\Q$what\E/);
    }
}

BatchDamage::outside();
is(run_batch(jsonl(3))->{status}, 'completed', 'nginx goes on');
--- concurrency
300
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 3: row 69: no room
--- store_conf
    batch_store $TEST_NGINX_BATCH_DIR/store min_free=1000000g;
--- flow
hostile('row 69',
    { row => 69, name => 'an upload', status => 507, code => 'storage_full',
      form => [['purpose', 'batch'], ['file', jsonl(1), 'a.jsonl']] },
    { row => 69, name => 'an upload in parts', status => 507,
      code => 'storage_full',
      request => ['POST', '/v1/uploads', '{"purpose":"batch","bytes":5,'
                  . '"filename":"a.jsonl","mime_type":"application/jsonl"}',
                  'Content-Type' => 'application/json'] },
    { row => 69, name => 'what only reads goes on', status => 200,
      request => ['GET', '/v1/files', undef] });


=== TEST 4: row 70: quotas and rates
--- http_extra
    limit_req_zone all zone=one:1m rate=1r/m;
--- api_config
    batch_quota files=1 bytes=100000 lines=10;
--- server_extra
    location /slow/ {
        limit_req zone=one;
        limit_req_status 429;
        batch_api;
        batch_pass /batch-lines;
    }
--- flow
my $f = upload(jsonl(11));

is($f->{status}, 200, 'a first file');
hostile('row 70',
    { row => 70, name => 'a second file', status => 403,
      code => 'quota_exceeded',
      form => [['purpose', 'batch'], ['file', jsonl(1), 'a.jsonl']] });

is(http('GET', '/slow/files')->{status}, 200, 'a first request');
hostile('row 70', { row => 70, name => 'a second one a minute', status => 429,
    request => ['GET', '/slow/files', undef],
    check => sub { ($_[0]{headers}{'retry-after'} // '') =~ /^[1-9]\d*$/
                   ? () : 'no Retry-After' } });
