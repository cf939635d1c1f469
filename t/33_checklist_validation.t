# What clients of OpenAI's service rely on, by number: validation (55 to 66).
# The names of the checks begin with "#<number>".

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

my $n = 0;

# a line with one thing changed: its bytes; undef takes a key away

sub line {
    my (%o) = @_;
    my %l = (custom_id => '"id' . ++$n . '"', method => '"POST"',
             url => '"/v1/chat/completions"',
             body => '{"model":"m","messages":[]}', %o);

    return '{' . join(',', map { qq("$_":$l{$_}) }
                           grep { defined $l{$_} }
                           qw(custom_id method url body)) . "}\n";
}

# the batch of these lines fails with exactly these errors, each [ code, line,
# param, message ]; a message may be an expression

sub fails {
    my ($number, $name, $text, @want) = @_;
    my $b = run_batch($text);

    is($b->{status}, 'failed', "#$number $name: failed");
    told($number, $name, $b, @want);

    return $b;
}

sub told {
    my ($number, $name, $b, @want) = @_;

    is($b->{errors}{object}, 'list', "#$number $name: errors.object");

    my @data = @{ $b->{errors}{data} // [] };

    is(scalar @data, scalar @want, "#$number $name: how many errors");

    for my $i (0 .. $#want) {
        my ($code, $line, $param, $message) = @{ $want[$i] };

        if (ref $message) {
            like($data[$i]{message}, $message, "#$number $name: message");
            $message = $data[$i]{message};
        }

        is_deeply($data[$i], { code => $code, line => $line, param => $param,
                               message => $message },
                  "#$number $name: the error");
    }
}

sub missing {
    my ($line, $param) = @_;
    my ($name) = $param =~ /(\w+)$/;

    return ['missing_required_parameter', $line, $param,
            "Missing required parameter: '$name'."];
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: lines
--- flow
my $line = \&main::line;
my $parse = qr/^This line is not parseable as valid JSON\./;

# an upload whose first line is no JSON is refused (#17), but of a long line only
# the beginning is looked at

my $b = main::fails(55, 'line 1', '{"a":"' . 'x' x 100_000 . "\n" . $line->()
                    . $line->(), ['invalid_json_line', 1, undef, $parse]);
ok($b->{failed_at}, '#55 failed_at');
main::fails(55, 'line 3', $line->() . $line->() . "nonsense\n" . $line->(),
            ['invalid_json_line', 3, undef, $parse]);

my @keys = qw(custom_id method url body);

for my $key (@keys) {
    main::fails(56, "no $key", $line->() . $line->($key => undef),
                main::missing(2, $key));
}

main::fails(57, 'four lines', join('', map { $line->($_ => undef) } @keys),
            map { main::missing($_ + 1, $keys[$_]) } 0 .. 3);

main::fails(58, 'url', $line->() . $line->(url => '"/v1/completions"'),
            ['invalid_url', 2, 'url', 'The URL provided for this request does '
             . "not match the batch endpoint. Expected "
             . "'/v1/chat/completions'."]);

main::fails(59, 'stream', $line->() . $line->(body =>
            '{"model":"m","messages":[],"stream":true}'),
            ['streaming_unsupported', 2, 'body.stream', 'Chat Completions: '
             . 'Streaming is not supported in the Batch API.']);
is(run_batch($line->(body => '{"model":"m","messages":[],"stream":false}'))
   ->{status}, 'completed', '#59 stream: false is none');

mock_reset();
main::fails(60, 'two models', $line->() . $line->()
            . $line->(body => '{"model":"n","messages":[]}') . $line->(),
            ['mismatched_model', 3, 'body.model', "The model 'n' for this "
             . 'request does not match the rest of the batch. Each batch must '
             . 'contain requests for a single model.']);

main::fails(61, 'custom_id', $line->(custom_id => '"a"')
            . $line->(custom_id => '"b"') . $line->(custom_id => '"a"'),
            ['duplicate_custom_id', 3, 'custom_id', "The custom_id 'a' for "
             . 'this request is a duplicate of another request. The custom_id '
             . 'parameter must be unique for each request in a batch.']);

for my $key (qw(messages model)) {
    my $body = $key eq 'messages' ? '{"model":"m"}' : '{"messages":[]}';
    main::fails(66, "no $key", $line->() . $line->(body => $body),
                main::missing(2, "body.$key"));
}

is(mock_stats()->{requests}, 0, '#64 the upstream got no request of all that');



=== TEST 2: too many
--- flow
my $b = main::fails(62, '50,001 lines',
                    jsonl(50_001, body => sub { '{"model":"m","messages":[]}'
                                                }),
                    ['too_many_tasks', undef, undef, 'The batch input file has '
                     . '50001 requests, which is more than the maximum of '
                     . '50000.']);
is(mock_stats()->{requests}, 0, '#62 nothing is executed');

my $emb = sub {
    my ($n, $last) = @_;
    my $many = join ',', ('"x"') x 1000;

    return jsonl($n, url => '/v1/embeddings', body => sub {
        my $input = $_[0] < $n ? "[$many]" : $last;
        return qq({"model":"m","input":$input});
    });
};

my $id = upload($emb->(51, '"one"'))->{json}{id};
$b = wait_batch(create_batch($id, endpoint => '/v1/embeddings')->{json}{id});
is($b->{status}, 'failed', '#63 50,001 embedding inputs');
main::told(63, 'inputs', $b, ['too_many_tasks', undef, undef, 'The batch input '
           . 'file has 50001 embedding inputs, which is more than the maximum '
           . 'of 50000.']);
is(mock_stats()->{requests}, 0, '#63 nothing is executed');



=== TEST 3: a failed batch
--- flow
my $id = upload(main::line() . "{}\n")->{json}{id};
my $b = wait_batch(create_batch($id)->{json}{id});

is($b->{status}, 'failed', '#64 status');
ok($b->{failed_at} >= $b->{created_at}, '#64 failed_at');

for (qw(output_file_id error_file_id in_progress_at finalizing_at completed_at
        expired_at cancelling_at cancelled_at model))
{
    ok(exists $b->{$_} && !defined $b->{$_}, "#64 $_ is null");
}

is_deeply($b->{request_counts}, { total => 0, completed => 0, failed => 0 },
          '#64 counts');
is(mock_stats()->{requests}, 0, '#64 the upstream got no request');
is(scalar @{ api('GET', '/v1/files')->{json}{data} }, 1,
   '#64 no file but the input');



=== TEST 4: before the validation: the input is deleted, the batch cancelled
--- flow
# So that the validation waits, its lease is given to nobody before there is a
# batch.  The id is known because a repeated request with the same
# Idempotency-Key makes the same batch.

my $f = upload(main::line())->{json}{id};
my $create = sub {
    return create_batch($f, http => [headers => ['Idempotency-Key' => $_[0]]])
           ->{json};
};
my %id = map { $_ => $create->($_)->{id} } qw(delete cancel);

is(wait_batch($_)->{status}, 'completed', '#65 a first run') for values %id;

nginx_stop('QUIT');
system 'rm', '-r', map { glob(store_dir() . "/batches/*/$_") } values %id;
redis('FLUSHALL');
nginx_start();
wait_ready();

my ($p) = map { s/:f:.*//r } @{ redis('KEYS', "*:f:$f") };

for my $what (qw(delete cancel)) {
    redis('HSET', "$p:b:$id{$what}", vepoch => 1, vowner => 'nobody',
          vnonce => 'n', vuntil => int((time() + 60) * 1000));

    my $b = $create->($what);
    is($b->{id}, $id{$what}, "#65 $what: the same id");
    is($b->{status}, 'validating', "#65 $what: it waits");
}

is(api('DELETE', "/v1/files/$f")->{status}, 200, '#65 deleted');
is(get_batch($id{delete})->{status}, 'validating', '#65 it waits still');

my $r = cancel_batch($id{cancel});
is($r->{status}, 200, '#78 cancel while it is validated');
is($r->{json}{status}, 'cancelling', '#78 cancelling');

is(redis('HDEL', "$p:b:$_", 'vuntil'), 1, '#65 the lease is given back')
    for values %id;

my $b = wait_batch($id{delete});
is($b->{status}, 'failed', '#65 the batch fails');
main::told(65, 'deleted', $b, ['invalid_request', undef, 'file_id',
           "Cannot find file $f, or organization default does not have access "
           . 'to it.']);

$b = wait_batch($id{cancel});
is($b->{status}, 'cancelled', '#78 cancelled');
ok($b->{cancelled_at} >= $b->{cancelling_at}, '#78 cancelled_at');
is($b->{$_}, undef, "#78 $_ is null")
    for qw(in_progress_at finalizing_at failed_at errors output_file_id
           error_file_id);
is_deeply($b->{request_counts}, { total => 0, completed => 0, failed => 0 },
          '#80 counts');
