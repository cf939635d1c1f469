# The order of output lines, usage, the model, counts under way.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# the later a line, the sooner its answer

sub late_first {
    my ($n) = @_;
    return jsonl($n, mock => sub {
        my $ms = 20 * ($n - $_[0]);
        $_[0] % 5 == 0 ? "slow=$ms;status=400" : "slow=$ms";
    });
}

sub numbers {
    return map { $_->{custom_id} =~ /(\d+)/ } @_;
}

sub sorted {
    return sort { $a <=> $b } @_;
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: as the input
--- flow
my $b = run_batch(main::late_first(30));
is_deeply([main::numbers(output_lines($b))], [grep { $_ % 5 } 1 .. 30],
          'output');
is_deeply([main::numbers(error_lines($b))], [5, 10, 15, 20, 25, 30],
          'errors');


=== TEST 2: as they were completed
--- api_config
    batch_output_order completion;
--- concurrency
40
--- flow
my $b = run_batch(main::late_first(30));
my @n = main::numbers(output_lines($b));
my @e = main::numbers(error_lines($b));

is_deeply([main::sorted(@n)], [grep { $_ % 5 } 1 .. 30], 'all are there');
is_deeply([main::sorted(@e)], [5, 10, 15, 20, 25, 30], 'errors, too');
isnt("@n", join(' ', main::sorted(@n)), 'in another order');


=== TEST 3: many chunks, answers in any order
--- concurrency
64
--- flow
my $n = 2000;
my $b = run_batch(jsonl($n, mock => sub { 'slow=' . int(rand 20) }));
is_deeply([main::numbers(output_lines($b))], [1 .. $n], 'order');


=== TEST 4: usage of chat completions
--- flow
my $b = run_batch(jsonl(10, model => 'gpt-x',
                        mock => sub { $_[0] == 3 ? 'status=400' : '' }));
my ($in, $out, $total) = (0, 0, 0);

for my $l (output_lines($b)) {
    my $u = $l->{response}{body}{usage};
    $in += $u->{prompt_tokens};
    $out += $u->{completion_tokens};
    $total += $u->{total_tokens};
}

cmp_ok($in, '>', 0, 'some tokens');
is($b->{usage}{input_tokens}, $in, 'input_tokens');
is($b->{usage}{output_tokens}, $out, 'output_tokens');
is($b->{usage}{total_tokens}, $total, 'total_tokens');
is($b->{usage}{prompt_tokens}, $in, 'prompt_tokens');
is($b->{usage}{completion_tokens}, $out, 'completion_tokens');
is($b->{usage}{input_tokens_details}{cached_tokens}, 0, 'cached_tokens');
is($b->{usage}{output_tokens_details}{reasoning_tokens}, 0,
   'reasoning_tokens');
is($b->{model}, 'gpt-x', 'model');


=== TEST 5: usage of embeddings
--- flow
my $in = jsonl(6, url => '/v1/embeddings', body => sub {
    { model => 'emb', input => ["one two", "three"] } });
my $b = run_batch($in, endpoint => '/v1/embeddings');
my ($prompt, $total) = (0, 0);

is($b->{status}, 'completed', 'completed');

for my $l (output_lines($b)) {
    $prompt += $l->{response}{body}{usage}{prompt_tokens};
    $total += $l->{response}{body}{usage}{total_tokens};
    is(scalar @{ $l->{response}{body}{data} }, 2, 'two vectors');
}

cmp_ok($prompt, '>', 0, 'some tokens');
is($b->{usage}{input_tokens}, $prompt, 'input_tokens');
is($b->{usage}{output_tokens}, 0, 'output_tokens');
is($b->{usage}{total_tokens}, $total, 'total_tokens');
is($b->{model}, 'emb', 'model');


=== TEST 6: usage of responses
--- flow
my $in = jsonl(4, url => '/v1/responses', body => sub {
    { model => 'r', input => "question $_[0]" } });
my $b = run_batch($in, endpoint => '/v1/responses');
my ($i, $o) = (0, 0);

for my $l (output_lines($b)) {
    $i += $l->{response}{body}{usage}{input_tokens};
    $o += $l->{response}{body}{usage}{output_tokens};
}

cmp_ok($i, '>', 0, 'some tokens');
is($b->{usage}{input_tokens}, $i, 'input_tokens');
is($b->{usage}{output_tokens}, $o, 'output_tokens');
is($b->{usage}{total_tokens}, $i + $o, 'total_tokens');


=== TEST 7: usage of completions
--- flow
my $in = jsonl(4, url => '/v1/completions', body => sub {
    { model => 'c', prompt => "question $_[0]" } });
my $b = run_batch($in, endpoint => '/v1/completions');
is($b->{request_counts}{completed}, 4, 'completed');
cmp_ok($b->{usage}{input_tokens}, '>', 0, 'input_tokens');


=== TEST 8: counts grow while it runs
--- concurrency
4
--- flow
my $f = upload(jsonl(120, mock => sub {
    $_[0] % 10 ? 'slow=50' : 'slow=50;status=400' }));
my $b = create_batch($f->{json}{id})->{json};

is($b->{status}, 'validating', 'at first');
is_deeply($b->{request_counts}, { total => 0, completed => 0, failed => 0 },
          'nothing counted yet');
is($b->{model}, undef, 'no model yet');

my (%seen, $before);
my $end = time() + 30;

# wait_batch() fails when a count falls

while (time() < $end) {
    $before = wait_batch($b->{id}, until => qr/./);
    last if $before->{status} =~ /^(finalizing|completed)$/;
    $seen{$before->{request_counts}{completed}
          + $before->{request_counts}{failed}} = 1
        if $before->{status} eq 'in_progress';
}

cmp_ok(scalar keys %seen, '>', 3, 'counts are seen to grow');
$b = wait_batch($b->{id});
is_deeply($b->{request_counts}, { total => 120, completed => 108,
                                  failed => 12 }, 'at the end');

for my $pair ([qw(created_at in_progress_at)], [qw(in_progress_at finalizing_at)],
              [qw(finalizing_at completed_at)])
{
    cmp_ok($b->{$pair->[0]}, '<=', $b->{$pair->[1]}, "@$pair");
}

is($b->{$_}, undef, $_) for qw(failed_at expired_at cancelling_at cancelled_at);
