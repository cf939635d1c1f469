# What clients of OpenAI's service rely on, by number: what happens when time
# passes (2, 4, 30, 38, 41, 75, 79, 80, 84), and Idempotency-Keys.  The clock
# is moved, nobody waits.  The names of the checks begin with "#<number>".  That
# an expiring batch is seen to be finalizing (84) is in t/15_expiry.t.

use strict;
use warnings;

use lib 't/lib';
use BatchTest;
use BatchClock;
use Test::Nginx::Socket 'no_plan';

# files of the store whose names have the id in them, tombstones aside

sub on_disk {
    my ($id) = @_;
    my $dir = store_dir();

    return grep { !/\.del$/ } map { chomp; $_ } `find $dir -name '$id*'`;
}

sub listed {
    return join ' ', sort map { $_->{id} }
                          @{ api('GET', '/v1/files')->{json}{data} };
}

sub is_gone {
    my ($number, $id, $name) = @_;
    my $want = error_body("No such File object: $id", 'id');

    for (['GET', ''], ['GET', '/content'], ['DELETE', '']) {
        my $r = api($_->[0], "/v1/files/$id$_->[1]");

        is($r->{status}, 404, "#$number $name: $_->[0]$_->[1]");
        is_deeply($r->{json}, $want, "#$number $name: the error");
    }
}

sub swept {
    my ($number, $id, $name) = @_;

    ok(wait_until(sub { !on_disk($id) }, 40), "#$number $name: swept")
        or diag(join "\n", on_disk($id));
}

sub add_part {
    my ($id, $data) = @_;
    my ($body, $type) = multipart(data => { data => $data, filename => 'b' });

    return api('POST', "/v1/uploads/$id/parts", undef, body => $body,
               headers => ['Content-Type' => $type]);
}

# the times of a batch, in their order, none before the one in front

sub ascend {
    my ($number, $b, $name, @keys) = @_;
    my $last = 0;

    for (@keys) {
        cmp_ok($b->{$_} // -1, '>=', $last, "#$number $name: $_");
        $last = $b->{$_} // $last;
    }
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: files
--- flow
my $in = jsonl(1);
my %f = (batch => upload($in)->{json},
         hour => upload($in, fields =>
                        ['expires_after[anchor]' => 'created_at',
                         'expires_after[seconds]' => 3600])->{json},
         vision => upload('x', purpose => 'vision')->{json});

is($f{batch}{expires_at}, $f{batch}{created_at} + 2592000, '#2 expires_at');

clock_step(3600 - 600);
is(listed(), join(' ', sort map { $_->{id} } values %f), '#4 50 minutes');
is(content($f{hour}{id}), $in, '#4 the content is there');
clock_step(1200);
is_gone(4, $f{hour}{id}, 'after an hour');
is(listed(), join(' ', sort $f{batch}{id}, $f{vision}{id}), '#4 not listed');

my $b = wait_batch(create_batch($f{hour}{id})->{json}{id});
is($b->{status}, 'failed', '#30 no batch of it');
is($b->{errors}{data}[0]{message}, "Cannot find file $f{hour}{id}, or "
   . 'organization default does not have access to it.', '#30 the error');

clock_set(2592000 - 600);
is(content($f{batch}{id}), $in, '#2 nearly thirty days');
clock_set(2592000 + 600);
is_gone(30, $f{batch}{id}, 'after thirty days');
is(listed(), $f{vision}{id}, '#30 not listed');
swept(30, $f{batch}{id}, 'after thirty days');

clock_set(10 * 365 * 86400);
is(content($f{vision}{id}), 'x', '#3 others never expire');

clock_set(0);
is_gone(30, $f{batch}{id}, 'when the clock is set back');
is(content($f{vision}{id}), 'x', '#3 which is there still');



=== TEST 2: an upload in parts
--- flow
my $data = jsonl(2);
my $u = api('POST', '/v1/uploads', { filename => 'a.jsonl', purpose => 'batch',
            mime_type => 'text/jsonl', bytes => length $data })->{json};
my $part = add_part($u->{id}, $data)->{json}{id};

clock_step(3600 - 600);
is(api('GET', "/v1/uploads/$u->{id}")->{json}{status}, 'pending',
   '#38 50 minutes: pending');
is(add_part($u->{id}, $data)->{status}, 200, '#38 50 minutes: a part');

clock_step(1200);
my $r = api('GET', "/v1/uploads/$u->{id}");
is($r->{status}, 200, '#38 an hour');
is($r->{json}{status}, 'expired', '#38 status');
is($r->{json}{expires_at}, $u->{created_at} + 3600, '#38 expires_at');

for (['add a part to', add_part($u->{id}, $data)],
     ['complete', api('POST', "/v1/uploads/$u->{id}/complete",
                      { part_ids => [$part] })],
     ['cancel', api('POST', "/v1/uploads/$u->{id}/cancel", undef,
                    body => '')])
{
    my ($what, $s) = @$_;

    is($s->{status}, 400, "#38 $what");
    is_deeply($s->{json}, error_body("Cannot $what an upload with status "
              . "'expired'."), "#38 $what: the error");
}

# the sweep looks at uploads when a worker starts, and every five minutes

clock_step(600);
ok(nginx_stop('QUIT') && nginx_start(), '#38 a new worker');
swept(38, 'part_', 'its parts');
wait_ready();
is(api('GET', "/v1/uploads/$u->{id}")->{json}{status}, 'expired',
   '#38 and says so still');

clock_step(86400);
ok(nginx_stop('QUIT') && nginx_start(), '#38 a new worker');
swept(38, $u->{id}, 'all of it, a day later');
wait_ready();
is(api('GET', "/v1/uploads/$u->{id}")->{status}, 404, '#38 forgotten');



=== TEST 3: a batch whose window ends
--- concurrency
12
--- flow
my $f = upload(jsonl(12, mock => sub {
    $_[0] > 5 ? 'hang' : $_[0] == 2 ? 'status=400' : '' }))->{json};
my $b = create_batch($f->{id})->{json};

is($b->{expires_at}, $b->{created_at} + 86400, '#41 expires_at');
ok(wait_until(sub { my $c = get_batch($b->{id})->{request_counts};
                    $c->{completed} == 4 && $c->{failed} == 1 }, 20),
   '#84 five lines are done');

clock_step(86400 - 300);
is(get_batch($b->{id})->{status}, 'in_progress', '#84 nearly a day');
clock_step(600);

$b = wait_batch($b->{id}, timeout => 60);
is($b->{status}, 'expired', '#84 expired');
is($b->{completed_at}, undef, '#84 completed_at');
ascend(84, $b, 'times', qw(created_at in_progress_at expires_at finalizing_at
                           expired_at));
is_deeply($b->{request_counts}, { total => 12, completed => 4, failed => 1 },
          '#80 expired lines are not failed ones');

is(join(' ', map { $_->{custom_id} } output_lines($b)),
   'req-1 req-3 req-4 req-5', '#84 what was done');
my @err = error_lines($b);
is(join(' ', map { $_->{custom_id} } @err), join(' ', 'req-2',
   map { "req-$_" } 6 .. 12), '#84 the rest');

for (@err[1 .. 7]) {
    is_deeply($_, { id => $_->{id}, custom_id => $_->{custom_id},
                    response => undef, error => { code => 'batch_expired',
                    message => 'This request could not be executed before the '
                               . 'completion window expired.' } },
              "#84 $_->{custom_id}");
}

for my $id (@{$b}{qw(output_file_id error_file_id)}) {
    my $o = api('GET', "/v1/files/$id")->{json};

    ok($o->{created_at} >= $b->{expires_at}, '#75 a result is made at the end');
    is($o->{expires_at}, $o->{created_at} + 2592000, '#75 and lives from then');
}

my $r = cancel_batch($b->{id});
is($r->{status}, 409, '#81 cancel what is expired');
is_deeply($r->{json}, error_body("Cannot cancel a batch with status "
          . "'expired'."), '#81 the error');

# no time limit is none

$b = create_batch(upload(jsonl(3, mock => sub { $_[0] == 3 ? 'slow=3000'
                                                           : '' }))
                  ->{json}{id}, completion_window => 'unlimited')->{json};
wait_batch($b->{id}, until => qr/in_progress|completed/);
clock_step(365 * 86400);
is(wait_batch($b->{id})->{status}, 'completed', '#85 unlimited, a year later');



=== TEST 4: results
--- flow
my $b = run_batch(jsonl(2, mock => sub { $_[0] == 2 ? 'status=400' : '' }),
                  output_expires_after => { anchor => 'created_at',
                                            seconds => 7200 });
my $c = run_batch(jsonl(1));

clock_set(7200 - 600);
is(scalar output_lines($b), 1, '#75 nearly two hours');
clock_set(7200 + 600);
is_gone(75, $b->{output_file_id}, 'the output, after two hours');
is_gone(75, $b->{error_file_id}, 'the errors, after two hours');
is_deeply(get_batch($b->{id}), $b, '#75 the batch is there still');
is(api('GET', "/v1/files/$b->{input_file_id}")->{status}, 200,
   '#75 so is its input');

clock_set(2592000 - 600);
is(scalar output_lines($c), 1, '#75 nearly thirty days');
clock_set(2592000 + 600);
is_gone(75, $c->{output_file_id}, 'the output, after thirty days');



=== TEST 5: Idempotency-Key
--- flow
my @key = (headers => ['Idempotency-Key' => 'k1']);
my @other = (headers => ['Idempotency-Key' => 'k2']);
my $data = jsonl(2);
my $f = upload($data, @key)->{json};
my $b = create_batch($f->{id}, http => \@other)->{json};

is(wait_batch($b->{id})->{status}, 'completed', 'a batch');

# the clock may be set back, over a midnight, too

for (0, 86400 - 600, 3600, -3600, -6 * 3600, -12 * 3600, -23 * 3600, 0) {
    clock_set($_);
    is(upload($data, @key)->{json}{id}, $f->{id}, "the same file at $_ s");
    is(create_batch($f->{id}, http => \@other)->{json}{id}, $b->{id},
       "the same batch at $_ s");
}

my $r = upload("$data\n", @key);
is($r->{status}, 409, 'another request with the key');
is($r->{json}{error}{code}, 'idempotency_key_reused', 'code');

clock_set(86400 + 600);
my $g = upload("$data\n", @key);
is($g->{status}, 200, 'a day later: another request');
isnt($g->{json}{id}, $f->{id}, 'another file');
my $c = create_batch($f->{id}, http => \@other)->{json};
isnt($c->{id}, $b->{id}, 'another batch');
is(create_batch($f->{id}, http => \@other)->{json}{id}, $c->{id},
   'which is the key\'s now');
is(wait_batch($c->{id})->{status}, 'completed', 'it runs');



=== TEST 6: cancel, and the ten minutes that it may take
--- concurrency
3
--- flow
for my $step (600, -3600) {
    my $b = create_batch(upload(jsonl(9, mock => sub {
        $_[0] > 2 ? 'hang' : '' }))->{json}{id})->{json};

    ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} == 2
                        && mock_stats()->{inflight} == 3 }, 20),
       '#79 two lines are done');

    my $r = cancel_batch($b->{id})->{json};
    is($r->{status}, 'cancelling', '#79 cancelling');
    clock_step($step);

    $b = wait_batch($b->{id}, timeout => 60);
    is($b->{status}, 'cancelled', "#79 cancelled, the clock moved by $step s");
    is($b->{cancelling_at}, $r->{cancelling_at}, '#79 since then');
    ascend(79, $b, "moved by $step s", qw(created_at in_progress_at
                                           cancelling_at cancelled_at));
    cmp_ok($b->{cancelled_at} - $b->{cancelling_at}, '<',
           660, '#79 within ten minutes by the clock');
    is(scalar output_lines($b), 2, '#79 what was done');
    is(scalar(grep { $_->{error}{code} eq 'batch_cancelled' } error_lines($b)),
       7, '#79 the rest');
    is_deeply($b->{request_counts}, { total => 9, completed => 2,
                                      failed => 0 }, '#80 counts');
    clock_set(0);
    wait_until(sub { mock_stats()->{inflight} == 0 }, 20);
}



=== TEST 7: the clock moves while a batch runs
--- concurrency
8
--- flow
my $n = 400;

for my $step (3600, -3600, 7200, -7200) {
    mock_reset();

    my $f = upload(jsonl($n, mock => 'slow=60'))->{json};
    my $b = create_batch($f->{id})->{json};
    my $name = "moved by $step s";

    ok(wait_until(sub { get_batch($b->{id})->{request_counts}{completed} > 20
                  }, 20), "$name: it runs");
    clock_step($step);
    $b = wait_batch($b->{id}, timeout => 60);

    is($b->{status}, 'completed', "$name: completed");
    is_deeply($b->{request_counts}, { total => $n, completed => $n,
                                      failed => 0 }, "$name: counts");
    ascend(74, $b, $name, qw(created_at in_progress_at finalizing_at
                             completed_at));
    is(join(' ', map { $_->{custom_id} } output_lines($b)),
       join(' ', map { "req-$_" } 1 .. $n), "#71 $name: each line once");
    is(mock_stats()->{requests}, $n, "$name: no line was sent twice");
}
