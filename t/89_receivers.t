# Receivers of webhooks are apart: by tenant, and by what a location reaches.

use strict;
use warnings;

use lib 't/lib';

BEGIN {
    # the places are a worker's
    $ENV{BATCH_TEST_WORKERS} = 1;
}

use BatchTest;
use BatchHook;
use Test::Nginx::Socket 'no_plan';

# a batch of one line for the tenant; its id

my %file;

sub one {
    my ($tenant) = @_;
    my @as = (headers => ['X-Tenant' => $tenant]);

    my $f = upload(jsonl(1), @as)->{json}{id};
    my $b = create_batch($f, http => \@as)->{json}{id};
    wait_batch($b, http => \@as);

    return $b;
}

# requests that the receiver has had, by tenant

sub had {
    my %n;

    $n{$_->{headers}{'x-tenant'} // ''}++ for hooks();

    return \%n;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: ten that hang have one place each, and a living one has its own
--- http_extra
map $batch_tenant $receiver {
    ~^hang  $TEST_NGINX_HOOK;
    default 127.0.0.1:$TEST_NGINX_SERVER_PORT;
}
--- api_config
    batch_tenant $http_x_tenant;
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$receiver/hook;
    proxy_set_header X-Tenant $batch_tenant;
}
location = /hook { return 204; }
--- flow
hook_script('hang');

main::one("hang$_") for map { ($_) x 3 } 0 .. 9;
ok(wait_until(sub { keys %{ main::had() } == 10 }, 30),
   'each of the ten has one');

main::one('live') for 1 .. 12;
ok(wait_until(sub { hook_status()->{delivered} == 12 }, 30),
   'all of the living one are delivered') or diag(json_encode(hook_status()));

# they all hang still, or have been given up once

my $s = hook_status();
my $n = 0;
$n += $_ for values %{ main::had() };
cmp_ok($n - $s->{failed_attempts}, '<=', 10, 'no more than one of each hangs');
is($s->{pending} >= 30 ? 1 : 0, 1, 'and all of theirs are due');

# when they answer, what waited for them is not put off

hook_script('200');
ok(wait_until(sub { hook_status()->{delivered} == 42 }, 90),
   'then all are delivered') or diag(json_encode(hook_status()));
ok(wait_until(sub { redis('ZCARD', '{batch}:hd') == 0 }, 20), 'none is due');
is(redis('EXISTS', '{batch}:hw'), 0, 'no receiver has a queue');



=== TEST 2: one location and tenant that lead to several servers
--- http_extra
map $batch_id $receiver {
    ~[0-7]$ $TEST_NGINX_HOOK;
    default 127.0.0.1:$TEST_NGINX_SERVER_PORT;
}
--- api_config
    batch_tenant $http_x_tenant;
    batch_webhook /batch-webhook secret=a;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$receiver/hook;
    proxy_set_header X-Tenant $batch_tenant;
    proxy_read_timeout 1s;
}
location = /hook { return 204; }
--- flow
hook_script('hang');

my @id = map { main::one('t') } 1 .. 30;
my $live = grep { /[89a-f]$/ } @id;

ok(wait_until(sub { hook_status()->{delivered} >= $live }, 60),
   'what goes to the living one is delivered')
    or diag(json_encode(hook_status()));

hook_script('200');
ok(wait_until(sub { redis('ZADD', '{batch}:hd', 'XX', 0, $_)
                        for @{ redis('ZRANGE', '{batch}:hd', 0, -1) };
                    hook_status()->{pending} == 0 }, 90),
   'then the rest') or diag(json_encode(hook_status()));
