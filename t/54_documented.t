# The requests that the documentations of OpenAI, Impala and TensorZero show, one
# by one, to one server with the default dialect: the answers have what is shown
# there.  t/e2e/seeds.sh runs the quick starts' very commands.

use lib 't/lib';
use BatchTest;
use BatchSchema;
use Test::Nginx::Socket 'no_plan';

our $Impala = BatchSchema->new('t/e2e/impala-schema.json');


# Every key of a documented sample is there, with a value of its type, or null
# where the sample has one that is not there yet.

sub shows {
    my ($got, $sample, $name) = @_;
    my @bad;

    my $walk;
    $walk = sub {
        my ($g, $s, $at, $key) = @_;

        return push @bad, "$at is missing" unless exists $g->{$key};

        my ($have, $want) = ($g->{$key}, $s->{$key});
        my ($is, $like) = map { BatchSchema::type_of($_) } $have, $want;

        return if $is eq 'null' || $like eq 'null';
        push @bad, "$at is $is, not $like" if $is ne $like;
        return unless ref $want eq 'HASH' && ref $have eq 'HASH';
        $walk->($have, $want, "$at.$_", $_) for sort keys %$want;
    };

    $walk->($got, $sample, $_, $_) for sort keys %$sample;
    Test::More::is(join("\n", @bad), '', "$name has what is documented");
}


sub fits_impala {
    my ($r, $name) = @_;
    my @bad = $Impala->check('BatchModel', $r);

    Test::More::is("@bad", '', "$name fits Impala's OpenAPI");
}


run_tests();

__DATA__

=== TEST 1: Impala
--- flow
my $in = '{"custom_id":"req-1","method":"POST","url":"/v1/chat/completions",'
    . '"body":{"model":"your-model","messages":[{"role":"user","content":'
    . '"Summarize: ..."}]}}' . "\n"
    . '{"custom_id":"req-2","method":"POST","url":"/v1/chat/completions",'
    . '"body":{"model":"your-model","messages":[{"role":"user","content":'
    . '"Translate: ..."}]}}' . "\n";
my $f = upload($in, filename => 'input.jsonl');

is($f->{status}, 200, 'upload');
main::shows($f->{json}, { id => 'file-abc123', object => 'file',
    bytes => 12345, filename => 'input.jsonl', purpose => 'batch' }, 'a file');

# without a Content-Length and an Authorization, as its curl sends it

my $r = api('POST', '/v1/batches', { input_file_id => $f->{json}{id},
    endpoint => '/v1/chat/completions', completion_window => 'unlimited',
    job_id => 'job-xxxxxxxx' });

is($r->{status}, 200, 'create');
main::fits_impala($r->{json}, 'a new batch');

my $sample = json_decode('{"completion_window":"s","created_at":123,
    "endpoint":"s","id":"s","job_id":"s","input_file_id":"s",
    "request_counts":{"completed":123,"failed":123,"total":123},
    "status":"validating","cancelled_at":123,"cancelling_at":123,
    "completed_at":123,"error_file_id":"s","errors":{"data":[{"code":"s",
    "line":123,"message":"s","param":"s"}],"object":"list"},"expired_at":123,
    "expires_at":123,"failed_at":123,"finalizing_at":123,
    "in_progress_at":123,"metadata":{},"object":"batch",
    "output_file_id":"s","model":"","price_1m_tokens":null,
    "processing_cost":null,"usage":{"prompt_tokens":0,"completion_tokens":0,
    "total_tokens":0}}');

main::shows($r->{json}, $sample, 'a new batch');

my $b = wait_batch($r->{json}{id});

is($b->{status}, 'completed', 'poll');
main::shows($b, $sample, 'a completed batch');
main::fits_impala(get_batch($b->{id}), 'a completed batch');
is($b->{error_file_id}, undef, 'no error file without errors');
is($b->{job_id}, 'job-xxxxxxxx', 'job_id');
is($b->{expires_at}, undef, 'unlimited');
is_deeply([map { $_->{custom_id} } output_lines($b)], ['req-1', 'req-2'],
          'a line for each, by custom_id');

main::shows(api('GET', "/v1/files/$f->{json}{id}")->{json},
            { id => 's', object => 'file', bytes => 1, filename => 's',
              purpose => 's' }, 'GET of a file');

# its reference: every endpoint, as its text spells it and as its sample does

my %line = ('chat/completions' => '"messages":[]', completions => '"prompt":"a"',
            embeddings => '"input":"a"', responses => '"input":"a"');

for my $e (sort keys %line) {
    for my $slash ('', '/') {
        my $b = run_batch(
            qq({"custom_id":"a","method":"POST","url":"/v1/$e",)
            . qq("body":{"model":"m",$line{$e}}}\n),
            endpoint => "${slash}v1/$e", completion_window => 'unlimited',
            job_id => 'j', metadata => { a => 'b' }, output_expires_after =>
                { anchor => 'created_at', seconds => 3600 });

        is($b->{status}, 'completed', "${slash}v1/$e");
        main::fits_impala($b, "${slash}v1/$e");
        main::shows($b, $sample, "${slash}v1/$e");

        my $out = api('GET', "/v1/files/$b->{output_file_id}")->{json};
        is($out->{expires_at}, $out->{created_at} + 3600, 'expires');
    }
}

for my $list (api('GET', '/v1/batches')->{json}) {
    is(scalar @{ $list->{data} }, 9, 'list');
    main::fits_impala($_, 'one of the list') for @{ $list->{data} };
}

# a batch that fails, and one with lines that do

$b = wait_batch(create_batch(upload("$in\{}\n")->{json}{id}, job_id => 'j',
    completion_window => 'unlimited')->{json}{id});
is($b->{status}, 'failed', 'a bad line');
main::fits_impala($b, 'a failed batch');
main::shows($b->{errors}{data}[0], { code => 's', line => 1, message => 's',
            param => 's' }, 'its error');

$b = run_batch(jsonl(2, mock => 'status=400'), job_id => 'j',
               completion_window => 'unlimited');
main::fits_impala($b, 'with failed lines');
is(scalar(error_lines($b)), 2, 'the error file');

# and one that is cancelled, in each of its states

$r = create_batch(upload(jsonl(50, mock => 'hang'))->{json}{id},
    job_id => 'j', completion_window => 'unlimited')->{json};
main::fits_impala($r, 'validating');
main::fits_impala(wait_batch($r->{id}, until => qr/in_progress/),
                  'in_progress');
main::fits_impala(cancel_batch($r->{id})->{json}, 'cancelling');
main::fits_impala(wait_batch($r->{id}), 'cancelled');

for (["/v1/batches/batch-xyz789", 404], ['/v1/files/file-abc123', 404]) {
    my $r = api('GET', $_->[0]);
    is($r->{status}, $_->[1], $_->[0]);
    my @bad = $main::Impala->check('ErrorResponseModel', $r->{json});
    is("@bad", '', 'fits its error');
}



=== TEST 2: TensorZero
--- flow
my @h = (headers => [Authorization => 'Bearer YOUR_API_KEY']);
my $chat = sub {
    my ($id, $model, @messages) = @_;

    return qq({"custom_id": "$id", "method": "POST", "url": )
        . qq("/v1/chat/completions", "body": {"model": "$model", "messages": [)
        . join(', ', @messages) . "]}}\n";
};
my $user = sub { qq({"role": "user", "content": "$_[0]"}) };

my $in = $chat->('req-1', 'gpt-4', $user->('What is 2+2?'))
       . $chat->('req-2', 'gpt-4', $user->('What is the capital of France?'))
       . $chat->('req-3', 'gpt-4',
                 $user->('Explain quantum computing in simple terms'));

my $f = upload($in, file_first => 1, filename => 'requests.jsonl', @h);
is($f->{status}, 200, 'upload');
main::shows($f->{json}, { id => 's', object => 'file', bytes => 512,
    created_at => 1735775425, filename => 's', purpose => 'batch' }, 'a file');

my $r = create_batch($f->{json}{id}, http => \@h);
is($r->{status}, 200, 'create');
is($r->{json}{status}, 'validating', 'validating');
main::shows($r->{json}, { id => 's', object => 'batch', status => 's',
                          created_at => 1 }, 'a new batch');

my $b = wait_batch($r->{json}{id}, http => \@h);
main::shows($b, { id => 's', status => 's', output_file_id => 's',
    request_counts => { total => 3, completed => 3, failed => 0 } },
    'a completed batch');
is(join(' ', @{ $b->{request_counts} }{qw(total completed failed)}), '3 3 0',
   'counts');
ok(!$b->{errors}, 'errors is nothing to look at');

for (output_lines($b)) {
    main::shows($_, json_decode('{"id":"batch_req_1","custom_id":"req-1",
        "response":{"status_code":200,"body":{"choices":[]}}}'), 'a line');
    ok(length $_->{response}{body}{choices}[0]{message}{content}, 'an answer');
}

# its three use cases

for ([$chat->('article-1', 'gpt-4', '{"role": "system", "content": "You are '
              . 'a helpful blog writer"}', $user->('Write about healthcare'))
      . $chat->('article-2', 'gpt-4', '{"role": "system", "content": "You '
                . 'are a helpful blog writer"}', $user->('Write about energy')),
      2, '/v1/chat/completions'],
     [$chat->('analysis-1', 'gpt-4', $user->("Analyze this customer review "
              . "and extract sentiment: 'Great product, fast shipping!'"))
      . $chat->('analysis-2', 'gpt-4', $user->("Analyze this customer review "
                . "and extract sentiment: 'Disappointed with the quality'")),
      2, '/v1/chat/completions'],
     ['{"custom_id": "embed-1", "method": "POST", "url": "/v1/embeddings", '
      . '"body": {"model": "text-embedding-ada-002", "input": "Machine '
      . 'learning is a subset of artificial intelligence"}}' . "\n"
      . '{"custom_id": "embed-2", "method": "POST", "url": "/v1/embeddings", '
      . '"body": {"model": "text-embedding-ada-002", "input": "Deep learning '
      . 'uses neural networks with multiple layers"}}' . "\n", 2,
      '/v1/embeddings'])
{
    my ($data, $n, $endpoint) = @$_;
    my $b = run_batch($data, endpoint => $endpoint, http => \@h);

    is($b->{request_counts}{completed}, $n, "use case: $endpoint");
}

# "always check the error_file_id for any failed requests"

$b = run_batch(jsonl(1, mock => 'status=400'));
ok($b->{error_file_id}, 'error_file_id');
like(content($b->{error_file_id}), qr/"status_code": ?400/, 'what failed');
is(api('DELETE', "/v1/files/$f->{json}{id}", undef, @h)->{json}{deleted},
   json_decode('true'), 'delete processed files');



=== TEST 3: OpenAI
--- flow
my $f = upload(jsonl(2), fields => ['expires_after[anchor]' => 'created_at',
                                    'expires_after[seconds]' => 2592000]);
my $file = json_decode('{"id":"file-abc123","object":"file","bytes":120000,
    "created_at":1677610602,"expires_at":1677614202,
    "filename":"mydata.jsonl","purpose":"fine-tune"}');

main::shows($f->{json}, $file, 'a file');

my $batch = json_decode('{"id":"batch_abc123","object":"batch",
    "endpoint":"/v1/chat/completions","errors":null,
    "input_file_id":"file-abc123","completion_window":"24h",
    "status":"validating","output_file_id":null,"error_file_id":null,
    "created_at":1711471533,"in_progress_at":null,"expires_at":null,
    "finalizing_at":null,"completed_at":null,"failed_at":null,
    "expired_at":null,"cancelling_at":null,"cancelled_at":null,
    "request_counts":{"total":0,"completed":0,"failed":0},
    "metadata":{"customer_id":"user_123456789",
                "batch_description":"Nightly eval job"}}');
my $r = create_batch($f->{json}{id}, metadata => $batch->{metadata});

main::shows($r->{json}, $batch, 'a new batch');
is_deeply($r->{json}{metadata}, $batch->{metadata}, 'metadata');

my $done = wait_batch($r->{json}{id});

main::shows($done, { %$batch, usage => { input_tokens => 1, output_tokens => 1,
    total_tokens => 2, input_tokens_details => { cached_tokens => 0 },
    output_tokens_details => { reasoning_tokens => 0 } } },
    'a completed batch');

my $list = { object => 'list', first_id => 's', last_id => 's', data => [],
             has_more => json_decode('false') };

main::shows(api('GET', '/v1/batches?limit=2')->{json}, $list, 'batches');
main::shows(api('GET', '/v1/files')->{json}, $list, 'files');
main::shows($_, $batch, 'a batch of the list')
    for @{ api('GET', '/v1/batches?limit=2')->{json}{data} };

my $hang = create_batch(upload(jsonl(3, mock => 'hang'))->{json}{id})->{json};
wait_batch($hang->{id}, until => qr/in_progress/);
$r = cancel_batch($hang->{id})->{json};
is($r->{status}, 'cancelling', 'cancel');
ok($r->{cancelling_at}, 'cancelling_at');
main::shows($r, $batch, 'a cancelling batch');

# uploads, as its reference has them: JSON that says to be a form

my $u = api('POST', '/v1/uploads', undef, body => '{"purpose":"fine-tune",'
    . '"filename":"training_examples.jsonl","bytes":14,'
    . '"mime_type":"text/jsonl","expires_after":{"anchor":"created_at",'
    . '"seconds":3600}}',
    headers => ['Content-Type' => 'application/x-www-form-urlencoded'])->{json};
my $upload = json_decode('{"id":"upload_abc123","object":"upload",
    "bytes":2147483648,"created_at":1719184911,
    "filename":"training_examples.jsonl","purpose":"fine-tune",
    "status":"pending","expires_at":1719127296}');

main::shows($u, $upload, 'an upload');

my @part = map {
    my ($body, $type) = multipart(data => $_);
    my $p = api('POST', "/v1/uploads/$u->{id}/parts", undef, body => $body,
                headers => ['Content-Type' => $type])->{json};
    main::shows($p, { id => 's', object => 'upload.part', created_at => 1,
                      upload_id => 's' }, 'a part');
    $p->{id}
} '{"a":1}', '{"b":2}';

$u = api('POST', "/v1/uploads/$u->{id}/complete", { part_ids => \@part })
     ->{json};
main::shows($u, { %$upload, file => $file }, 'a completed upload');
is(content($u->{file}{id}), '{"a":1}{"b":2}', 'its file');

main::shows(api('DELETE', "/v1/files/$f->{json}{id}")->{json},
            { id => 's', object => 'file', deleted => json_decode('true') },
            'DELETE');
