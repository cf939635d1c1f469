use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# batch_cors: pages of other origins use the API; numbers in brackets are those
# of the list of what clients of OpenAI's service rely on.

sub cors {
    my ($r) = @_;

    return join ' ', map { s/^access-control-//r . '=' . $r->{headers}{$_} }
                     grep { /^access-control-/ } sort keys %{ $r->{headers} };
}

sub preflight {
    my ($c, $path, $origin, @h) = @_;

    return $c->request('OPTIONS', $path, undef, headers =>
                       [Origin => $origin,
                        'Access-Control-Request-Method' => 'POST', @h]);
}

sub allowed {
    my ($origin) = @_;

    return "allow-origin=$origin expose-headers=X-Request-Id, "
           . 'Content-Disposition, Retry-After, X-Should-Retry';
}

run_tests();

__DATA__

=== TEST 1: off, as it is by default
--- flow
my $c = BatchRaw->new;

my $r = preflight($c, '/v1/files', 'https://a.example');
is($r->{status}, 204, 'OPTIONS');
is(cors($r), '', 'nothing is allowed');
is($r->{headers}{vary}, undef, 'no Vary');

$r = $c->request('GET', '/v1/files', undef,
                 headers => [Origin => 'https://a.example']);
is($r->{status}, 200, 'GET');
is(cors($r), '', 'nothing is allowed');



=== TEST 2: any origin [99]
--- api_config
    batch_cors *;
--- server_extra
location /a/ {
    batch_cors *;
    auth_basic x;
    auth_basic_user_file /dev/null;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
my $c = BatchRaw->new;
my @o = (headers => [Origin => 'https://a.example']);
my $any = allowed('*');

my $r = preflight($c, '/v1/files', 'https://a.example',
                  'Access-Control-Request-Headers' =>
                  'authorization,content-type, idempotency-key,'
                  . 'x-stainless-os');

is($r->{status}, 204, 'preflight');
is($r->{body}, '', 'no body');
is($r->{headers}{'access-control-allow-origin'}, '*', 'Allow-Origin');
is($r->{headers}{'access-control-allow-methods'},
   'GET, HEAD, POST, DELETE, OPTIONS', 'Allow-Methods');
is($r->{headers}{'access-control-allow-headers'},
   'authorization, content-type, idempotency-key, x-stainless-os',
   'Allow-Headers');
is($r->{headers}{'access-control-max-age'}, 7200, 'Max-Age');
is($r->{headers}{vary}, 'Access-Control-Request-Headers', 'Vary');
like($r->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'X-Request-Id');

for (['a b, c', 'c'], [',, ,', undef], ['x"y, (z), ok', 'ok'],
     ["\xc3\xa4, x-y", 'x-y'], ['a' x 2100 . ', b', 'b'], ['', undef])
{
    $r = preflight($c, '/v1/files', 'null',
                   'Access-Control-Request-Headers' => $_->[0]);
    is($r->{status}, 204, 'names that are none');
    is($r->{headers}{'access-control-allow-headers'}, $_->[1], 'left out');
}

$r = preflight($c, '/a/files', 'https://a.example');
is($r->{status}, 204, 'a preflight needs no password');
is($r->{headers}{'access-control-allow-origin'}, '*', 'Allow-Origin');

$r = $c->request('OPTIONS', '/a/files', undef, @o);
is($r->{status}, 401, 'other OPTIONS do');
is(cors($r), $any, 'and an error of nginx may be read');
ok($r->{json}{error}, 'JSON');

$r = $c->request('GET', '/v1/files', undef, @o);
is($r->{status}, 200, 'GET');
is(cors($r), $any, 'GET');
is($r->{headers}{vary}, undef, 'the same for all');

is(cors($c->request('GET', '/v1/files')), '', 'no origin');

$r = $c->request('GET', '/v1/files/file-x', undef, @o);
is($r->{status}, 404, 'an error');
is(cors($r), $any, 'of the API');

my $f = upload(jsonl(1))->{json}{id};

$r = $c->request('GET', "/v1/files/$f/content", undef, @o);
is($r->{status}, 200, 'content');
is(cors($r), $any, 'content');

for ([Range => 'bytes=0-3', 206], [Range => 'bytes=9999-', 416],
     ['If-Match' => '"x"', 412],
     ['If-None-Match' => $r->{headers}{etag}, 304])
{
    $r = api('GET', "/v1/files/$f/content", undef,
             headers => [@{ $o[1] }, @$_[0, 1]]);
    is($r->{status}, $_->[2], "a $_->[2]");
    is(cors($r), $any, "a $_->[2]");
    is(() = $r->{raw_head} =~ /^Access-Control-Allow-Origin:/mg, 1, 'once');
}

ok($c->alive, 'keep-alive');



=== TEST 3: listed origins
--- api_config
    batch_cors https://a.example http://localhost:3000;
--- flow
my $c = BatchRaw->new;

for my $origin ('https://a.example', 'http://localhost:3000') {
    my $r = preflight($c, '/v1/batches', $origin);
    is($r->{status}, 204, 'preflight');
    is($r->{headers}{'access-control-allow-origin'}, $origin, 'Allow-Origin');
    like($r->{headers}{vary}, qr/\bOrigin\b/, 'Vary');

    $r = $c->request('GET', '/v1/batches', undef,
                     headers => [Origin => $origin]);
    is(cors($r), allowed($origin), 'GET');
    is($r->{headers}{vary}, 'Origin', 'Vary');
}

for my $origin ('https://a.example.org', 'https://a.exampl', 'null',
                'http://a.example', 'https://a.example:444')
{
    my $r = preflight($c, '/v1/batches', $origin);
    is($r->{status}, 204, 'a preflight of another origin');
    is(cors($r), '', 'allows nothing');
    like($r->{headers}{vary}, qr/\bOrigin\b/, 'Vary');

    $r = $c->request('GET', '/v1/batches', undef,
                     headers => [Origin => $origin]);
    is($r->{status}, 200, 'GET');
    is(cors($r), '', 'allows nothing');
}

is($c->request('GET', '/v1/batches')->{headers}{vary}, 'Origin',
   'Vary without an origin, too');



=== TEST 4: inherited, and taken back
--- http_extra
batch_cors *;
--- server_extra
location /a/ {
    batch_cors off;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
my @o = (headers => [Origin => 'https://a.example']);

is(cors(api('GET', '/v1/files', undef, @o)), allowed('*'),
   'of http');
is(cors(api('GET', '/a/files', undef, @o)), '', 'off');
is(cors(api('GET', '/nothing', undef, @o)), '', 'not elsewhere');



=== TEST 5: an origin with a path
--- api_config
    batch_cors https://a.example/;
--- must_die
--- error_log
invalid origin "https://a.example/" in "batch_cors"



=== TEST 6: any origin and a list
--- api_config
    batch_cors * https://a.example;
--- must_die
--- error_log
invalid origin "*" in "batch_cors"



=== TEST 7: twice
--- api_config
    batch_cors *;
    batch_cors off;
--- must_die
--- error_log
"batch_cors" directive is duplicate
