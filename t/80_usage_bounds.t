# Numbers that strangers send: usage of answers, parameters, Retry-After.  What
# is stored of them can be read again.

use lib 't/lib';
use BatchTest;
use BatchDamage;
use Test::Nginx::Socket 'no_plan';
use Time::HiRes qw(time);

our $Max = 9007199254740991;     # what readers of JSON hold exactly

# a batch whose nth answer has the nth script

sub answers {
    my (@mock) = @_;
    return jsonl(scalar @mock, mock => sub { $mock[$_[0] - 1] });
}

# with an empty index, so that all comes from disk

sub rebuilt {
    my ($id) = @_;
    my $r;

    redis('FLUSHALL');
    wait_until(sub { ($r = api('GET', "/v1/batches/$id"))->{status} == 200 },
               30);

    return $r->{json};
}

# JSON as it stands here

sub post {
    my ($path, $body) = @_;
    return http('POST', $path, body => $body,
                headers => ['Content-Type' => 'application/json']);
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: usage as no server should write it
--- flow
my @row = (
    [['18446744073709551615'], $main::Max],
    [['18446744073709551616'], $main::Max],
    [[('9223372036854775807') x 3], $main::Max],
    [['9223372036854775807', '5', '5'], $main::Max],
    [[$main::Max - 1, '1'], $main::Max],
    [[$main::Max, '1'], $main::Max],
    [['5.0'], 5],
    [['1e2'], 100],
    [['1E+2'], 100],
    [['12.50e2'], 1250],
    [['100.5'], 0],
    [['-1'], 0],
    [['-18446744073709551615'], 0],
    [['1e400'], $main::Max],
    [['5.0', '1e2', '-1', '1e-400', '7'], 112],
);

my %seen;

for my $row (@row) {
    my ($tokens, $sum) = @$row;
    my $n = @$tokens;
    my $b = run_batch(main::answers(map { "tokens=$_" } @$tokens));
    my $u = $b->{usage};
    my $total = 0;

    # each answer says that one token was completed

    for my $t (@$tokens) {
        my $whole = $t =~ /^\d+$/ || $t =~ /e\+?\d/i || $t =~ /\.0$/ ? $t + 0
                                                                     : 0;
        $total += $whole + 1;
    }

    $total = $main::Max if $total > $main::Max;

    is($b->{status}, 'completed', "@$tokens: completed");
    is_deeply($b->{request_counts},
              { total => $n, completed => $n, failed => 0 }, 'counts');
    is("$u->{prompt_tokens}", $sum, 'prompt_tokens');
    is("$u->{input_tokens}", $sum, 'input_tokens');
    is($u->{completion_tokens}, $n, 'completion_tokens');
    is("$u->{total_tokens}", $total, 'total_tokens');
    is(scalar(output_lines($b)), $n, 'output');

    $seen{$b->{id}} = $b;
}

redis('FLUSHALL');

for my $id (sort keys %seen) {
    my $r;

    ok(wait_until(sub {
        ($r = api('GET', "/v1/batches/$id"))->{status} == 200
    }, 30), 'is there again');
    is_deeply($r->{json}, $seen{$id}, 'as it was');
}


=== TEST 2: an output line has the server's own number
--- flow
my $b = run_batch(main::answers('tokens=18446744073709551615'));

like(content($b->{output_file_id}),
     qr/"prompt_tokens":18446744073709551615,/, 'unchanged');


=== TEST 3: reasoning and cached tokens beside the others
--- flow
my $b = run_batch(main::answers('tokens=12;thought=4;hit=3',
                                'tokens=1;thought=5.0;hit=1e1'));

is($b->{usage}{output_tokens_details}{reasoning_tokens}, 9, 'reasoning');
is($b->{usage}{input_tokens_details}{cached_tokens}, 13, 'cached');
is($b->{usage}{prompt_tokens}, 13, 'prompt_tokens');


=== TEST 4: in the journal, too: a batch of several chunks
--- concurrency
64
--- flow
my $n = 1500;
my $b = run_batch(main::answers(map {
    $_ == 700 ? 'tokens=18446744073709551615' : 'tokens=2'
} 1 .. $n));

is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{completed}, $n, 'counts');
is("$b->{usage}{prompt_tokens}", $main::Max, 'prompt_tokens');
is_deeply(main::rebuilt($b->{id}), $b, 'the same after a rebuild');


=== TEST 5: final.json of an older module, with more than 2^63 tokens
--- flow
for my $n ('18446744073709551615', '9223372036854775808',
           '9223372036854775805')
{
    my $b = run_batch(jsonl(2));
    my $path = BatchDamage::dir_of($b->{id}) . '/final.json';
    my $text = slurp($path);

    $text =~ s/(?<="usage":)(\{.*?\})/$1 =~ s{"(input|total)":\d+}{"$1":$n}gr/e;
    BatchDamage::manifest($path, $text);

    my $r = main::rebuilt($b->{id});

    is($r->{status}, 'completed', "$n: completed");
    is($r->{completed_at}, $b->{completed_at}, 'when');
    is_deeply($r->{request_counts}, $b->{request_counts}, 'counts');
    is("$r->{usage}{prompt_tokens}", $main::Max, 'prompt_tokens');
    is("$r->{usage}{total_tokens}", $main::Max, 'total_tokens');
    is($r->{usage}{output_tokens}, $b->{usage}{output_tokens},
       'output_tokens');
    is(scalar(output_lines($r)), 2, 'output');
    is(api('GET', '/v1/batches')->{json}{data}[0]{id}, $b->{id}, 'listed');
    is(cancel_batch($b->{id})->{status}, 409, 'cannot be cancelled');
    is(http('DELETE', "/v1/files/$r->{output_file_id}")->{status}, 200,
       'its file can be deleted');
}


=== TEST 6: an older module stopped at the final.json that it had made
--- flow
my $f = upload(jsonl(2, mock => 'slow=1500'))->{json};
my $b = create_batch($f->{id})->{json};

ok(wait_until(sub { mock_stats()->{inflight} == 2 }, 10), 'it runs');

$b = wait_batch($b->{id}, until => qr/in_progress/);

my $now = int time;
my $final = json_encode({
    v => 1, id => $b->{id}, status => 'completed', completed_at => $now,
    in_progress_at => $b->{in_progress_at}, finalizing_at => $now,
    total => 2, completed => 2, failed => 0, output => undef, error => undef,
    usage => { input => 'N', total => 'N' },
});

$final =~ s/"N"/18446744073709551615/g;
BatchDamage::manifest(BatchDamage::dir_of($b->{id}) . '/final.json', $final);

$b = wait_batch($b->{id}, timeout => 30);
is($b->{status}, 'completed', 'it has ended as that says');
is($b->{completed_at}, $now, 'when');
is("$b->{usage}{total_tokens}", $main::Max, 'total_tokens');


=== TEST 7: NUL in what is stored of a line
--- flow
my $b = run_batch(jsonl(2) =~ s/"model":"/"model":"\\u0000/gr);
is($b->{status}, 'completed', 'in the model');
is_deeply(main::rebuilt($b->{id}), $b, 'the same after a rebuild');

$b = run_batch(jsonl(2) =~ s/"custom_id":"[^"]*"/"custom_id":"a\\u0000b"/gr);
is($b->{status}, 'failed', 'in a custom_id that is there twice');
is_deeply(main::rebuilt($b->{id}), $b, 'the same after a rebuild');

my @line = split /^/, jsonl(2);
$line[1] =~ s/"model":"/"model":"x\\u0000/;
$b = run_batch(join '', @line);
is($b->{status}, 'failed', 'in a second model');
is_deeply(main::rebuilt($b->{id}), $b, 'the same after a rebuild');


=== TEST 8: parameters
--- flow
my @huge = ('18446744073709551615', '9223372036854775808',
            '9223372036854775807', '99999999999999999999999');
my $f = upload(jsonl(1))->{json};

sub refused {
    my ($name, $r, $param) = @_;
    is($r->{status}, 400, $name);
    is(json_decode($r->{body})->{error}{param}, $param, "$name: param");
}

for my $n (@huge, map { "-$_" } @huge) {
    refused("output_expires_after $n", main::post('/v1/batches',
        qq({"input_file_id":"$f->{id}","endpoint":"/v1/chat/completions",)
        . qq("completion_window":"24h","output_expires_after":)
        . qq({"anchor":"created_at","seconds":$n}})),
        'output_expires_after.seconds');

    refused("bytes $n", main::post('/v1/uploads',
        qq({"purpose":"batch","filename":"a.jsonl","bytes":$n,)
        . qq("mime_type":"application/jsonl"})), 'bytes');

    refused("expires_after of an upload $n", main::post('/v1/uploads',
        qq({"purpose":"batch","filename":"a.jsonl","bytes":1,)
        . qq("mime_type":"application/jsonl","expires_after":)
        . qq({"anchor":"created_at","seconds":$n}})), 'expires_after.seconds');

    refused("expires_after of a file $n", upload(jsonl(1),
        fields => ['expires_after[anchor]' => 'created_at',
                   'expires_after[seconds]' => $n]), 'expires_after[seconds]');

    refused("limit $n of $_", http('GET', "/v1/$_?limit=$n"), 'limit')
        for qw(files batches);
}

# a key that nobody knows is nobody's concern

is(main::post('/v1/batches', qq({"input_file_id":"$f->{id}","endpoint":)
   . qq("/v1/chat/completions","completion_window":"24h","seed":)
   . qq(18446744073709551615}))->{status}, 200, 'an unknown number');


=== TEST 9: Retry-After: a fraction, too many seconds, in the past
--- flow
my $t = time;
my $b = run_batch(jsonl(1, mock => 'status=429;retry_after=1.5;times=1'));
is($b->{request_counts}{completed}, 1, 'completed');
cmp_ok(time - $t, '>', 1.5, 'not before');
cmp_ok(time - $t, '<', 10, 'and not much later');

for my $v ('-18446744073709551615', '1e400', '0.0', '.5', '2 hours',
           'Thu, 01 Jan 1970 00:00:00 GMT')
{
    $t = time;
    $b = run_batch(jsonl(1, mock => "status=429;retry_after=$v;times=1"));
    is($b->{request_counts}{completed}, 1, "$v: completed");
    cmp_ok(time - $t, '<', 10, "$v: soon");
}

# longer than the longest pause is the longest pause

mock_reset();
my $f = upload(jsonl(4, mock => sub { 'status=429;retry_after='
    . ('18446744073709551615', '9223372036854775807', '99999999999999999999',
       'Fri, 31 Dec 9999 23:59:59 GMT')[$_[0] - 1] }))->{json};
$b = create_batch($f->{id})->{json};
ok(wait_until(sub { (my @sent = mock_paths()) >= 4 }, 10), 'all are sent');
sleep 2;
is(scalar(my @sent = mock_paths()), 4, 'none comes again at once');
cancel_batch($b->{id});
is(wait_batch($b->{id})->{status}, 'cancelled', 'and it can be cancelled');


=== TEST 10: Range
--- flow
my $f = upload(jsonl(1))->{json};
my $size = length content($f->{id});

for my $v ('bytes=18446744073709551615-', 'bytes=9223372036854775808-',
           'bytes=0-18446744073709551615', 'bytes=-99999999999999999999999',
           'bytes=9223372036854775807-9223372036854775807')
{
    my $r = http('GET', "/v1/files/$f->{id}/content", headers => [Range => $v]);
    ok($r->{status} == 416 || $r->{status} == 206 || $r->{status} == 200, $v);
    cmp_ok(length $r->{body}, '<=', $r->{status} == 416 ? 4096 : $size,
           "$v: no more than there is");
}
