# Whose a request is, and that no cache gives one tenant what is another's.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

sub is_refused {
    my ($r, $name, $like) = @_;
    my $e = $r->{json}{error} // {};

    Test::More::is($r->{status}, 400, $name);
    Test::More::is($e->{code}, 'invalid_tenant', "$name: code");
    Test::More::is($e->{type}, 'invalid_request_error', "$name: type");
    Test::More::like($e->{message}, $like, "$name: message");
}


# What an answer lets caches do.

sub is_private {
    my ($r, $status, $name, %o) = @_;
    my $want = $o{kept} ? 'private, no-cache' : 'private, no-store';

    Test::More::is($r->{status}, $status, $name);
    Test::More::is_deeply([$r->{raw_head} =~ /^cache-control: ([^\r]*)/mig],
                          [$want], "$name: $want");
    Test::More::is_deeply([$r->{raw_head} =~ /^vary: ([^\r]*)/mig],
                          [$o{vary} // ()], "$name: Vary");
}

my $caches = <<'CONF';
    proxy_cache_path $TEST_NGINX_BATCH_DIR/cache keys_zone=c:1m;
    map $http_authorization $who { default ""; "Bearer a" a; "Bearer b" b; }
CONF

$caches =~ s/\$TEST_NGINX_BATCH_DIR/$ENV{TEST_NGINX_BATCH_DIR}/;
our $Caches = $caches;

run_tests();

__DATA__

=== TEST 1: an empty tenant is none
--- api_config
    batch_tenant $http_x_team;
--- server_extra
location /all/ { batch_api; batch_pass /batch-lines; }
--- flow
BatchRaw::ready('/all/files');

my @team = (headers => ['X-Team' => 'a']);
my $f = upload(jsonl(1), @team)->{json}{id};

for (['GET', '/v1/files'], ['HEAD', '/v1/files'], ['GET', '/v1/batches'],
     ['GET', "/v1/files/$f"], ['DELETE', "/v1/files/$f"])
{
    my ($method, $path) = @$_;

    is(http($method, $path)->{status}, 400, "$method $path");
    is(http($method, $path, headers => ['X-Team' => ''])->{status}, 400,
       'with an empty header');
}

my $empty = qr/^The request does not say which tenant it is of/;

main::is_refused(upload(jsonl(1)), 'an upload', $empty);
main::is_refused(api('POST', '/v1/batches', { input_file_id => $f }),
                 'a batch', $empty);
main::is_refused(api('GET', '/v1/files', undef, headers => ['X-Team' => ' ']),
                 'a blank header', $empty);

# locations without the directive are one tenant still

my $all = api('GET', '/all/files')->{json};
is(scalar @{ $all->{data} }, 0, 'nothing of a there');
is(api('GET', '/v1/files', undef, @team)->{json}{data}[0]{id}, $f,
   'and it is still there');

# each worker says so once a minute

my @said = grep {
    /\[error\].*: request refused, the value of "batch_tenant" is empty/
} split /\n/, error_log_text();

cmp_ok(scalar @said, '>=', 1, 'it is in the log');
cmp_ok(scalar @said, '<=', 2, 'once a worker');



=== TEST 2: several headers of the one that decides
--- api_config
    batch_tenant "$http_x_team/$http_x_user_id";
--- http_extra
    underscores_in_headers on;
--- server_extra
location /all/ { batch_api; batch_pass /batch-lines; }
--- flow
BatchRaw::ready('/all/files');

my @good = ('X-Team' => 'a', 'X-User-Id' => 'u');
my $several = qr/^The request has more than one header/;

is(api('GET', '/v1/files', undef, headers => \@good)->{status}, 200, 'one');
is(api('GET', '/v1/files', undef, headers => [@good, 'X-Other' => 1,
                                              'X-Other' => 2])->{status}, 200,
   'another header twice');
is(api('GET', '/v1/files', undef, headers => ['X-Team' => 'a, b'])->{status},
   200, 'a comma is text');

for (['X-Team' => 'b'], ['x-team' => 'a'], ['X_Team' => 'b'], ['X-TEAM' => ''],
     ['X-User-Id' => 'v'], ['x_user-id' => 'v'])
{
    for my $h ([@good, @$_], [@$_, @good]) {
        main::is_refused(api('GET', '/v1/files', undef, headers => $h),
                         "also $_->[0]: $_->[1]", $several);
    }
}

is(api('GET', '/all/files', undef, headers => [@good, @good])->{status}, 200,
   'not where no tenant depends on it');



=== TEST 3: Authorization, whatever is made of it
--- http_extra
    map $http_authorization $who { default ""; "Bearer a" a; "Bearer b" b; }
--- api_config
    batch_tenant $who;
--- server_extra
location /all/ { batch_api; batch_pass /batch-lines; }
--- flow
BatchRaw::ready('/all/files');

my @auth = (Authorization => 'Bearer a');

is(api('GET', '/v1/files', undef, headers => \@auth)->{status}, 200, 'one');
is(api('GET', '/v1/files', undef,
       headers => [@auth, Authorization => 'Bearer b'])->{status}, 400, 'two');
is(api('GET', '/v1/files', undef,
       headers => [Authorization => 'Bearer x'])->{status}, 400,
   'a map without a value for it');



=== TEST 4: a tenant that cannot be
--- api_config
    batch_tenant "";
--- must_die
--- error_log
must be UTF-8 text of 1 to 256 bytes; without the directive all clients are one tenant



=== TEST 5: caches: what each kind of answer says
--- api_config
    batch_tenant $http_x_team;
--- server_extra
location /all/ { batch_api; batch_pass /batch-lines; }
location /deny/ { deny all; batch_api; batch_pass /batch-lines; }
location /two/ {
    batch_tenant "$http_authorization $cookie_a $cookie_b $remote_user";
    batch_cors https://a.example;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
BatchRaw::ready('/all/files');

my @t = ('X-Team' => 'a');
my @o = (vary => 'X-Team');
my $f = upload(jsonl(9), headers => \@t)->{json}{id};
my $get = sub {
    my ($path, @h) = @_;
    return http('GET', "/v1/$path", headers => [@t, @h]);
};

main::is_private($get->('files'), 200, 'a list', @o);
main::is_private($get->("files/$f"), 200, 'a file', @o);
main::is_private($get->('files/x'), 404, 'no file', @o);
main::is_private($get->('files?limit=x'), 400, 'an error', @o);
main::is_private(http('GET', '/v1/files'), 400, 'no tenant', @o);
main::is_private(http('PUT', '/v1/files', headers => \@t), 405, 'PUT', @o);
main::is_private(http('OPTIONS', '/v1/files', headers => \@t), 204, 'OPTIONS',
                 @o);
main::is_private(http('GET', '/all/files'), 200, 'one tenant');
main::is_private(http('GET', '/deny/files'), 403, 'a page of nginx');

push @o, kept => 1;
main::is_private($get->("files/$f/content"), 200, 'content', @o);
main::is_private($get->("files/$f/content", Range => 'bytes=1-2'), 206,
                 'a range', @o);
main::is_private($get->("files/$f/content", 'If-None-Match' => "\"$f\""), 304,
                 'not modified', @o);
main::is_private(http('HEAD', "/v1/files/$f/content", headers => \@t), 200,
                 'HEAD', @o);

@o = (vary => 'X-Team');
main::is_private($get->("files/$f/content", Range => 'bytes=99999-'), 416,
                 'beyond its end', @o);
main::is_private($get->("files/$f/content", 'If-Match' => '"x"'), 412,
                 'a precondition', @o);
main::is_private($get->('files/file-' . 'x' x 22 . '/content'), 404,
                 'no content', @o);

my @who = (Authorization => 'x', Cookie => 'a=1; b=2');
my $vary = 'Authorization, Cookie, Origin';
main::is_private(http('GET', '/two/files', headers => \@who), 200,
                 'several, and batch_cors', vary => $vary);
main::is_private(http('GET', '/two/files/x', headers => \@who), 404,
                 'an error of it', vary => $vary);
main::is_private(http('OPTIONS', '/two/files', headers =>
    [Origin => 'https://a.example', 'Access-Control-Request-Method' => 'GET']),
    204, 'a preflight', vary =>
    'Authorization, Cookie, Access-Control-Request-Headers, Origin');



=== TEST 6: a cache in front gives nobody what is another's
--- http_extra eval: $main::Caches
--- api_config
    batch_tenant $http_x_team;
--- server_extra
location /all/ { batch_api; batch_pass /batch-lines; }
location /keys/ { batch_tenant $who; batch_api; batch_pass /batch-lines; }
location /cached/ {
    proxy_cache c;
    proxy_cache_valid any 10m;
    proxy_cache_key $uri;
    add_header X-Cache $upstream_cache_status always;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/;
}
location /blind/ {
    proxy_cache c;
    proxy_cache_valid any 10m;
    proxy_cache_key $uri;
    proxy_ignore_headers Cache-Control Expires;
    add_header X-Cache $upstream_cache_status always;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/;
}
--- flow
BatchRaw::ready('/all/files');

for (['/v1', map { ['X-Team' => $_] } qw(a b)],
     ['/keys', map { [Authorization => "Bearer $_"] } qw(a b)])
{
    my ($at, $mine, $yours) = @$_;
    my ($body, $type) = multipart(purpose => 'batch', file =>
                                  { data => jsonl(3), filename => 'a' });
    my $f = api('POST', "$at/files", undef, body => $body, headers =>
                [@$mine, 'Content-Type' => $type])->{json}{id};

    for my $path ("$at/files", "$at/files/$f", "$at/files/$f/content",
                  "$at/batches", "$at/files/x")
    {
        my @r = map { http('GET', "/cached$path", headers => $_) }
                $mine, $mine, $yours, $mine, [];

        like($_->{headers}{'x-cache'}, qr/^MISS$/, "$path: not from a cache")
            for @r;
        is($r[1]{body}, $r[0]{body}, "$path: the same again");
        is($r[3]{body}, $r[0]{body}, "$path: and again");
        is($r[4]{status}, 400, "$path: nothing for nobody");
        unlike($r[2]{body}, qr/"custom_id"|"id": ?"\Q$f\E"/,
               "$path: nothing for another one");
    }
}

# one that does not care what may be kept heeds Vary

my $f = upload(jsonl(3), headers => ['X-Team' => 'a'])->{json}{id};

for my $path ('/v1/files', "/v1/files/$f", "/v1/files/$f/content") {
    my @r = map { http('GET', "/blind$path", headers => ['X-Team' => $_]) }
            'a', 'b';

    is($r[0]{status}, 200, "$path: mine");
    unlike($r[1]{body}, qr/"custom_id"|"\Q$f\E"/, "$path: not another's");
    is(http('GET', "/blind$path", headers => ['X-Team' => 'a'])->{body},
       $r[0]{body}, 'but mine again');
}
