use lib 't/lib';
use BatchTest;
use BatchRaw;
use BatchHostile;
use Test::Nginx::Socket 'no_plan';

# Rows 1 to 14 of the list of hostile inputs: the framing of requests, paths,
# methods, arguments; rows x are not in the list.  t/lib/BatchHostile.pm tells
# what a case is.

no_long_string();
run_tests();

__DATA__

=== TEST 1: rows 1 to 3: lengths and transfer encodings
--- flow
my @type = ('Content-Type' => 'multipart/form-data; boundary=b0undary');
my $body = form('b0undary', ['purpose', 'vision'], ['file', 'x', 'a']);
my $n = length $body;
my $get = raw_request('GET', '/v1/files/hidden');

my @length = map {
    my ($name, @h) = @$_;

    { row => 1, name => $name, status => 400, kept => 0,
      request => ['POST', '/v1/files', $body . $get, @type, @h] }
} (
    ['length and chunked', 'Content-Length' => $n,
     'Transfer-Encoding' => 'chunked'],
    ['chunked and length', 'Transfer-Encoding' => 'chunked',
     'Content-Length' => $n],
    ['two equal lengths', 'Content-Length' => $n, 'Content-Length' => $n],
    ['two lengths', 'Content-Length' => $n, 'Content-Length' => $n + 10],
    ['two lengths in one', 'Content-Length' => "$n, $n"],
    ['-1', 'Content-Length' => -1],
    ['+5', 'Content-Length' => '+5'],
    ['0x10', 'Content-Length' => '0x10'],
    ['20 digits', 'Content-Length' => '9' x 20],
    ['2^63', 'Content-Length' => '9223372036854775808'],
    ['no digits', 'Content-Length' => ''],
    ['a space inside', 'Content-Length' => '1 0'],
    ['two chunked', 'Transfer-Encoding' => 'chunked',
     'Transfer-Encoding' => 'chunked'],
);

sub chunks {
    my ($name, $text, %o) = @_;

    return { row => 2, name => $name, status => 400, kept => 0,
             raw => raw_request('POST', '/v1/files', $text . $get, @type,
                                'Transfer-Encoding' => 'chunked'), %o };
}

my $first = sprintf "%x\r\n%s\r\n", $n - 20, substr $body, 0, $n - 20;

my @chunks = (
    chunks('no hex digit', "zzz\r\n"),
    chunks('no digit at all', "\r\n"),
    chunks('a minus', "-1\r\n"),
    chunks('a plus', "+5\r\nabcde\r\n"),
    chunks('0x', "0x5\r\nabcde\r\n"),
    chunks('FFFFFFFFFFFFFFFF', "FFFFFFFFFFFFFFFF\r\n"),
    chunks('17 digits', "1" . "0" x 16 . "\r\n"),
    chunks('no CRLF behind the data', "5\r\nabcdeX0\r\n\r\n"),
    chunks('the second is bad', $first . "g\r\n"),
    chunks('a request for a trailer', "0\r\nGET / HTTP/1.1\r\n", kept => 1),
    { row => 2, name => 'bad chunk of a body that nobody wants',
      status => 400, kept => 0, split => 0,
      raw => raw_request('GET', '/v1/files', "zzz\r\n$get",
                         'Transfer-Encoding' => 'chunked') },
    # in segments, nginx sees it when the answer is on its way, or cuts it
    { row => 2, name => 'bad chunk while the answer is made', end => 'close',
      raw => raw_request('GET', '/v1/files', "zzz\r\n$get",
                         'Transfer-Encoding' => 'chunked') },
    { row => 2, name => 'bad chunk behind an early error', status => 405,
      kept => 0,
      raw => raw_request('POST', '/v1/files/x', "zzz\r\n$get",
                         'Transfer-Encoding' => 'chunked') },
    { row => 2, name => 'chunked in HTTP/1.0', status => 400,
      kept => 0,
      raw => raw_request('POST', '/v1/files', "$first\r\n", @type,
                         'Transfer-Encoding' => 'chunked')
             =~ s{HTTP/1.1}{HTTP/1.0}r },
);

my @te = map {
    { row => 3, name => "Transfer-Encoding $_", status => 501,
      kept => 0,
      raw => raw_request('POST', '/v1/files', "$first$get", @type,
                         'Transfer-Encoding' => $_) }
} ('gzip, chunked', 'gzip', 'identity', 'chunked, identity', 'xchunked',
   "chunked\x0b", 'chunked, chunked');

hostile('lengths', @length, @chunks, @te);



=== TEST 2: rows 4 and 10: too much; Expect
--- api_config
batch_max_file_size 300000;
lingering_timeout 500ms;
--- server_extra
location /small/ {
    client_max_body_size 1000;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
my @type = ('Content-Type' => 'multipart/form-data; boundary=b0undary');
my $body = form('b0undary', ['purpose', 'vision'],
                ['file', 'x' x 400000, 'a']);
my $json = '{"x":"' . 'x' x 70000 . '"}';

hostile('sizes',
    { row => 4, name => 'client_max_body_size, by length', status => 413,
      code => undef, param => undef,
      request => ['POST', '/small/files', $body, @type] },
    { row => 4, name => 'client_max_body_size, by chunks', status => 413,
      code => undef, param => undef, kept => 0, chunk => 500,
      request => ['POST', '/small/files', $body, @type] },
    { row => 4, name => 'client_max_body_size, one chunk', status => 413,
      kept => 0, chunk => 500000,
      request => ['POST', '/small/files', $body, @type] },
    { row => 4, name => 'client_max_body_size, a GET', status => 413,
      request => ['GET', '/small/files', $body] },
    { row => 4, name => 'batch_max_file_size, by length', status => 413,
      code => undef, param => undef, message => 'File is too large.', kept => 0,
      request => ['POST', '/v1/files', $body, @type] },
    { row => 4, name => 'batch_max_file_size, by chunks', status => 413,
      code => undef, param => undef, message => 'File is too large.', kept => 0,
      chunk => 5000, request => ['POST', '/v1/files', $body, @type] },
    { row => 4, name => 'batch_max_file_size, all in one chunk', status => 413,
      message => 'File is too large.', kept => 0, chunk => 500000,
      request => ['POST', '/v1/files', $body, @type] },
    { row => 4, name => 'a JSON body, by length', status => 413,
      request => ['POST', '/v1/batches', $json] },
    { row => 4, name => 'a JSON body, by chunks', status => 413,
      chunk => 1000, request => ['POST', '/v1/batches', $json] },
    { row => 4, name => 'uploads, by length', status => 413,
      request => ['POST', '/v1/uploads', $json] },
    { row => 4, name => 'announced only', status => 413, kept => 0,
      request => ['POST', '/v1/files', undef, @type,
                  'Content-Length' => '999999999999'] },
    { row => 10, name => 'Expect: foo', status => 200, kept => 1,
      form => [['purpose', 'vision'], ['file', 'x', 'a']], content => 'x',
      headers => [Expect => 'foo'] },
    { row => 10, name => '100-continue', status => 200, kept => 1,
      form => [['purpose', 'vision'], ['file', 'x', 'a']], content => 'x',
      headers => [Expect => '100-continue'] },
    { row => 10, name => '100-continue and no body', status => 400,
      param => 'file', kept => 1,
      request => ['POST', '/v1/files', undef, Expect => '100-continue'] });

# no "100 Continue" before a refusal

for (['/v1/files', 413, @type], ['/small/files', 413, @type],
     ['/v1/files/x', 405, @type], ['/v1/batches', 413],
     ['/v1/files', 415, @type, 'Content-Encoding' => 'gzip'],
     ['/v1/files', 400, 'Content-Type' => 'text/plain'])
{
    my ($path, $status, @h) = @$_;
    my $c = BatchRaw->new;
    my $n = $status == 413 ? 300 * 1024 * 1024 : 1000;

    $c->send(raw_request('POST', $path, undef, @h, 'Content-Length' => $n,
                         Expect => '100-continue'));
    $c->fill;
    like($c->{in}, qr{^HTTP/1\.1 $status }, "row 10: $status, no 100 first");
}



=== TEST 3: rows 5, 6, 9: what is no upload
--- flow
my @type = ('Content-Type' => 'multipart/form-data; boundary=b0undary');
my @form = (['purpose', 'vision'], ['file', "x\r\n--y" x 500, 'a']);
my $json = '{"input_file_id":"file-' . 'a' x 22 . '",'
           . '"endpoint":"/v1/chat/completions","completion_window":"24h"}';
my $upload = '/v1/uploads/upload_' . '0' x 32;

my @cases = map {
    { row => 5, name => "chunks of $_", status => 200, kept => 1,
      form => [@form], content => "x\r\n--y" x 500, chunk => $_ }
} (1, 7, 1000, 5000);

push @cases, { row => 5, name => 'chunk extensions and trailers',
    status => 200, kept => 1, content => 'x',
    raw => raw_request('POST', '/v1/files',
        join('', map { sprintf "%X;a=\"b\" ;c\r\n%s\r\n", length, $_ }
                     unpack '(a9)*', form('b0undary', ['purpose', 'vision'],
                                          ['file', 'x', 'a']))
        . "0;x\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        @type, 'Transfer-Encoding' => 'chunked') };

for (['none'], ['length 0', ''], ['chunked'], ['with a type', undef, @type]) {
    my ($name, $body, @h) = @$_;

    push @cases, { row => 6, name => "no body: $name", status => 400,
                   param => 'file', code => 'missing_required_parameter',
                   kept => 1, request => ['POST', '/v1/files', $body, @h] }
        unless $name eq 'chunked';
}

push @cases, { row => 6, name => 'no body: chunked', status => 400, kept => 1,
               param => 'file', code => 'missing_required_parameter',
               raw => raw_request('POST', '/v1/files', "0\r\n\r\n", @type,
                                  'Transfer-Encoding' => 'chunked') };

for my $e ('gzip', 'deflate', 'br', 'zstd', 'GZIP', 'x-gzip', 'identity, gzip',
           'gzip, identity', 'x' x 3000, "a\"b")
{
    my %o = (row => 9, status => 415, code => 'unsupported_encoding',
             headers => ['Content-Encoding' => $e], kept => 1);
    my $shown = substr $e, 0, 20;

    push @cases,
        { %o, name => "$shown, a file", form => [@form] },
        { %o, name => "$shown, a batch",
          request => ['POST', '/v1/batches', $json] };
}

for my $path ('/v1/uploads', "$upload/parts", "$upload/complete") {
    push @cases, { row => 9, name => "gzip, $path", kept => 1,
                   status => 415, code => 'unsupported_encoding',
                   request => ['POST', $path, 'x' x 100, @type,
                               'Content-Encoding' => 'gzip'] };
}

push @cases, { row => 9, name => 'identity, then gzip', status => 415,
               form => [@form], kept => 1,
               headers => ['Content-Encoding' => 'identity',
                           'Content-Encoding' => 'gzip'] },
             { row => 9, name => 'identity', status => 200, kept => 1,
               form => [@form], content => "x\r\n--y" x 500,
               headers => ['Content-Encoding' => 'Identity'] };

hostile('no uploads', @cases);



=== TEST 4: row 7: clients that leave in the middle
--- flow
my $body = form('b0undary', ['purpose', 'vision'],
                ['file', 'x' x 600000, 'a']);
my $req = raw_request('POST', '/v1/files', $body,
                      'Content-Type' => 'multipart/form-data; boundary='
                                        . 'b0undary');
my $chunked = raw_request('POST', '/v1/files',
                          sprintf("%x\r\n%s\r\n", length $body, $body),
                          'Content-Type' => 'multipart/form-data; boundary='
                                            . 'b0undary',
                          'Transfer-Encoding' => 'chunked');
my $part = raw_request('POST', '/v1/uploads/upload_' . '0' x 32 . '/parts',
                       $body, 'Content-Type' => 'multipart/form-data; '
                                                . 'boundary=b0undary');
my @cases;

for my $end ('close', 'abort') {
    for my $at (1, 100, 250, 400, 300000, length($req) - 1) {
        push @cases, { row => 7, name => "$end at $at", end => $end,
                       split => $at < 1000, raw => substr $req, 0, $at };
    }

    push @cases,
        { row => 7, name => "$end, no last chunk", end => $end,
          split => 0, raw => $chunked },
        { row => 7, name => "$end, of a part", end => $end,
          split => 0, raw => substr $part, 0, 300000 },
        { row => 7, name => "$end, of JSON", end => $end,
          raw => raw_request('POST', '/v1/batches', '{"a":',
                             'Content-Length' => 100) },
        { row => 7, name => "$end behind the whole of JSON", end => $end,
          raw => raw_request('POST', '/v1/batches', '{}') },
        { row => 7, name => "$end behind a list", end => $end,
          raw => raw_request('GET', '/v1/files') };
}

hostile('half requests', @cases);
is(scalar @{ api('GET', '/v1/files')->{json}{data} }, 0, 'row 7: no file');



=== TEST 5: rows 11 to 13: paths, methods, bodies of GET
--- flow
my $id = 'file-' . 'a' x 22;
my @cases;

# below this location; the dots lead elsewhere by nginx's own rules

for my $p ("/v1/files/%2e%2e%2ffiles", "/v1/files/$id%2Fcontent",
           "/v1/files/$id/../$id%2fcontent", '/v1/files/..%2ffiles',
           "/v1/files//$id", "/v1/files/$id//content", '/v1/files/',
           '/v1/files//', "/v1/files/$id/", "/v1/files/$id/content/",
           '/v1/files;a=b', "/v1/files/$id;a=b", "/v1/files/$id;/content",
           "/v1/files.", "/v1/files/$id.", "/v1/files/$id./content",
           "/v1/files/%66ile-" . 'a' x 22, '/v1/fil%65s', "/v1/files/$id%20",
           "/v1/files/$id\\content", "/v1/files/\xff\xfe", '/v1/files/%ff',
           "/v1/files/$id/content%00", '/v1/files/.')
{
    my $nul = $p =~ /%00/;

    push @cases, { row => 11, name => $p =~ s/[^ -~]/?/gr, kept => !$nul,
                   status => $nul ? 400 : 404,
                   request => ['GET', $p] };
}

push @cases, { row => 11, name => 'above the root', status => 400,
               request => ['GET', '/v1/files/../../../etc/passwd'] };

for (['/v1/filesx', 'GET'], ['/v1/files/a/b/c', 'POST'],
     ['/v1/batches/x/content', 'GET'], ['/v1/uploads/x/y', 'POST'])
{
    push @cases, { row => 12, name => "$_->[1] $_->[0]", status => 404,
                   message => qr{^Invalid URL \(\Q$_->[1] $_->[0]\E\)$},
                   request => [$_->[1], $_->[0]] };
}

for (['/v1/files', 'GET, HEAD, POST, OPTIONS', qw(DELETE PUT PATCH FOO)],
     ["/v1/files/$id", 'GET, HEAD, DELETE, OPTIONS', qw(POST PUT)],
     ["/v1/files/$id/content", 'GET, HEAD, OPTIONS', qw(POST DELETE PROPFIND)],
     ['/v1/batches', 'GET, HEAD, POST, OPTIONS', qw(DELETE PUT COPY)],
     ['/v1/batches/x/cancel', 'POST, OPTIONS', qw(GET DELETE)],
     ['/v1/uploads', 'POST, OPTIONS', qw(GET LOCK)])
{
    my ($path, $allow, @methods) = @$_;

    for my $m (@methods) {
        for my $body (undef, 'GET /v1/files HTTP/1.1') {
            push @cases, { row => 12, status => 405, kept => 1,
                name => "$m $path" . ($body ? ' with a body' : ''),
                code => 'method_not_supported',
                request => [$m, $path, $body],
                check => sub { $_[0]{headers}{allow} eq $allow
                               ? () : "Allow: $_[0]{headers}{allow}" } };
        }
    }
}

push @cases, map {
    { row => 12, name => "method $_", status => $_ eq 'TRACE' ? 405 : 400,
      kept => 0, request => [$_, '/v1/files'] }
} ('get', 'Post', 'G\x00T', 'GE T', '"GET"', 'TRACE');

push @cases, { row => 12, name => 'CONNECT', status => [400, 405],
               raw => "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
               status => 400, kept => 0 };

my $hidden = raw_request('DELETE', "/v1/files/$id");

for my $m ('GET', 'HEAD', 'OPTIONS', 'DELETE') {
    for my $o ({}, { chunk => 10 }) {
        my $path = $m eq 'DELETE' ? "/v1/files/$id" : '/v1/files';

        push @cases, { row => 13, kept => 1, %$o, head => $m eq 'HEAD',
            name => "$m with a body" . ($o->{chunk} ? ' of chunks' : ''),
            status => { GET => 200, HEAD => 200, OPTIONS => 204,
                        DELETE => 404 }->{$m},
            request => [$m, $path, $hidden x 3] };
    }
}

push @cases, { row => 13, name => 'three with bodies, pipelined', kept => 1,
               status => [200, 404, 200],
               raw => raw_request('GET', '/v1/files', $hidden)
                      . raw_request('DELETE', "/v1/files/$id", $hidden)
                      . raw_request('GET', '/v1/batches', $hidden) };

hostile('paths and methods', @cases);



=== TEST 6: row 14: arguments
--- http_extra
map $http_x_tenant $tenant { default $http_x_tenant; "" me; }
--- api_config
batch_tenant $tenant;
--- flow
my ($above, $below) = ('integer_above_max_value', 'integer_below_min_value');
my @cases;

for (['limit=1e9', undef, 'limit'], ['limit=-1', $below, 'limit'],
     ['limit=10001', $above, 'limit'], ['limit=', undef, 'limit'],
     ['limit=1000000000', $above, 'limit'], ['limit=0x10', undef, 'limit'],
     ['limit=' . '9' x 40, $above, 'limit'],
     ['limit=-' . '9' x 40, $below, 'limit'], ['limit=%31%30%30%30%31'],
     ['limit=1%00', undef, 'limit'], ['limit=+5', undef, 'limit'],
     ['order=x', undef, 'order'], ['order=DESC', undef, 'order'],
     ['order=asc%00', undef, 'order'], ['order=', undef, 'order'])
{
    my ($args, $code, $param) = @$_;

    push @cases, { row => 14, name => substr($args, 0, 20), status => 400,
                   kept => 1, request => ['GET', "/v1/files?$args"],
                   defined $code ? (code => $code) : (),
                   defined $param ? (param => $param) : () };
}

push @cases, { row => 14, name => 'batches: limit=101', status => 400,
               code => $above, param => 'limit', kept => 1,
               request => ['GET', '/v1/batches?limit=101'] };

push @cases, map {
    { row => 14, name => "batches: $_", status => 400, kept => 1,
      request => ['GET', "/v1/batches?$_"] }
} ('limit=-1', 'limit=x', 'limit=1e1');

for (['thousands', 'a=&' x 2600], ['of nothing', '&' x 7800],
     ['the same', 'limit=1&' x 900], ['no values', 'limit' x 1500],
     ['purposes', 'purpose=' . 'x' x 7000], ['afters', 'after=' . '*' x 7000])
{
    push @cases, { row => 14, name => "many: $_->[0]", kept => 1,
                   request => ['GET', "/v1/files?$_->[1]"], status => 200,
                   check => sub { $_[0]{json}{object} eq 'list' ? ()
                                  : $_[0]{body} } };
}

push @cases, { row => 14, name => 'more than a line', status => 414,
               kept => 0,
               request => ['GET', '/v1/files?' . 'a=b&' x 5000] };

hostile('arguments', @cases);

# a foreign id is no landmark

my @me = (headers => ['X-Tenant' => 'me']);
my @you = (headers => ['X-Tenant' => 'you']);
my @ids = map { upload(jsonl(1), @me)->{json}{id} } 1 .. 3;
my $batch = create_batch($ids[0], http => [@me])->{json}{id};
my $yours = upload(jsonl(1), @you)->{json}{id};

create_batch($yours, http => [@you]);

for (['files', $ids[1], 'file-' . 'a' x 22],
     ['batches', $batch, 'batch_' . '0' x 32])
{
    my ($what, $foreign, $unknown) = @$_;
    my $a = api('GET', "/v1/$what?after=$foreign", undef, @you);
    my $b = api('GET', "/v1/$what?after=$unknown", undef, @you);

    is($a->{status}, 200, "row 14: $what after a foreign id");
    is($a->{body}, $b->{body}, 'row 14: is as after an unknown one');
    is(scalar @{ $a->{json}{data} }, 0, 'row 14: empty');
}



=== TEST 7: row 8: bodies that do not come
--- api_config
batch_body_rate 1m grace=1s;
--- flow
my @type = ('Content-Type' => 'multipart/form-data; boundary=b0undary');
my $body = form('b0undary', ['purpose', 'vision'],
                ['file', 'x' x 400000, 'a']);
my $n = length $body;
my @cases;

for (['idle', 0, 0], ['half of it', int($n / 2), 0],
     ['all but a byte', $n - 1, 0], ['a byte now and then', 20, 1])
{
    my ($name, $sent, $drip) = @$_;
    my %o = (row => 8, status => 408, kept => 0, drip => $drip,
             code => undef, param => undef,
             message => qr/^The request body did not arrive in time/);

    push @cases,
        { %o, name => "$name, a file", split => $sent < 1000,
          raw => raw_request('POST', '/v1/files', substr($body, 0, $sent),
                             @type, 'Content-Length' => $n) };

    push @cases,
        { %o, name => "$name, JSON", split => 0,
          raw => raw_request('POST', '/v1/batches', '{"a":"',
                             'Content-Length' => 5000) },
        { %o, name => "$name, in chunks", split => 0,
          raw => raw_request('POST', '/v1/files', "61a80\r\n"
                             . substr($body, 0, $sent), @type,
                             'Transfer-Encoding' => 'chunked') }
        if $sent <= 20;
}

hostile('slow bodies', @cases);



=== TEST 8: rows x: requests that hide in others
--- flow
my $id = 'file-' . 'a' x 22;
my @type = ('Content-Type' => 'multipart/form-data; boundary=b0undary');
my $hidden = raw_request('DELETE', "/v1/files/$id") x 2;
my $ok = form('b0undary', ['purpose', 'vision'], ['file', $hidden, 'a']);
my @cases;

# whatever the answer, the body is no request

for (['a good upload', 200, '/v1/files', $ok, @type],
     ['compressed', 415, '/v1/files', $ok, @type, 'Content-Encoding', 'gzip'],
     ['no multipart', 400, '/v1/files', $hidden, 'Content-Type', 'text/plain'],
     ['no type', 400, '/v1/files', $hidden],
     ['a bad boundary', 400, '/v1/files', $ok, 'Content-Type',
      'multipart/form-data; boundary='],
     ['no delimiter', 400, '/v1/files', $hidden, @type],
     ['a bad part', 400, '/v1/files', "--b0undary\r\nx\r\n$hidden", @type],
     ['in the epilogue', 200, '/v1/files', $ok . $hidden, @type],
     ['a bad Idempotency-Key', 400, '/v1/files', $ok, @type,
      'Idempotency-Key', 'x' x 300],
     ['no JSON', 400, '/v1/batches', $hidden],
     ['JSON and more', 400, '/v1/batches', "{}\r\n$hidden"],
     ['no route', 404, '/v1/batchesx', $hidden],
     ['no such method', 405, "/v1/files/$id", $hidden],
     ['no such upload', 404, '/v1/uploads/x/parts', $ok, @type],
     ['no such upload, but it could be', 404,
      '/v1/uploads/upload_' . '0' x 32 . '/parts', $ok, @type],
     ['complete', 404, '/v1/uploads/x/complete', $hidden],
     ['cancel', 404, '/v1/batches/batch_' . '0' x 32 . '/cancel', $hidden],
     ['cancel, no id', 404, '/v1/batches/x/cancel', $hidden])
{
    my ($name, $status, $path, $body, @h) = @$_;

    for my $o ({}, { chunk => 50 }) {
        my $good = $status == 200;

        push @cases, { row => 'x', status => $status, %$o,
            name => $name . ($o->{chunk} ? ', in chunks' : ''),
            $good ? (kept => 1, content => $hidden) : (),
            request => ['POST', $path, $body, @h] };
    }

    # and what follows the body is one, if the connection is kept

    push @cases, { row => 'x', name => "$name, with another one behind it",
                   raw => raw_request('POST', $path, $body, @h)
                          . raw_request('GET', '/v1/batches'),
                   split => $status == 200,
                   status => [$status, 200], kept => 1 };
}

push @cases, map {
    my ($name, $status, $text, @more) = @$_;

    { row => 'x', name => $name, status => $status, raw => $text, @more }
} (
    ['ten requests at once', [(404) x 9, 200],
     raw_request('GET', "/v1/files/$id") x 9
     . raw_request('GET', '/v1/files'), kept => 1],
    ['a hundred, the last to close', [(404) x 99, 200],
     raw_request('DELETE', "/v1/files/$id") x 99
     . raw_request('GET', '/v1/files', undef, Connection => 'close'),
     kept => 0, split => 0],
    ['nothing behind Connection: close', 200,
     raw_request('GET', '/v1/files', undef, Connection => 'close') . $hidden,
     kept => 0],
    ['a space before the colon', 400,
     raw_request('POST', '/v1/files', "5\r\nabcde\r\n0\r\n\r\n$hidden",
                 'Transfer-Encoding ' => 'chunked'), kept => 0],
    ['a folded header', 400,
     raw_request('POST', '/v1/files', $ok, 'X' => "y\r\n Content-Length: 5"),
     kept => 0],
    ['a NUL in a header', 400,
     raw_request('GET', '/v1/files', undef, X => "a\0b"), kept => 0],
    ['an underscore for a dash', 400,
     raw_request('POST', '/v1/files', undef, 'Content_Length' => 5),
     param => 'file', kept => 1],
    ['no Host', 400, "GET /v1/files HTTP/1.1\r\n\r\n", kept => 0],
    ['two Hosts', 400, raw_request('GET', '/v1/files', undef, Host => 'a'),
     kept => 0],
    ['a Host that is none', 400,
     raw_request('GET', '/v1/files') =~ s{Host: .*}{Host: a/../b\r}r,
     kept => 0],
    ['an absolute URL', 200,
     raw_request('GET', 'http://169.254.169.254/v1/files'), kept => 1],
    ['HTTP/1.0', 200, "GET /v1/files HTTP/1.0\r\n\r\n$hidden", kept => 0],
    ['HTTP/2.0', 505, raw_request('GET', '/v1/files') =~ s{1\.1}{2.0}r,
     kept => 0],
    ['an upgrade', 200,
     raw_request('GET', '/v1/files', undef, Connection => 'Upgrade',
                 Upgrade => 'h2c', 'HTTP2-Settings' => 'AAMAAABkAARAAAAA'),
     kept => 1],
    ['headers that only an upstream may set', 200,
     raw_request('GET', '/v1/files', undef,
                 'X-Accel-Redirect' => '/batch-lines/v1/models',
                 'X-Accel-Buffering' => 'no'), kept => 1],
    ['32 KB of headers', 400,
     raw_request('GET', '/v1/files', undef, X => 'y' x 40000), kept => 0],
    ['two types', 200,
     raw_request('POST', '/v1/files', $ok, @type, 'Content-Type' =>
                 'multipart/form-data; boundary=c'),
     kept => 1, content => $hidden],
);

push @cases, { row => 'x', name => 'HTTP/0.9', end => 'close',
               raw => "GET /v1/files\r\n" };

hostile('requests in requests', @cases);
