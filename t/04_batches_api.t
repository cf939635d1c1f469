use lib 't/lib';
use BatchTest;
use BatchRaw;
use Test::Nginx::Socket 'no_plan';

# The batch object, and what POST /v1/batches takes; batches' runs are tested
# elsewhere.

run_tests();

__DATA__

=== TEST 1: the object of a new batch
--- flow
my $f = upload(jsonl(2))->{json};
my $r = create_batch($f->{id}, metadata => { a => 'b' });
my $b = $r->{json};

is($r->{status}, 200, '200, not 201');
is(join(' ', $r->{body} =~ /"(\w+)":/g),
   'id object endpoint model errors input_file_id completion_window status '
   . 'output_file_id error_file_id created_at in_progress_at expires_at '
   . 'finalizing_at completed_at failed_at expired_at cancelling_at '
   . 'cancelled_at request_counts total completed failed usage input_tokens '
   . 'output_tokens total_tokens input_tokens_details cached_tokens '
   . 'output_tokens_details reasoning_tokens prompt_tokens completion_tokens '
   . 'metadata a job_id price_1m_tokens processing_cost',
   'keys and their order');
like($b->{id}, qr/^batch_[0-9a-f]{32}$/, 'id');
is($b->{status}, 'validating', 'status');
is($b->{expires_at}, $b->{created_at} + 86400, 'expires_at');
is($b->{input_file_id}, $f->{id}, 'input_file_id');
is(join(' ', map { $b->{request_counts}{$_} } qw(total completed failed)),
   '0 0 0', 'counts');
is($b->{metadata}{a}, 'b', 'metadata');
is($b->{model}, undef, 'no model yet');

my $end = wait_batch($b->{id});
is($end->{status}, 'completed', 'it ends');
is(join(' ', sort keys %$end), join(' ', sort keys %$b), 'with the same keys');



=== TEST 2: relatives of OpenAI
--- flow
my $f = upload(jsonl(1))->{json};
my $b = create_batch($f->{id}, completion_window => 'unlimited',
                     job_id => 'job-x', endpoint => 'v1/chat/completions',
                     output_expires_after => undef, more => [1])->{json};

is($b->{job_id}, 'job-x', 'job_id');
is($b->{expires_at}, undef, 'never expires');
is($b->{model}, '', 'no null for a model');
is(ref $b->{metadata}, 'HASH', 'nor for metadata');
is($b->{endpoint}, '/v1/chat/completions', 'the slash is put back');
is($b->{price_1m_tokens}, 0, 'price');
is($b->{processing_cost}, 0, 'cost');

$b = create_batch($f->{id}, metadata => undef)->{json};
is($b->{metadata}, undef, 'metadata null');
is($b->{job_id}, '', 'no job');



=== TEST 3: what is refused
--- flow
use utf8;

my %ok = (input_file_id => 'file-x', endpoint => '/v1/chat/completions',
          completion_window => '24h');
my $n = sub { return { %ok, @_ } };
my $without = sub { my %h = %ok; delete $h{$_[0]}; return \%h };
my $meta = sub { return { %ok, metadata => $_[0] } };

for (['no file', 'input_file_id', 'missing_required_parameter',
      $without->('input_file_id'),
      "Missing required parameter: 'input_file_id'."],
     ['no endpoint', 'endpoint', 'missing_required_parameter',
      $without->('endpoint')],
     ['no window', 'completion_window', 'missing_required_parameter',
      $without->('completion_window')],
     ['endpoint', 'endpoint', 'invalid_value',
      $n->(endpoint => '/v1/invalid/endpoint'),
      "Invalid value: '/v1/invalid/endpoint'. Supported values are: "
      . "'/v1/chat/completions', '/v1/completions', '/v1/embeddings', and "
      . "'/v1/responses'."],
     ['endpoint 7', 'endpoint', 'invalid_type', $n->(endpoint => 7),
      "Invalid type for 'endpoint': expected a string, but got an integer "
      . 'instead.'],
     ['window', 'completion_window', 'invalid_value',
      $n->(completion_window => '1y')],
     ['empty window', 'completion_window', 'invalid_value',
      $n->(completion_window => '')],
     ['metadata', 'metadata', 'invalid_type', $meta->('x')],
     ['metadata.tags', 'metadata.tags', 'invalid_type',
      $meta->({ tags => ['a'] }), "Invalid type for 'metadata.tags': expected "
      . 'a string, but got an array instead.'],
     ['17 pairs', 'metadata', 'object_above_max_properties',
      $meta->({ map { $_ => 'v' } 1 .. 17 })],
     ['long key', 'metadata', 'string_above_max_length',
      $meta->({ 'k' x 65 => 'v' })],
     ['very long key', 'metadata', 'string_above_max_length',
      $meta->({ 'é' x 20000 => 'v' })],
     ['long value', 'metadata.k', 'string_above_max_length',
      $meta->({ k => 'v' x 513 })],
     ['output expiry', 'output_expires_after.seconds',
      'integer_below_min_value', $n->(output_expires_after =>
                             { anchor => 'created_at', seconds => 1 })],
     ['job_id', 'job_id', 'invalid_type', $n->(job_id => 5)],
     ['empty', undef, undef, ''], ['array', undef, undef, '[]'],
     ['text', undef, undef, 'nope'], ['not UTF-8', undef, undef, "\xff\xfe"],
     ['duplicate', undef, undef, '{"endpoint":"a","endpoint":"b"}'],
     ['surrogate', undef, undef, '{"endpoint":"\ud800"}'])
{
    my ($name, $param, $code, $body, $message) = @$_;

    $body = json_encode($body) if ref $body;

    for my $o ({}, { chunk => 3 }) {
        my $c = BatchRaw->new;
        my $r = $c->request('POST', '/v1/batches', $body, %$o);
        my $e = $r->{json}{error};

        is($r->{status}, 400, $name);
        is($e->{param}, $param, "$name: param");
        is($e->{code}, $code, "$name: code");
        is($e->{message}, $message, "$name: message") if defined $message;
        ok($c->alive, "$name: keep-alive");
    }
}

is(scalar @{ api('GET', '/v1/batches')->{json}{data} }, 0, 'none was made');



=== TEST 4: limits that hold exactly, bodies in pieces
--- flow
use utf8;

my %m = map { ("\x{e9}" x 62) . sprintf('%02d', $_) => "\x{e9}" x 512 }
        1 .. 16;
my $body = json_encode({ input_file_id => 'file-x', metadata => \%m,
                         endpoint => '/v1/embeddings',
                         completion_window => '24h' });

for my $o ({}, { step => 700 }, { chunk => 3 }) {
    my $r = BatchRaw->new->request('POST', '/v1/batches', $body, %$o);

    is($r->{status}, 200, 'accepted');
    is(json_encode($r->{json}{metadata}), json_encode(\%m), 'metadata');
}

my $pad = sub { '{"input_file_id":"x","endpoint":"/v1/embeddings",'
                . '"completion_window":"24h","pad":"' . 'x' x $_[0] . '"}' };

for (['65000', 65000, 200], ['66000', 66000, 413], ['8 MB', 8000000, 413]) {
    for my $o ({}, { chunk => 4000 }) {
        my $c = BatchRaw->new;
        my $r = $c->request('POST', '/v1/batches', $pad->($_->[1]), %$o);

        is($r->{status}, $_->[2], "$_->[0] bytes");
        ok($r->{json}, 'JSON');
        ok($c->alive, 'keep-alive')
            if $r->{headers}{connection} eq 'keep-alive';
    }
}



=== TEST 5: unknown, foreign and malformed ids
--- http_extra
map $http_x_tenant $tenant { default $http_x_tenant; "" me; }
--- api_config
batch_tenant $tenant;
--- flow
my $b = create_batch('file-x')->{json};
my @you = (headers => ['X-Tenant' => 'b']);

for my $id ($b->{id}, 'batch_' . '0' x 32, 'batch_x', '*', 'file-x') {
    for (['GET', ''], ['POST', '/cancel']) {
        my $r = api($_->[0], "/v1/batches/$id$_->[1]", undef, @you);

        is($r->{status}, 404, "$_->[0] $id$_->[1]");
        is($r->{body}, '{"error":{"message":"No batch found with id \'' . $id
           . '\'.","type":"invalid_request_error","param":null,"code":null}}',
           'wording');
    }
}

is(scalar @{ api('GET', '/v1/batches', undef, @you)->{json}{data} }, 0,
   'not in a list');



=== TEST 6: lists
--- flow
my @ids = map { create_batch('file-x')->{json}{id} } 1 .. 25;
my $r = api('GET', '/v1/batches')->{json};

is(scalar @{ $r->{data} }, 20, '20 by default');
ok($r->{has_more}, 'has_more');
is($r->{first_id}, $ids[24], 'newest first');

my $rest = api('GET', "/v1/batches?after=$r->{last_id}&limit=100")->{json};

is(join(' ', map { $_->{id} } @{ $r->{data} }, @{ $rest->{data} }),
   join(' ', reverse @ids), 'two pages are all');
ok(!$rest->{has_more}, 'no more');

for ("after=$ids[0]", 'after=batch_' . '0' x 32, 'after=x', 'limit=0') {
    is(scalar @{ api('GET', "/v1/batches?$_")->{json}{data} }, 0, $_);
}

my $e = api('GET', '/v1/batches?limit=101')->{json}{error};

is($e->{message}, "Invalid 'limit': integer above maximum value. Expected a "
   . 'value <= 100, but got 101 instead.', 'limit=101');
is($e->{code}, 'integer_above_max_value', 'code');
is(api('GET', '/v1/batches?limit=-1')->{json}{error}{code},
   'integer_below_min_value', 'limit=-1');



=== TEST 7: cancel
--- flow
my $f = upload(jsonl(4, mock => 'slow=3000'))->{json};
my $b = create_batch($f->{id})->{json};
my $c = BatchRaw->new;

# as curl does it: neither a body nor a Content-Length

$c->send("POST /v1/batches/$b->{id}/cancel HTTP/1.1\r\nHost: x\r\n"
         . "Content-Type: application/json\r\n\r\n");
my $r = $c->answer;

is($r->{status}, 200, 'cancel');
is($r->{json}{status}, 'cancelling', 'status');
ok($r->{json}{cancelling_at}, 'cancelling_at');

my $again = $c->request('POST', "/v1/batches/$b->{id}/cancel", 'junk' x 500);
is($again->{status}, 200, 'again, with some body');
is($again->{json}{cancelling_at}, $r->{json}{cancelling_at}, 'unchanged');
ok($c->alive, 'keep-alive');

is(wait_batch($b->{id})->{status}, 'cancelled', 'it ends');

$r = $c->request('POST', "/v1/batches/$b->{id}/cancel", '');
is($r->{status}, 200, 'and once more');
is($r->{json}{status}, 'cancelled', 'cancelled');

$b = create_batch('file-x')->{json};
is(wait_batch($b->{id})->{status}, 'failed', 'a failed one');

$r = $c->request('POST', "/v1/batches/$b->{id}/cancel", '');
is($r->{status}, 409, 'cannot be cancelled');
is($r->{headers}{'x-should-retry'}, 'false', 'x-should-retry');
is($r->{json}{error}{message},
   "Cannot cancel a batch with status 'failed'.", 'wording');



=== TEST 8: a body that mirror has read
--- server_extra
location = /mirrored { return 204; }
location /mir/batches {
    mirror /mirrored;
    client_body_buffer_size 1k;
    batch_api;
    batch_pass /batch-lines;
}
--- flow
my $body = '{"input_file_id":"x","endpoint":"/v1/embeddings",'
           . '"completion_window":"24h","pad":"' . 'x' x 60000 . '"}';

for my $o ({}, { chunk => 777 }) {
    my $r = BatchRaw->new->request('POST', '/mir/batches', $body, %$o);

    is($r->{status}, 200, 'accepted');
}
