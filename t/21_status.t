# The state of the module, for people and for Prometheus.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# Prometheus' text: name{labels} -> value; every sample needs HELP and TYPE

sub samples {
    my ($text) = @_;
    my (%v, %known);

    for (split /\n/, $text) {
        if (/^# (HELP|TYPE) (\w+) (\S.*)$/) {
            $known{$2}{$1} = $3;
            next;
        }

        if (/^((\w+)(?:\{\w+="(?:[^"\\]|\\.)*"\})?) (\d+)$/) {
            $v{$1} = $3;
            Test::More::fail("$2 is not explained")
                unless $known{$2}{HELP} && $known{$2}{TYPE};
            next;
        }

        Test::More::fail("a line that is none: $_");
    }

    return \%v;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: nothing done yet
--- flow
my $r = api('GET', '/batch-status');
is($r->{status}, 200, 'answers');
is($r->{headers}{'content-type'}, 'application/json', 'type');
my $s = $r->{json};
is($s->{workers}, 2, 'workers');
ok(wait_until(sub { api('GET', '/batch-status')->{json}{redis} eq 'ready' }),
   'Redis is ready');
is($s->{$_}, 0, $_) for qw(chunks attempts retries completed failed
                           chunks_claimed batches_finalized);
is(scalar @{ $s->{routes} }, 1, 'one route');
is($s->{routes}[0]{concurrency}, 16, 'its limit');
is($s->{routes}[0]{inflight}, 0, 'nothing in flight');
like($s->{routes}[0]{route}, qr{\^/v1/\(files\|uploads\|batches\)}, 'its name');
is_deeply([sort map { $_->{pid} } @{ $s->{processes} }],
          [sort(nginx_workers())], 'processes');
cmp_ok($s->{connections_free}, '>', 0, 'free connections');


=== TEST 2: after a batch
--- flow
my $b = run_batch(jsonl(10, mock => sub {
    $_[0] == 1 ? 'status=400' : $_[0] == 2 ? 'status=500;times=2' : '' }));
is($b->{status}, 'completed', 'completed');
my $s = api('GET', '/batch-status')->{json};
is($s->{attempts}, 12, 'attempts');
is($s->{retries}, 2, 'retries');
is($s->{completed}, 9, 'completed');
is($s->{failed}, 1, 'failed');
is($s->{batches_finalized}, 1, 'batches_finalized');
cmp_ok($s->{chunks_claimed}, '>=', 1, 'chunks_claimed');
is($s->{chunks}, 0, 'chunks');

my $r = http('GET', '/batch-status?format=prometheus');
is($r->{headers}{'content-type'}, 'text/plain; version=0.0.4', 'type');
my $v = main::samples($r->{body});
is($v->{nginx_batch_attempts_total}, 12, 'attempts');
is($v->{nginx_batch_retries_total}, 2, 'retries');
is($v->{'nginx_batch_lines_total{file="output"}'}, 9, 'output lines');
is($v->{'nginx_batch_lines_total{file="error"}'}, 1, 'error lines');
is($v->{nginx_batch_batches_finalized_total}, 1, 'finalized');
is($v->{nginx_batch_workers}, 2, 'workers');
is($v->{nginx_batch_redis_ready}, 2, 'ready links');
is($v->{nginx_batch_chunks}, 0, 'chunks');
is(scalar(grep { /^nginx_batch_inflight\{route=/ && $v->{$_} == 0 } keys %$v),
   1, 'in flight');


=== TEST 3: while it runs, and without Redis
--- concurrency
4
--- no_error_log
[alert]
[emerg]
exited on signal
runtime error:
--- flow
my $f = upload(jsonl(20, mock => 'slow=2000'));
my $b = create_batch($f->{json}{id})->{json};
ok(wait_until(sub { mock_stats()->{inflight} == 4 }, 10), 'it runs');
my $s = api('GET', '/batch-status')->{json};
is($s->{routes}[0]{inflight}, 4, 'in flight');
cmp_ok($s->{chunks}, '>=', 1, 'chunks');
is($s->{processes}[0]{inflight} + $s->{processes}[1]{inflight}, 4,
   'by process');

redis_stop();
ok(wait_until(sub { api('GET', '/batch-status')->{json}{redis} eq 'down' }, 10),
   'Redis is down');
redis_start();
ok(wait_until(sub { api('GET', '/batch-status')->{json}{redis} eq 'ready' },
              10), 'and ready again');
cancel_batch($b->{id});
wait_batch($b->{id});


=== TEST 4: methods
--- flow
is(http('HEAD', '/batch-status')->{status}, 200, 'HEAD');
is(http('POST', '/batch-status', body => '')->{status}, 405, 'POST');
is(api('GET', '/batch-status?format=other')->{json}{workers}, 2,
   'an unknown format is JSON');
