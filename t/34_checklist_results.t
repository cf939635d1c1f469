# What clients of OpenAI's service rely on, by number: runs, results and cancel
# (67 to 83).  The names of the checks begin with "#<number>".  What needs time
# to pass (75, 79, 80, 84) is also in t/36_checklist_time.t; cancel before
# anything is done (78, 80), in t/33_checklist_validation.t.

use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

sub done {
    my ($b) = @_;

    return $b->{request_counts}{completed} + $b->{request_counts}{failed};
}

# a running batch of which $done lines have ended, and the others hang; these may
# be sent first, so there must be a place for each

sub hanging {
    my ($n, $done, %o) = @_;
    my $f = upload(jsonl($n, mock => sub {
        return 'hang' if $_[0] > $done;
        return $_[0] == 2 ? 'status=400' : '';
    }));
    my $b = create_batch($f->{json}{id}, %o)->{json};

    wait_until(sub { done(get_batch($b->{id})) == $done
                     && mock_stats()->{inflight} > 0 }, 20)
        or Test::More::fail("$done lines of $n did not end");

    return $b->{id};
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: from the first line to the last
--- concurrency
4
--- flow
my $n = 60;
my $f = upload(jsonl($n, model => 'gpt-4o-mini', mock => sub {
    $_[0] % 10 ? 'slow=120' : 'slow=120;status=400' }))->{json};
my $made = create_batch($f->{id})->{json};
my ($b, $last, %seen) = (undef, 0);

# wait_batch() fails when a count falls or a time changes

do {
    $b = wait_batch($made->{id}, until => qr/./);

    if ($b->{status} eq 'in_progress') {
        my $now = main::done($b);

        cmp_ok($now, '>=', $last, '#67 counts do not fall') if $now != $last;
        is($b->{request_counts}{total}, $n, '#67 total') if !%seen;
        ok($b->{in_progress_at} >= $b->{created_at}, '#67 in_progress_at')
            if !%seen;
        $seen{$now} = 1;
        $last = $now;
    }
} while ($b->{status} =~ /^(validating|in_progress)$/);

cmp_ok(scalar keys %seen, '>', 2, '#67 counts are seen to grow');
$b = wait_batch($made->{id});
is_deeply($b->{request_counts}, { total => 60, completed => 54, failed => 6 },
          '#67 counts at the end');

is($b->{status}, 'completed', '#74 completed');
ok($b->{completed_at} >= $b->{finalizing_at}, '#74 completed_at');
ok($b->{finalizing_at} >= $b->{in_progress_at}, '#74 finalizing_at');
ok($b->{in_progress_at} >= $b->{created_at}, '#74 in_progress_at');
is($b->{$_}, undef, "#74 $_ is null")
    for qw(failed_at expired_at cancelling_at cancelled_at);

my @out = output_lines($b);
my @err = error_lines($b);
my %times;

$times{ $_->{custom_id} }++ for @out, @err;
is_deeply(\%times, { map { ("req-$_" => 1) } 1 .. $n },
          '#71 each line once, in one of the files');

for my $line ($out[0], $out[53]) {
    is(join(' ', sort keys %$line), 'custom_id error id response',
       '#72 keys of a line');
    like($line->{id}, qr/^batch_req_[0-9a-f]{32}$/, '#72 id');
    is(join(' ', sort keys %{ $line->{response} }),
       'body request_id status_code', '#72 keys of response');
    is($line->{response}{status_code}, 200, '#72 status_code');
    like($line->{response}{request_id}, qr/^[0-9a-f]{32}$/, '#72 request_id');
    is($line->{response}{body}{object}, 'chat.completion', '#72 body');
    is($line->{error}, undef, '#72 error is null');
}

my ($first) = content($b->{output_file_id}) =~ /\A(.*)\n/;
$first =~ s/"body": \{.*\}\}, "error"/"body": {...}}, "error"/;
$first =~ s/[0-9a-f]{32}/*/g;
is($first, '{"id": "batch_req_*", "custom_id": "req-1", "response": '
   . '{"status_code": 200, "request_id": "*", "body": {...}}, "error": null}',
   '#72 order and spaces');

my %sum = map { $_ => 0 } qw(input_tokens output_tokens total_tokens);

for (@out) {
    my $u = $_->{response}{body}{usage};

    $sum{input_tokens} += $u->{prompt_tokens};
    $sum{output_tokens} += $u->{completion_tokens};
    $sum{total_tokens} += $u->{total_tokens};
}

cmp_ok($sum{total_tokens}, '>', 100, '#76 there is usage');
is($b->{usage}{$_}, $sum{$_}, "#76 $_ is the sum") for keys %sum;
is_deeply($b->{usage}{input_tokens_details}, { cached_tokens => 0 },
          '#76 input_tokens_details');
is_deeply($b->{usage}{output_tokens_details}, { reasoning_tokens => 0 },
          '#76 output_tokens_details');
is($b->{model}, 'gpt-4o-mini', '#77 model');

for (['output', $b->{output_file_id}], ['error', $b->{error_file_id}]) {
    my ($what, $id) = @$_;
    my $o = api('GET', "/v1/files/$id")->{json};

    is($o->{purpose}, 'batch_output', "#75 purpose of the $what file");
    is($o->{filename}, "$b->{id}_$what.jsonl", "#75 its name");
    is($o->{status}, 'processed', '#75 its status');
    is($o->{bytes}, length content($id), '#75 its bytes');
    is($o->{expires_at}, $o->{created_at} + 2592000, '#75 thirty days');
}



=== TEST 2: who gets a file
--- flow
my $b = run_batch(jsonl(3));
is($b->{status}, 'completed', '#68 all good: completed');
like($b->{output_file_id}, qr/^file-/, '#68 an output file');
ok(exists $b->{error_file_id} && !defined $b->{error_file_id},
   '#68 error_file_id is null');

$b = run_batch(jsonl(3, mock => 'status=400'));
is($b->{status}, 'completed', '#69 all failed: completed');
ok(exists $b->{output_file_id} && !defined $b->{output_file_id},
   '#69 output_file_id is null');
like($b->{error_file_id}, qr/^file-/, '#69 an error file');
is_deeply($b->{request_counts}, { total => 3, completed => 0, failed => 3 },
          '#69 counts');
is($b->{failed_at}, undef, '#69 failed_at');
ok($b->{completed_at}, '#69 completed_at');

my ($line) = error_lines($b);
is($line->{custom_id}, 'req-1', '#70 the line');
is($line->{response}{status_code}, 400, '#70 status_code');
is($line->{response}{body}{error}{message}, 'mock answers 400',
   '#70 the error of the upstream');
ok(exists $line->{error} && !defined $line->{error}, '#70 error is null');

$b = run_batch(jsonl(4, mock => sub {
    ('', 'u2028', 'pretty', 'u2028;pretty')[$_[0] - 1] }));
my $text = content($b->{output_file_id});
my @bytes = split /(?<=\n)/, $text;
utf8::decode($text);
my @lines = split /\n|\r|[\x0b\x0c\x1c-\x1e\x85\x{2028}\x{2029}]/, $text;

is(scalar @lines, 4, '#73 a line for each answer, as splitlines() has it');
is(scalar @bytes, 4, '#73 and each ends with a newline');
is(by_id(output_lines($b))->{'req-2'}{response}{body}{choices}[0]{message}
   {content}, "You said: question number 2 [\x{2028}\x{2029}\x{85}]",
   '#73 with the value that was sent');
is($_->{response}{body}{object}, 'chat.completion', '#73 each is JSON')
    for map { json_decode($_) } @bytes;

$b = run_batch(jsonl(1), output_expires_after => { anchor => 'created_at',
                                                   seconds => 3600 });
my $o = api('GET', "/v1/files/$b->{output_file_id}")->{json};
is($o->{expires_at}, $o->{created_at} + 3600, '#75 output_expires_after');
ok($o->{created_at} >= $b->{in_progress_at}, '#75 of the file');



=== TEST 3: cancel
--- concurrency
10
--- flow
my $id = main::hanging(10, 4);
my $r = cancel_batch($id);

is($r->{status}, 200, '#78 cancel');
is($r->{json}{status}, 'cancelling', '#78 cancelling');
ok($r->{json}{cancelling_at} >= $r->{json}{in_progress_at}, '#78 cancelling_at');
is($r->{json}{cancelled_at}, undef, '#78 not cancelled yet');

my $again = cancel_batch($id);
is($again->{status}, 200, '#82 cancel what is cancelling');
is($again->{json}{status}, 'cancelling', '#82 it stays so');
is($again->{json}{cancelling_at}, $r->{json}{cancelling_at}, '#82 since then');

my $b = wait_batch($id);
is($b->{status}, 'cancelled', '#78 cancelled');
ok($b->{cancelled_at} >= $b->{cancelling_at}, '#78 cancelled_at');
is($b->{$_}, undef, "#78 $_ is null")
    for qw(finalizing_at completed_at failed_at expired_at);

is(join(' ', map { $_->{custom_id} } output_lines($b)), 'req-1 req-3 req-4',
   '#79 what was done is in the output file');
my @err = error_lines($b);
is(join(' ', map { $_->{custom_id} } @err), join(' ', 'req-2',
   map { "req-$_" } 5 .. 10), '#79 the rest in the error file');

for (@err[1 .. 6]) {
    is_deeply($_, { id => $_->{id}, custom_id => $_->{custom_id},
                    response => undef, error => { code => 'batch_cancelled',
                    message => 'This request was not executed because the '
                               . 'batch was cancelled.' } },
              "#79 $_->{custom_id}");
}

is_deeply($b->{request_counts}, { total => 10, completed => 3, failed => 1 },
          '#80 cancelled lines are not failed ones');

$r = cancel_batch($id);
is($r->{status}, 200, '#82 cancel what is cancelled');
is_deeply($r->{json}, $b, '#82 the same object');

for my $input (jsonl(1), "{}\n") {
    $b = run_batch($input);

    my $c = BatchRaw->new;
    $r = $c->request('POST', "/v1/batches/$b->{id}/cancel", '');
    is($r->{status}, 409, "#81 cancel what is $b->{status}");
    is_deeply($r->{json}, error_body('Cannot cancel a batch with status '
              . "'$b->{status}'."), '#81 the error');
    is($r->{headers}{'x-should-retry'}, 'false', '#81 not to be retried');
    is_deeply(get_batch($b->{id}), $b, '#81 nothing has changed');
}

# no body and no Content-Length (curl); a type and no body (openai 1.39)

for (['', 'nothing'], ["Content-Length: 0\r\n", 'a length of 0'],
     ["Content-Type: application/json\r\n", 'a type'],
     ["Content-Type: application/json\r\nContent-Length: 0\r\n", 'both'])
{
    $b = create_batch(upload(jsonl(4, mock => 'hang'))->{json}{id})->{json};

    my $c = BatchRaw->new;
    $c->send("POST /v1/batches/$b->{id}/cancel HTTP/1.1\r\nHost: x\r\n$_->[0]"
             . "\r\n");
    $r = $c->answer;
    is($r->{status}, 200, "#83 cancel with $_->[1]");
    is($r->{json}{status}, 'cancelling', '#83 status');
    ok($c->alive, '#83 the connection is usable');
}

