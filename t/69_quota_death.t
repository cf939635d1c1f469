# A worker dies while an upload in parts becomes a file: it has one place in the
# quota (batch_quota) all the time, first the upload's, then the file's.

use lib 't/lib';

BEGIN { $ENV{BATCH_TEST_WORKERS} = 1 }      # so that each new one sweeps

use BatchTest;
use BatchFault;
use Test::Nginx::Socket 'no_plan';

sub places {
    my %all = @{ redis('HGETALL', '{batch}:uf:0') // [] };
    my $sum = delete $all{sum} // 0;

    return keys(%all) . " $sum";
}

sub in_parts {
    my ($data) = @_;
    my $u = api('POST', '/v1/uploads', { purpose => 'batch', filename => 'a',
                bytes => length $data, mime_type => 'application/jsonl' })
            ->{json}{id};
    my ($body, $type) = multipart(data => { data => $data, filename => 'a' });
    my $p = api('POST', "/v1/uploads/$u/parts", undef, body => $body,
                headers => ['Content-Type' => $type])->{json}{id};

    return $u, $p;
}

# the file of an upload that has ended well, and whether it is there

sub file_of {
    my ($u) = @_;
    my ($end) = glob store_dir() . "/uploads/*/$u/end.json";
    my $file = $end && json_decode(slurp($end))->{file} or return;

    $file = json_decode($file) unless ref $file;
    return $file->{id}, scalar @{[glob store_dir() . "/files/*/$file->{id}.json"]};
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: between an upload's end and its file
--- api_config
    batch_quota files=2 bytes=1000;
--- no_error_log
[emerg]
runtime error:
--- no_shutdown_error_log
[emerg]
runtime error:
--- flow
my $data = jsonl(2);
my $one = '1 ' . length $data;
my ($between, $met) = (0, 1);

for (my $n = 1; $met && $n < 200; $n++) {
    my ($u, $p) = main::in_parts($data);

    is(main::places(), $one, "$n: a place");
    fault(n => $n, action => 'kill_after');
    api('POST', "/v1/uploads/$u/complete", { part_ids => [$p] });

    my ($file, $there) = main::file_of($u);

    $met = fault_off();
    wait_ready();

    if ($file && !$there) {
        $between++;
        ok(wait_until(sub { (main::file_of($u))[1] }, 60),
           "$n: the sweep makes the file");
        ok(wait_until(sub {
            http('GET', "/v1/files/$file")->{status} == 200 }, 30),
           "$n: and tells the index");
    }

    is(main::places(), $one, "$n: one place") or diag(fault_name());

    my $r = api('POST', "/v1/uploads/$u/complete", { part_ids => [$p] });
    is($r->{status}, 200, "$n: complete, once more");
    is(main::places(), $one, "$n: one place afterwards");
    is(api('DELETE', "/v1/files/$r->{json}{file}{id}")->{status}, 200,
       "$n: deleted");
    is(main::places(), '0 0', "$n: and none is left");
}

ok($between, 'one died between the two');
