# Webhooks, what is the module's own about them: configuration, crashes, an
# emptied Redis, many at once, receivers that behave badly.  What clients rely on
# is in t/37_checklist_webhooks.t.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchHook;
use Test::Nginx::Socket 'no_plan';

our $key = 'the secret word';

sub put {
    my ($name, $text) = @_;

    open my $out, '>', test_dir() . "/$name" or die "$name: $!\n";
    print $out $text;
    close $out;
}

put('hook-secret', "$key\n");
put('hook-empty', "\n");
put('hook-two', "one\ntwo\n");

sub delivered {
    my ($n) = @_;

    return wait_until(sub { my $s = hook_status();
                            $s->{delivered} >= $n && $s->{pending} == 0 }, 40);
}

# the next attempt is due now, whoever may be at work on it

sub due { return redis('ZADD', '{batch}:hd', 'XX', 0, $_[0]) }

sub marked {
    my ($id) = @_;

    return -e store_dir() . '/batches/' . substr($id, 6, 2) . "/$id/hook.json";
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: a secret that is not whsec_, in a file; no header but these
--- api_config
    batch_webhook /batch-webhook secret_file=$TEST_NGINX_BATCH_DIR/hook-secret;
    batch_tenant $http_x_tenant;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- flow
my @as = (headers => ['X-Tenant' => 'tenant-7']);
my $f = upload(jsonl(1), @as)->{json};
my $b = create_batch($f->{id}, http => \@as)->{json};
$b = wait_batch($b->{id}, http => \@as);

is(wait_hooks(1), 1, 'a webhook');
my ($h) = hooks();

is(hook_error($h, $main::key), undef, 'signed with the bytes as they are');
is($h->{json}{created_at}, $b->{completed_at}, 'created_at is the end');
is(join(' ', sort keys %{ $h->{headers} }), 'accept connection content-length'
   . ' content-type host user-agent webhook-id webhook-signature'
   . ' webhook-timestamp', 'no other header');
is($h->{headers}{'user-agent'}, 'nginx-batch', 'User-Agent');
unlike(json_encode($h), qr/tenant-7/, 'the tenant is not told');
ok(main::delivered(1), 'delivered');
ok(wait_until(sub { main::marked($b->{id}) }), 'and known to be');
unlike(error_log_text(), qr/\Q$main::key/, 'the secret is not logged');

my $r = http('GET', '/batch-status?format=prometheus');
like($r->{body}, qr/^nginx_batch_webhooks_pending 0$/m, 'metrics: pending');
like($r->{body}, qr/^nginx_batch_webhook_attempts_total\{result="delivered"\}
                    \ 1$/mx, 'metrics: delivered');
like($r->{body}, qr/^nginx_batch_webhook_attempts_total\{result="failed"\}
                    \ 0$/mx, 'metrics: failed');
is(http('POST', '/batch-webhook', body => 'x')->{status}, 404,
   'clients do not get there');



=== TEST 2: several routes, with a webhook, without, and with another one
--- http_extra
    batch_webhook /batch-webhook secret=a;
--- api_config
    batch_webhook off;
--- server_extra
location /a/ { batch_api; batch_pass /batch-lines; }
location /b/ {
    batch_api;
    batch_pass /batch-lines;
    batch_webhook /other secret=b;
}
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
    proxy_set_header X-Batch $batch_id;
    proxy_set_header X-Tenant "-$batch_tenant-";
    proxy_set_header X-Line "-$batch_line-";
}
location = /other {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/other;
}
--- flow
my %id;

for my $at ('/v1', '/a', '/b') {
    my ($body, $type) = multipart(purpose => 'batch', file =>
                                  { data => jsonl(1), filename => 'a.jsonl' });
    my $f = api('POST', "$at/files", undef, body => $body,
                headers => ['Content-Type' => $type])->{json};
    my $b = api('POST', "$at/batches",
                { input_file_id => $f->{id}, completion_window => '24h',
                  endpoint => '/v1/chat/completions' })->{json};

    is(wait_batch($b->{id})->{status}, 'completed', "a batch of $at/");
    $id{$at} = $b->{id};
}

ok(main::delivered(2), 'delivered');
my %h = map { $_->{path} => $_ } hooks();

is(join(' ', sort keys %h), '/hook /other', 'each at its receiver');
is($h{'/hook'}{json}{data}{id}, $id{'/a'}, 'the inherited one');
is($h{'/other'}{json}{data}{id}, $id{'/b'}, 'the own one');
is(hook_error($h{'/hook'}, 'a'), undef, 'the inherited secret');
is(hook_error($h{'/other'}, 'b'), undef, 'the own secret');
is($h{'/hook'}{headers}{'x-batch'}, $id{'/a'}, '$batch_id');
is($h{'/hook'}{headers}{'x-tenant'}, '--', '$batch_tenant');
is($h{'/hook'}{headers}{'x-line'}, '--', 'nothing of a line');
is(scalar(my @all = hooks()), 2, 'none of the location with "off"');
ok(!main::marked($id{'/v1'}), 'which nobody was told of');



=== TEST 3: many at once, each of them once
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- flow
my $f = upload(jsonl(1))->{json};
my @id = map { create_batch($f->{id})->{json}{id} } 1 .. 40;

wait_batch($_) for @id;
ok(main::delivered(40), 'all are delivered') or diag(json_encode(hook_status()));

my @told = map { $_->{json}{data}{id} } hooks();
is(join(' ', sort @told), join(' ', sort @id), 'each of them once');
is(redis('ZCARD', '{batch}:hd'), 0, 'the index has none');



=== TEST 4: everything is killed while the receiver thinks
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- no_error_log
[alert]
[crit]
[emerg]
--- flow
hook_script('hang', '200');

my $b = run_batch(jsonl(1));
is($b->{status}, 'completed', 'completed');
is(wait_hooks(1), 1, 'the receiver has it');
ok(!main::marked($b->{id}), 'it is not delivered');

nginx_stop('KILL');
main::due($b->{id});
ok(nginx_start(), 'nginx starts again');

is(wait_hooks(2), 2, 'it is sent again');
ok(main::delivered(1), 'delivered');

my @h = hooks();
is($h[1]{headers}{'webhook-id'}, $h[0]{headers}{'webhook-id'},
   'with the same webhook-id');
is($h[1]{body}, $h[0]{body}, 'and body');
is(hook_error($h[1], 'a'), undef, 'signed');



=== TEST 5: Redis is emptied before it is delivered, and afterwards
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- flow
sub filled { my $n = () = error_log_text() =~ /index is rebuilt/g; $n }

my $one = run_batch(jsonl(1));
ok(main::delivered(1), 'one is delivered');

hook_script('500');
my $b = run_batch(jsonl(1));
ok(wait_until(sub { hook_status()->{failed_attempts} }, 20), 'another one is not');

my $n = filled();
redis('FLUSHALL');
hook_script('200');
ok(wait_until(sub { filled() > $n }, 20), 'the index is filled again');
wait_ready();
ok(main::delivered(2), 'then it is delivered');

my @of = grep { $_->{json}{data}{id} eq $b->{id} } hooks();
my %ids = map { $_->{headers}{'webhook-id'} => 1 } @of;
is(scalar keys %ids, 1, 'with the webhook-id that it had');

# a rebuild makes nothing due that was delivered; one that is due is looked at,
# so that an index that is older than the store does no harm

$n = filled();
my $sent = () = hooks();
redis('FLUSHALL');
ok(wait_until(sub { filled() > $n }, 20), 'the index is filled once more');
wait_ready();
is(redis('ZCARD', '{batch}:hd'), 0, 'none is due');

redis('ZADD', '{batch}:hd', 0, $_->{id}) for $one, $b;
redis('ZADD', '{batch}:hd', 0, 'batch_' . '0' x 32);
redis('ZADD', '{batch}:hd', 0, 'no id at all');
ok(wait_until(sub { redis('ZCARD', '{batch}:hd') == 0 }, 20),
   'what was delivered, or never was, is dropped');
is(scalar(my @now = hooks()), $sent, 'and not sent again');



=== TEST 6: a receiver that hangs keeps no other one waiting
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location /b/ {
    batch_api;
    batch_pass /batch-lines;
    batch_webhook /other secret=b;
}
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
location = /other { internal; return 204; }
--- flow
hook_script('hang');

my $f = upload(jsonl(1))->{json};
my @id = map { create_batch($f->{id})->{json}{id} } 1 .. 30;
wait_batch($_) for @id;

# at most 4 a worker are with the receiver that hangs

my @b = map { api('POST', '/b/batches',
                  { input_file_id => $f->{id}, completion_window => '24h',
                    endpoint => '/v1/chat/completions' })->{json}{id} } 1 .. 10;
wait_batch($_) for @b;

ok(wait_until(sub { hook_status()->{delivered} == 10 }, 8),
   'the others are delivered') or diag(json_encode(hook_status()));
cmp_ok(scalar(my @all = hooks()), '<=', 8, 'the bound holds');

# it is counted before it is written down

for my $id (@b) {
    ok(wait_until(sub { main::marked($id) }), "$id is delivered");
}

hook_script('200');
ok(wait_until(sub { main::due($_) for @{ redis('ZRANGE', '{batch}:hd', 0, -1) };
                    hook_status()->{delivered} >= 40 }, 60),
   'the receiver is back') or diag(json_encode(hook_status()));



=== TEST 7: an answer without an end, and one that would steer nginx
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
location /b/ {
    batch_api;
    batch_pass /batch-lines;
    batch_webhook /steered secret=b;
}
location = /steered {
    internal;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/steer;
}
location = /steer {
    add_header X-Accel-Redirect /batch-webhook always;
    return 200 "x";
}
--- flow
hook_script('endless');

my $b = run_batch(jsonl(1));
ok(main::delivered(1), 'delivered');
is(wait_hooks(1), 1, 'the receiver was stopped');
my ($h) = hooks();
cmp_ok($h->{sent}, '<', 16 * 1024 * 1024, 'and soon');

my $f = upload(jsonl(1))->{json};
$b = api('POST', '/b/batches',
         { input_file_id => $f->{id}, completion_window => '24h',
           endpoint => '/v1/chat/completions' })->{json};
wait_batch($b->{id});
ok(main::delivered(2), 'a 200 with X-Accel-Redirect');
is(scalar(my @all = hooks()), 1, 'leads nowhere');



=== TEST 8: a reload while the receiver thinks
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- main_config
worker_shutdown_timeout 1s;
--- flow
hook_script('hang', '200');

my $b = run_batch(jsonl(1));
is(wait_hooks(1), 1, 'the receiver has it');

my @old = nginx_workers();
kill 'HUP', nginx_pid();
ok(wait_until(sub { my %now = map { $_ => 1 } nginx_workers();
                    !grep { $now{$_} } @old }, 30), 'the old workers end');

# cut off, they could not give it back: its lease has 15 seconds

main::due($b->{id});
ok(main::delivered(1), 'the new ones deliver it');

my @h = hooks();
is($h[1]{headers}{'webhook-id'}, $h[0]{headers}{'webhook-id'},
   'with the same webhook-id');



=== TEST 9: nginx quits while the receiver thinks
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
    proxy_read_timeout 1s;
}
--- flow
hook_script('hang', '200');

my $b = run_batch(jsonl(1));
is(wait_hooks(1), 1, 'the receiver has it');
ok(nginx_stop('QUIT'), 'it ends by itself');
is(redis('ZCARD', '{batch}:hd'), 1, 'it is due still');
ok(nginx_start(), 'nginx starts again');
ok(main::delivered(1), 'and delivers it');



=== TEST 10: the webhook is taken away before it is delivered
--- api_config
    batch_webhook /batch-webhook secret=a;
--- server_extra
location /b/ {
    batch_api;
    batch_pass /batch-lines;
    batch_webhook /other secret=b;
}
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
location = /other { internal; return 204; }
--- flow
hook_script('500');

my $b = run_batch(jsonl(1));
ok(wait_until(sub { hook_status()->{failed_attempts} }, 20), 'not delivered');

my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $text = slurp($conf);
$text =~ s/batch_webhook \/batch-webhook [^;]*;//;
open my $out, '>', $conf;
print $out $text;
close $out;

my @old = nginx_workers();
kill 'HUP', nginx_pid();
ok(wait_until(sub { my %now = map { $_ => 1 } nginx_workers();
                    !grep { $now{$_} } @old }, 30), 'a reload without it');
my $sent = () = hooks();
main::due($b->{id});
ok(wait_until(sub { redis('ZCARD', '{batch}:hd') == 0 }, 20), 'it is dropped');
is(scalar(my @now = hooks()), $sent, 'and not sent');
is(get_batch($b->{id})->{status}, 'completed', 'the batch stays');



=== TEST 11: no leading slash
--- api_config
    batch_webhook https://hooks.example.com/ secret=a;
--- must_die
--- error_log
must be the path of an internal location in the same server



=== TEST 12: no secret
--- api_config
    batch_webhook /batch-webhook;
--- must_die
--- error_log
needs "secret_file=<path>" or "secret=<text>"



=== TEST 13: an empty secret
--- api_config
    batch_webhook /batch-webhook secret=;
--- must_die
--- error_log
the secret of "batch_webhook" is empty



=== TEST 14: nothing behind whsec_
--- api_config
    batch_webhook /batch-webhook secret=whsec_;
--- must_die
--- error_log
the secret of "batch_webhook" is empty



=== TEST 15: no base64 behind whsec_
--- api_config
    batch_webhook /batch-webhook secret=whsec_S3cr3t-word;
--- must_die
--- error_log
what follows is not base64
--- no_error_log
S3cr3t



=== TEST 16: base64 without its padding, which SDKs do not take
--- api_config
    batch_webhook /batch-webhook secret=whsec_TWFuTWE;
--- must_die
--- error_log
what follows is not base64



=== TEST 17: base64 with something behind its end
--- api_config
    batch_webhook /batch-webhook secret=whsec_TWE=TWFu;
--- must_die
--- error_log
what follows is not base64



=== TEST 18: no such file
--- api_config
    batch_webhook /batch-webhook secret_file=$TEST_NGINX_BATCH_DIR/none;
--- must_die
--- error_log
"batch_webhook" cannot open secret_file
No such file or directory



=== TEST 19: a file without a secret
--- api_config
    batch_webhook /batch-webhook secret_file=$TEST_NGINX_BATCH_DIR/hook-empty;
--- must_die
--- error_log
of "batch_webhook" must hold the secret in one line



=== TEST 20: a file of two lines
--- api_config
    batch_webhook /batch-webhook secret_file=$TEST_NGINX_BATCH_DIR/hook-two;
--- must_die
--- error_log
of "batch_webhook" must hold the secret in one line



=== TEST 21: another parameter, which may be a secret
--- api_config
    batch_webhook /batch-webhook whsec_S3cr3t;
--- must_die
--- error_log
has an unknown parameter
--- no_error_log
S3cr3t



=== TEST 22: twice
--- api_config
    batch_webhook /batch-webhook secret=a;
    batch_webhook off;
--- must_die
--- error_log
"batch_webhook" directive is duplicate



=== TEST 23: it would come back to the API
--- config
    location /v1/ {
        batch_api;
        batch_pass /batch-lines;
        batch_webhook /v1/hook secret=a;
    }
    location /batch-lines/ { internal; proxy_pass http://127.0.0.1:1/; }
--- must_die
--- error_log
"batch_webhook /v1/hook" leads to a location with "batch_api"



=== TEST 24: there is none at all
--- http_extra
    server {
        listen 127.0.0.1:1;
        location /v1/ {
            batch_api;
            batch_pass /batch-lines;
            batch_webhook /batch-webhook secret=a;
        }
        location /batch-lines/ { internal; return 204; }
    }
--- must_die
--- error_log
"batch_webhook /batch-webhook": the server has no location for it
location /batch-webhook { internal;
