# What clients of OpenAI's service rely on, by number: its relatives' dialects,
# errors, transport (85 to 100).  The names of the checks begin with
# "#<number>".
#
# Not here: 96 and 97, webhooks, see t/37_checklist_webhooks.t.  The SDKs of 98
# themselves run in t/e2e; here is what they send, in their order.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# status, type, four keys with a message, X-Request-Id

sub is_error {
    my ($number, $r, $status, $name, $type) = @_;
    my $e = ref $r->{json} eq 'HASH' ? $r->{json}{error} : undef;

    is($r->{status}, $status, "#$number $name");
    is($r->{headers}{'content-type'}, 'application/json',
       "#$number $name: JSON");
    is(join(' ', sort keys %{ $e // {} }), 'code message param type',
       "#$number $name: keys");
    ok(length($e->{message} // ''), "#$number $name: message");
    is($e->{type}, $type // ($status >= 500 ? 'server_error'
                                            : 'invalid_request_error'),
       "#$number $name: type");
    like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/,
         "#$number $name: X-Request-Id");
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: impala
--- http_extra
    batch_dialect impala;
    batch_job  job-1  price=0.5;
--- flow
my $in = jsonl(3, mock => sub { $_[0] == 2 ? 'status=400' : '' });
my $f = upload($in)->{json}{id};
my %ok = (completion_window => 'unlimited', job_id => 'job-1');

my $r = create_batch($f, %ok);
is($r->{status}, 200, '#85 unlimited, with a job_id');
is($r->{json}{job_id}, 'job-1', '#85 job_id');
is($r->{json}{completion_window}, 'unlimited', '#85 completion_window');
ok(exists $r->{json}{expires_at} && !defined $r->{json}{expires_at},
   '#85 expires_at is null');
like($r->{body}, qr/"$_":[0-9.]+[,}]/, "#85 $_ is a number")
    for qw(price_1m_tokens processing_cost prompt_tokens completion_tokens
           total_tokens);

is($r->{json}{model}, '', '#89 model is "" at first');
is(json_encode($r->{json}{metadata}), '{}', '#89 metadata is an object');

my $b = wait_batch($r->{json}{id});
my $u = $b->{usage};
is($b->{status}, 'completed', '#85 it completes');
is($u->{total_tokens}, $u->{prompt_tokens} + $u->{completion_tokens},
   '#85 usage adds up');
cmp_ok($u->{completion_tokens}, '>', 0, '#85 and there is some');
cmp_ok(abs($b->{processing_cost} - $u->{total_tokens} * 0.5e-6), '<', 1e-12,
       '#85 processing_cost');

my %h = (input_file_id => $f, endpoint => '/v1/chat/completions', %ok);
delete $h{job_id};
$r = api('POST', '/v1/batches', \%h);
is($r->{status}, 422, '#86 no job_id');
is_deeply($r->{json}, error_body("Missing required parameter: 'job_id'.",
          'job_id', 'missing_required_parameter'), '#86 the error');

for (['no Authorization'], ['reserved', 'Bearer reserved']) {
    my ($name, @value) = @$_;
    my @o = @value ? (headers => [Authorization => @value]) : ();

    is(upload($in, @o)->{status}, 200, "#87 upload, $name");
    is(create_batch($f, %ok, http => \@o)->{status}, 200, "#87 create, $name");
    is(api('GET', "/v1/batches/$b->{id}", undef, @o)->{status}, 200,
       "#87 retrieve, $name");
}

my $line = '{"custom_id":"a","method":"POST","url":"/v1/responses",'
           . '"body":{"model":"m","input":"x"}}';
$r = create_batch(upload($line)->{json}{id}, %ok, endpoint => 'v1/responses');
is($r->{status}, 200, '#88 an endpoint without its slash');
is($r->{json}{endpoint}, '/v1/responses', '#88 is the one with it');
is(wait_batch($r->{json}{id})->{request_counts}{completed}, 1, '#88 it runs');

$b = wait_batch(create_batch(upload($line)->{json}{id}, %ok)->{json}{id});
is($b->{status}, 'failed', '#89 a failed one');
is($b->{model}, '', '#89 model is ""');
is_deeply($b->{errors}{data}, [{ code => 'invalid_url', line => 1,
          param => 'url', message => 'The URL provided for this request does '
          . "not match the batch endpoint. Expected '/v1/chat/completions'." }],
          '#89 an error has all four keys');



=== TEST 2: tensorzero
--- api_config
    batch_dialect tensorzero;
--- flow
my @auth = (headers => [Authorization => 'Bearer YOUR_API_KEY']);
my $in = join "\n", map {
    '{"custom_id":"request-' . $_ . '","method":"POST","url":'
    . '"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user",'
    . '"content":"' . $_ . '"}]}}' } 1 .. 3;

# curl -F file=@requests.jsonl -F purpose=batch

my $r = upload($in, filename => 'requests.jsonl', file_first => 1, @auth);
is($r->{status}, 200, '#90 upload, the file first');
is($r->{json}{purpose}, 'batch', '#90 purpose');
$r = create_batch($r->{json}{id}, http => \@auth);
is($r->{status}, 200, '#90 create');
my $b = wait_batch($r->{json}{id}, http => \@auth);
is($b->{status}, 'completed', '#90 completed');
$r = http('GET', "/v1/files/$b->{output_file_id}/content", @auth);
is($r->{headers}{'content-type'}, 'application/jsonl', '#90 type');
is($r->{headers}{'content-length'}, length $r->{body}, '#90 length');

my @said = map { $_->{custom_id} . ': '
                 . $_->{response}{body}{choices}[0]{message}{content} }
           map { json_decode($_) } split /\n/, $r->{body};
is(scalar @said, 3, '#90 three results');
is($said[2], 'request-3: You said: 3', '#90 the last one');
is($b->{errors}, undef, '#90 the sample looks at errors: there are none');

my $size = 100 * 1024 * 1024;
my @type = ('Content-Type' => 'multipart/form-data; boundary=b');
$r = api('POST', '/v1/files', undef, body => 'x', headers => [@type,
         'Content-Length' => $size + 2_000_000, Expect => '100-continue']);
is($r->{status}, 413, '#91 more than 100 MB');
is_deeply($r->{json}, error_body('File is too large.'), '#91 the error');

for (['in.json', 400], ['in.txt', 400], ['in', 400], ['in.jsonl', 200]) {
    $r = upload($in, filename => $_->[0]);
    is($r->{status}, $_->[1], "#91 the name $_->[0]");
    is_deeply($r->{json}, error_body("Invalid 'file': expected a file name "
              . "that ends with '.jsonl'.", 'file', 'invalid_value'),
              '#91 the error') if $_->[1] == 400;
}

$r = upload("{}\n\n{\"a\":}\n{}\n");
is($r->{status}, 400, '#91 a bad line');
is_deeply($r->{json}, error_body('Invalid JSONL at line 3: Unexpected byte at '
          . 'byte 6.', 'file', 'invalid_json_line'), '#91 is named');

# the same of a file in parts

my %u = (filename => 'in.jsonl', mime_type => 'text/jsonl', bytes => 16);
$r = api('POST', '/v1/uploads', { %u, filename => 'in.json' });
is($r->{status}, 400, '#91 the name of an upload');
is_deeply($r->{json}, error_body("Invalid 'filename': expected a file name "
          . "that ends with '.jsonl'.", 'filename', 'invalid_value'),
          '#91 the error');
$r = api('POST', '/v1/uploads', { %u, purpose => 'vision' });
is($r->{status}, 400, '#91 its purpose');
is_deeply($r->{json}, error_body("Invalid value: 'vision'. Supported values "
          . "are: 'batch'.", 'purpose', 'invalid_value'), '#91 the error');
$r = api('POST', '/v1/uploads', { %u, bytes => $size + 1 });
is($r->{status}, 400, '#91 its size');
is($r->{json}{error}{code}, 'integer_above_max_value', '#91 the error');

for (["{}\n\n{\"a\":}\n{}\n", 400, 'a bad line'],
     ["{}\n\n{\"a\":1}\n{", 400, 'a bad end'],
     ["{}\n\n{\"a\":1}\n{}", 200, 'all good'])
{
    my ($text, $status, $name) = @$_;
    my $id = api('POST', '/v1/uploads', { %u, bytes => length $text })
             ->{json}{id};
    my @parts;

    # a line may begin in one part and end in another

    for (unpack '(a5)*', $text) {
        my ($body, $type) = multipart(data => { data => $_,
                                                filename => 'x' });
        push @parts, api('POST', "/v1/uploads/$id/parts", undef,
                         body => $body, headers => ['Content-Type' => $type])
                     ->{json}{id};
    }

    $r = api('POST', "/v1/uploads/$id/complete", { part_ids => \@parts });
    is($r->{status}, $status, "#91 an upload, $name");

    if ($status == 200) {
        is($r->{json}{file}{purpose}, 'batch', '#91 the default purpose');
        next;
    }

    my ($line, $what) = $name eq 'a bad line'
                        ? (3, 'Unexpected byte at byte 6')
                        : (4, 'Unexpected end at byte 2');
    is_deeply($r->{json}, error_body("Invalid JSONL at line $line: $what.",
              undef, 'invalid_json_line'), "#91 an upload, $name: is named");
    is(api('GET', "/v1/uploads/$id")->{json}{status}, 'pending',
       '#91 it is pending still');
}



=== TEST 3: errors
--- http_extra
    limit_req_zone all zone=one:1m rate=1r/m;
    map $http_x_tenant $tenant { default $http_x_tenant; "" a; }
    batch_tenant $tenant;
    map $http_authorization $known { default 0; "Bearer good" 1; }
--- server_extra
    location = /key { if ($known) { return 204; } return 401; }
    location = /refuse { return 502; }

    location /a/ {
        client_max_body_size 1000;
        batch_api;
        batch_pass /batch-lines;

        location /a/429/ { limit_req zone=one; limit_req_status 429; batch_api;
                           batch_pass /batch-lines; }
        location /a/key/ { auth_request /key; batch_api;
                           batch_pass /batch-lines; }
        location /a/if/ { if ($known = 0) { return 401; } batch_api;
                          batch_pass /batch-lines; }
        location /a/502/ { return 502; batch_api; batch_pass /batch-lines; }
        location /a/504/ { return 504; batch_api; batch_pass /batch-lines; }
    }
--- flow
my $f = upload(jsonl(1))->{json}{id};
my $b = run_batch(jsonl(1));

for (['POST', '/v1/batches', {}, 400], ['POST', '/v1/batches', '{', 400],
     ['GET', '/v1/files?limit=x', undef, 400],
     ['GET', '/v1/files/x', undef, 404],
     ['DELETE', '/v1/files/x', undef, 404],
     ['GET', '/v1/files/x/content', undef, 404],
     ['GET', '/v1/batches/x', undef, 404],
     ['POST', '/v1/batches/x/cancel', '', 404],
     ['POST', '/v1/uploads/x/complete', { part_ids => [] }, 404],
     ['POST', "/v1/batches/$b->{id}/cancel", '', 409],
     ['POST', '/v1/batches', { a => 'x' x 70_000 }, 413])
{
    my ($method, $path, $body, $status) = @$_;

    main::is_error(92, api($method, $path, $body), $status, "$method $path");
}

my $r = api('GET', "/v1/files/$f/content", undef,
            headers => [Range => 'bytes=99999-']);
main::is_error(92, $r, 416, 'a range');
main::is_error(92, api('GET', '/v1/files', undef,
                       headers => ['X-Tenant' => "\xff"]), 400, 'a tenant');

is(api('GET', '/a/429/files')->{status}, 200, '#93 one is let through');
$r = api('GET', '/a/429/files');
main::is_error(93, $r, 429, 'one too many', 'rate_limit_exceeded');
is($r->{headers}{'retry-after'}, 1, '#93 Retry-After');
is($r->{json}{error}{code}, 'rate_limit_exceeded', '#93 code');

for my $path (qw(/a/key/files /a/if/files)) {
    for ('', 'Bearer bad', 'Basic Z29vZA==') {
        my @h = length $_ ? (headers => [Authorization => $_]) : ();

        main::is_error(94, api('GET', $path, undef, @h), 401, "$path '$_'");
    }

    is(api('GET', $path, undef, headers => [Authorization => 'Bearer good'])
       ->{status}, 200, "#94 $path with the right one");
}

main::is_error(95, api('GET', '/v1/files/a/b/c'), 404, 'no such route');
main::is_error(95, api('PUT', '/v1/files', 'x'), 405, 'no such method');
main::is_error(95, api('POST', '/a/files', undef, body => jsonl(30)), 413,
               'client_max_body_size');
main::is_error(95, api('POST', '/a/files', undef, body => jsonl(30),
                       chunked => 1000, headers => ['Content-Type' =>
                       'multipart/form-data; boundary=x']), 413,
               'the same, chunked');
main::is_error(95, api('GET', '/a/502/files'), 502, 'bad gateway');
main::is_error(95, api('GET', '/a/504/files'), 504, 'gateway time-out');



=== TEST 4: what the SDKs send, in their order
--- flow
my $data = jsonl(3);
my @py = (Accept => 'application/json',
          'Accept-Encoding' => 'gzip, deflate', Authorization => 'Bearer e2e',
          'User-Agent' => 'OpenAI/Python 1.99.0', 'X-Stainless-Lang' => 'python',
          'X-Stainless-Async' => 'false', 'x-stainless-retry-count' => '0',
          'x-stainless-read-timeout' => '600');

# openai-python: purpose, file, Content-Length; one connection

my $c = BatchRaw->new;
my $b = 'd0' x 16;
my $body = "--$b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"
           . "batch\r\n--$b\r\nContent-Disposition: form-data; name=\"file\"; "
           . "filename=\"in.jsonl\"\r\nContent-Type: "
           . "application/octet-stream\r\n\r\n$data\r\n--$b--\r\n";

my $r = $c->request('POST', '/v1/files', $body, headers => [@py,
            'Content-Type' => "multipart/form-data; boundary=$b"]);
is($r->{status}, 200, '#98 python: files.create');

my @json = ('Content-Type' => 'application/json');
$r = $c->request('POST', '/v1/batches', '{"completion_window":"24h",'
                 . '"endpoint":"/v1/chat/completions","input_file_id":"'
                 . $r->{json}{id} . '"}', headers => [@py, @json]);
is($r->{status}, 200, '#98 python: batches.create');

my $batch;
ok(wait_until(sub {
    $batch = $c->request('GET', "/v1/batches/$r->{json}{id}", undef,
                         headers => [@py, @json])->{json};
    return $batch->{status} eq 'completed';
}, 30), '#98 python: batches.retrieve, until it is completed');

$r = $c->request('GET', "/v1/files/$batch->{output_file_id}/content", undef,
                 headers => [@py[2 .. $#py], Accept => 'application/binary']);
is($r->{status}, 200, '#98 python: files.content');
is(($r->{body} =~ tr/\n//), 3, '#98 python: three lines');
is($r->{headers}{'content-encoding'}, undef, '#98 python: as they are');

# openai-node: the file first, chunked in tiny pieces

my @js = (Accept => 'application/json', 'Accept-Language' => '*',
          'sec-fetch-mode' => 'cors', 'Accept-Encoding' => 'gzip, deflate',
          'User-Agent' => 'OpenAI/JS 6.49.0', 'X-Stainless-Lang' => 'js',
          Authorization => 'Bearer e2e');

$c = BatchRaw->new;
$b = 'openai-r4nd0m';
$body = "--$b\r\nContent-Disposition: form-data; name=\"file\"; filename="
        . "\"in.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n$data"
        . "\r\n--$b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"
        . "batch\r\n--$b--\r\n";
$r = $c->request('POST', '/v1/files', $body, chunk => 50, headers => [@js,
                 'Content-Type' => "multipart/form-data; boundary=$b"]);
is($r->{status}, 200, '#98 node: files.create');
is($r->{json}{bytes}, length $data, '#98 node: bytes');

$r = $c->request('POST', '/v1/batches', json_encode({
         input_file_id => $r->{json}{id}, completion_window => '24h',
         endpoint => '/v1/chat/completions' }), headers => [@js, @json]);
is($r->{status}, 200, '#98 node: batches.create');
is($r->{headers}{'content-type'}, 'application/json',
   '#98 node: the type that makes it an object');

ok(wait_until(sub {
    $batch = $c->request('GET', "/v1/batches/$r->{json}{id}", undef,
                         headers => \@js)->{json};
    return $batch->{status} eq 'completed';
}, 30), '#98 node: batches.retrieve, until it is completed');

my $path = "/v1/files/$batch->{output_file_id}/content";
$r = $c->request('GET', $path, undef,
                 headers => [@js[2 .. $#js], Accept => 'application/binary']);
is(($r->{body} =~ tr/\n//), 3, '#98 node: files.content');

my $head = $c->request('HEAD', $path);
my $get = $c->request('GET', $path);
is($head->{status}, 200, '#100 HEAD');
is($head->{body}, '', '#100 no body');

my @names = grep { !/^(date|x-request-id)$/ } keys %{ $get->{headers} };
is_deeply({ map { $_ => $head->{headers}{$_} } @names },
          { map { $_ => $get->{headers}{$_} } @names }, '#100 headers of GET');
is($head->{headers}{'content-length'}, length $get->{body}, '#100 length');
ok($c->alive, '#100 the connection is usable');



=== TEST 5: pages of other origins
--- api_config
    batch_cors *;
--- flow
my $c = BatchRaw->new;
my $r = $c->request('OPTIONS', '/v1/files', undef, headers => [
            Origin => 'https://app.example.com',
            'Access-Control-Request-Method' => 'POST',
            'Access-Control-Request-Headers' =>
                'authorization,content-type,x-stainless-lang']);
is($r->{status}, 204, '#99 a preflight');
is($r->{body}, '', '#99 no body');

my %want = ('access-control-allow-origin' => '*',
            'access-control-allow-methods' => 'GET, HEAD, POST, DELETE, OPTIONS',
            'access-control-allow-headers' =>
                'authorization, content-type, x-stainless-lang',
            'access-control-max-age' => 7200);
is($r->{headers}{$_}, $want{$_}, "#99 $_") for sort keys %want;

for (['/v1/files', 200], ['/v1/files/x', 404]) {
    $r = $c->request('GET', $_->[0], undef,
                     headers => [Origin => 'https://app.example.com']);
    is($r->{status}, $_->[1], "#99 $_->[0]");
    is($r->{headers}{'access-control-allow-origin'}, '*',
       '#99 the page may read it');
}
