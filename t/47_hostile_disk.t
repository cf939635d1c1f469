# Rows 68 to 70 of the list of hostile inputs: a store that somebody has
# edited by hand, that is full, or of which a tenant has had its share.  What
# is damaged is refused and told of, and nothing else stops.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Digest::SHA qw(sha1_hex);
use POSIX ();
use Test::Nginx::Socket 'no_plan';

our $Outside = test_dir() . '/outside';
our $Had;                        # what is in there
our $Half = 10;                  # lines of a batch that are answered first

sub bytes {
    my ($path, $bytes) = @_;

    open my $f, '>:raw', $path or die "$path: $!";
    print $f $bytes;
    close $f;
}

sub flip {
    my ($path, $at) = @_;
    my $text = slurp($path);

    substr($text, $at, 1) ^= "\x10";
    bytes($path, $text);
}

# The name becomes a link to a file outside, which has the same bytes.

sub link_out {
    my ($path) = @_;

    bytes($Outside, slurp($path) // '');
    $Had = sha1_hex(slurp($Outside));
    unlink $path;
    symlink $Outside, $path or die "$path: $!";
}

sub dir_of {
    my ($id) = @_;
    my ($dir) = glob store_dir() . "/batches/*/$id";

    return $dir // '';
}

sub segments { return sort glob dir_of($_[0]) . '/*.seg' }

# A batch of 2 * $Half lines, or of as many as are given: the first ones are
# answered and durable, the rest hangs.

sub half {
    my ($good, $hanging) = @_;

    $good //= $Half;
    $hanging //= $Half;

    my $in = jsonl($good + $hanging, prefix => 'half-',
                   mock => sub { $_[0] > $good ? 'hang' : '' });
    my $b = create_batch(upload($in)->{json}{id})->{json};

    wait_until(sub {
        get_batch($b->{id})->{request_counts}{completed} >= $good
    }, 60) or die 'the batch does not get half-way';

    return $b->{id};
}

# Each line once, with the answer to its own text.

sub whole {
    my ($name, $id, $n, $prefix) = @_;
    my $b = wait_batch($id, timeout => 90);
    my @out = output_lines($b);

    Test::More::is($b->{status}, 'completed', "$name: completed");
    Test::More::is_deeply($b->{request_counts},
        { total => $n, completed => $n, failed => 0 }, "$name: counts");
    Test::More::is_deeply([map { $_->{custom_id} } @out],
                          [map { "$prefix$_" } 1 .. $n],
                          "$name: each line exactly once");
    Test::More::is_deeply(
        [map { $_->{response}{body}{choices}[0]{message}{content} } @out],
        [map { "You said: question number $_" } 1 .. $n],
        "$name: with its own answer");
}

sub alert {
    my ($name, $re) = @_;

    Test::More::ok(wait_until(sub { error_log_text() =~ $re }, 20),
                   "$name: an alert") or Test::More::diag($re);
}

# The mock that hangs is replaced by one that does not know the word.

sub heal {
    my ($id) = @_;
    my $dir = dir_of($id);
    my $text = slurp("$dir/input");

    # same length, so the plan still holds

    $text =~ s/"hang"/"fine"/g;
    open my $f, '+<:raw', "$dir/input" or die "$dir/input: $!";
    print $f $text;
    close $f;
}

no_long_string();
worker_connections(1024);
run_tests();

__DATA__

=== TEST 1: row 68: a segment
--- concurrency
300
--- flow
my @cases = (
    ['a bit of the first header', sub { main::flip($_[0], 20) }],
    ['a bit of the first payload', sub { main::flip($_[0], 100) }],
    ['a bit in the middle', sub { main::flip($_[0], (-s $_[0]) / 2) }],
    ['a bit of the last payload', sub { main::flip($_[0], (-s $_[0]) - 2) }],
    ['a huge length', sub {
        my $s = slurp($_[0]);
        substr($s, 4, 4) = "\xff\xff\xff\x7f";
        main::bytes($_[0], $s) }],
    ['cut in the last record', sub { truncate $_[0], (-s $_[0]) - 5 }],
    ['records twice', sub {
        my $s = slurp($_[0]);
        main::bytes($_[0], $s . $s) }],
    ['0 bytes', sub { main::bytes($_[0], '') }],
    ['a symlink', \&main::link_out, qr/\[alert\].*\.seg" failed/],
    ['a dangling symlink', sub { unlink $_[0]; symlink '/nowhere/x', $_[0] },
     qr/\[alert\].*\.seg" failed/],
    ['a directory', sub { unlink $_[0]; mkdir $_[0] },
     qr/\[alert\].*\.seg" is no regular file/],
    ['a FIFO', sub { unlink $_[0]; POSIX::mkfifo($_[0], 0600) },
     qr/\[alert\].*\.seg" is no regular file/],
    ['gone', sub { unlink $_[0] }]);
my @ids = map { main::half() } @cases;

nginx_stop('KILL');

for my $i (0 .. $#cases) {
    my ($name, $damage) = @{ $cases[$i] };
    my ($segment) = grep { -s } main::segments($ids[$i]);

    ok($segment, "row 68: segment, $name: there is one");
    main::heal($ids[$i]);
    $damage->($segment);
}

ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');

for my $i (0 .. $#cases) {
    my ($name, undef, $log) = @{ $cases[$i] };

    main::whole("row 68: segment, $name", $ids[$i], 2 * $main::Half, 'half-');
    main::alert("row 68: segment, $name", $log) if $log;
}

is(main::sha1_hex(slurp($main::Outside)), $main::Had,
   'the file outside is as it was');
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 2: row 68: manifests
--- flow
my $run = run_batch(jsonl(2));
my @files = ('0 bytes', 'no JSON', 'a symlink', 'a directory', 'too long');
my %do = ('0 bytes' => sub { main::bytes($_[0], '') },
          'no JSON' => sub { main::flip($_[0], 0) },
          'a symlink' => \&main::link_out,
          'a directory' => sub { unlink $_[0]; mkdir $_[0] },
          'too long' => sub { truncate $_[0], 1 << 30 });
my $good = upload(jsonl(1))->{json}{id};
my (%file, %batch, %blob);

for my $how (@files) {
    $file{$how} = upload(jsonl(1))->{json}{id};
    $blob{$how} = upload(jsonl(1))->{json}{id} if $how =~ /link|dir/;
    $batch{$_}{$how} = run_batch(jsonl(1))->{id} for qw(batch final);
}

my $half = { map { $_ => main::half() } @files };

nginx_stop('KILL');

for my $how (@files) {
    my ($path) = glob store_dir() . "/files/*/$file{$how}.json";

    $do{$how}->($path);
    $do{$how}->(main::dir_of($batch{$_}{$how}) . "/$_.json")
        for qw(batch final);
    $do{$how}->(main::dir_of($half->{$how}) . '/plan.json')
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
        main::alert("row 68: $how, $what", qr/\[alert\].*\Q$what\E/);
    }
}

is(main::sha1_hex(slurp($main::Outside)), $main::Had,
   'the file outside is as it was');
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
