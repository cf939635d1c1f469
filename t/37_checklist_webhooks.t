# What clients of OpenAI's service rely on, by number: webhooks (96, 97).  The
# clock is moved, nobody waits for 72 hours.  The names of the checks begin with
# "#<number>".  What is the module's own about webhooks is in t/55_webhook.t.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchClock;
use BatchHook;
use Test::Nginx::Socket 'no_plan';

# of whsec_..., as below

our $key = pack 'H*', '31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0';

sub is_hook {
    my ($h, $b, $type, $stamp) = @_;
    my $f = $h->{headers};
    my $name = "#96 $type";

    is("$h->{method} $h->{path}", 'POST /hook', "$name: where to");
    is($f->{'content-type'}, 'application/json', "$name: Content-Type");
    like($f->{'webhook-id'}, qr/^wh_[0-9a-f]{32}$/, "$name: webhook-id");
    like($f->{'webhook-timestamp'}, qr/^\d+$/, "$name: webhook-timestamp");
    cmp_ok(abs($f->{'webhook-timestamp'} - clock_now()), '<', 300,
           "$name: which is now");
    is(hook_error($h, $key), undef, "$name: webhook-signature");
    ok(hook_error($h, "${key}x"), "$name: of no other key");
    ok(hook_error({ %$h, body => "$h->{body} " }, $key),
       "$name: nor of another body");

    like($h->{json}{id} // '', qr/^evt_[0-9a-f]{32}$/, "$name: id");
    is_deeply($h->{json}, { id => $h->{json}{id}, object => 'event',
                            type => $type, created_at => $b->{$stamp},
                            data => { id => $b->{id} } }, "$name: body");
}

# n attempts have failed, and the index knows when the next one is due

sub wait_failed {
    my ($n) = @_;

    return wait_until(sub { hook_status()->{failed_attempts} >= $n }, 20);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: the four events
--- api_config
    batch_webhook /batch-webhook secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- flow
my @b = run_batch(jsonl(3));
is($b[0]{status}, 'completed', '#96 completed');
is(wait_hooks(1), 1, '#96 its webhook');

push @b, run_batch(jsonl(1) x 2);
is($b[1]{status}, 'failed', '#96 failed');
is(wait_hooks(2), 2, '#96 its webhook');

my $f = upload(jsonl(20, mock => 'slow=700'))->{json};
my $c = create_batch($f->{id})->{json};
wait_batch($c->{id}, until => qr/^in_progress$/);
cancel_batch($c->{id});
push @b, wait_batch($c->{id});
is($b[2]{status}, 'cancelled', '#96 cancelled');
is(wait_hooks(3), 3, '#96 its webhook');

$f = upload(jsonl(40, mock => 'slow=700'))->{json};
$c = create_batch($f->{id})->{json};
wait_batch($c->{id}, until => qr/^in_progress$/);
clock_step(86400);
push @b, wait_batch($c->{id});
is($b[3]{status}, 'expired', '#96 expired');
is(wait_hooks(4), 4, '#96 its webhook');

my @h = hooks();
my @type = qw(completed failed cancelled expired);

main::is_hook($h[3], $b[3], 'batch.expired', 'expired_at');
clock_set(0);
main::is_hook($h[$_], $b[$_], "batch.$type[$_]", "$type[$_]_at") for 0 .. 2;

my %ids = map { $_ => 1 } map { ($_->{headers}{'webhook-id'},
                                 $_->{json}{id}) } @h;
is(scalar keys %ids, 8, '#96 each has ids of its own');

ok(wait_until(sub { my $s = hook_status();
                    $s->{delivered} == 4 && $s->{pending} == 0 }, 20),
   '#96 all are delivered') or diag(json_encode(hook_status()));
is(hook_status()->{failed_attempts}, 0, '#96 at the first attempt');
is(wait_hooks(4), 4, '#96 each of them once');



=== TEST 2: redelivery
--- api_config
    batch_webhook /batch-webhook secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
    proxy_read_timeout 500ms;
}
--- flow
my @script = qw(500 302 404 hang close 199 200);
hook_script(@script);

my $b = run_batch(jsonl(1));
is($b->{status}, 'completed', '#97 completed');

# each time, an hour later the next attempt is due

for my $n (1 .. $#script) {
    is(wait_hooks($n), $n, "#97 attempt $n");
    ok(main::wait_failed($n), "#97 $script[$n - 1] is a failure");
    hook_stop() if $n == $#script;
    clock_step(3700);
}

ok(main::wait_failed(0 + @script), '#97 so is a refused connection');
hook_script('200');
hook_start();
clock_step(3700);

my @h;
ok(wait_until(sub { @h = hooks(); @h && $h[-1]{action} eq '200' }, 60),
   '#97 the last one');
ok(wait_until(sub { my $s = hook_status();
                    $s->{delivered} == 1 && $s->{pending} == 0 }, 20),
   '#97 is a success');

@h = hooks();
is(join(' ', map { $_->{action} } @h), join(' ', @script), '#97 in their order');
is(join(' ', map { $_->{path} } @h), join(' ', ('/hook') x @script),
   '#97 no redirect is followed');

my (%id, %body, %signature);

for my $i (0 .. $#h) {
    my $f = $h[$i]{headers};

    is(hook_error($h[$i], $main::key), undef, "#97 attempt $i: signed");
    cmp_ok($f->{'webhook-timestamp'}, '>', $h[$i - 1]{headers}{
           'webhook-timestamp'}, "#97 attempt $i: a newer webhook-timestamp")
        if $i;

    $id{$f->{'webhook-id'}} = 1;
    $body{$h[$i]{body}} = 1;
    $signature{$f->{'webhook-signature'}} = 1;
}

is(scalar keys %id, 1, '#97 the same webhook-id');
is(scalar keys %body, 1, '#97 the same event');
is(scalar keys %signature, @script, '#97 each has a signature of its own');

clock_step(86400);
ok(!wait_until(sub { hooks() > @script }, 2), '#97 what is delivered stays so');



=== TEST 3: 72 hours
--- api_config
    batch_webhook /batch-webhook secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;
--- server_extra
location = /batch-webhook {
    internal;
    proxy_pass http://$TEST_NGINX_HOOK/hook;
}
--- flow
hook_script('503');

my $b = run_batch(jsonl(1));
is($b->{status}, 'completed', '#97 completed');
ok(main::wait_failed(1), '#97 the first attempt fails');

clock_step(71 * 3600);
is(wait_hooks(2), 2, '#97 after 71 hours it is sent still');
ok(main::wait_failed(2), '#97 and fails');
unlike(error_log_text(), qr/given up/, '#97 it is not given up');

clock_step(3600);
ok(wait_until(sub { hook_status()->{given_up} }, 20), '#97 after 72 hours it is');
like(error_log_text(), qr/\[error\].* batch: $b->{id}: webhook was not delivered /,
     '#97 and that is said');

hook_script('200');
clock_step(3600);
ok(wait_until(sub { hook_status()->{pending} == 0 }, 20), '#97 none is pending');

# also when the index is made anew

redis('FLUSHALL');
ok(wait_until(sub { error_log_text() =~ /index is rebuilt.*index is rebuilt/s },
              20), '#97 the index is filled again');
wait_ready();
ok(!wait_until(sub { hook_status()->{pending} || hooks() > 2 }, 3),
   '#97 nothing comes back');
is(get_batch($b->{id})->{status}, 'completed', '#97 the batch is there');
