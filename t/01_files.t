use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# Uploads, and what can be wrong with them; one file: get and delete.

run_tests();

__DATA__

=== TEST 1: a file's life
--- flow
my $data = jsonl(10);
my $r = upload($data, filename => 'my input.jsonl');
my $f = $r->{json};

is($r->{status}, 200, '200, not 201');
is($r->{headers}{'content-type'}, 'application/json', 'JSON');
like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'X-Request-Id');
like($f->{id}, qr/^file-[0-9A-Za-z]{22}$/, 'id');
is(join(' ', $r->{body} =~ /"(\w+)":/g),
   'object id purpose filename bytes created_at expires_at status '
   . 'status_details', 'keys and their order');
is($f->{object}, 'file', 'object');
is($f->{bytes}, length $data, 'bytes are those of the payload');
is($f->{filename}, 'my input.jsonl', 'filename');
is($f->{purpose}, 'batch', 'purpose');
is($f->{status}, 'processed', 'status');
is($f->{expires_at}, $f->{created_at} + 2592000, 'expires_at');

my $g = api('GET', "/v1/files/$f->{id}");

is($g->{body}, $r->{body}, 'GET shows the same');
is(content($f->{id}), $data, 'the content is the same');

my $d = api('DELETE', "/v1/files/$f->{id}");

is($d->{body}, qq({"object":"file","deleted":true,"id":"$f->{id}"}), 'DELETE');

for (['GET', ''], ['DELETE', ''], ['GET', '/content']) {
    my $n = api($_->[0], "/v1/files/$f->{id}$_->[1]");

    is($n->{status}, 404, "$_->[0]$_->[1] after it");
    is($n->{body}, '{"error":{"message":"No such File object: ' . $f->{id}
       . '","type":"invalid_request_error","param":"id","code":null}}',
       'wording');
}



=== TEST 2: framing of the body
--- flow
my $data = jsonl(5);
my ($body, $type) = multipart(file => { data => $data, filename => 'a' },
                              purpose => 'batch');

for my $o ({}, { step => 1 }, { chunk => 1 }, { chunk => 7, step => 3 },
           { expect => 1 })
{
    my $name = join ' ', 'framing', %$o;
    my $c = BatchRaw->new;
    my $r = $c->request('POST', '/v1/files', $body, %$o,
                        headers => ['Content-Type' => $type,
                          $o->{expect} ? (Expect => '100-continue') : ()]);

    is($r->{status}, 200, $name);
    is($r->{json}{bytes}, length $data, "$name: bytes");
    is(content($r->{json}{id}), $data, "$name: content");
    ok($c->alive, "$name: keep-alive");
}



=== TEST 3: sizes around the buffers, with bytes that look like a boundary
--- api_config
client_body_buffer_size 64k;
--- flow
my @bytes = ("\r", "\n", '-', 'b', "\r\n--b");

srand(1);

for my $size (262143, 262144, 262145, 524288, 3000000) {
    my $data = jsonl(1);

    $data .= join '', map { $bytes[rand @bytes] } 1 .. 4000;
    $data = substr $data x ($size / 4000), 0, $size;

    my ($body, $type) = multipart(file => { data => $data, filename => 'a' },
                                  purpose => 'batch');

    for my $o ({}, { chunk => 10007 }) {
        my $c = BatchRaw->new;
        my $r = $c->request('POST', '/v1/files', $body, %$o,
                            headers => ['Content-Type' => $type]);

        is($r->{json}{bytes}, $size, "$size bytes");
        ok(content($r->{json}{id}) eq $data, "$size: content");
        ok($c->alive, "$size: keep-alive");
    }
}



=== TEST 4: a body that mirror has read, into a file
--- server_extra
location = /mirrored { return 204; }
location /mir/files {
    mirror /mirrored;
    client_max_body_size 0;
    client_body_buffer_size 16k;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
my $data = jsonl(10000);
my ($body, $type) = multipart(purpose => 'batch',
                              file => { data => $data, filename => 'a' });
my $r = api('POST', '/mir/files', undef, body => $body,
            headers => ['Content-Type' => $type]);

is($r->{status}, 200, 'accepted');
is($r->{json}{bytes}, length $data, 'bytes');
ok((content($r->{json}{id}) // '') eq $data, 'content');



=== TEST 5: what is refused, and how
--- flow
my $file = { data => jsonl(2), filename => 'a.jsonl' };
my $jsonl = 'Invalid file format for Batch API. Must be .jsonl';

my @cases = (
    ['no file', 'file', 'missing_required_parameter',
     "Missing required parameter: 'file'.", purpose => 'batch'],
    ['no purpose', 'purpose', 'missing_required_parameter',
     "Missing required parameter: 'purpose'.", file => $file],
    ['bad purpose', 'purpose', undef,
     "'world_domination' is not one of ['fine-tune', 'assistants', 'batch', "
     . "'user_data', 'vision', 'evals'] - 'purpose'",
     purpose => 'world_domination', file => $file],
    ['empty file', undef, undef, $jsonl,
     purpose => 'batch', file => { data => '', filename => 'a' }],
    ['empty file first', undef, undef, $jsonl,
     file => { data => '', filename => 'a' }, purpose => 'batch'],
    ['blank lines', undef, undef, $jsonl,
     purpose => 'batch', file => { data => "\n \n\n", filename => 'a' }],
    ['text', undef, undef,
     "$jsonl. Line 1: Expected an object at byte 1.",
     purpose => 'batch', file => { data => "hello\n", filename => 'a' }],
    ['text, purpose last', undef, undef,
     "$jsonl. Line 1: Expected an object at byte 1.",
     file => { data => "hello\n" x 100000, filename => 'a' },
     purpose => 'batch'],
    ['array', undef, undef,
     "$jsonl. The file begins with a JSON array. Write one object per line, "
     . 'without brackets around them and commas between them.',
     purpose => 'batch', file => { data => "[]\n", filename => 'a' }],
    ['two files', 'file', 'duplicate_parameter', undef,
     file => $file, file => $file, purpose => 'batch'],
    ['two purposes', 'purpose', 'duplicate_parameter', undef,
     file => $file, purpose => 'batch', purpose => 'batch'],
    ['long field', 'purpose', 'string_above_max_length', undef,
     file => $file, purpose => 'b' x 3000000],
    ['anchor', 'expires_after[anchor]', 'invalid_value',
     "Invalid value: 'x'. Supported values are: 'created_at'.",
     'expires_after[anchor]' => 'x', file => $file],
    ['3599 s', 'expires_after[seconds]', 'integer_below_min_value', undef,
     'expires_after[seconds]' => 3599, file => $file],
    ['2592001 s', 'expires_after[seconds]', 'integer_above_max_value', undef,
     'expires_after[seconds]' => 2592001, file => $file],
    ['-1 s', 'expires_after[seconds]', 'integer_below_min_value', undef,
     'expires_after[seconds]' => -1, file => $file],
    ['9e18 s', 'expires_after[seconds]', 'invalid_type', undef,
     'expires_after[seconds]' => '9e18', file => $file],
    ['20 digits', 'expires_after[seconds]', 'integer_above_max_value', undef,
     'expires_after[seconds]' => '9' x 20, file => $file],
    ['no seconds', 'expires_after[seconds]', 'missing_required_parameter',
     undef, 'expires_after[anchor]' => 'created_at', file => $file,
     purpose => 'batch'],
    ['JSON expires_after', 'expires_after.seconds', 'integer_below_min_value',
     undef, expires_after => '{"anchor":"created_at","seconds":1}',
     file => $file],
);

for (@cases) {
    my ($name, $param, $code, $message, @parts) = @$_;
    my ($body, $type) = multipart(@parts);

    for my $o ({}, { chunk => 1000 }) {
        my $c = BatchRaw->new;
        my $r = $c->request('POST', '/v1/files', $body, %$o,
                            headers => ['Content-Type' => $type]);
        my $e = $r->{json}{error};

        is($r->{status}, 400, $name);
        is($e->{type}, 'invalid_request_error', "$name: type");
        is($e->{param}, $param, "$name: param");
        is($e->{code}, $code, "$name: code");
        is($e->{message}, $message, "$name: message") if defined $message;
        is(scalar(keys %$e), 4, "$name: four keys");
        ok($r->{headers}{'x-request-id'}, "$name: X-Request-Id");
        ok($c->alive, "$name: keep-alive")
            if $r->{headers}{connection} eq 'keep-alive';
    }
}

is(scalar(glob(store_dir() . '/tmp/*')), undef, 'no tmp file is left');
is(scalar(glob(store_dir() . '/files/*/*')), undef, 'and no file');



=== TEST 6: bodies that are no multipart
--- flow
my ($body, $type) = multipart(file => { data => jsonl(1) });
my $r = api('POST', '/v1/files', undef, body => $body,
            headers => ['Content-Type' => $type]);

is($r->{status}, 400, 'file without a filename');
is($r->{json}{error}{message}, 'The browser (or proxy) sent a request that '
   . 'this server could not understand.', 'wording');
is($r->{json}{error}{type}, 'server_error', 'type, as with OpenAI');

my $c = BatchRaw->new;
$r = $c->request('POST', '/v1/files', '');
is($r->{json}{error}{param}, 'file', 'no body at all');
ok($c->alive, 'keep-alive');

$r = $c->request('POST', '/v1/files', 'x' x 5000,
                 headers => ['Content-Type' => 'text/plain']);
is($r->{status}, 400, 'not multipart');
ok($c->alive, 'keep-alive');

$r = $c->request('POST', '/v1/files', substr($body, 0, -20),
                 headers => ['Content-Type' => $type]);
is($r->{status}, 400, 'no end');

$c = BatchRaw->new;
$r = $c->request('POST', '/v1/files', $body,
                 headers => ['Content-Type' => $type,
                             'Content-Encoding' => 'gzip']);
is($r->{status}, 415, 'compressed');
is($r->{json}{error}{code}, 'unsupported_encoding', 'code');
ok($c->alive, 'keep-alive');

$c = BatchRaw->new;
$c->send("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: $type\r\n"
         . "Transfer-Encoding: chunked\r\n\r\nzzz\r\n");
$r = $c->answer;
is($r->{status}, 400, 'bad chunk');
ok($r->{json}{error}, 'JSON too');



=== TEST 7: a file that is too large
--- api_config
batch_max_file_size 300000;
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { data => jsonl(20000),
                                        filename => 'a' });

for my $o ({}, { chunk => 5000 }) {
    my $r = BatchRaw->new->request('POST', '/v1/files', $body, %$o,
                                   headers => ['Content-Type' => $type]);

    is($r->{status}, 413, 'too large');
    is($r->{json}{error}{message}, 'File is too large.', 'wording');
}

my $c = BatchRaw->new;

$c->send("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: $type\r\n"
         . "Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n");
$c->fill;
like($c->{in}, qr{^HTTP/1\.1 413 }, 'refused before the body is asked for');

ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 5), 'no tmp file');



=== TEST 8: expiry as asked, other purposes
--- flow
my $f = upload(jsonl(1), fields => ['expires_after[anchor]' => 'created_at',
                                    'expires_after[seconds]' => 3600])->{json};
is($f->{expires_at}, $f->{created_at} + 3600, 'two fields');

$f = upload(jsonl(1), fields => [unknown => 'x' x 20000, expires_after =>
                            '{"anchor":"created_at","seconds":7200}'])->{json};
is($f->{expires_at}, $f->{created_at} + 7200, 'one field of JSON');

for my $purpose (qw(assistants user_data fine-tune vision evals)) {
    my $r = upload("not a batch\n", purpose => $purpose);

    is($r->{status}, 200, $purpose);
    like($r->{body}, qr/"expires_at":null/, "$purpose never expires");
}



=== TEST 9: clients that go away leave nothing
--- flow
my ($body, $type) = multipart(purpose => 'batch',
                              file => { data => jsonl(20000),
                                        filename => 'a' });

for my $i (1 .. 20) {
    my $c = BatchRaw->new;

    $c->send("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: $type\r\n"
             . 'Content-Length: ' . length($body) . "\r\n\r\n"
             . substr($body, 0, int(length($body) / 21 * $i)));
    $c->abort if $i & 1;
}

ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 5), 'no tmp file');
is(scalar(glob(store_dir() . '/files/*/*')), undef, 'no file');
is(scalar @{ api('GET', '/v1/files')->{json}{data} }, 0, 'none in the index');



=== TEST 10: a body that does not come
--- api_config
client_body_timeout 1s;
--- flow
my $c = BatchRaw->new;

$c->send("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
         . "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b");
my $r = $c->answer;

is($r->{status}, 408, 'timed out');
ok($r->{json}{error}{message}, 'with a word');



=== TEST 11: names of files are data
--- flow
for (['../../etc/passwd', 'passwd'], ['a%22b.jsonl', 'a"b.jsonl'],
     ["\xe4\xbd\xa0\xe5\xa5\xbd.txt", "\x{4f60}\x{597d}.txt"],
     ['x' x 4000, 'x' x 255])
{
    my $f = upload(jsonl(1), filename => $_->[0])->{json};

    is($f->{filename}, $_->[1], 'filename');
}



=== TEST 12: routes, methods, ids
--- flow
my $c = BatchRaw->new;
my ($r, $e);

$r = $c->request('POST', '/v1/uploadsx', '{}');
is($r->{status}, 404, 'unknown route');
is($r->{json}{error}{message}, 'Invalid URL (POST /v1/uploadsx)', 'wording');

for my $path ('/v1/files/', '/v1/files//content', '/v1/files/a/b',
              '/v1/batches/x/content', '/v1/files/x/cancel')
{
    $r = $c->request('GET', $path);
    is($r->{status}, 404, $path);
    like($r->{json}{error}{message}, qr/^Invalid URL/, "$path: wording");
}

$r = $c->request('PATCH', '/v1/files', 'x' x 20000);
is($r->{status}, 405, 'wrong method');
is($r->{headers}{allow}, 'GET, HEAD, POST, OPTIONS', 'Allow');
ok($c->alive, 'keep-alive');

for my $id ('*', '{x}', 'file-abc', 'a%2e%2e', 'x' x 3000,
            'file-' . 'a' x 22, '%C3%A9' x 50)
{
    $r = $c->request('GET', "/v1/files/$id");
    is($r->{status}, 404, 'malformed or unknown id');
    is($r->{json}{error}{param}, 'id', 'param');
    like($r->{json}{error}{message}, qr/^No such File object: .{1,131}$/,
         'wording');
}

for my $m ('GET', 'HEAD') {
    $r = $c->request($m, '/v1/files', 'x' x 3000, step => 500, delay => .002);
    is($r->{status}, 200, "$m with a body");
    ok($c->alive, 'keep-alive');
}



=== TEST 13: any prefix; a foreign tenant sees nothing
--- http_extra
map $http_x_tenant $tenant { default $http_x_tenant; }
--- api_config
batch_tenant $tenant;
--- server_extra
location /openai/v1/ { batch_api; batch_pass /batch-lines; }
--- flow
is(api('GET', '/openai/v1/files')->{status}, 200, 'another prefix');

my @me = (headers => ['X-Tenant' => 'a']);
my @you = (headers => ['X-Tenant' => 'b']);
my $f = upload(jsonl(1), @me)->{json};

is(api('GET', "/v1/files/$f->{id}", undef, @me)->{status}, 200, 'mine');

for (['GET', ''], ['GET', '/content'], ['DELETE', '']) {
    my $r = api($_->[0], "/v1/files/$f->{id}$_->[1]", undef, @you);

    is($r->{status}, 404, 'foreign');
    is($r->{json}{error}{message}, "No such File object: $f->{id}",
       'as if there were none');
}

is(scalar @{ api('GET', '/v1/files', undef, @you)->{json}{data} }, 0,
   'not in a list');
is(scalar @{ api('GET', '/v1/files', undef, @me)->{json}{data} }, 1, 'mine');
is(api('GET', '/v1/files', undef, headers => ['X-Tenant' => "\xff"])
   ->{status}, 400, 'a tenant that is no text');



=== TEST 14: no Redis
--- flow
my $f = upload(jsonl(1))->{json};

redis_stop();

my $c = BatchRaw->new;
my ($body, $type) = multipart(purpose => 'batch',
                              file => { data => jsonl(1), filename => 'a' });

for (['GET', '/v1/files'], ['GET', "/v1/files/$f->{id}"],
     ['DELETE', "/v1/files/$f->{id}"], ['GET', "/v1/files/$f->{id}/content"],
     ['POST', '/v1/files', $body, headers => ['Content-Type' => $type]],
     ['POST', '/v1/batches', '{"input_file_id":"x","endpoint":'
      . '"/v1/embeddings","completion_window":"24h"}'])
{
    my $r = $c->request(@$_);

    is($r->{status}, 503, "$_->[0] $_->[1]");
    is($r->{headers}{'retry-after'}, 1, 'Retry-After');
    is($r->{json}{error}{type}, 'server_error', 'type');
}

redis_start();

ok(wait_until(sub { api('GET', "/v1/files/$f->{id}")->{status} == 200 }, 20),
   'and it is back');
