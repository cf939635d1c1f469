# What a line needs by its endpoint: the table of src/core/batch_endpoint.h, by
# the API.

use lib 't/lib';
use BatchTest;
use Test::Nginx::Socket 'no_plan';

# every endpoint that is known, and one that is not
our $All = 'batch_endpoints /v1/chat/completions /v1/completions /v1/embeddings '
    . '/v1/responses /v1/moderations /v1/images/generations /v1/rerank '
    . '/v1/score /v1/messages /chat/completions /own/thing;';

# a line of that url for each body
sub lines {
    my ($url, @bodies) = @_;
    my $n = 0;

    return join '', map { $n++;
        qq({"custom_id":"$n","method":"POST","url":"$url","body":$_}\n)
    } @bodies;
}

run_tests();

__DATA__

=== TEST 1: what is right runs, byte for byte
--- api_config eval
$main::All
--- flow
my $e = '"mock":"echo"';
my %good = (
    '/v1/chat/completions' => [qq({"model":"m","messages":[],$e})],
    '/chat/completions' => [qq({"model":"m","messages":[],$e})],
    '/v1/completions' => [qq({"model":"m","prompt":"p",$e}),
                          qq({"model":"m","prompt_embeds":"AA==",$e})],
    '/v1/embeddings' => [
        qq({"model":"m","input":"a",$e}),
        qq({"model":"m","messages":[{"role":"user","content":[{"type":)
        . qq("image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}],)
        . qq("encoding_format":"float",$e})],
    '/v1/responses' => [qq({"model":"m","input":"a","background":false,$e}),
                        qq({"prompt":{"id":"pmpt_1"},$e})],
    '/v1/moderations' => [qq({"input":"a",$e}), qq({"input":["a","b"],$e})],
    '/v1/images/generations' => [qq({"prompt":"a cat",$e})],
    '/v1/rerank' => [qq({"query":"q","documents":["a","b"],$e}),
                     qq({"query":"q","texts":["a"],$e})],
    '/v1/score' => [qq({"text_1":"a","text_2":["b"],$e}),
                    qq({"queries":"a","documents":["b"],$e})],
    '/v1/messages' => [qq({"model":"m","max_tokens":9,"messages":[],$e})],
    '/own/thing' => [qq({$e}), qq({"model":1,"stream":"sse",$e})],
);

for my $url (sort keys %good) {
    my $b = run_batch(main::lines($url, @{ $good{$url} }), endpoint => $url);

    is($b->{status}, 'completed', $url) or diag(json_encode($b->{errors}));
    is_deeply([map { $_->{response}{body}{echo} } output_lines($b)],
              $good{$url}, "$url: what was sent");
    is($b->{endpoint}, $url, "$url: endpoint");
    is((mock_paths())[-1], $url, "$url: where");
}


=== TEST 2: what is missing, or of another type, is told
--- api_config eval
$main::All
--- flow
my @missing = ('missing_required_parameter');
my %bad = (
    '/v1/embeddings' => [
        ['{"model":"m"}', @missing, 'body.input'],
        ['{"model":"m","messages":"x"}', 'invalid_type', 'body.messages'],
        ['{"messages":[]}', @missing, 'body.model']],
    '/v1/completions' => [
        ['{"model":"m","messages":[]}', @missing, 'body.prompt']],
    '/v1/responses' => [
        ['{"model":"m","background":true}', 'background_unsupported',
         'body.background'],
        ['{"model":"m","background":"yes"}', 'invalid_type',
         'body.background'],
        ['{"model":7}', 'invalid_type', 'body.model']],
    '/v1/moderations' => [['{"model":"m"}', @missing, 'body.input']],
    '/v1/images/generations' => [['{"model":"m"}', @missing, 'body.prompt']],
    '/v1/rerank' => [
        ['{"documents":[]}', @missing, 'body.query'],
        ['{"query":"q"}', @missing, 'body.documents']],
    '/v1/messages' => [
        ['{"model":"m"}', @missing, 'body.messages'],
        ['{"messages":[]}', @missing, 'body.model']],
    '/chat/completions' => [['{"model":"m"}', @missing, 'body.messages']],
    '/own/thing' => [
        ['[]', 'invalid_type', 'body'],
        ['{"stream":true}', 'streaming_unsupported', 'body.stream']],
);

for my $url (sort keys %bad) {
    my @rows = @{ $bad{$url} };
    my $b = run_batch(main::lines($url, map { $_->[0] } @rows),
                      endpoint => $url);

    is($b->{status}, 'failed', $url);
    is_deeply([map { [@$_{qw(line code param)}] } @{ $b->{errors}{data} }],
              [map { [$_ + 1, @{ $rows[$_] }[1, 2]] } 0 .. $#rows],
              "$url: the errors");
}

is(mock_stats()->{requests}, 0, 'nothing was sent');

my $b = run_batch(main::lines('/v1/responses', '{"background":true}'),
                  endpoint => '/v1/responses');
like($b->{errors}{data}[0]{message}, qr/would answer 'queued' at once/,
     'background: why');


=== TEST 3: by default there are four
--- flow
my $f = upload(jsonl(1))->{json}{id};

for (qw(/v1/moderations /v1/rerank /chat/completions)) {
    my $r = create_batch($f, endpoint => $_);
    is($r->{status}, 400, $_);
    is($r->{json}{error}{param}, 'endpoint', "$_: param");
}
