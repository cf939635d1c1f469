# What strangers write into variables: safe in a header, a log, a URL; and
# control characters, which are refused in a job_id.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# the header X-V of each line's request

sub value {
    my ($l) = @_;

    my @h = $l->{response}{body}{headers} =~ /^X-V: (.*?)\r$/mig;
    Test::More::is(scalar @h, 1, 'one header');
    Test::More::unlike($l->{response}{body}{headers}, qr/^X-Evil/mi,
                       'and none of the client');

    return $h[0];
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: job_id in a header and in a URL
--- config
    location = /up { return 200 "up\n"; }
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ {
        internal;
        proxy_set_header X-V "$batch_job";
        proxy_pass http://inference/$batch_job/x?job=$batch_job;
    }
--- flow
for my $row (['night-7', 'night-7'], ['a b', 'a%20b'],
             ['q?x=1#f&y=2+3', 'q%3Fx%3D1%23f%26y%3D2%2B3'],
             ['"\\<>;,%41', '%22%5C%3C%3E%3B%2C%2541'],
             ["\xc3\xa9\xe2\x80\xa8", '%C3%A9%E2%80%A8'],
             ['org/model:8b@x', 'org/model:8b@x'])
{
    my ($job, $want) = @$row;
    utf8::decode(my $text = $job);
    my $batch = run_batch(jsonl(1, mock => 'headers'), job_id => $text);
    is($batch->{status}, 'completed', "$want: completed");
    my ($l) = output_lines($batch);
    is(main::value($l), $want, "$want: encoded") if $l;
}


=== TEST 2: a job_id with control characters is refused
--- flow
my $f = upload(jsonl(1))->{json}{id};

for my $job ("a\r\nX-Evil: 1", "\n", "a\tb", "a\x7f", "\x1b[31m", "\x{85}",
             "x\x{9f}")
{
    my $r = create_batch($f, job_id => $job);
    is($r->{status}, 400, 'status');
    is($r->{json}{error}{param}, 'job_id', 'param');
    is($r->{json}{error}{code}, 'invalid_value', 'code');
}

is(create_batch($f, job_id => "\x{a0}\x{e9}")->{status}, 200,
   'what is no control character is taken');


=== TEST 3: a tenant in a header
--- api_config
    batch_tenant $http_x_tenant;
--- line_config
    proxy_set_header X-V $batch_tenant;
--- flow
for my $row (['a b,"c"?', 'a%20b%2C%22c%22%3F'], ["a\tb\x7f", 'a%09b%7F']) {
    my ($tenant, $want) = @$row;
    my @who = (headers => ['X-Tenant' => $tenant]);
    my $f = upload(jsonl(1, mock => 'headers'), @who)->{json};
    my $batch = create_batch($f->{id}, http => \@who)->{json};
    $batch = wait_batch($batch->{id}, http => \@who);
    my ($l) = map { json_decode($_) }
              split /\n/, content($batch->{output_file_id}, @who);
    is(main::value($l), $want, "$want: encoded");
}
