# $batch_* in the location of the lines.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $headers = <<'CONF';
    proxy_set_header X-V-Id $batch_id;
    proxy_set_header X-V-Custom $batch_custom_id;
    proxy_set_header X-V-Line $batch_line;
    proxy_set_header X-V-Attempt $batch_attempt;
    proxy_set_header X-V-Tenant $batch_tenant;
    proxy_set_header X-V-Job "[$batch_job]";
    proxy_set_header X-V-Model $batch_model;
CONF

# what the upstream was sent, by header; a header twice fails

sub headers {
    my ($l) = @_;
    my %h;

    for (split /\r\n/, $l->{response}{body}{headers}) {
        my ($k, $v) = /^([\w-]+): (.*)$/ or next;
        Test::More::fail("$k twice") if exists $h{lc $k};
        $h{lc $k} = $v;
    }

    return \%h;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: each variable
--- line_config eval
$main::headers
--- api_config
    batch_tenant $http_x_tenant;
--- flow
my @who = (headers => ['X-Tenant' => 'team a/1']);
my $in = "\n\n" . jsonl(2, model => 'm-1', mock => 'headers');
my $f = upload($in, @who);
is($f->{status}, 200, 'uploaded') or diag($f->{body});
my $b = create_batch($f->{json}{id}, http => \@who)->{json};
$b = wait_batch($b->{id}, http => \@who);
is($b->{status}, 'completed', 'completed');

my @l = map { json_decode($_) } split /\n/, content($b->{output_file_id}, @who);
my $h = main::headers($l[1]);

is($h->{'x-v-id'}, $b->{id}, '$batch_id');
is($h->{'x-v-custom'}, 'req-2', '$batch_custom_id');
is($h->{'x-v-line'}, 4, '$batch_line is the physical number');
is($h->{'x-v-attempt'}, 1, '$batch_attempt');
is($h->{'x-v-tenant'}, 'team%20a/1', '$batch_tenant');
is($h->{'x-v-job'}, '[]', '$batch_job of none');
is($h->{'x-v-model'}, 'm-1', '$batch_model');


=== TEST 2: a job
--- line_config eval
$main::headers
--- flow
my $b = run_batch(jsonl(1, mock => 'headers'), job_id => 'night-7');
my ($l) = output_lines($b);
is(main::headers($l)->{'x-v-job'}, '[night-7]', '$batch_job');


=== TEST 3: a custom_id and a model that want to be headers
--- line_config eval
$main::headers
--- flow
my @ids = ('a\r\nX-Evil: 1', 'b\nX-Evil: 1', 'c\u000d\u000aX-Evil: 1',
           'd\u0000e', "f\xc3\xa9\xe2\x80\xa8", 'g h\t%41\"\\\\', 'x' x 512);
my $in = join '', map {
    qq({"custom_id":"$_","method":"POST","url":"/v1/chat/completions",)
    . qq("body":{"model":"m\\r\\nX-Evil: 2","messages":[],"mock":"headers"}}\n)
} @ids;
my $b = run_batch($in);
is($b->{status}, 'completed', 'completed') or diag(json_encode($b));

my @want = ('a%0D%0AX-Evil:%201', 'b%0AX-Evil:%201', 'c%0D%0AX-Evil:%201',
            'd%00e', 'f%C3%A9%E2%80%A8', 'g%20h%09%2541%22%5C', 'x' x 512);

for my $l (output_lines($b)) {
    my $h = main::headers($l);
    my $i = $h->{'x-v-line'};
    is($h->{'x-v-custom'}, $want[$i - 1], "custom_id of line $i");
    is($h->{'x-v-model'}, 'm%0D%0AX-Evil:%202', "model of line $i");
    ok(!exists $h->{'x-evil'}, "no header of its own in line $i");
}


=== TEST 4: elsewhere they are empty
--- server_extra
    location /elsewhere {
        return 200 "[$batch_id$batch_custom_id$batch_line$batch_attempt$batch_tenant$batch_job$batch_model]";
    }
--- flow
is(http('GET', '/elsewhere')->{body}, '[]', 'in another location');
is(http('GET', '/batch-lines/v1/models')->{status}, 404,
   'the location of the lines is not for clients');


=== TEST 5: in the log of the location, and to choose a server by
--- http_extra
    log_format lines "$batch_id $batch_line $batch_attempt $status";
    upstream chosen {
        hash $batch_custom_id consistent;
        server $TEST_NGINX_MOCK;
    }
--- config
    location = /up { return 200 "up\n"; }
    location /v1/ { batch_api; batch_pass /lines; }
    location /lines/ {
        internal;
        log_subrequest on;
        access_log logs/lines.log lines;
        proxy_pass http://chosen/;
    }
--- flow
my $b = run_batch(jsonl(3, mock => sub {
    $_[0] == 2 ? 'status=500;times=1' : '' }));
is($b->{request_counts}{completed}, 3, 'completed');
my @log = sort split /\n/, slurp(test_dir() . '/servroot/logs/lines.log');
is_deeply(\@log, ["$b->{id} 1 1 200", "$b->{id} 2 1 500", "$b->{id} 2 2 200",
                  "$b->{id} 3 1 200"], 'a line for each attempt');
my $access = slurp(test_dir() . '/servroot/logs/access.log');
unlike($access, qr{/lines/}, 'none in the access log of clients');
