# What is wrong with an input file, line by line; nothing of it runs.

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
                           qw(custom_id method url body)) . '}';
}

# [ code, line, param ] of each error

sub told {
    my ($b) = @_;
    return [map { [@{$_}{qw(code line param)}] } @{ $b->{errors}{data} }];
}

sub failed {
    my ($b) = @_;

    is($b->{status}, 'failed', 'failed');
    ok($b->{failed_at}, 'failed_at');
    is($b->{$_}, undef, $_)
        for qw(in_progress_at finalizing_at completed_at output_file_id
               error_file_id);
    is_deeply($b->{request_counts},
              { total => 0, completed => 0, failed => 0 }, 'counts');
    is($b->{errors}{object}, 'list', 'a list of errors');
    is(mock_stats()->{requests}, 0, 'nothing was sent');

    for my $e (@{ $b->{errors}{data} }) {
        is_deeply([sort keys %$e], [qw(code line message param)], 'keys')
            or last;
    }
}

no_long_string();
run_tests();

__DATA__

=== TEST 1: each defect, by its line
--- flow
my $line = \&main::line;
my @want = (
    [invalid_json_line => undef, '{"custom_id":'],
    [invalid_json_line => undef, 'not JSON'],
    [invalid_json_line => undef, '[1,2]'],
    [missing_required_parameter => 'custom_id', $line->(custom_id => undef)],
    [missing_required_parameter => 'method', $line->(method => undef)],
    [missing_required_parameter => 'url', $line->(url => undef)],
    [missing_required_parameter => 'body', $line->(body => undef)],
    [missing_required_parameter => 'body.messages',
     $line->(body => '{"model":"m"}')],
    [missing_required_parameter => 'body.model',
     $line->(body => '{"messages":[]}')],
    [invalid_url => 'url', $line->(url => '"/v1/completions"')],
    [invalid_url => 'url', $line->(url => '"/v1/chat/completions/"')],
    [invalid_url => 'url', $line->(url => '"/v1/chat/../chat/completions"')],
    [invalid_method => 'method', $line->(method => '"GET"')],
    [streaming_unsupported => 'body.stream',
     $line->(body => '{"model":"m","messages":[],"stream":true}')],
    [mismatched_model => 'body.model',
     $line->(body => '{"model":"other","messages":[]}')],
    [duplicate_custom_id => 'custom_id', $line->(custom_id => '"first"')],
    [duplicate_custom_id => 'custom_id',
     $line->(custom_id => '"f\u0069rst"')],
);
my $in = join "\n", $line->(custom_id => '"first"'), map { $_->[2] } @want;
my $b = run_batch($in);

main::failed($b);
my $i = 1;
is_deeply(main::told($b), [map { [$_->[0], ++$i, $_->[1]] } @want],
          'codes, lines, params');

my @text = map { $_->{message} } @{ $b->{errors}{data} };
like($text[0], qr/^This line is not parseable as valid JSON\./, 'no JSON');
is($text[3], "Missing required parameter: 'custom_id'.", 'custom_id');
is($text[7], "Missing required parameter: 'messages'.", 'messages');
like($text[9], qr/^The URL provided for this request does not match the batch endpoint\./,
     'url');
like($text[13], qr/Streaming is not supported in the Batch API/, 'stream');
like($text[14], qr/^The model 'other' for this request does not match the rest/,
     'model');
like($text[15], qr/^The custom_id 'first' for this request is a duplicate/,
     'duplicate');


=== TEST 2: physical line numbers, with a BOM, CRLF and blank lines
--- flow
my $in = join("\r\n", "\xef\xbb\xbf" . main::line(), '', '   ', 'bad', "\t",
              main::line(), main::line(method => undef), '');
my $b = run_batch($in);
main::failed($b);
is_deeply(main::told($b), [[invalid_json_line => 4, undef],
                           [missing_required_parameter => 7, 'method']],
          'lines');


=== TEST 3: the same, and good
--- flow
my $in = join("\r\n", "\xef\xbb\xbf" . main::line(), '', '   ', "\t",
              main::line());
my $b = run_batch($in);
is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{total}, 2, 'two requests');
my @lines = map { $_->{line} } @{ mock_get('/mock/log')->{data} };
is_deeply([sort @lines], [1, 5], 'the upstream is told physical numbers');


=== TEST 4: more errors than are listed
--- flow
my $b = run_batch(main::line() . "\n" . "bad\n" x 1500);
main::failed($b);
my $e = main::told($b);
is(scalar @$e, 1001, 'a thousand, and one that says so');
is_deeply($e->[0], [invalid_json_line => 2, undef], 'the first');
is_deeply($e->[999], [invalid_json_line => 1001, undef], 'the thousandth');
is_deeply($e->[1000], [more_errors => undef, undef], 'the rest');
is($b->{errors}{data}[1000]{message},
   '500 more lines have errors that are not listed.', 'how many');


=== TEST 5: no lines
--- flow
for my $in ("\n\n  \n", main::line()) {
    my $f = upload($in);

    if ($in =~ /^\s+$/) {
        # either the upload or the validation says so
        like($f->{status}, qr/^(200|400)$/, 'upload of nothing');
        next if $f->{status} == 400;
        my $b = wait_batch(create_batch($f->{json}{id})->{json}{id});
        main::failed($b);
        is_deeply(main::told($b), [[empty_batch => undef, undef]], 'code');
        next;
    }

    my $b = wait_batch(create_batch($f->{json}{id})->{json}{id});
    is($b->{status}, 'completed', 'a line without a newline is one');
}


=== TEST 6: too many lines
--- flow
my $b = run_batch(jsonl(50001, body => sub { '{"model":"m","messages":[]}' }),
                  timeout => 60);
main::failed($b);
is_deeply(main::told($b), [[too_many_tasks => undef, undef]], 'code');
like($b->{errors}{data}[0]{message}, qr/50001 requests.*maximum of 50000/,
     'message');


=== TEST 7: a limit of the location
--- api_config
    batch_max_requests 3;
--- flow
my $b = run_batch(jsonl(4));
main::failed($b);
is_deeply(main::told($b), [[too_many_tasks => undef, undef]], 'code');
is(run_batch(jsonl(3))->{status}, 'completed', 'three are taken');


=== TEST 8: no such input
--- flow
my $unknown = 'file-' . 'A' x 22;
my $deleted = upload(jsonl(1))->{json}{id};
http('DELETE', "/v1/files/$deleted");
my $other = upload(jsonl(1), purpose => 'user_data')->{json}{id};

for my $id ($unknown, $deleted, $other) {
    my $r = create_batch($id);

    # refused at once, or by the validation

    if ($r->{status} != 200) {
        is($r->{status}, 400, "$id is refused");
        is($r->{json}{error}{param}, 'input_file_id', 'param');
        next;
    }

    my $b = wait_batch($r->{json}{id});
    main::failed($b);
    is_deeply(main::told($b), [[invalid_request => undef, 'file_id']], 'code');
    like($b->{errors}{data}[0]{message}, qr/^Cannot find file $id/, 'message');
}


=== TEST 9: the input is deleted while the batch runs
--- concurrency
2
--- flow
my $f = upload(jsonl(20, mock => 'slow=50'))->{json};
my $b = create_batch($f->{id})->{json};
wait_batch($b->{id}, until => qr/in_progress/);
is(http('DELETE', "/v1/files/$f->{id}")->{status}, 200, 'deleted');
$b = wait_batch($b->{id});
is($b->{status}, 'completed', 'completed');
is($b->{request_counts}{completed}, 20, 'all lines');


=== TEST 10: strings that mislead
--- flow
my $line = \&main::line;
my @bad = (
    $line->(custom_id => '""'),
    $line->(custom_id => '17'),
    $line->(custom_id => 'null'),
    $line->(body => '"text"'),
    $line->(body => '{"model":7,"messages":[]}'),
    $line->(body => '{"model":"","messages":[]}'),
    '{"custom_id":"a","custom_id":"b","method":"POST","url":'
        . '"/v1/chat/completions","body":{"model":"m","messages":[]}}',
    $line->(custom_id => '"' . "\xff\xfe" . '"'),
    $line->(custom_id => '"a' . "\x01" . 'b"'),
    $line->() . ' {}',
    $line->() . ',',
);
my $b = run_batch(join "\n", $line->(), @bad);
main::failed($b);
is_deeply([map { $_->[1] } @{ main::told($b) }], [2 .. @bad + 1],
          'each line is told');


=== TEST 11: good ones that look odd
--- flow
my @good = (
    '{"body":{"messages":[],"model":"m"},"url":"\/v1\/chat\/completions",'
        . '"method":"POST","custom_id":"odd1"}',
    ' { "custom_id" : "odd2" , "method" : "POST" , "url" :'
        . ' "/v1/chat/completions" , "body" : { "model" : "\u006d" ,'
        . ' "messages" : [ ] , "stream" : false } , "extra" : [{}] } ',
    main::line(custom_id => '"' . 'x' x 512 . '"'),
    main::line(custom_id => "\"\xe4\xbd\xa0\xe5\xa5\xbd\""),
);
my $b = run_batch(join "\n", @good);
is($b->{status}, 'completed', 'completed') or diag(json_encode($b));
my $ids = by_id(output_lines($b));
is_deeply([sort keys %$ids], [sort 'odd1', 'odd2', 'x' x 512,
          "\x{4f60}\x{597d}"], 'custom_ids come back');


=== TEST 12: the same custom_id many times
--- flow
my $in = join "\n", map { main::line(custom_id => '"same"') } 1 .. 2000;
my $b = run_batch($in);
main::failed($b);
my $e = main::told($b);
is_deeply($e->[0], [duplicate_custom_id => 2, 'custom_id'], 'the second');
is_deeply($e->[999], [duplicate_custom_id => 1001, 'custom_id'],
          'the thousandth');
is($e->[1000][0], 'more_errors', 'the rest');
