use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# What nginx itself says below a location with batch_api, in the shape of the
# API's errors; OPTIONS and HEAD.  Numbers in brackets are those of the list of
# what clients of OpenAI's service rely on.

sub is_error {
    my ($r, $status, $name, %o) = @_;
    my $e = $r->{json}{error};

    is($r->{status}, $status, $name);
    is($r->{headers}{'content-type'}, 'application/json', "$name: type");
    like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/,
         "$name: X-Request-Id");
    is(join(' ', sort keys %{ $e // {} }), 'code message param type',
       "$name: four keys");
    ok(length $e->{message}, "$name: message");
    is($e->{type}, $o{type} // ($status >= 500 ? 'server_error'
                                               : 'invalid_request_error'),
       "$name: error type");
    is($r->{headers}{'content-length'}, length $r->{body}, "$name: length");
    unlike($r->{body}, qr/html/, "$name: no HTML");
}

run_tests();

__DATA__

=== TEST 1: limits, access and other refusals [92, 93, 94, 95]
--- http_extra
limit_req_zone all zone=one:1m rate=1r/m;
limit_req_zone all zone=two:1m rate=1r/m;
limit_conn_zone $server_name zone=three:1m;
--- server_extra
location = /refuse { return 401; }
location = /fail { return 500; }
location = /gone { proxy_pass http://127.0.0.1:1; }

location /a/ {
    client_max_body_size 1000;
    batch_api;
    batch_pass /batch-lines;

    location /a/deny/ { deny all; batch_api; batch_pass /batch-lines; }
    location /a/401/ { auth_request /refuse; batch_api;
                       batch_pass /batch-lines; }
    location /a/500/ { auth_request /fail; batch_api;
                       batch_pass /batch-lines; }
    location /a/502/ { auth_request /gone; batch_api;
                       batch_pass /batch-lines; }
    location /a/basic/ { auth_basic x; auth_basic_user_file /dev/null;
                         batch_api; batch_pass /batch-lines; }
    location /a/429/ { limit_req zone=one; limit_req_status 429;
                       batch_api; batch_pass /batch-lines; }
    location /a/503/ { limit_req zone=two; batch_api;
                       batch_pass /batch-lines; }
    location /a/conn/ { limit_conn three 1; limit_conn_status 429;
                        client_body_timeout 60s;
                        batch_api; batch_pass /batch-lines; }
    location /a/410/ { return 410; batch_api; batch_pass /batch-lines; }
    location /a/504/ { return 504; batch_api; batch_pass /batch-lines; }
    location /a/text/ { return 403 "no"; batch_api;
                        batch_pass /batch-lines; }
    location /a/page/ { error_page 403 = @page; deny all; batch_api;
                        batch_pass /batch-lines; }
    location /a/to/ { return 302 /v1/; batch_api; batch_pass /batch-lines; }
}

location @page { return 403 "mine\n"; }
location /b/ { deny all; }
--- flow
my $big = jsonl(30);

is_error(api('POST', '/a/files', undef,
         body => $big), 413, '413 by Content-Length');
is_error(api('POST', '/a/files', undef, body => $big, chunked => 500,
             headers => ['Content-Type' =>
                         'multipart/form-data; boundary=x']),
         413, '413 of a chunked body');
is_error(api('GET', '/a/deny/files'), 403, 'a 403');
is_error(api('GET', '/a/401/files'), 401, '401 of auth_request');

my $r = api('GET', '/a/basic/files');

is_error($r, 401, '401 of auth_basic');
is($r->{headers}{'www-authenticate'}, 'Basic realm="x"', 'WWW-Authenticate');

is_error(api('GET', '/a/500/files'), 500, 'a 500');
is_error(api('GET', '/a/502/files'), 500, 'auth_request that is away');

api('GET', '/a/429/files');
$r = api('GET', '/a/429/files');
is_error($r, 429, 'a 429', type => 'rate_limit_exceeded');
is($r->{json}{error}{code}, 'rate_limit_exceeded', 'code');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');

# one request is under way, and its body does not come

my $c = BatchRaw->new;

$c->send("POST /a/conn/batches HTTP/1.1\r\nHost: a\r\n"
         . "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n");
$c->fill;
is($c->{in}, "HTTP/1.1 100 Continue\r\n\r\n", 'its body is waited for');
$r = api('GET', '/a/conn/files/file-x');
is_error($r, 429, '429 of limit_conn', type => 'rate_limit_exceeded');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');
$c->abort;

api('GET', '/a/503/files');
$r = api('GET', '/a/503/files');
is_error($r, 503, 'a 503');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');

is_error(api('GET', '/a/410/files'), 410, 'a 410');
is_error(api('GET', '/a/504/files'), 504, 'a 504');

# what the operator says is left alone

is(http('GET', '/a/text/files')->{body}, 'no', 'a text of return');
is(http('GET', '/a/page/files')->{body}, "mine\n", 'error_page');
like(http('GET', '/b/files')->{body}, qr/<html>/, 'another location');
is(http('GET', '/a/to/files')->{status}, 302, 'a redirect');
like(http('GET', '/a/to/files')->{body}, qr/<html>/, 'as it was');



=== TEST 2: the connection lives on; HEAD of an error
--- server_extra
location /a/ {
    deny all;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
my $c = BatchRaw->new;

for (1 .. 3) {
    my $r = $c->request('GET', '/a/files');
    is($r->{status}, 403, 'refused');
    ok($r->{json}{error}, 'JSON');
}

my $r = $c->request('HEAD', '/a/files');
is($r->{status}, 403, 'HEAD');
is($r->{headers}{'content-type'}, 'application/json', 'Content-Type');
is($r->{body}, '', 'no body');

$r = $c->request('POST', '/a/files', 'x' x 3000);
is($r->{status}, 403, 'POST');
ok($r->{json}{error}, 'JSON');
ok($c->alive, 'and it serves on');



=== TEST 3: conditions of a download that do not hold
--- flow
my $data = jsonl(1);
my $f = upload($data)->{json}{id};

for (['If-Match' => '"x"'],
     ['If-Unmodified-Since' => 'Thu, 01 Jan 1970 00:00:00 GMT'])
{
    my $r = api('GET', "/v1/files/$f/content", undef, headers => $_);

    is_error($r, 412, $_->[0]);
    is($r->{headers}{'content-disposition'}, undef, 'no file');
    is($r->{headers}{etag}, undef, 'no ETag');
}

my $r = api('GET', "/v1/files/$f/content", undef,
            headers => [Range => 'bytes=9999-']);
is_error($r, 416, 'Range');



=== TEST 4: OPTIONS [99] and HEAD [100]
--- flow
my $data = jsonl(3);
my $f = upload($data)->{json}{id};
my $c = BatchRaw->new;

for (['files', 'GET, HEAD, POST, OPTIONS'],
     ["files/$f", 'GET, HEAD, DELETE, OPTIONS'],
     ["files/$f/content", 'GET, HEAD, OPTIONS'],
     ['batches', 'GET, HEAD, POST, OPTIONS'],
     ['batches/x', 'GET, HEAD, OPTIONS'],
     ['batches/x/cancel', 'POST, OPTIONS'],
     ['uploads', 'POST, OPTIONS'],
     ['uploads/x/parts', 'POST, OPTIONS'])
{
    my $r = $c->request('OPTIONS', "/v1/$_->[0]");

    is($r->{status}, 204, "OPTIONS $_->[0]");
    is($r->{headers}{allow}, $_->[1], 'Allow');
    ok($r->{headers}{'x-request-id'}, 'X-Request-Id');
    is($r->{body}, '', 'no body');
}

is($c->request('OPTIONS', '/v1/files', 'x' x 100)->{status}, 204,
   'with a body');
is($c->request('OPTIONS', '/v1/files/a/b/c')->{status}, 404, 'of nothing');
ok($c->alive, 'keep-alive');

for my $path ("/v1/files/$f/content", "/v1/files/$f", '/v1/files',
              '/v1/batches')
{
    my $get = $c->request('GET', $path)->{headers};
    my $head = $c->request('HEAD', $path);

    delete $_->{'x-request-id'}, delete $_->{date}
        for $get, $head->{headers};
    is_deeply($head->{headers}, $get, "HEAD $path has the headers of GET");
    is($head->{body}, '', 'no body');
}

ok($c->alive, 'keep-alive');



=== TEST 5: requests that are refused before there is a location
--- http_extra
large_client_header_buffers 2 1k;
server {
    listen unix:$TEST_NGINX_BATCH_DIR/other.sock;
    location / { return 204; }
}
--- flow
my $long = 'x' x 2000;

for ([400, 'a broken first line', "GET\r\n\r\n"],
     [400, 'no host', "GET /v1/files HTTP/1.1\r\n\r\n"],
     [400, 'a broken header', "GET /v1/files HTTP/1.1\r\nHost: a\r\n"
                              . "Content-Length: x\r\n\r\n"],
     [414, 'a long URL', "GET /v1/files?$long HTTP/1.1\r\nHost: a\r\n\r\n"],
     [400, 'a long header', "GET /v1/files HTTP/1.1\r\nHost: a\r\n"
                            . "Authorization: $long\r\n\r\n"],
     [405, 'TRACE', "TRACE /v1/files HTTP/1.1\r\nHost: a\r\n\r\n"],
     [501, 'a transfer coding', "POST /v1/files HTTP/1.1\r\nHost: a\r\n"
                                . "Transfer-Encoding: gzip\r\n\r\n"],
     [505, 'HTTP/3.0', "GET /v1/files HTTP/3.0\r\nHost: a\r\n\r\n"])
{
    my $c = BatchRaw->new;

    $c->send($_->[2]);
    is_error($c->answer, $_->[0], $_->[1]);
}

# where there is no location but a server, nothing changes

like(http('GET', '/nothing')->{body}, qr/<html>/, 'no location of the API');

my $s = IO::Socket::UNIX->new(Peer => test_dir() . '/other.sock');

print $s "GET\r\n\r\n";
like(join('', <$s>), qr/400 Bad Request.*<html>/s, 'a server without the API');



=== TEST 6: "if" and limit_except in a location with batch_api are part of it
--- server_extra
location ~ ^/if/v1/(files|batches) {
    batch_api;
    batch_pass /batch-lines;
    if ($http_x_bad) { return 401; }
    if ($http_x_slow) { set $limit_rate 100k; }
}
location ~ ^/read/v1/(files|batches) {
    batch_api;
    batch_pass /batch-lines;
    limit_except GET { deny all; }
}
--- flow
is_error(api('GET', '/if/v1/files', undef, headers => ['X-Bad' => 1]), 401,
         'return in an if');
is_error(api('POST', '/read/v1/batches', {}), 403, 'denied by limit_except');
is(api('GET', '/read/v1/batches')->{status}, 200, 'GET is let through');

# a batch that is made below an "if" belongs to the location around it

my $f = upload(jsonl(1))->{json}{id};
my $r = api('POST', '/if/v1/batches', { input_file_id => $f,
            endpoint => '/v1/chat/completions', completion_window => '24h' },
            headers => ['X-Slow' => 1]);
is($r->{status}, 200, 'created');
is(wait_batch($r->{json}{id})->{status}, 'completed', 'it runs');
