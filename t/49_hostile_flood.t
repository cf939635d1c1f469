use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

# Row 32 of the list of hostile inputs: more connections than there are.

worker_connections(256);

# each connection is a file here, too

our $flood = qx(sh -c 'ulimit -n') =~ /^(\d+)/ && $1 < 1200 ? $1 - 200 : 1000;

no_long_string();
run_tests();

__DATA__

=== TEST 1: row 32: a thousand clients, one byte or half an upload each
--- concurrency
4
--- api_config
client_body_buffer_size 16k;
--- error_log
[alert]
--- no_error_log
[crit]
[emerg]
exited on signal
runtime error:
--- no_shutdown_error_log
open socket
exited on signal
runtime error:
--- flow
my $data = jsonl(3000);
my $body = form('b0undary', ['purpose', 'vision'], ['file', $data, 'a']);
my $upload = raw_request('POST', '/v1/files', $body, 'Content-Type' =>
                         'multipart/form-data; boundary=b0undary');
my $file = upload(jsonl(200000))->{json}{id};
my $before = content($file);

my $w = watch(keys => qr/:(b|c|l|bl|active)\b/,
              log => qr/\d+ worker_connections are not enough/);

for my $what (['one byte', 'P'],
              ['headers', substr $upload, 0, 150],
              ['half an upload', substr $upload, 0, 40000])
{
    my ($name, $bytes) = @$what;
    # what there is already: half an upload, half a download, lines under way

    my $up = BatchRaw->new;
    my $half = int(length($upload) / 2);
    $up->send(substr $upload, 0, $half);

    my $down = BatchRaw->new;
    $down->send(raw_request('GET', "/v1/files/$file/content"));
    $down->fill;

    my $f = upload(jsonl(60, mock => 'slow=100'))->{json}{id};
    my $batch = create_batch($f)->{json}{id};
    wait_batch($batch, until => qr/in_progress/);

    my @flood;
    my $refused = 0;

    for (1 .. $main::flood) {
        my $c = eval { BatchRaw->new } or do { $refused++; next };

        $c->send($bytes);
        push @flood, $c;
    }

    # nginx has closed those that it has no room for

    ok(wait_until(sub {
        my $bits = '';
        vec($bits, fileno $_->{s}, 1) = 1 for @flood;
        my $n = select $bits, undef, undef, 0;
        return $n + $refused > $main::flood - 2 * 256;
    }, 20), "row 32: $name: refused beyond the limit");

    # the rest of what was there goes on while they are

    $up->send(substr $upload, $half);
    my $r = $up->answer;
    is($r->{status}, 200, "row 32: $name: an upload under way");
    is($r->{json}{bytes}, length $data, "row 32: $name: all of it");

    ok($down->answer->{body} eq $before, "row 32: $name: a download under way");

    # they hang up

    $_ & 1 ? $flood[$_]->abort : close $flood[$_]{s} for 0 .. $#flood;
    @flood = ();

    my $b = wait_batch($batch, timeout => 60);

    is($b->{status}, 'completed', "row 32: $name: a batch under way");
    is($b->{request_counts}{completed}, 60, "row 32: $name: all its lines");

    ok(BatchRaw->new->alive, "row 32: $name: and it serves on");

    for my $id ($r->{json}{id}, $f, $b->{output_file_id}) {
        is(http('DELETE', "/v1/files/$id")->{status}, 200, 'deleted');
    }

    close $_->{s} for $up, $down;
}

$w->leftovers('row 32');
