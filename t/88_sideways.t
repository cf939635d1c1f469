# Requests that reach the API sideways: refused by nginx before there is a
# location, by an error_page, as a subrequest; and who may see batch_status.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

sub is_error {
    my ($r, $status, $name, $code) = @_;
    my $e = $r->{json}{error} // {};

    Test::More::is($r->{status}, $status, $name);
    Test::More::is($r->{headers}{'content-type'}, 'application/json',
                   "$name: JSON");
    Test::More::is(join(' ', sort keys %$e), 'code message param type',
                   "$name: four keys");
    Test::More::is($e->{code}, $code, "$name: code");
}



run_tests();

__DATA__

=== TEST 1: TRACE and CONNECT
--- server_extra
location /a/ { batch_api; batch_pass /batch-lines; }
location = /only/files { batch_api; batch_pass /batch-lines; }
--- flow
for (['/v1/files', 'GET, HEAD, POST, OPTIONS'],
     ['/v1/files?x=1', 'GET, HEAD, POST, OPTIONS'],
     ['/v1/batches/x', 'GET, HEAD, OPTIONS'],
     ['/a/uploads/x/parts', 'POST, OPTIONS'],
     ['/only/files', 'GET, HEAD, POST, OPTIONS'],
     ['/v1/chat/completions', undef], ['/', undef],
     ['/only/batches', undef], ['/v1/batches/x/files', undef])
{
    my ($path, $allow) = @$_;
    my $r = BatchRaw->new->request('TRACE', $path);

    main::is_error($r, 405, "TRACE $path", 'method_not_supported');
    is($r->{headers}{allow}, $allow, 'Allow');
    is(() = $r->{raw_head} =~ /^allow:/mig, defined $allow ? 1 : 0, 'once');
}



=== TEST 2: what an error_page leads to is the error
--- http_extra
    limit_req_zone all zone=one:1m rate=1r/m;
--- server_extra
error_page 404 /a/files;
location /a/ { batch_api; batch_pass /batch-lines; }
location /413/ {
    client_max_body_size 10;
    error_page 413 = /a/files;
    batch_api;
    batch_pass /batch-lines;
}
location /plain/ {
    client_max_body_size 10;
    error_page 413 /a/files;
    batch_api;
    batch_pass /batch-lines;
}
location /ok/ {
    error_page 403 =200 /v1/batches;
    deny all;
    batch_api;
    batch_pass /batch-lines;
}
location /again/ {
    error_page 403 /a/files;
    recursive_error_pages on;
    if ($http_x_bad) { return 403; }
    batch_api;
    batch_pass /batch-lines;
}
location /429/ {
    error_page 429 /a/files;
    limit_req zone=one;
    limit_req_status 429;
    proxy_pass http://inference;
}
location /nowhere/ { return 404; }
--- flow
my $big = jsonl(3);
my $f = upload($big)->{json}{id};

main::is_error(api('POST', '/plain/files', undef, body => $big), 413,
               'a 413 keeps its status');
main::is_error(api('POST', '/413/files', undef, body => $big), 404,
               'with "=" nobody knows it any more');
main::is_error(api('GET', '/ok/files'), 404, 'with "=200" it is no success');
main::is_error(api('GET', '/nowhere/x'), 404, 'of the server');
http('GET', '/429/x');
my $r = api('GET', '/429/x');
main::is_error($r, 429, 'a 429', 'rate_limit_exceeded');
is($r->{json}{error}{type}, 'rate_limit_exceeded', 'type');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');

main::is_error(api('GET', '/again/files', undef, headers => ['X-Bad' => 1]),
               403, 'and again');
is(api('GET', '/again/files')->{status}, 200, 'not what is no error');

my @warn = error_log_text()
           =~ /\[warn\].*"(error_page \d+ \S+)" in location "localhost (\S+)"/g;

is(join(' ', sort { $a cmp $b } @warn), join(' ', sort { $a cmp $b }
   'error_page 413 /a/files', '/413/', 'error_page 413 /a/files', '/plain/',
   'error_page 403 /v1/batches', '/ok/', 'error_page 403 /a/files',
   '/again/', map { ('error_page 404 /a/files', $_) } '/a/',
   '^/v1/(files|uploads|batches)'), 'each is warned of at start');



=== TEST 3: subrequests
--- server_extra
location /a/ { batch_api; batch_pass /batch-lines; }
location /ssi/ { ssi on; ssi_types *; root $TEST_NGINX_BATCH_DIR; }
location = /added { add_after_body /a/files; return 200 "page\n"; }
location = /auth { auth_request /a/files; proxy_pass http://inference; }
location = /mirror { mirror /a/files; proxy_pass http://inference/mock/stats; }
--- flow
my $f = upload(jsonl(1))->{json}{id};
my $dir = test_dir() . '/ssi';

mkdir $dir;
chmod 0755, $dir;
open my $out, '>', "$dir/page" or die;
print $out "[<!--# include virtual=\"/a/files\" -->]",
           "[<!--# include virtual=\"/a/files/$f/content\" -->]\n";
close $out;

my $error = '{"error":{"message":"The API does not answer subrequests.",'
            . '"type":"invalid_request_error","param":null,"code":null}}';
my $r = http('GET', '/ssi/page');

is($r->{status}, 200, 'SSI');
is($r->{body}, "[$error][$error]\n", 'JSON in the page');

for my $path ('/added', '/auth', '/mirror') {
    $r = http('GET', $path);
    unlike($r->{body}, qr/"object"|custom_id/, "$path: nothing of the API");
}

is(http('GET', '/auth')->{status}, 500, 'auth_request lets nobody in');
is(http('GET', '/mirror')->{status}, 200, 'mirror changes nothing');
is(api('GET', '/a/files')->{status}, 200, 'a request is answered');



=== TEST 4: batch_status is open to this machine, and to whom a rule lets in
--- http_extra
    real_ip_header X-Real-IP;
    set_real_ip_from 127.0.0.1;
--- server_extra
location = /open { allow all; batch_status; }
location = /six { allow ::/0; batch_status; }
location = /closed { deny all; batch_status; }
location = /some { allow 192.0.2.7; deny all; batch_status; }
location = /basic { auth_basic x; auth_basic_user_file /dev/null;
                    batch_status; }
location = /off { auth_basic off; auth_request off; batch_status; }
location = /asked { auth_request /yes; batch_status; }
location = /yes { return 204; }
location = /if { if ($arg_x) { set $y 1; } batch_status; }
--- flow
my @far = (headers => ['X-Real-IP' => '192.0.2.1']);
my @near = (headers => ['X-Real-IP' => '127.9.9.9']);
my @six = (headers => ['X-Real-IP' => '2001:db8::1']);

for my $path ('/batch-status', '/off', '/if', '/if?x=1') {
    is(http('GET', $path)->{status}, 200, "$path: this machine");
    is(http('GET', $path, @near)->{status}, 200, '127.9.9.9, too');
    is(http('GET', $path, headers => ['X-Real-IP' => '::1'])->{status}, 200,
       'and ::1');
    main::is_error(api('GET', $path, undef, @$_), 403, "$path: another one")
        for \@far, \@six;
}

like(error_log_text(), qr/\[error\].*batch_status refused, its location has no/,
     'which is in the log');

for my $path ('/open', '/asked', '/six') {
    is(http('GET', $path, @far)->{status}, 200, "$path: a rule lets it in");
}

is(http('GET', '/some', headers => ['X-Real-IP' => '192.0.2.7'])->{status},
   200, 'this one');
main::is_error(api('GET', '/some', undef, @far), 403, 'not this one');
main::is_error(api('GET', '/closed'), 403, 'nobody');
main::is_error(api('GET', '/basic', undef, @far), 401, 'not without a password');

my $r = api('POST', '/batch-status', {});
main::is_error($r, 405, 'POST', 'method_not_supported');
is($r->{headers}{allow}, 'GET, HEAD', 'Allow');
is(http('GET', '/batch-status')->{headers}{'cache-control'}, 'no-store',
   'no cache keeps it');



=== TEST 5: a map, not the client, chooses the server of a line
--- config
    location = /up { return 200 "up\n"; }

    location ~ ^/v1/(files|batches) {
        client_max_body_size 0;
        batch_api;
        batch_retries 0;
        batch_pass /batch-lines;
    }

    location /batch-lines/ {
        internal;
        client_max_body_size 0;
        if ($server_of_model = "") { return 404; }
        rewrite    ^/batch-lines(/.*)$ $1 break;
        proxy_pass http://$server_of_model;
    }

    location = /batch-status { batch_status; }
--- http_extra
    map $batch_model $server_of_model {
        default  "";
        llama-8b inference;
    }
--- flow
my $b = run_batch(jsonl(2, model => 'llama-8b'));
is($b->{request_counts}{completed}, 2, 'a model of the map');

my $port = server_port();
$b = run_batch(jsonl(1, model => "127.0.0.1:$port"));
is($b->{request_counts}{failed}, 1, 'no model: no server');
is(mock_stats()->{requests}, 2, 'and nobody was asked');
