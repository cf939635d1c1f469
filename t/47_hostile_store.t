# Row 68 of the list of hostile inputs, what is not the journal: manifests that
# were edited, a batch's input, uploads, and records of Idempotency-Keys.  An
# alert names the file, a request that needs it is refused, and all others go on.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use BatchDamage;
use Test::Nginx::Socket 'no_plan';

our %Do = (
    'a bit' => sub { BatchDamage::flip($_[0], 20) },
    'its last byte' => sub { BatchDamage::flip($_[0], (-s $_[0]) - 1) },
    'cut' => sub { truncate $_[0], (-s $_[0]) - 5 },
    '0 bytes' => sub { BatchDamage::bytes($_[0], '') },
    'huge' => sub { truncate $_[0], 1 << 33 },
    'a symlink' => \&BatchDamage::link_out,
    'a directory' => sub { unlink $_[0]; mkdir $_[0] });

sub file_path { return (glob store_dir() . "/files/*/$_[0].json")[0] }

sub begin_upload {
    return api('POST', '/v1/uploads', { purpose => 'batch', bytes => 5,
        filename => 'a.jsonl', mime_type => 'application/jsonl' })->{json}{id};
}

sub upload_file { return (glob store_dir() . "/uploads/*/$_[0]/$_[1]")[0] }

# One request, and what is wrong with its answer.

sub answered {
    my ($name, $case, @request) = @_;
    my $c = BatchRaw->new;

    $c->send(raw_request(@request));
    my @bad = complaints($c->answer, $case);
    Test::More::ok(!@bad, "row 68: $name")
        or Test::More::diag(map { "    $_\n" } @bad);
}

no_long_string();
worker_connections(1024);
run_tests();

__DATA__

=== TEST 1: row 68: manifests that are whole, but were edited
--- flow
my %text = (
    'edited' => sub { my $s = slurp($_[0]);
        $s =~ s/"bytes":\d/"bytes":9/; BatchDamage::bytes($_[0], $s) },
    'with another id' => sub { my ($s, $t) = map { slurp($_) } @_;
        BatchDamage::bytes($_[0], $t) },
    'without its checksum' => sub { my $s = slurp($_[0]);
        $s =~ s/,"crc":"\w+"//; BatchDamage::bytes($_[0], $s) },
    'nothing but a checksum' => sub {
        BatchDamage::bytes($_[0], '{"crc":"00000000"}') },
    'with another\'s id and its checksum' => sub {
        BatchDamage::manifest($_[0], slurp($_[1])) });
my @how = sort keys %text;
my $good = upload(jsonl(1))->{json}{id};
my $run = run_batch(jsonl(1));
my (%file, %batch);

for my $how (@how) {
    $file{$how} = upload(jsonl(1))->{json}{id};
    $batch{$_}{$how} = run_batch(jsonl(1))->{id} for qw(batch final);
}

my $signed = upload(jsonl(2))->{json}{id};
my $blank = upload(jsonl(2))->{json}{id};

nginx_stop('KILL');

for my $how (@how) {
    $text{$how}->(main::file_path($file{$how}), main::file_path($good));

    for my $kind (qw(batch final)) {
        my $dir = BatchDamage::dir_of($batch{$kind}{$how});

        if ($how eq 'edited') {
            BatchDamage::flip("$dir/$kind.json", 10);

        } else {
            $text{$how}->("$dir/$kind.json",
                          BatchDamage::dir_of($run->{id}) . "/$kind.json");
        }
    }
}

# an operator who means it

my $text = slurp(main::file_path($signed));
$text =~ s/"filename":"[^"]*"/"filename":"mended.jsonl"/;
BatchDamage::manifest(main::file_path($signed), $text);
BatchDamage::bytes(main::file_path($blank),
                   slurp(main::file_path($blank)) . "\n");

redis('FLUSHALL');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'the index is filled, whatever is damaged');
is(content($good), jsonl(1), 'row 68: what is not damaged is there');
is(get_batch($run->{id})->{status}, 'completed', 'row 68: also a batch');
is(api('GET', "/v1/files/$signed")->{json}{filename}, 'mended.jsonl',
   'row 68: an edit with the right checksum counts');
is(content($blank), jsonl(2), 'row 68: a newline at the end does no harm');

for my $how (@how) {
    my %what = ("files/$file{$how}" => "$file{$how}",
                "batches/$batch{batch}{$how}" => "$batch{batch}{$how}",
                "batches/$batch{final}{$how}" => "$batch{final}{$how}");

    for my $path (sort keys %what) {
        main::answered("$how: $path", { status => 404 }, 'GET', "/v1/$path");
        BatchDamage::alert("row 68: $how: $path",
                           qr/\[alert\].*$what{$path}/);
    }
}

like(error_log_text(),
     qr{\[alert\].*$file{edited}\.json" is damaged, edited or another object's: its "crc" would be "[0-9a-f]{8}"},
     'row 68: the alert tells what the checksum would be');

my ($crc) = error_log_text()
    =~ m{$file{edited}\.json" is damaged.*would be "(\w+)"};
$text = slurp(main::file_path($file{edited}));
$text =~ s/"crc":"\w+"/"crc":"$crc"/;
BatchDamage::bytes(main::file_path($file{edited}), $text);
nginx_stop('KILL');
redis('FLUSHALL');
nginx_start();
ok(wait_ready(), 'again');
is(http('GET', "/v1/files/$file{edited}")->{status}, 200,
   'row 68: with that the file is there again');
is(run_batch(jsonl(3))->{status}, 'completed', 'nginx goes on');
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 2: row 68: uploads
--- flow
my @how = sort keys %main::Do;
my %pending = map { $_ => main::begin_upload() } @how;
my %ended = map { $_ => main::begin_upload() } @how;
my %outer = ('another upload\'s' => main::begin_upload());

api('POST', "/v1/uploads/$_/cancel", {}) for values %ended;

$main::Do{$_}->(main::upload_file($pending{$_}, 'upload.json')) for @how;
$main::Do{$_}->(main::upload_file($ended{$_}, 'end.json')) for @how;

my $mine = main::begin_upload();
BatchDamage::bytes(main::upload_file($mine, 'upload.json'),
    slurp(main::upload_file($outer{'another upload\'s'}, 'upload.json')));
$pending{'another upload\'s'} = $mine;

for my $how (sort keys %pending) {
    main::answered("upload.json, $how, $_", { status => 500 },
                   'POST', "/v1/uploads/$pending{$how}/$_", '{"part_ids":[]}',
                   'Content-Type' => 'application/json')
        for 'cancel';
    BatchDamage::alert("row 68: upload.json, $how",
                       $how =~ /sym|dir|huge/
                       ? qr/\[alert\].*"upload\.json"/
                       : qr/\[alert\].*$pending{$how}: "upload\.json" is dam/);
}

for my $how (@how) {
    main::answered("end.json, $how", { status => 500 }, 'POST',
                   "/v1/uploads/$ended{$how}/cancel", '{}',
                   'Content-Type' => 'application/json');
    BatchDamage::alert("row 68: end.json, $how",
                       $how =~ /sym|dir|huge/
                       ? qr/\[alert\].*"end\.json"/
                       : qr/\[alert\].*$ended{$how}: "end\.json" is damaged/);
}

my $good = $outer{'another upload\'s'};
is(api('POST', "/v1/uploads/$good/cancel", {})->{json}{status}, 'cancelled',
   'row 68: another upload');
BatchDamage::outside();

# the sweep at the start of a worker meets all of them

nginx_stop('QUIT');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');
is(run_batch(jsonl(3))->{status}, 'completed', 'nginx goes on');
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 3: row 68: records of Idempotency-Keys
--- flow
my @how = (sort(keys %main::Do), 'another key\'s');
my $file = upload(jsonl(1))->{json}{id};
my %path;

for my $how (@how) {
    my %had = map { $_ => 1 } glob store_dir() . '/keys/*';

    create_batch($file, http => [headers => ['Idempotency-Key' => "key $how"]]);
    ($path{$how}) = grep { !$had{$_} } glob store_dir() . '/keys/*';
}

my $other = slurp($path{'its last byte'});

$main::Do{$_}->($path{$_}) for grep { $main::Do{$_} } @how;
BatchDamage::bytes($path{'another key\'s'}, $other);

for my $how (@how) {
    my ($name) = $path{$how} =~ m{([^/]+)$};

    main::answered("a key, $how", { status => 500 }, 'POST', '/v1/batches',
        json_encode({ input_file_id => $file, completion_window => '24h',
                      endpoint => '/v1/chat/completions' }),
        'Content-Type' => 'application/json',
        'Idempotency-Key' => "key $how");
    BatchDamage::alert("row 68: a key, $how",
                       $how =~ /sym|dir|huge/ ? qr/\[alert\].*$name/
                       : qr/\[alert\].*keys: "$name" is damaged/);
}

is(create_batch($file, http => [headers => ['Idempotency-Key' => 'another']])->{status},
   200, 'row 68: another key');
BatchDamage::outside();
nginx_stop('QUIT');
ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');
is(run_batch(jsonl(3))->{status}, 'completed', 'nginx goes on');
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket


=== TEST 4: row 68: the input of a batch that runs
--- concurrency
300
--- flow
my %input = (
    'a line that is none any more' => [qr/line \d+: not what was validated/,
        sub { BatchDamage::flip($_[0], 2400) }],
    'two lines in one' => [qr/line \d+: not what was validated/, sub {
        my $s = slurp($_[0]);
        $s =~ s/^((?:.*\n){11}.*)\n/$1 /;
        BatchDamage::bytes($_[0], $s) }],
    'cut' => [qr/input is shorter than/, sub { truncate $_[0], 1500 }],
    '0 bytes' => [qr/input is shorter than/,
                  sub { BatchDamage::bytes($_[0], '') }],
    'gone' => [qr/: input is missing/, sub { unlink $_[0] }],
    'a symlink' => [qr/"input" failed/, \&BatchDamage::link_out],
    'a directory' => [qr/"input" is not a regular file/,
                      sub { unlink $_[0]; mkdir $_[0] }]);
my @how = sort keys %input;
my %id = map { $_ => BatchDamage::half() } @how;

nginx_stop('KILL');

for my $how (@how) {
    my $path = BatchDamage::dir_of($id{$how}) . '/input';

    BatchDamage::heal($id{$how});
    $input{$how}[1]->($path);
}

ok(nginx_start(), 'nginx starts');
ok(wait_ready(), 'and is ready');

for my $how (@how) {
    BatchDamage::alert("row 68: input, $how", qr/\[alert\].*$input{$how}[0]/);
}

is(run_batch(jsonl(3))->{status}, 'completed', 'other batches go on');

# what the operator is told to do: what was answered is there, each line once; that no
# custom_id is known of is null

for my $how (@how) {
    is(cancel_batch($id{$how})->{status}, 200, "row 68: input, $how: cancel");
}

for my $how (@how) {
    my $b = wait_batch($id{$how}, timeout => 60);
    my @ids = map { $_->{custom_id} // 'null' } output_lines($b),
                                                error_lines($b);
    my $n = $b->{request_counts}{completed};
    my %once = map { $_ => 1 } grep { $_ ne 'null' } @ids;

    is($b->{status}, 'cancelled', "row 68: input, $how: it ends");
    is(scalar(@ids), 20, "row 68: input, $how: as many lines");
    is(scalar(keys %once), scalar(grep { $_ ne 'null' } @ids),
       "row 68: input, $how: none twice");
    cmp_ok($n, '>=', 10, "row 68: input, $how: what was answered counts");
    is(scalar(output_lines($b)), $n, "row 68: input, $how: and is there");
}

BatchDamage::outside();
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
open socket
