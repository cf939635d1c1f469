# batch_lines: lines as other services' documentations show them.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

our $Lenient = 'batch_lines lenient;';

# [custom_id => what was sent] of a batch whose lines echo
sub sent {
    my ($b) = @_;

    Test::More::is($b->{status}, 'completed', 'completed')
        or Test::More::diag(json_encode($b->{errors}));

    return [map { [$_->{custom_id}, $_->{response}{body}{echo}] }
            output_lines($b)];
}

sub reloaded {
    my %old = map { $_ => 1 } nginx_workers();
    kill 'HUP', nginx_pid();

    Test::More::ok(wait_until(sub {
        !grep { $old{$_} } nginx_workers() }, 20), 'new workers');
    wait_ready();
}

run_tests();

__DATA__

=== TEST 1: the services' documented examples
--- api_config eval
$main::Lenient . "batch_endpoints /v1/chat/completions /v1/embeddings
    /v1/rerank /v1/score /chat/completions;"
--- flow
my $m = '"messages":[{"role":"user","content":"Hello"}],"mock":"echo"';

# Together, Novita, Fireworks: custom_id and body

my @in = (qq({"custom_id": "request-1", "body": {"model": "a/b", $m}}),
          qq({"custom_id": "request-2", "body": {"model": "a/b", $m}}));
is_deeply(main::sent(run_batch(join("\n", @in))),
          [map { ["request-$_", qq({"model": "a/b", $m})] } 1, 2], 'Together');

# Mistral, Voyage: the model is the batch's

my $b = run_batch(qq({"custom_id": "0", "body": {"max_tokens": 100, $m}}\n)
                  . qq({"custom_id": "1", "body": {"model":"own",$m}}),
                  model => "mistral-\x{e9}\"");
is_deeply(main::sent($b),
          [['0', qq({"model":"mistral-\x{e9}\\"","max_tokens": 100, $m})],
           ['1', qq({"model":"own",$m})]], 'Mistral');
is($b->{model}, "mistral-\x{e9}\"", 'Mistral: the batch shows its model');

# SiliconFlow: streaming

is_deeply(main::sent(run_batch(
    qq({"custom_id":"r","method":"POST","url":"/v1/chat/completions","body":)
    . qq({"model":"m", $m, "stream": true, "max_tokens": 1514,)
    . qq( "stream_options": {"include_usage": true}}}))),
    [['r', qq({"model":"m", $m, "max_tokens": 1514})]], 'SiliconFlow');

# FastDeploy: no model at all

is_deeply(main::sent(run_batch(
    qq({"custom_id":"req-00001","method":"POST","url":"/v1/chat/completions",)
    . qq("body":{$m}}))), [['req-00001', "{$m}"]], 'FastDeploy');

# Groq, Doubleword: several models

$b = run_batch(join "\n", map { qq({"custom_id":"$_","method":"POST",)
    . qq("url":"/v1/chat/completions","body":{"model":"$_",$m}}) } qw(a b c));
is_deeply(main::sent($b), [map { [$_, qq({"model":"$_",$m})] } qw(a b c)],
          'several models');
is($b->{model}, undef, 'several models: the batch has none');

# vLLM's run-batch: several urls; each line's is where it goes

mock_reset();
my %body = ('/v1/chat/completions' => "{\"model\":\"m\",$m}",
            '/v1/embeddings' => '{"model":"m","input":"a","mock":"echo"}',
            '/v1/score' => '{"model":"m","text_1":"a","text_2":"b",'
                           . '"mock":"echo"}',
            '/v1/rerank' => '{"model":"m","query":"a","documents":["b"],'
                            . '"mock":"echo"}');
my @urls = sort keys %body;
$b = run_batch(join "\n", map { qq({"custom_id":"$_","method":"POST",)
    . qq("url":"$_","body":$body{$_}}) } @urls);
is_deeply(main::sent($b), [map { [$_, $body{$_}] } @urls], 'run-batch');
is_deeply([sort(mock_paths())], \@urls, 'run-batch: where the lines went');
is($b->{model}, 'm', 'run-batch: one model');
cmp_ok($b->{usage}{total_tokens}, '>', 0, 'run-batch: usage of all');

# Azure: its url

is_deeply(main::sent(run_batch(
    qq({"custom_id":"task-0","method":"POST","url":"/chat/completions",)
    . qq("body":{"model":"deployment",$m}}), endpoint => '/chat/completions')),
    [['task-0', qq({"model":"deployment",$m})]], 'Azure');
is((mock_paths())[-1], '/chat/completions', 'Azure: where');

# other spellings of the purpose; no completion_window

for my $purpose ('batch-api', 'batch_input') {
    my $f = upload(jsonl(1), purpose => $purpose);
    is($f->{status}, 200, $purpose);
    is($f->{json}{purpose}, 'batch', "$purpose: it is batch");
    is(api('GET', "/v1/files?purpose=$purpose&limit=1")->{json}{data}[0]{id},
       $f->{json}{id}, "$purpose: in the list");

    my $r = api('POST', '/v1/batches', { input_file_id => $f->{json}{id},
        endpoint => '/v1/chat/completions' });
    is($r->{status}, 200, "$purpose: no window");
    is($r->{json}{completion_window}, '24h', "$purpose: the first one");
    is(wait_batch($r->{json}{id})->{status}, 'completed', "$purpose: runs");
}

is(api('POST', '/v1/uploads', { filename => 'a', purpose => 'batch-api',
    bytes => 1, mime_type => 'text/plain' })->{json}{purpose}, 'batch',
   'an upload in parts');
is(upload(jsonl(1), purpose => 'batchapi')->{status}, 400, 'no other');


=== TEST 2: what lenient lines may not have
--- api_config eval
$main::Lenient
--- flow
my @rows = (
    ['{"body":{"messages":[]}}', 'missing_required_parameter', 'custom_id'],
    ['{"custom_id":"1","method":"GET","body":{"messages":[]}}',
     'invalid_method', 'method'],
    ['{"custom_id":"2","url":"/v1/files","body":{}}', 'invalid_url', 'url'],
    ['{"custom_id":"3","url":"/v1/chat/completions/../../x","body":{}}',
     'invalid_url', 'url'],
    ['{"custom_id":"4","url":"http://h/v1/chat/completions","body":{}}',
     'invalid_url', 'url'],
    ['{"custom_id":"5","url":"","body":{}}', 'invalid_url', 'url'],
    ['{"custom_id":"6","body":{}}', 'missing_required_parameter',
     'body.messages'],
    ['{"custom_id":"7","url":"v1/embeddings","body":{"messages":1}}',
     'invalid_type', 'body.messages'],
    ['{"custom_id":"8","url":"/v1/responses","body":{"background":true}}',
     'background_unsupported', 'body.background'],
    ['{"custom_id":"9"}', 'missing_required_parameter', 'body'],
    ['{"custom_id":"10","body":{"messages":[],"stream_options":1,'
     . '"stream_options":2}}', 'invalid_json_line', undef],
    ['{"custom_id":"11","body":{"messages":[],"model":"'
     . 'x' x 1025 . '"}}', 'invalid_value', 'body.model'],
);
my $b = run_batch(join "\n", map { $_->[0] } @rows);

is($b->{status}, 'failed', 'failed');
is_deeply([map { [@$_{qw(line code param)}] } @{ $b->{errors}{data} }],
          [map { [$_ + 1, @{ $rows[$_] }[1, 2]] } 0 .. $#rows], 'the errors');
like($b->{errors}{data}[2]{message}, qr{may name here: '/v1/chat/completions', },
     'the urls are named');

$b = run_batch('{"custom_id":"1","body":{"messages":[]}}' . "\n"
               . '{"custom_id":"1","url":"/v1/embeddings",'
               . '"body":{"input":"a"}}');
is($b->{errors}{data}[0]{code}, 'duplicate_custom_id', 'a custom_id twice');

my $f = upload(jsonl(1))->{json}{id};
for ([7, 'invalid_type'], ['x' x 257, 'string_above_max_length']) {
    my $r = create_batch($f, model => $_->[0]);
    is($r->{status}, 400, "model: $_->[1]");
    is($r->{json}{error}{code}, $_->[1], 'code');
    is($r->{json}{error}{param}, 'model', 'param');
}

$b = create_batch($f, model => undef);
is($b->{status}, 200, 'model: null');
is(wait_batch($b->{json}{id})->{status}, 'completed', 'it is as none');


=== TEST 3: strict is the default, and ignores a model
--- flow
my $b = run_batch('{"custom_id":"1","body":{"messages":[]}}', model => 'm');
is($b->{errors}{data}[0]{param}, 'method', 'method');
is($b->{model}, undef, 'model');
is(upload(jsonl(1), purpose => 'batch-api')->{status}, 400, 'purpose');
is(api('POST', '/v1/batches', { input_file_id => 'file-x',
    endpoint => '/v1/chat/completions' })->{json}{error}{param},
   'completion_window', 'window');

$b = run_batch('{"custom_id":"1","method":"POST","url":"/v1/embeddings",'
               . '"body":{"model":"m","input":"a"}}');
is($b->{errors}{data}[0]{code}, 'invalid_url', 'another url');


=== TEST 4: variables and jobs, line by line
--- http_extra
    batch_job j model=job-model;
--- api_config eval
$main::Lenient
--- line_config
    proxy_set_header X-V-Model $batch_model;
    proxy_set_header X-V-Uri $uri;
--- flow
my $b = run_batch('{"custom_id":"a","body":{"model":"x y","messages":[],'
    . '"mock":"headers"}}' . "\n" . '{"custom_id":"b","url":"/v1/responses",'
    . '"body":{"stream":true,"mock":"headers;echo"}}', model => 'ours');
my @l = output_lines($b);
like($l[0]{response}{body}{headers}, qr/^X-V-Model: x%20y\r$/m, 'its own');
like($l[0]{response}{body}{headers},
     qr{^X-V-Uri: /batch-lines/v1/chat/completions\r$}m, 'its endpoint');
like($l[1]{response}{body}{headers}, qr/^X-V-Model: ours\r$/m, "the batch's");
like($l[1]{response}{body}{headers},
     qr{^X-V-Uri: /batch-lines/v1/responses\r$}m, 'its endpoint');
is($l[1]{response}{body}{echo}, '{"model":"ours","mock":"headers;echo"}',
   'what was sent');

# a client's model is text, wherever it gets

$b = run_batch('{"custom_id":"a","body":{"messages":[],"mock":"headers;echo"}}',
               model => "m\r\nX-Evil: 1\"},\x{e9}\x{1}");
my ($l) = output_lines($b);
like($l->{response}{body}{headers},
     qr/^X-V-Model: m%0D%0AX-Evil:%201%22%7D%2C%C3%A9%01\r$/m, 'in a header');
is($l->{response}{body}{echo}, '{"model":"m\r\nX-Evil: 1\"},' . "\x{e9}"
   . '\u0001","messages":[],"mock":"headers;echo"}', 'in a body');

$b = run_batch('{"custom_id":"a","body":{"messages":[],"mock":"echo"}}',
               model => 'ours', job_id => 'j');
is($b->{model}, 'job-model', "a job's model goes before");
is((output_lines($b))[0]{response}{body}{echo},
   '{"model":"job-model","messages":[],"mock":"echo"}', 'and is sent');


=== TEST 5: how lines are judged is the batch's, whatever is configured now
--- api_config eval
$main::Lenient . "batch_concurrency 1;"
--- flow
my $in = join '', map { qq({"custom_id":"$_","body":{"messages":[],)
    . qq("mock":"slow=100;echo"}}\n) . qq({"custom_id":"e$_",)
    . qq("url":"/v1/embeddings","body":{"input":"a"}}\n) } 1 .. 20;
my $b = create_batch(upload($in)->{json}{id}, model => 'm')->{json};

wait_batch($b->{id}, until => qr/in_progress/);
my $conf = test_dir() . '/servroot/conf/nginx.conf';
my $text = slurp($conf);
$text =~ s/batch_lines lenient;/batch_endpoints \/v1\/chat\/completions;/;
open my $fh, '>', $conf or die $!;
print $fh $text;
close $fh or die $!;

main::reloaded();

my $done = wait_batch($b->{id});
is($done->{status}, 'completed', 'completed');
is_deeply([map { $_->{custom_id} } output_lines($done)],
          [map { ($_, "e$_") } 1 .. 20], 'every line, in order');

# the index is rebuilt from the store: it is the same batch

redis('FLUSHALL');
ok(wait_until(sub { (get_batch($b->{id}) // {})->{status} // '' eq
                    'completed' }, 20), 'rebuilt');
is(get_batch($b->{id})->{endpoint}, '/v1/chat/completions', 'endpoint');

# and new ones are judged by what is configured now

my $s = run_batch('{"custom_id":"1","body":{"messages":[]}}');
is($s->{status}, 'failed', 'a new one is strict');


=== TEST 6: cancelled and expired lines have their custom_ids
--- api_config eval
$main::Lenient . "batch_concurrency 2;"
--- flow
my $in = join '', map { qq({"custom_id":"$_","body":{"messages":[],)
    . qq("mock":"hang","stream":true}}\n) } 1 .. 30;
my $b = create_batch(upload($in)->{json}{id})->{json};

ok(wait_until(sub { mock_stats()->{inflight} == 2 }, 20), 'two run');
cancel_batch($b->{id});
$b = wait_batch($b->{id});
is($b->{status}, 'cancelled', 'cancelled');
is_deeply([sort { $a <=> $b } map { $_->{custom_id} } error_lines($b)],
          [1 .. 30], 'each line');


=== TEST 7: retries send the same bytes
--- api_config eval
$main::Lenient
--- flow
my $b = run_batch('{"custom_id":"1","body":{"stream":true,"messages":[],'
                  . '"mock":"status=503;times=2"}}', model => 'm');
is($b->{request_counts}{completed}, 1, 'answered');
my %hash = map { $_->{hash} => 1 } @{ mock_get('/mock/log')->{data} };
is(scalar keys %hash, 1, 'one body');
is(mock_stats()->{requests}, 3, 'three attempts');
