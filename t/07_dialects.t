# batch_dialect: what differs between the services that one server speaks for.

use lib 't/lib';
use BatchTest;
use BatchSchema;
use Test::Nginx::Socket 'no_plan';

our $Schema = BatchSchema->new('t/e2e/impala-schema.json');

# a batch, or an error, as the OpenAPI has it

sub fits {
    my ($r, $what) = @_;
    my $model = $r->{status} == 200 ? 'BatchModel' : 'ErrorResponseModel';
    my @bad = $Schema->check($model, $r->{json});

    Test::More::is("@bad", '', "$what fits $model");
    Test::More::like($r->{status}, qr/^(200|404|422)$/,
                     "$what has a documented status");

    return $r->{json};
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: impala: a batch from its creation to its end
--- http_extra
    batch_dialect impala;
    batch_job  job-1  price=0.3  model=m-job;
    batch_job  job-0;
--- flow
my %ok = (completion_window => 'unlimited', job_id => 'job-1');
my $f = upload(jsonl(5, mock => sub { $_[0] == 3 ? 'status=400' : '' }));
is($f->{status}, 200, 'upload');
my $r = create_batch($f->{json}{id}, %ok, endpoint => 'v1/chat/completions',
                     metadata => undef, output_expires_after => undef);
my $b = main::fits($r, 'a new batch');
is($b->{model}, 'm-job', 'model');
is($b->{price_1m_tokens}, 0.3, 'price');
is(json_encode($b->{metadata}), '{}', 'metadata');
is($b->{expires_at}, undef, 'expires_at');
is($b->{endpoint}, '/v1/chat/completions', 'endpoint');

my $end = wait_batch($b->{id});
$r = api('GET', "/v1/batches/$b->{id}");
$b = main::fits($r, 'a completed batch');
is($b->{status}, 'completed', 'status');
is("$b->{request_counts}{completed} $b->{request_counts}{failed}", '4 1',
   'counts');
my $u = $b->{usage};
is($u->{total_tokens}, $u->{prompt_tokens} + $u->{completion_tokens},
   'tokens add up');
cmp_ok(abs($b->{processing_cost} - $u->{total_tokens} * 0.3 / 1e6), '<',
       1e-12, 'so does the cost');
cmp_ok($b->{processing_cost}, '>', 0, 'there is one');
like($r->{body}, qr/"price_1m_tokens":0\.3,/, '0.3 is written so');

$b = main::fits(create_batch($f->{json}{id}, %ok, job_id => 'job-0'),
                'a batch of a job without a model');
is($b->{model}, '', 'model before validation');
is($b->{price_1m_tokens}, 0, 'price');
wait_batch($b->{id});

my $list = api('GET', '/v1/batches');
is($list->{status}, 200, 'list');
main::fits({ status => 200, json => $_ }, "$_->{id} of the list")
    for @{ $list->{json}{data} };
is(scalar @{ $list->{json}{data} }, 2, 'both');



=== TEST 2: impala: what fails
--- http_extra
    batch_dialect impala;
    batch_job  job-1;
--- flow
my $bad = upload(qq({"custom_id":"a"}\n{"custom_id":1}\n{"x"\n))->{json}{id};
my $f = upload(jsonl(1, prefix => 'a-') . "{}\n", filename => 'x')->{json}{id};
my %ok = (completion_window => 'unlimited', job_id => 'job-1');

is(upload('no json at all')->{status}, 422, 'an upload that is no JSONL');

my $b = create_batch($f, %ok)->{json};
$b = wait_batch($b->{id});
$b = main::fits(api('GET', "/v1/batches/$b->{id}"), 'a failed batch');
is($b->{status}, 'failed', 'it fails');
is(join(' ', sort keys %{ $b->{errors}{data}[0] }), 'code line message param',
   'an entry has all four keys');

my %no = ( input_file_id => $f, endpoint => '/v1/chat/completions', %ok );

for (sort keys %no) {
    my %h = %no;
    delete $h{$_};
    my $r = api('POST', '/v1/batches', \%h);
    is($r->{status}, 422, "no $_");
    is(main::fits($r, "no $_")->{error}{param}, $_, 'param');
}

for (['endpoint', '/v1/x'], ['completion_window', '24h'], ['job_id', 7],
     ['metadata', 'x'], ['metadata', { a => 1 }], ['input_file_id', undef],
     ['output_expires_after', { anchor => 'created_at', seconds => 1 }])
{
    my $r = api('POST', '/v1/batches', { %no, $_->[0] => $_->[1] });
    is($r->{status}, 422, "bad $_->[0]");
    main::fits($r, "bad $_->[0]");
}

my $r = api('POST', '/v1/batches', '{');
is($r->{status}, 422, 'no JSON');
main::fits($r, 'no JSON');

for (['job_id', 'job-2'], ['input_file_id', 'file-0123456789abcdefghijkl'],
     ['input_file_id', 'x/../y'])
{
    $r = api('POST', '/v1/batches', { %no, $_->[0] => $_->[1] });
    is($r->{status}, 404, "unknown $_->[0]");
    is(main::fits($r, "unknown $_->[0]")->{error}{param}, $_->[0], 'param');
}

$r = api('GET', '/v1/batches/batch-x');
is($r->{status}, 404, 'an unknown batch');
main::fits($r, 'an unknown batch');

my $v = upload('x', purpose => 'vision')->{json}{id};
is(create_batch($v, %ok)->{status}, 404, 'a file of another purpose');
is(scalar @{ api('GET', '/v1/batches')->{json}{data} }, 1,
   'nothing was created');



=== TEST 3: impala: another tenant's file is not there
--- http_extra
    batch_dialect impala;
    batch_job  job-1;
--- api_config
    batch_tenant $http_x_tenant;
--- flow
my @a = (headers => ['X-Tenant' => 'a']);
my @b = (headers => ['X-Tenant' => 'b']);
my %ok = (completion_window => 'unlimited', job_id => 'job-1');
my $f = upload(jsonl(1), @a)->{json}{id};

my $r = create_batch($f, %ok, http => \@b);
is($r->{status}, 404, 'foreign');
(my $text = $r->{body}) =~ s/\Q$f/ID/;
(my $id = $f) =~ tr/a-zA-Z/b-zaB-ZA/;
$id =~ s/^\w+-/file-/;
my $u = create_batch($id, %ok, http => \@b);
is($u->{status}, 404, 'unknown');
$u->{body} =~ s/\Q$id/ID/;
is($u->{body}, $text, 'in the same words');

my $b = create_batch($f, %ok, http => \@a);
is($b->{status}, 200, 'own');
is(wait_batch($b->{json}{id}, http => \@a)->{status}, 'completed', 'it runs');



=== TEST 4: impala: the batch of another dialect is shown without nulls
--- server_extra
    location ~ ^/impala/v1/(files|batches) {
        client_max_body_size 0;
        batch_api;
        batch_pass /batch-lines;
        batch_dialect impala;
    }
--- flow
my $b = run_batch(jsonl(1));
is($b->{status}, 'completed', 'status');
my $c = main::fits(api('GET', "/impala/v1/batches/$b->{id}"), 'it');
is($c->{job_id}, '', 'job_id');
is(json_encode($c->{metadata}), '{}', 'metadata');



=== TEST 5: impala: windows that are given win
--- http_extra
    batch_job  job-1;
--- api_config
    batch_dialect impala;
    batch_windows 24h unlimited;
--- flow
my $f = upload(jsonl(1))->{json}{id};
is(create_batch($f, job_id => 'job-1')->{status}, 200, '24h');



=== TEST 6: openai: the examples of all three
--- http_extra
    batch_job  job-1  model=m  price=1;
--- flow
my $in = jsonl(2);

for ([completion_window => '24h'],
     [completion_window => 'unlimited', job_id => 'job-xxxxxxxx'],
     [completion_window => 'unlimited', job_id => 'job-1',
      endpoint => 'v1/chat/completions'])
{
    my $b = run_batch($in, @$_);
    is($b->{status}, 'completed', "@$_");
}

my $r = upload($in, file_first => 1);
is($r->{status}, 200, 'file before purpose');
$r = create_batch('file-0123456789abcdefghijkl');
is($r->{status}, 200, 'an unknown file fails later');
is(api('POST', '/v1/batches', {})->{status}, 400, '400, not 422');



=== TEST 7: tensorzero: the quick start
--- api_config
    batch_dialect tensorzero;
--- flow
my $f = upload(jsonl(3), file_first => 1, filename => 'requests.jsonl');
is($f->{status}, 200, 'upload') or diag($f->{body});
my $b = create_batch($f->{json}{id})->{json};
$b = wait_batch($b->{id});
is($b->{status}, 'completed', 'status');
my ($l) = output_lines($b);
ok($l->{response}{body}{choices}[0]{message}{content}, 'content of a line');
is($l->{response}{status_code}, 200, 'its status');

my $r = http('GET', "/v1/files/$b->{output_file_id}/content");
is($r->{headers}{'content-type'}, 'application/jsonl', 'type of a download');
is(create_batch($f->{json}{id}, completion_window => 'unlimited')->{status},
   400, '24h only');

my ($body, $type) = multipart(file => { data => jsonl(2), filename => 'a.jsonl'
                                      });
$r = api('POST', '/v1/files', undef, body => $body,
         headers => ['Content-Type' => $type]);
is($r->{status}, 200, 'no purpose');
is($r->{json}{purpose}, 'batch', 'is batch');



=== TEST 8: tensorzero: every line is checked at upload
--- api_config
    batch_dialect tensorzero;
--- flow
my $big = jsonl(1) . '{"x":"' . 'y' x 600_000 . "\"}\n\n";

for (['', 'Must be .jsonl'],
     ["\n\n", 'Must be .jsonl'],
     ["{}\n{\n", 'Invalid JSONL at line 2: Unexpected end at byte 2.'],
     ["{}\n\n{\"a\":1}}\n{}\n",
      'Invalid JSONL at line 3: Text after the value at byte 8.'],
     ["{}\n{\"\xff\":1}\n", 'Invalid JSONL at line 2: Invalid UTF-8 at'],
     ["${big}x\n", 'Invalid JSONL at line 4: Unexpected byte at byte 1.'],
     ["${big}{}\n{}x" . "\n{}" x 300_000,
      'Invalid JSONL at line 5: Text after the value at byte 3.'])
{
    my $r = upload($_->[0]);
    is($r->{status}, 400, $_->[1]);
    like($r->{json}{error}{message}, qr/\Q$_->[1]/, 'message');
}

is(upload("\xef\xbb\xbf$big\r\n{}")->{status}, 200, 'a good one');

for (['in.json', 400], ['.jsonl', 400], ['in.jsonl.txt', 400],
     ['in.jsonl', 200])
{
    is(upload(jsonl(1), filename => $_->[0])->{status}, $_->[1], $_->[0]);
}

my $r = upload(jsonl(1), purpose => 'vision');
is($r->{status}, 400, 'another purpose');
is($r->{json}{error}{message},
   "Invalid value: 'vision'. Supported values are: 'batch'.", 'message');

is(scalar @{ api('GET', '/v1/files')->{json}{data} }, 2, 'nothing else stays');
ok(wait_until(sub { !glob(store_dir() . '/tmp/*') }, 5), 'nor in tmp');



=== TEST 9: tensorzero: 100 MB
--- http_extra
    batch_dialect tensorzero;
--- flow
my $r = http('POST', '/v1/files', body => 'x', headers => [
    'Content-Type' => 'multipart/form-data; boundary=b',
    'Content-Length' => 102 * 1024 * 1024, 'Expect' => '100-continue']);
is($r->{status}, 413, 'larger');
$r = http('POST', '/v1/files', timeout => 1, body => '--b', headers => [
    'Content-Type' => 'multipart/form-data; boundary=b',
    'Content-Length' => 100 * 1024 * 1024]);
is($r->{status}, 0, 'not larger: it waits for more');



=== TEST 10: a dialect that is none
--- api_config
    batch_dialect azure;
--- must_die
--- error_log
invalid value "azure"



=== TEST 11: a dialect twice
--- api_config
    batch_dialect impala;
    batch_dialect impala;
--- must_die
--- error_log
"batch_dialect" directive is duplicate
